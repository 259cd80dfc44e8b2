"""Seconds to a recommendation: the program's whole selection beside Optuna + HF Trainer + peft doing the same search.

Both run in fresh processes, one after the other, in turn, with a seed of its own each turn; a process's seconds include its imports, the
model and the score on the report split. Ours is `pelt_automl.select` with all that it does: rungs, finalists on fresh seeds, evidence,
report, MLflow. The peer's search is in peer_search.py; the time in which it finds out whether bf16 is faster isn't counted. Both use all
cores, the same methods (those that both have), trials, epochs, splits and search spaces. The peer's interval is over examples, since it
trains its winner once; ours is over seeds and examples.

The peer's search ends with one training of one configuration; a selection ends with a verdict over fresh seeds. So the peer then confirms
finalists too (`--peer-seeds`): a line of its own, its search and its finals together, the price of the same kind of answer. Give ours
`--most-seeds` as many, or it trains further seeds until the best mean is practically as good as any. In each turn the selection runs once
more with a time limit: the share `--share` of what the peer's search took in that turn, its own start included. `--limit-only` leaves
the selections without a limit out, which take most of the time.
"""

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pelt_automl.methods import METHODS
from studies.harness import (
    Ended,
    ProcessError,
    Report,
    Row,
    TimeLimit,
    add_options,
    add_selection_options,
    fresh_process,
    names,
    parser,
    ratios,
    say,
    selection_options,
    shown_spread,
    spread,
)  # fmt: skip

BOTH = ("lora", "bitfit", "prompt", "ia3", "full")
"""Methods that our program and the peer have."""
OURS, PEER, LIMITED = "pelt-automl", "Optuna + HF Trainer + peft", "pelt-automl, time limit"
CONFIRMED = "Optuna + HF Trainer + peft, finals too"
"""The peer's search with finals on fresh seeds after it, in the same process."""
OUTSIDE = 5.0
"""Seconds of a process that a selection's own clock doesn't see, at most: Python's start, imports, the end."""

Found = dict[str, list[Row]]
"""By who, a result a turn, with ``seconds``, ``examples`` and ``peak_bytes``."""


def measured(ended: Ended) -> Row:
    """A process's result with what counts as its own."""
    return counted(ended.result | {"peak_bytes": ended.peak_bytes, "process_seconds": ended.seconds})


def counted(result: Row) -> Row:
    """With its seconds, and the examples of all its trainings: optimizer steps times batch size."""
    examples = sum(part["examples"] for part in result["parts"].values())
    return result | {"seconds": result["process_seconds"] - result["not_counted_seconds"], "examples": examples}


def with_finals(result: Row) -> Row:
    """The peer's result with its finals, whose seconds are otherwise not counted."""
    own = result["confirmed"]
    return counted(result | {name: own[name] for name in ("method", "hyper_parameters", "report_score")} | {
        "report_interval": None, "trials": result["trials"] | own["trials"],
        "parts": result["parts"] | {"finalists": {name: own[name] for name in ("seconds", "examples")}},
        "not_counted_seconds": result["not_counted_seconds"] - own["seconds"],
    })  # fmt: skip


def turn_of(options: Row, asked: argparse.Namespace, folder: Path, report: Report) -> dict[str, Row]:
    """One turn; a limited selection that fails, mostly since nothing could be trained in so short a time, is left out."""
    found, seed = {}, options["seed"]

    def ours(who: str, **limit: int) -> Row:
        say(f"seed {seed}: {who}")
        own = folder / f"{who}-{seed}"  # with a new user's home: nothing of an earlier turn is there
        return measured(fresh_process("studies.answers:ours", own / "home", folder=str(own / "selection"), options=options | limit))

    if not asked.limit_only:
        found[OURS] = ours(OURS)
    say(f"seed {seed}: {PEER}")
    found[PEER] = measured(fresh_process("studies.peer_search:peer", options=options, seeds=asked.peer_seeds))
    if asked.peer_seeds:
        found[CONFIRMED] = with_finals(found[PEER])
    if asked.share:
        try:
            found[LIMITED] = ours(LIMITED, seconds=max(1, round(asked.share * found[PEER]["seconds"] - OUTSIDE)))
        except ProcessError as error:
            report.leave_out(f"seed {seed}, {LIMITED}", error)
    return found


def tabulate(report: Report, found: Found) -> None:
    """Who took how long and where, and each turn; the notes say the ratios, and where they come from."""
    for who, results in found.items():
        scores = [result["report_score"] for result in results if result["report_score"] is not None] or [float("nan")]
        low, high = min(scores), max(scores)
        row = {"report score": statistics.median(scores), "lowest score": low, "highest score": high}
        report.add("Seconds to a recommendation", who=who, **spread([result["seconds"] for result in results], "seconds"), **row)
        for part in where_examples_went(results):
            report.add("Where the examples went", who=who, **part)
        for turn, result in enumerate(results):
            bounds = result["report_interval"]
            report.add("Runs", turn=turn + 1, who=who, **{
                "seconds": result["seconds"], "peak GB": result["peak_bytes"] / 1e9, "method": result["method"], "metric": result["metric"],
                "report score": result["report_score"], "interval": f"{bounds[0]:.3f} to {bounds[1]:.3f}" if bounds else None,
                "examples trained": result["examples"], "trials": ", ".join(f"{n} {state}" for state, n in result["trials"].items()),
                "precision": result["precision"],
            })  # fmt: skip
    report.notes += notes(found)


def where_examples_went(results: Sequence[Row]) -> list[Row]:
    """Medians over the turns of each part that trains, of what is left of the wall time, and of all.

    A part's seconds have its evaluations in them; its examples are those trained on.
    """
    turns = [result["parts"] | {"all": {"seconds": result["seconds"], "examples": result["examples"]}} for result in results]
    rows: list[Row] = []
    for part in turns[0]:
        own = [turn[part] for turn in turns]
        rates = [one["examples"] / one["seconds"] for one in own if one["seconds"]]
        medians = {"seconds": statistics.median(one["seconds"] for one in own),
                   "examples trained": statistics.median(one["examples"] for one in own)}  # fmt: skip
        rows.append({"part": part, **medians, "examples/s": statistics.median(rates) if rates else None})
    rest = [result["seconds"] - sum(part["seconds"] for part in result["parts"].values()) for result in results]
    return [*rows[:-1], {"part": "everything else", "seconds": statistics.median(rest)}, rows[-1]]


def notes(found: Found) -> list[str]:
    """How much faster ours is, turn by turn, and how much of it is fewer examples and more examples a second: they multiply to it."""

    def of(who: str, name: str) -> list[float]:
        return [result[name] for result in found[who]]

    said = []
    for peer, what in ((PEER, "search"), (CONFIRMED, "search with finals")) if OURS in found else ():
        if peer in found:
            gain, fewer = ratios(of(peer, "seconds"), of(OURS, "seconds")), ratios(of(peer, "examples"), of(OURS, "examples"))
            faster = shown_spread(ratios(gain, fewer))
            said.append(f"ours is {shown_spread(gain)} times as fast as the peer's {what}, over {len(gain)} turns: "
                        f"{shown_spread(fewer)} times by fewer examples, {faster} times by more examples a second")  # fmt: skip
    if LIMITED in found and len(found[LIMITED]) == len(found[PEER]):
        gain = ratios(of(PEER, "seconds"), of(LIMITED, "seconds"))
        pairs: list[tuple[Any, Any]] = list(zip(of(LIMITED, "report_score"), of(PEER, "report_score"), strict=True))
        leads = ", ".join("nothing scored" if ours is None or peer is None else f"{ours - peer:+.3f}" for ours, peer in pairs)
        said.append(f"with the time limit ours is {shown_spread(gain)} times as fast; its report score less the peer's: {leads}")
    return said


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    made = parser("time_to_answer", __doc__)
    add_selection_options(made, task="pydoc-match", model="minilm", methods=",".join(BOTH), k="1000", trials=6, seed=0)
    add_options(made, {
        "repeats": (int, 3, "turns"),
        "peer-seeds": (int, 3, "fresh seeds of the peer's finals; 0: none"),
        "share": (float, 0.2, "of the peer's time, for the limited selection; 0: none"),
        "limit-only": (bool, False, "leave our selections without a time limit out"),
        "seconds": (float, 24 * 3600.0, "no turn is begun that wouldn't end within so many"),
    })  # fmt: skip
    asked = made.parse_args(arguments)
    wrong = [f"--{name} is {value}; it must be {what}" for name, value, what, fine in (
        ("peer-seeds", asked.peer_seeds, "0 or more", asked.peer_seeds >= 0),
        ("share", asked.share, "from 0 to 1", 0 <= asked.share <= 1),
        ("share", asked.share, "more than 0 with --limit-only", asked.share > 0 or not asked.limit_only),
        ("repeats", asked.repeats, "1 or more", asked.repeats >= 1),
        ("methods", asked.methods, f"of those of both: {', '.join(BOTH)}", set(names(asked.methods)) <= set(BOTH) & set(METHODS)),
    ) if not fine]  # fmt: skip
    if wrong:
        made.error("; ".join(wrong))
    report, limit, found, longest = Report("time_to_answer", asked), TimeLimit(asked.seconds), Found(), 0.0
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(asked.repeats):
            if turn and not limit.allows(longest):
                report.leave_out(f"{asked.repeats - turn} of {asked.repeats} turns", f"the limit of {asked.seconds:.0f} s")
                break
            left = limit.left
            try:
                own = turn_of(selection_options(asked) | {"seed": asked.seed + turn}, asked, Path(folder), report)
            except ProcessError as error:
                report.leave_out("the comparison", error)
                break
            for who, result in own.items():
                found.setdefault(who, []).append(result)
            longest = max(longest, left - limit.left)
    if found:
        tabulate(report, found)
    report.data["runs"] = found
    report.write()


if __name__ == "__main__":
    main()
