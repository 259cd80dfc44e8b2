"""The verdict as the terminal prints it at the end: plain text, at most 30 lines of 100 columns."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

from pelt_automl.log.events import Event, Stage, Standing
from pelt_automl.methods import BASELINES
from pelt_automl.report.summary import Summary, summarize
from pelt_automl.verdict.wording import chance, counted, duration, listed, milliseconds, name_of, percent

WIDTH = 100
LINES = 30
SMALLEST_TABLE = 6
"""Lines of the leaderboard that are kept, its head included, however long the rest is."""


def verdict_text(events: Sequence[Event]) -> str:
    """Statement, leaderboard, gates, bill, what was saved, warnings. Raises `SelectionError` when there is no verdict yet."""
    summary = summarize(events, Path())
    statement = textwrap.wrap(_plain(summary.recommendation.statement), WIDTH)
    below = [*_gate_lines(summary), *_bill_lines(summary), *_savings_lines(summary)]
    room = LINES - len(statement) - len(below) - 2
    table = _leaderboard(summary)
    warnings = _warning_lines(summary, max(1, room - len(table)))
    table = _shortened(table, max(SMALLEST_TABLE, room - len(warnings)))
    lines = [*statement, *(["", *table] if table else []), "", *below, *warnings]
    return "\n".join(lines[:LINES])


def _plain(text: str) -> str:
    """Without control characters: text from data must not steer the terminal."""
    return "".join(character if character.isprintable() else " " for character in text)


def _leaderboard(summary: Summary) -> list[str]:
    if not summary.leaderboard:
        return []
    cost = "ms a text" if summary.asks_for_latency else "seconds"
    head = f"  {'finalist':<24}{summary.unit.short[:12]:>12}  {'95 % interval':<16}{'P(best)':>8}{'parameters':>13}{cost:>10}  tied"
    return [head, *(_row(summary, row) for row in summary.leaderboard)]


def _row(summary: Summary, row: Standing) -> str:
    mark = ">" if row.candidate == summary.recommendation.candidate else " "
    tied = "yes" if row.tied else ""
    unit = summary.unit
    cost = milliseconds(row.served_latency_ms) if summary.asks_for_latency else f"{row.training_seconds:.1f}"
    return (
        f"{mark} {_plain(name_of(row))[:23]:<24}{unit.number(row.report_score):>12}  {unit.range(row.report_interval):<16}"
        f"{chance(row, summary.recommendation.outcome):>8}{row.parameters:>13,}{cost:>10}  {tied}"
    ).rstrip()


def _shortened(table: list[str], lines: int) -> list[str]:
    """Cut to `lines`, the recommended finalist's row always kept."""
    if len(table) <= lines:
        return table
    kept = table[: lines - 1]
    recommended = [row for row in table[lines - 1 :] if row.startswith(">")]
    if recommended:
        kept[-1] = recommended[0]
    return [*kept, f"  ... and {len(table) - len(kept)} more in the report"]


def _gate_lines(summary: Summary) -> list[str]:
    if not summary.gates:
        return []
    evidence = summary.gates[0][0]
    if not evidence.gates:
        return []
    means = ", ".join(f"{gate.submodule} {gate.mean:.2f} ({gate.drift:+.2f})" for gate in evidence.gates)
    name = summary.names.get(evidence.candidate, evidence.candidate)
    return textwrap.wrap(_plain(f"Gates of {name}, mean (drift): {means}. Evidence: {evidence.strength}."), WIDTH)


def _bill_lines(summary: Summary) -> list[str]:
    trials = [trial for trial in summary.trials if trial.stage == Stage.SEARCH and trial.method not in BASELINES]
    failed = f", {len(summary.failures)} failed" if summary.failures else ""
    phases = [f"{phase} {duration(seconds)}" for phase, seconds in summary.bill.items() if seconds >= 0.05]
    spent = f": {listed(phases)}" if phases else ""
    baselines = sum(method.method in BASELINES for method in summary.methods)
    tuned = len(summary.methods) - baselines
    who = [f"{counted(len(trials), 'trial')} of {counted(tuned, 'method')}"] if tuned else []
    who += [counted(baselines, "baseline")] if baselines else []
    line = f"{listed(who)}{failed}; {duration(summary.recommendation.seconds)}{spent}."
    return textwrap.wrap(_plain(line), WIDTH)


def _savings_lines(summary: Summary) -> list[str]:
    saved = summary.savings
    if saved is None or not saved.in_full:
        return []
    padding = "" if saved.padding is None else f"; padding: {percent(saved.padding)} of the tokens"
    line = f"The search trained on {saved.trained:,} examples, {percent(saved.share)} of every trial in full{padding}."
    return textwrap.wrap(line, WIDTH)


def _warning_lines(summary: Summary, room: int) -> list[str]:
    lines = [line for text in summary.recommendation.warnings for line in textwrap.wrap(f"! {_plain(text)}", WIDTH, subsequent_indent="  ")]
    if len(lines) <= room:
        return lines
    return [*lines[: room - 1], f"! more warnings in the report ({len(summary.recommendation.warnings)} in all)"]
