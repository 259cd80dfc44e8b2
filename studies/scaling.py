"""What several workers gain: a selection's seconds with 1, 2, 4 and 8 of them, and what a piece of work costs.

    python -m studies.scaling simulated [--workers 1,2,4,8] ...
    python -m studies.scaling pieces [--pieces 2000] [--bytes 5000000] ...
    python -m studies.scaling trainings [--turns 3] ...

``simulated``: the program's own search, finals and `Cluster` on the table's recorded trainings, with a virtual clock (see
`studies.virtual_workers`). ``pieces``: real worker processes with nothing to train. ``trainings``: whole selections by the real program.
"""

import argparse
import math
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from pelt_automl.errors import PeltError
from pelt_automl.execution.cluster import Cluster
from pelt_automl.execution.recorded import Recorded
from pelt_automl.log.events import Because, Event, FinalistScored, Released, Seeds, Segment, SegmentEnded, Stage, State, TrialEnded
from pelt_automl.log.history import History
from pelt_automl.log.log import Log
from pelt_automl.methods import BASELINES, LEARNING_RATE, METHODS
from pelt_automl.scheduling.actions import Budget, Executor
from pelt_automl.scheduling.drive import drive
from pelt_automl.search.spaces import load_spaces
from pelt_automl.settings import SearchSettings
from pelt_automl.timing.kinds import ALONE
from pelt_automl.verdict.standings import Comparison
from studies.answers import history_of
from studies.contenders import ours
from studies.empty_pieces import measured
from studies.harness import (
    Report,
    Row,
    add_options,
    add_selection_options,
    fresh_process,
    names,
    numbers,
    parser,
    say,
    selection_options,
    spoken,
)
from studies.simulate import Roles, World, key_of
from studies.sources.standing import committed
from studies.table_costs import load_costs
from studies.table_files import load_table
from studies.virtual_workers import Aside, Times, VirtualWorkers

BYTES = 16
"""Of a state for each trained parameter: fp32 weights, two moments, the best weights."""
LARGER = 4
"""BERT-base is twice as wide and twice as deep as the table's MiniLM: its methods have about four times the parameters."""
FULL, FULL_PARAMETERS, STANDS_IN = "full", 110e6, "mam"
"""Full fine-tuning isn't in the table: it takes the time of the table's cost model, and learns as the dearest method does."""


@dataclass(frozen=True)
class Case:
    """What the workers are like."""

    name: str
    pack: int = 1
    full: bool = False
    shares: bool = True
    lasts: float = math.inf


CASES = (
    Case("as it is"),
    Case("with full fine-tuning", full=True),
    Case("other machines", full=True, shares=False),
    Case("lost every 10 min", full=True, shares=False, lasts=600.0),
    Case("packs of 4", pack=4),
)
"""Of the study: one on this machine; states of 1.8 GB; workers that don't see the selection's folder; and that are lost."""


# -------------------------------------------------------------------- one simulated selection


class Timed(Log):
    """Knows when each event came, by a virtual clock."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self.clock, self.times = clock, list[tuple[float, Event]]()

    def append(self, event: Event) -> None:
        """See `Log`."""
        super().append(event)
        self.times.append((self.clock(), event))


@dataclass
class Selected:
    """What a simulated selection took."""

    seconds: float
    work: float
    """Seconds of trainings that counted, alone on a device."""
    rounds: list[list[float]]
    """Seconds of each training: those of the search, of the finals' first round, and so on."""
    scoring: list[float]
    """Seconds of scoring after each of the rounds, on one device."""
    trainings: Mapping[str, int]
    idle: Mapping[str, float]
    """Seconds of devices without work, by why."""
    lost: float = 0.0
    losses: int = 0
    answer: Any = None
    history: History = field(default_factory=History)

    def bound(self, devices: float) -> float:
        """Seconds that so many devices can't undercut for the same trainings; with infinitely many that of the critical path, the longest
        training of the search and of each round, one after the other.
        """
        trained = sum(max(*own, sum(own) / devices) for own in self.rounds if own)
        return trained + sum(self.scoring) / devices


class Remembering(World):
    """Compares the same finalists once: most of a simulated selection's time goes into that."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._known: dict[Any, Comparison] = {}

    def _compared(self, history: History) -> Comparison:
        runs = [history.trials[event.trial].segment for event in history.scored]
        scored = frozenset((run.trial, key_of(run.method, run.hyper_parameters), run.seeds.split) for run in runs)
        key = scored, history.opened and history.opened.examples, frozenset(history.out_of_finals)
        if key not in self._known:
            self._known[key] = super()._compared(history)
        return self._known[key]


@dataclass(frozen=True)
class Selections:
    """Those of one task."""

    world: World
    states: Mapping[str, float]
    """Bytes, by method."""
    trials: int
    times: Times
    most_seeds: int

    def select(self, case: Case, number: int, devices: int, seed: int = 0) -> Selected:
        """One with so many workers; 0: without any, in the selection's own process."""
        world, roles = self.world, Roles.of(self.world.seeds, number, 0)
        others = [own for own in world.seeds if own != roles.search]
        finals = [others[(place + number) % len(others)] for place in range(self.most_seeds)]  # a further seed repeats a recorded training
        roles = replace(roles, finals=finals)
        crew = VirtualWorkers(Path(), lambda: self._recorded(History(), case), devices, self.times, self.states.__getitem__, case.shares,
                              case.lasts, seed)  # fmt: skip
        alone = self._recorded(History(), case)
        log = Timed(lambda: crew.seconds if devices else alone.seconds)
        alone.history = log.history
        executor: Executor = alone
        if devices:
            local = Aside(world.pool, log.history, case.pack, kind=kind, workers=crew, scoring=world.example)
            executor = Cluster(crew, log.history, local, kind, case.pack, Path(), lambda *_: None, partial(failed, local))  # type: ignore[arg-type]

        def clock() -> Budget:
            return Budget(None, log.clock())

        scheduler = replace(ours(world.setting(roles.search, number, self.trials, 0.0)), kind=kind)  # type: ignore[type-var]
        for method in (key[0] for key in world.scores if key[0] in BASELINES):
            log.append(Recorded(world.pool, log.history).fitted(f"{method}-0000", method, Stage.SEARCH, 0, Seeds(*[roles.search] * 3)))
        drive(scheduler, executor, log, clock, Stage.SEARCH)
        searched = log.clock()
        found = world._finals(log, executor, roles, clock)  # type: ignore[arg-type]
        seconds = log.clock()
        if not devices:
            ended = [event for _, event in log.times if isinstance(event, SegmentEnded)]
            seconds += sum(self.states[log.history.trials[event.trial].segment.method] for event in ended) / self.times.save
            scored = [event for event in log.history.scored if event.method not in BASELINES]
            seconds += len(scored) * world.example * (log.history.opened.examples if log.history.opened else 0)
        return self._account(log, crew, devices, seconds, searched, found)

    def _recorded(self, history: History, case: Case) -> Recorded:
        return Recorded(self.world.pool, history, case.pack, kind=kind)

    def _account(self, log: Timed, crew: VirtualWorkers, devices: int, seconds: float, searched: float, found: Any) -> Selected:
        rounds, scoring, scored = list[list[float]]([[]]), list[float](), False
        for event in (event for _, event in log.times):
            if isinstance(event, TrialEnded) and event.method not in BASELINES:
                if scored or (event.stage == Stage.FINALIST and len(rounds) == 1):
                    rounds.append([])
                rounds[-1].append(event.seconds)
                scored = False
            elif isinstance(event, FinalistScored) and event.method not in BASELINES:
                scoring.append(self.world.example * log.history.opened.examples)  # type: ignore[union-attr]
                scored = True
        firsts = [at for at, event in log.times if isinstance(event, Released) and event.because == Because.FIRST
                  and event.segment.stage == Stage.SEARCH]  # fmt: skip
        last = max(firsts, default=0.0)
        windows = {"search": (0.0, last), "the search's last trainings": (last, searched), "finals": (searched, seconds)}
        idle = {name: devices * (end - begin) - sum(max(0.0, min(b, end) - max(a, begin)) for a, b in crew.busy)
                for name, (begin, end) in windows.items()}  # fmt: skip
        idle["finals"] -= sum(scoring)
        counts = Counter(str(trial.stage) for trial in log.history.ended() if trial.method not in BASELINES)
        work = sum(map(sum, rounds)) + sum(scoring)
        return Selected(seconds, work, rounds, scoring, counts, idle, crew.lost, crew.losses, found, log.history)


def kind(segment: Segment) -> tuple[str, ...]:
    """Full fine-tuning shares no pack."""
    return (ALONE, segment.trial) if segment.method == FULL else ("any",)


def failed(local: Recorded, segment: Segment, cause: str) -> TrialEnded:
    """Of a trial that is given up."""
    return local._ended(local._outside(segment), State.FAILED, cause)


# -------------------------------------------------------------------- all of them


def with_full(table: pd.DataFrame) -> pd.DataFrame:
    """The rows, and of full fine-tuning its published default on each seed."""
    default = load_spaces(None, (FULL,))[FULL]
    values = dict(default.configuration(default.default()))
    own = table[(table["method"] == STANDS_IN) & (table["configuration"] == "default")]
    keys = pd.Series([key.replace(STANDS_IN, FULL) for key in own["key"]], own.index)
    own = own.assign(method=FULL, hyper_parameters=pd.Series([values] * len(own), own.index), key=keys)
    return pd.concat([table, own], ignore_index=True)


def with_more(table: pd.DataFrame, trials: int) -> pd.DataFrame:
    """The rows, and as many configurations of each method as a search tries: further ones are recorded ones under another name."""
    found = [table]
    for method, own in table[table["method"].isin(METHODS)].groupby("method"):
        every = sorted(set(own["configuration"]))
        for place in range(len(every), 1 if method == FULL else trials):
            again = own[own["configuration"] == every[place % len(every)]]
            values = [values | {LEARNING_RATE: values[LEARNING_RATE] * (1 + 1e-6 * place)} for values in again["hyper_parameters"]]
            name = f"again-{place}"
            keys = pd.Series([f"{key}.{name}" for key in again["key"]], again.index)
            found.append(again.assign(hyper_parameters=pd.Series(values, again.index), configuration=name, chosen="random", key=keys))
    return pd.concat(found, ignore_index=True)


def state_bytes(table: pd.DataFrame) -> dict[str, float]:
    """Of each method's largest state on BERT-base."""
    found = {str(name): BYTES * LARGER * float(own) for name, own in table.groupby("method")["parameters_trained"].max().fillna(0).items()}
    return found | {FULL: BYTES * FULL_PARAMETERS}


def simulated(asked: argparse.Namespace) -> Report:
    """Efficiency by case and number of workers."""
    report, costs, table = Report("scaling-simulated", asked), load_costs(), load_table()
    table = table[(table["k"] == asked.k) & table["head_start"].isin(["probe", "none"])]
    found, states = [], state_bytes(table)
    for task, rows in table.groupby("task"):
        if asked.tasks and task not in asked.tasks:
            continue
        others = table[~table["source"].isin([rows["source"].iloc[0], *committed().sealed])]
        for full, cases in groupby(sorted(CASES, key=lambda own: own.full), lambda own: own.full):
            try:
                world = Remembering(with_more(with_full(rows) if full else rows, asked.trials), costs, others)
            except PeltError as error:
                report.leave_out(str(task), error)
                break
            selections = Selections(world, states, asked.trials, Times(), SearchSettings.most_seeds)
            for case in cases:
                if asked.cases and case.name not in asked.cases:
                    continue
                say(f"{task}, {case.name}")
                for number in range(asked.simulations):
                    base = selections.select(replace(case, lasts=math.inf), number, 0)
                    for devices in asked.workers:
                        own = selections.select(case, number, devices, number)
                        found.append({"case": case.name, "task": task, "source": rows["source"].iloc[0], "workers": devices}
                                     | accounted(base, own, devices))  # fmt: skip
    if found:
        tabulate(report, pd.DataFrame(found))
    report.notes += [f"{name}: a state has {size / 1e6:.0f} MB" for name, size in sorted(states.items(), key=lambda own: own[1])
                     if name not in BASELINES]  # fmt: skip
    return report


def accounted(base: Selected, own: Selected, devices: int) -> Row:
    """A selection next to the same one without workers."""
    room = devices * own.seconds
    return {
        "seconds": own.seconds, "bound": own.bound(math.inf), "at least": own.bound(devices), "efficiency": base.seconds / room,
        "of what is possible": own.bound(devices) / own.seconds, "search": own.trainings[Stage.SEARCH],
        "finals": own.trainings[Stage.FINALIST], "more work": own.work / base.work - 1, "same answer": own.answer == base.answer,
        "losses": own.losses, "lost": own.lost / room, **{f"idle: {name}": seconds / room for name, seconds in own.idle.items()},
    }  # fmt: skip


def tabulate(report: Report, found: pd.DataFrame) -> None:
    """Means over tasks and selections; the interval of the efficiency is over sources."""
    for (case, devices), own in found.groupby(["case", "workers"], sort=False):
        mean = own.select_dtypes("number").mean()
        by_source = own.groupby("source")["efficiency"].mean()
        report.add(
            f"Seconds of a selection: {case}", workers=devices, seconds=mean["seconds"], **{
                "at least": mean["at least"], "critical path": mean["bound"], "efficiency": spoken(by_source),
                "lowest of a task": own.groupby("task")["efficiency"].mean().min(), "of what is possible": mean["of what is possible"],
                "trainings: search": mean["search"], "finals": mean["finals"], "more work, %": 100 * mean["more work"],
                "same answer, %": 100 * own["same answer"].mean(),
            },
        )  # fmt: skip
        report.add(
            f"Where devices have nothing to do, % of their time: {case}", workers=devices,
            **{name.removeprefix("idle: "): 100 * mean[name] for name in mean.index if name.startswith("idle: ")},
            **({"lost with their worker": 100 * mean["lost"], "losses": mean["losses"]} if mean["losses"] else {}),
        )  # fmt: skip


# -------------------------------------------------------------------- real workers


def pieces(asked: argparse.Namespace) -> Report:
    """What a piece of work costs, and the memory that stays."""
    report, typical = Report("scaling-pieces", asked), asked.typical
    cases = [(workers, size, shares) for workers in asked.workers for size in (0, asked.bytes) for shares in (True, False)]
    cases = [own for own in cases if own[1] or own[2]]
    last = (max(asked.workers), asked.bytes, True)
    for workers, size, shares in cases:
        say(f"{workers} workers, states of {size / 1e6:g} MB{'' if shares else ', sent'}")
        with TemporaryDirectory(prefix="pelt-automl-pieces-") as folder:
            own = measured(Path(folder), workers, asked.pieces if (workers, size, shares) == last else asked.few, size, 0.0, shares)
        report.add(
            "A piece of work", workers=workers, pieces=own["pieces"], **{
                "state, MB": size / 1e6, "state goes": "by name" if shares else "by TLS", "ms beside training": 1000 * own["overhead"],
                "% of a piece": 100 * own["overhead"] / typical, "processor ms of the selection": 1000 * own["processor"],
                "workers that it keeps busy": int(typical / own["processor"]), "worker MB": own["worker memory"] / 1e6,
            },
        )  # fmt: skip
        if (workers, size, shares) == last:
            for number, memory in own["memory"][:: max(1, len(own["memory"]) // 10)]:
                report.add("Memory of the selection's process", pieces=number, MB=memory / 1e6)
    report.notes.append(f"a piece is taken to train for {typical:g} s: a quarter of a training, up to its first rung")
    return report


def trainings(asked: argparse.Namespace) -> Report:
    """Seconds of the same selection with one worker and with two, of a thread each, in turn."""
    report = Report("scaling-trainings", asked)
    options = selection_options(asked) | {"threads": 1, "baselines": ["probe"]}
    for turn in range(asked.turns):
        seconds = {}
        for workers in asked.workers:
            say(f"turn {turn + 1}, {workers} workers")
            with TemporaryDirectory(prefix="pelt-automl-trainings-") as folder:
                given = {"folder": f"{folder}/selection", "options": options | {"workers": workers}}
                seconds[workers] = fresh_process("studies.scaling:selected", Path(folder), **given).result
            one = seconds.get(1, seconds[asked.workers[0]])
            own = seconds[workers]
            report.add("Real selections", turn=turn + 1, workers=workers, **own, **{
                "speed-up": one["trained for s"] / own["trained for s"],
                "efficiency": one["trained for s"] / own["trained for s"] / workers if 1 in seconds else None,
            })  # fmt: skip
    return report


def selected(folder: str, options: Mapping[str, Any]) -> Row:
    """One selection: seconds from the first training's release to the last one's end, and what was trained."""
    import pelt_automl

    pelt_automl.select(output=Path(folder), **options)
    history = history_of(folder)
    released, ended = history.of_kind(Released), [own for own in history.of_kind(TrialEnded) if own.method not in BASELINES]
    return {"trained for s": ended[-1].time - released[0].time, "trainings": len(ended), "steps": sum(own.steps for own in ended)}


# -------------------------------------------------------------------- the command line


def commands() -> dict[str, tuple[argparse.ArgumentParser, Callable[[argparse.Namespace], Report]]]:
    """By name."""
    virtual = parser("scaling simulated", __doc__)
    add_options(virtual, {
        "workers": (numbers, [1, 2, 4, 8], ""),
        "cases": (names, [], f"of {', '.join(case.name for case in CASES)} (default: all)"),
        "tasks": (names, [], "of the table (default: all of its open sources)"),
        "simulations": (int, 3, "selections of each task, case and number of workers"),
        "trials": (int, SearchSettings.trials, "configurations of each method"),
        "k": (int, 100, "labeled examples"),
    })  # fmt: skip
    empty = parser("scaling pieces", __doc__)
    add_options(empty, {
        "workers": (numbers, [1, 2], "processes of this machine"),
        "pieces": (int, 2000, "of the longest case, whose memory is looked at"),
        "few": (int, 200, "pieces of each other case"),
        "bytes": (int, 5_000_000, "of a state: LoRA's on BERT-base"),
        "typical": (float, 3.6, "seconds of a piece: a quarter of the table's median training"),
    })  # fmt: skip
    real = parser("scaling trainings", __doc__)
    add_selection_options(real, task="pydoc-topic", model="minilm", k="100", methods="lora,bitfit,adapter,prefix", trials=4, epochs=10.0)
    add_options(real, {"workers": (numbers, [1, 2], "in turn"), "turns": (int, 3, "")})
    return {"simulated": (virtual, simulated), "pieces": (empty, pieces), "trainings": (real, trainings)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    name, *rest = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    known = commands()
    if name not in known:
        print(f"usage: python -m studies.scaling {{{','.join(known)}}} [--help]\n\n{__doc__}")
        sys.exit(0 if name in ("-h", "--help") else 2)
    made, study = known[name]
    study(made.parse_args(rest)).write()


if __name__ == "__main__":
    main()
