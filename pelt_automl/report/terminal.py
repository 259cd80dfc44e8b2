"""The verdict as the terminal prints it at the end: plain text, at most 30 lines of 100 columns."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

from pelt_automl.log.history import History
from pelt_automl.methods import BASELINES
from pelt_automl.report.summary import Summary, summarize
from pelt_automl.verdict.wording import chance, counted, duration, listed, milliseconds, name_of, percent

WIDTH = 100
LINES = 30
SMALLEST_TABLE = 6
"""Lines of the leaderboard that are kept, its head included, however long the rest is."""


def verdict_text(history: History) -> str:
    """Statement, leaderboard, gates, bill, what was saved, warnings. Raises `SelectionError` when there is no verdict yet."""
    summary = summarize(history, Path())
    statement = _wrapped(summary.recommendation.statement)
    below = [*_gate_lines(summary), *_bill_lines(summary), *_savings_lines(summary)]
    room = LINES - len(statement) - len(below) - 2
    table = _leaderboard(summary)
    warnings = _warning_lines(summary.recommendation.warnings, max(1, room - len(table)))
    table = _shortened(table, max(SMALLEST_TABLE, room - len(warnings)))
    lines = [*statement, *(["", *table] if table else []), "", *below, *warnings]
    return "\n".join(lines[:LINES])


def _plain(text: str) -> str:
    """Without control characters: text from data must not steer the terminal."""
    return "".join(character if character.isprintable() else " " for character in text)


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(_plain(text), WIDTH, subsequent_indent=indent)


def _leaderboard(summary: Summary) -> list[str]:
    unit, answer, timed = summary.unit, summary.recommendation, summary.asks_for_latency
    if not answer.leaderboard:
        return []
    cost = "ms a text" if timed else "seconds"
    lines = [f"  {'finalist':<24}{unit.short[:12]:>12}  {'95 % interval':<16}{'P(best)':>8}{'parameters':>13}{cost:>10}  tied"]
    for row in answer.leaderboard:
        mark, tied = ">" if row.candidate == answer.candidate else " ", "yes" if row.tied else ""
        cost = milliseconds(row.served_latency_ms) if timed else f"{row.training_seconds:.1f}"
        line = (
            f"{mark} {_plain(name_of(row))[:23]:<24}{unit.number(row.report_score):>12}  {unit.range(row.report_interval):<16}"
            f"{chance(row, answer.outcome):>8}{row.parameters:>13,}{cost:>10}  {tied}"
        )
        lines.append(line.rstrip())
    return lines


def _shortened(table: list[str], lines: int) -> list[str]:
    """Cut to `lines`, the recommended finalist's row always kept."""
    if len(table) <= lines:
        return table
    recommended = [row for row in table[lines - 1 :] if row.startswith(">")][:1]
    kept = table[: lines - 1 - len(recommended)] + recommended
    return [*kept, f"  ... and {len(table) - len(kept)} more in the report"]


def _gate_lines(summary: Summary) -> list[str]:
    if not summary.gates or not summary.gates[0][0].moved:
        return []
    evidence = summary.gates[0][0]
    rows = [f"{name} {row['gate'].mean:.2f} ({row['drift'].mean:+.2f})" for name, row in evidence.submodules.items() if "gate" in row]
    return _wrapped(f"Gates of {summary.names[evidence.candidate]}, mean (drift): {', '.join(rows)}. Evidence: {evidence.strength}.")


def _bill_lines(summary: Summary) -> list[str]:
    trials = sum(map(len, summary.searched.values()))
    failed = f", {len(summary.failures)} failed" if summary.failures else ""
    phases = [f"{phase} {duration(seconds)}" for phase, seconds in summary.bill.items() if seconds >= 0.05]
    baselines = sum(method in BASELINES for method in summary.methods)
    tuned = len(summary.methods) - baselines
    who = [f"{counted(trials, 'trial')} of {counted(tuned, 'method')}"] if tuned else []
    who += [counted(baselines, "baseline")] if baselines else []
    at_work = [f"{name} {duration(seconds)}" for name, seconds in summary.devices.items()]
    workers = f" At work: {listed(at_work)}." if at_work else ""
    return _wrapped(f"{listed(who)}{failed}; {duration(summary.recommendation.seconds)}{': ' if phases else ''}{listed(phases)}.{workers}")


def _savings_lines(summary: Summary) -> list[str]:
    saved = summary.savings
    if saved is None or not saved.in_full:
        return []
    padding = "" if saved.padding is None else f"; padding: {percent(saved.padding)} of the tokens"
    return _wrapped(f"The search trained on {saved.trained:,} examples, {percent(saved.share)} of every trial in full{padding}.")


def _warning_lines(warnings: Sequence[str], room: int) -> list[str]:
    lines = [line for text in warnings for line in _wrapped(f"! {text}", "  ")]
    if len(lines) <= room:
        return lines
    return [*lines[: room - 1], f"! more warnings in the report ({len(warnings)} in all)"]
