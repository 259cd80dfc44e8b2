"""Seconds to a recommendation: the program's whole selection beside Optuna + HF Trainer + peft doing the same search.

    python benchmarks/time_to_answer.py --task qnli --data-dir DATA --k 1000 --output results
    python benchmarks/time_to_answer.py --train own.csv --text-columns text --label-column label --trials 2 --repeats 1

Both run in fresh processes, one after the other, in turn, with a seed of its own each turn; a process's seconds include its imports, the
model and the score on the report split. Ours is `pelt_automl.select` with all that it does: rungs, finalists on fresh seeds, evidence,
report, MLflow. The peer's search is in peer_search.py; the time in which it finds out whether bf16 is faster isn't counted. Both use all
cores, the same methods (those that both have), trials, epochs, splits and search spaces. The peer's interval is over examples, since it
trains its winner once; ours is over seeds and examples.

The peer's search ends with one training of one configuration; a selection ends with a verdict over fresh seeds. So the peer then confirms
finalists too (`--peer-seeds`): a line of its own, its search and its finals together, the price of the same kind of answer. Give ours
`--most-seeds` as many, or it trains further seeds while finalists can't be told apart.

In each turn the selection runs once more with a time limit: the share `--share` of what the peer's search took in that turn, its own start
included. So three questions have an answer: how long the same search takes, how long a confirmed answer, and what comes out in a fifth of
the time of the peer's search. `--limit-only` leaves the selections without a limit out, which take most of the time.
"""

import argparse
import json
import math
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import Report, Table, add_selection_options, names, parser, say, selection_options
from benchmarks.measuring import Ended, ProcessError, Spread, TimeLimit, in_turn, ratios, run_process

BOTH = ("lora", "bitfit", "prompt", "ia3", "full")
"""Methods that our program and the peer have."""

RUNS = ("turn", "who", "seconds", "peak GB", "method", "metric", "report score", "interval", "examples trained", "trials", "precision")
PARTS = ("who", "part", "seconds", "examples trained", "examples/s")
RESULT = ("who", "seconds", "lowest", "highest", "report score", "lowest score", "highest score")

OURS, PEER = "pelt-automl", "Optuna + HF Trainer + peft"

CONFIRMED = "Optuna + HF Trainer + peft, finals too"
"""The peer's search with finals on fresh seeds after it, in the same process."""

LIMITED = "pelt-automl, time limit"
"""Our program with a share of the peer's time."""

OUTSIDE = 5.0
"""Seconds of a process that a selection's own clock doesn't see, at most: Python's start, imports, the end."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    options = _options(arguments)
    report = Report("time_to_answer", {name: str(value) for name, value in vars(options).items()})
    methods = _with_spaces(names(options.methods), report)
    selection = selection_options(options) | {"methods": ",".join(methods)}
    runs, totals = Table("Runs", RUNS), Table("Seconds to a recommendation", RESULT)
    parts = Table("Where the examples went", PARTS)
    report.tables += [totals, parts, runs]
    ended: dict[str, list[tuple[Ended, dict[str, Any]]]] = {who: [] for who in (OURS, PEER, LIMITED)}

    def seconds_given(turn: int) -> int:
        """The time limit in a turn, by what the peer has taken in it."""
        return max(1, round(options.share * _seconds(*ended[PEER][turn]) - OUTSIDE))

    with tempfile.TemporaryDirectory() as folder:
        commands = _commands(selection, Path(folder), seconds_given, options.peer_seeds)
        measures = {who: _measure(who, command, ended[who], runs) for who, command in commands.items()}
        limited = measures.pop(LIMITED)
        if options.limit_only:
            del measures[OURS]
        if options.share:
            measures[LIMITED] = _or_nan(limited, report)
        try:
            seconds = in_turn(measures, options.repeats, TimeLimit(options.seconds))
        except ProcessError as error:
            report.left_out.append(f"the comparison: {error}")
            seconds = {}
    if any(math.isnan(value) for value in seconds.get(LIMITED, ())):
        del seconds[LIMITED]
    if seconds and options.peer_seeds:
        ended[CONFIRMED] = [(process, with_finals(result)) for process, result in ended[PEER]]
        seconds[CONFIRMED] = [_seconds(*each) for each in ended[CONFIRMED]]
        for turn, each in enumerate(ended[CONFIRMED]):
            runs.add(**_run(turn, CONFIRMED, *each))
    if seconds:
        report.notes += _tabulate(seconds, {who: [result for _, result in found] for who, found in ended.items()}, totals, parts)
    if 0 < len(seconds.get(PEER, ())) < options.repeats:
        report.left_out.append(f"{options.repeats - len(seconds[PEER])} of {options.repeats} turns: the limit of {options.seconds:.0f} s")
    report.data["runs"] = {who: [_plain(process, result) for process, result in found] for who, found in ended.items()}
    report.write(options.output)


def _with_spaces(methods: Sequence[str], report: Report) -> list[str]:
    """Those that the program has and has a search space for; the others are named in the report."""
    from pelt_automl.errors import SearchSpaceError
    from pelt_automl.search.spaces import load_spaces

    found = []
    for method in methods:
        try:
            load_spaces(None, (method,))
        except SearchSpaceError as error:
            report.left_out.append(f"{method}: {error}")
            continue
        if method in BOTH:
            found.append(method)
        else:
            report.left_out.append(f"{method}: the peer doesn't have it; both have {', '.join(BOTH)}")
    return found


Command = Callable[[int], tuple[list[str], Mapping[str, str]]]
"""From the turn to Python's arguments and the environment's variables."""


def _commands(selection: Mapping[str, Any], folder: Path, limit: Callable[[int], int], peer_seeds: int) -> dict[str, Command]:
    """What is run in each turn, in this order; the seed is the turn's own, the same for all. `limit`: from the turn to seconds."""

    def options(turn: int) -> str:
        return json.dumps(dict(selection) | {"seed": int(selection.get("seed") or 0) + turn})

    def ours(turn: int) -> tuple[list[str], Mapping[str, str]]:
        home = folder / f"home-{turn}"  # a new user's: nothing of an earlier turn is there
        return ["-m", "benchmarks.our_selection", str(folder / f"ours-{turn}"), options(turn)], {"PELT_AUTOML_HOME": str(home)}

    def peer(turn: int) -> tuple[list[str], Mapping[str, str]]:
        return ["-m", "benchmarks.peer_search", options(turn), str(peer_seeds)], {}

    def limited(turn: int) -> tuple[list[str], Mapping[str, str]]:
        given = json.loads(options(turn)) | {"seconds": limit(turn)}
        home = folder / f"home-limited-{turn}"
        return ["-m", "benchmarks.our_selection", str(folder / f"limited-{turn}"), json.dumps(given)], {"PELT_AUTOML_HOME": str(home)}

    return {OURS: ours, PEER: peer, LIMITED: limited}


def _measure(who: str, command: Command, ended: list[tuple[Ended, dict[str, Any]]], runs: Table) -> Callable[[], float]:
    def measure() -> float:
        turn = len(ended)
        say(f"turn {turn + 1}: {who}")
        process = run_process(*command(turn))
        result: dict[str, Any] = process.result
        ended.append((process, result))
        runs.add(**_run(turn, who, process, result))
        return _seconds(process, result)

    return measure


def _seconds(process: Ended, result: Mapping[str, Any]) -> float:
    """What counts as its own."""
    seconds: float = process.seconds - result["not_counted_seconds"]
    return seconds


def with_finals(result: Mapping[str, Any]) -> dict[str, Any]:
    """The peer's result with its finals, whose seconds are otherwise not counted."""
    found = result["confirmed"]
    return {
        **result,
        **{name: found[name] for name in ("method", "hyper_parameters", "report_score")},
        "report_interval": None,
        "trials": result["trials"] | found["trials"],
        "parts": result["parts"] | {"finalists": {name: found[name] for name in ("seconds", "examples")}},
        "not_counted_seconds": result["not_counted_seconds"] - found["seconds"],
    }


def _run(turn: int, who: str, process: Ended, result: Mapping[str, Any]) -> dict[str, Any]:
    """A line of the table of runs."""
    return {
        "turn": turn + 1, "who": who, "seconds": _seconds(process, result), "peak GB": process.peak_bytes / 1e9, "method": result["method"],
        "metric": result["metric"], "report score": result["report_score"], "interval": _interval(result["report_interval"]),
        "examples trained": examples_trained(result), "precision": result["precision"],
        "trials": ", ".join(f"{count} {state}" for state, count in result["trials"].items()),
    }  # fmt: skip


def _tabulate(
    seconds: Mapping[str, list[float]], results: Mapping[str, Sequence[Mapping[str, Any]]], totals: Table, parts: Table
) -> list[str]:
    """Fill the tables of who took how long, and where; the notes say the ratios, and where they come from."""
    for who, values in seconds.items():
        totals.add(**_total(who, values, results[who]))
        for row in where_examples_went(results[who], values):
            parts.add(who=who, **row)
    notes = _without_a_limit(seconds, results) if OURS in seconds else []
    return notes + ([limited_note(seconds, results)] if LIMITED in seconds else [])


def _without_a_limit(seconds: Mapping[str, list[float]], results: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    gain = ratios(seconds[PEER], seconds[OURS])
    notes = [f"ours is {gain} times as fast as the peer's search, over {gain.repeats} turns"]
    examples = {who: [examples_trained(result) for result in results[who]] for who in seconds}
    notes.append(why_faster(seconds, examples, PEER))
    if CONFIRMED in seconds:
        notes.append(f"ours is {ratios(seconds[CONFIRMED], seconds[OURS])} times as fast as the peer's search with finals")
        notes.append(why_faster(seconds, examples, CONFIRMED))
    return notes


def _or_nan(measure: Callable[[], float], report: Report) -> Callable[[], float]:
    """The same until it fails, mostly since nothing could be trained in so short a time: that is said once, and the others count."""
    failed = False

    def tried() -> float:
        nonlocal failed
        if failed:
            return math.nan
        try:
            return measure()
        except ProcessError as error:
            failed = True
            report.left_out.append(f"{LIMITED}: {error}")
            return math.nan

    return tried


def _total(who: str, seconds: list[float], results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    spread = Spread.of(seconds)
    scores = Spread.of([result["report_score"] for result in results if result["report_score"] is not None] or [float("nan")])
    return {
        "who": who, "seconds": spread.median, "lowest": spread.low, "highest": spread.high,
        "report score": scores.median, "lowest score": scores.low, "highest score": scores.high,
    }  # fmt: skip


def examples_trained(result: Mapping[str, Any]) -> int:
    """Optimizer steps of all trainings times batch size."""
    return sum(part["examples"] for part in result["parts"].values())


def where_examples_went(results: Sequence[Mapping[str, Any]], seconds: Sequence[float]) -> list[dict[str, Any]]:
    """Medians over the turns of each part that trains, of what is left of the wall time, and of all.

    A part's seconds have its evaluations in them; its examples are those trained on.
    """
    rows = [_part(name, [result["parts"][name] for result in results]) for name in results[0]["parts"]]
    trained = [sum(part["seconds"] for part in result["parts"].values()) for result in results]
    rest = [whole - own for whole, own in zip(seconds, trained, strict=True)]
    everything = [{"seconds": whole, "examples": examples_trained(result)} for whole, result in zip(seconds, results, strict=True)]
    return [*rows, {"part": "everything else", "seconds": statistics.median(rest)}, _part("all", everything)]


def _part(name: str, turns: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    return {
        "part": name,
        "seconds": statistics.median(turn["seconds"] for turn in turns),
        "examples trained": statistics.median(turn["examples"] for turn in turns),
        "examples/s": statistics.median(turn["examples"] / turn["seconds"] for turn in turns if turn["seconds"]),
    }


def why_faster(seconds: Mapping[str, Sequence[float]], examples: Mapping[str, Sequence[int]], peer: str) -> str:
    """How much of the ratio is fewer examples, and how much more examples a second: in each turn the two multiply to it."""
    rates = {who: [count / whole for count, whole in zip(examples[who], seconds[who], strict=True)] for who in (OURS, peer)}
    fewer, faster = ratios(examples[peer], examples[OURS]), ratios(rates[OURS], rates[peer])
    return f"{fewer} times of that come from fewer examples, and {faster} times from more examples a second of wall time"


def limited_note(seconds: Mapping[str, Sequence[float]], results: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """How fast the selection with a time limit was, and how much better or worse than the peer's winner it is in each turn."""
    gain = ratios(seconds[PEER], seconds[LIMITED])
    scores = {who: [result["report_score"] for result in results[who]] for who in (LIMITED, PEER)}
    leads = [
        "nothing scored" if ours is None or peer is None else f"{ours - peer:+.3f}"
        for ours, peer in zip(scores[LIMITED], scores[PEER], strict=True)
    ]
    return f"with the time limit ours is {gain} times as fast; its report score less the peer's, turn by turn: {', '.join(leads)}"


def _interval(bounds: Sequence[float] | None) -> str | None:
    return f"{bounds[0]:.3f} to {bounds[1]:.3f}" if bounds else None


def _plain(process: Ended, result: Mapping[str, Any]) -> dict[str, Any]:
    return {"seconds": process.seconds, "peak_bytes": process.peak_bytes, **result}


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    made = parser(__doc__)
    made.formatter_class = argparse.RawDescriptionHelpFormatter
    add_selection_options(made, task="pydoc-match", model="minilm", methods=",".join(BOTH), k="1000", trials=6, seed=0)
    made.add_argument("--repeats", type=int, default=3, help="turns (default: 3)")
    made.add_argument("--peer-seeds", type=int, default=3, help="fresh seeds of the peer's finals; 0: none (default: 3)")
    made.add_argument("--share", type=float, default=0.2, help="of the peer's time, for the limited selection; 0: none (default: 0.2)")
    made.add_argument("--limit-only", action="store_true", help="leave our selections without a time limit out")
    made.add_argument("--seconds", type=float, default=24 * 3600.0, help="no turn is begun that wouldn't end within so many")
    options = made.parse_args(arguments)
    wrong = [f"--{name} is {value}; it must be {what}" for name, value, what, fine in (
        ("peer-seeds", options.peer_seeds, "0 or more", options.peer_seeds >= 0),
        ("share", options.share, "from 0 to 1", 0 <= options.share <= 1),
        ("share", options.share, "more than 0 with --limit-only", options.share > 0 or not options.limit_only),
        ("repeats", options.repeats, "1 or more", options.repeats >= 1),
    ) if not fine]  # fmt: skip
    if wrong:
        made.error("; ".join(wrong))
    return options


if __name__ == "__main__":
    main()
