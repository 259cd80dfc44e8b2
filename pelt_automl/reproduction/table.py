"""What came out, beside what the paper printed: means and standard deviations over data seeds, in points."""

import statistics
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pelt_automl.reproduction.folder import FinishedRun
from pelt_automl.reproduction.protocol import MODEL, PAPER_METHODS, TASKS, K, Protocol, k_name
from pelt_automl.reproduction.published import AVERAGE, PUBLISHED, Published
from pelt_automl.tasks import METRICS

FEWEST_RANKED = 3
"""Methods from which on two orders are compared."""

ORACLES = {"max{A,P}": ("adapter", "prefix"), "max{A,P,L}": ("adapter", "prefix", "lora")}
"""The paper's upper bounds (table 2): the best submodule of each task, chosen on the reported scores."""

OTHER_BACKBONE = (
    "The backbone is {model}, the paper's BERT-base: figures and differences aren't comparable, only the order of the methods is."
)

SEEN_BY_MINILM = (
    "all-MiniLM-L6-v2 was tuned contrastively on pairs that include SNLI, MultiNLI, Quora and SQuAD text: it has seen text of MNLI, QQP "
    "and QNLI (and RTE's in kind), so that scores there flatter."
)

ALWAYS = (
    (
        "With all data the paper selects the checkpoint on the very split that it reports (its figures are maxima, of one run); here 1,000 "
        "training examples select."
    ),
    (
        "The released code freezes the head of runs with a prefix or LoRA alone; whether the paper's runs did is unknown. Here every run "
        "trains its head."
    ),
)


@dataclass(frozen=True)
class Figure:
    """A mean over seeds, in points."""

    mean: float
    deviation: float | None
    """Of the sample of seeds (n - 1); None for a single one."""
    seeds: int


@dataclass(frozen=True)
class Entry:
    """A task, or the average over the tasks: here and in the paper."""

    here: Figure | None
    """None where no run of it has a score; for the average: where no seed has all tasks."""
    published: Published | None
    """None where the paper has none. The average: over the same tasks as here."""

    @property
    def difference(self) -> float | None:
        """Here less the paper."""
        return self.here.mean - self.published.mean if self.here and self.published else None


@dataclass(frozen=True)
class Row:
    """A method at one K."""

    method: str
    label: str
    entries: dict[str, Entry]
    """By task, and `AVERAGE`."""


@dataclass(frozen=True)
class Grid:
    """All that was measured at one K."""

    k: K
    tasks: tuple[str, ...]
    rows: tuple[Row, ...]
    oracles: tuple[Row, ...]
    """`ORACLES`: without seeds, since the choice is made on means."""
    order_here: tuple[str, ...]
    """Names of methods by their average, the best first: those that have one, here and in the paper."""
    order_published: tuple[str, ...]
    correlation: float | None
    """Spearman's, of the two orders."""
    wanted: int
    """Data seeds that the protocol has."""


@dataclass(frozen=True)
class Table:
    """Everything that is written."""

    model: str
    seeds: tuple[int, ...]
    training_seed: int
    grids: tuple[Grid, ...]
    finished: int
    wanted: int
    """Runs that the protocol has, without what is left out."""
    left_out: dict[str, str]
    """Tasks and methods, with the reason."""
    constant: dict[str, str]
    """By K, task and method: how many runs predict one class, or one value, throughout."""
    failed: dict[str, str]
    """By K, task, seed and method: the cause."""
    departures: tuple[str, ...]
    """Settings that aren't the paper's."""
    caveats: tuple[str, ...]
    environment: dict[str, Any]


def build_table(
    protocol: Protocol,
    model: str,
    runs: Sequence[FinishedRun],
    refused: Mapping[str, str],
    unavailable: Mapping[tuple[str, K], str],
    environment: Mapping[str, Any],
) -> Table:
    """The table of those of these runs that are the protocol's.

    `refused`: methods that the model doesn't support; `unavailable`: tasks, at a K, that can't be had; both with the reason.
    """
    asked = {(cell, method.name) for cell in protocol.cells() for method in protocol.methods_at(cell.k)}
    runs = [run for run in runs if (run.cell, run.method) in asked]
    open_ones = {(cell, name) for cell, name in asked if name not in refused and (cell.task, cell.k) not in unavailable}
    places = Counter((k_name(run.k), run.task, run.method) for run in runs)
    constant = Counter((k_name(run.k), run.task, run.method) for run in runs if run.constant)
    return Table(
        model=model,
        seeds=protocol.seeds,
        training_seed=protocol.training_seed,
        grids=tuple(_grid(protocol, k, [run for run in runs if run.k == k], {t for t, at in unavailable if at == k}) for k in protocol.ks),
        finished=len(runs),
        wanted=len(open_ones | {(run.cell, run.method) for run in runs}),
        left_out=dict(refused) | {f"{task} at K={k_name(k)}": reason for (task, k), reason in unavailable.items()},
        constant={f"K={k}, {task}, {method}": f"{count} of {places[k, task, method]}" for (k, task, method), count in constant.items()},
        failed={f"{run.cell}, {run.method}": run.cause for run in runs if run.state == "failed"},
        departures=tuple(protocol.departures()),
        caveats=tuple(_caveats(model)),
        environment=dict(environment),
    )


def _grid(protocol: Protocol, k: K, runs: Sequence[FinishedRun], unavailable: Collection[str]) -> Grid:
    scores = {(run.method, run.task, run.seed): 100 * run.report_score for run in runs if run.report_score is not None}
    tasks = tuple(task for task in protocol.tasks if task not in unavailable or any(run.task == task for run in runs))
    rows = tuple(_row(method.name, tasks, protocol.seeds, k, scores) for method in protocol.methods_at(k))
    here, printed = dict[str, float](), dict[str, float]()
    for row in rows:
        average = row.entries[AVERAGE]
        if average.here and average.published:
            here[row.method], printed[row.method] = average.here.mean, average.published.mean
    return Grid(
        k=k,
        tasks=tasks,
        rows=rows,
        oracles=tuple(_oracle(label, names, tasks, rows) for label, names in ORACLES.items()),
        order_here=tuple(sorted(here, key=lambda name: -here[name])),
        order_published=tuple(sorted(printed, key=lambda name: -printed[name])),
        correlation=METRICS["spearman"].value([printed[m] for m in here], [here[m] for m in here]) if len(here) >= FEWEST_RANKED else None,
        wanted=len(protocol.seeds),
    )


def _row(method: str, tasks: Sequence[str], seeds: Sequence[int], k: K, scores: Mapping[tuple[str, str, int], float]) -> Row:
    by_task = {task: [scores[method, task, seed] for seed in seeds if (method, task, seed) in scores] for task in tasks}
    whole = [seed for seed in seeds if tasks and all((method, task, seed) in scores for task in tasks)]
    averages = [statistics.fmean(scores[method, task, seed] for task in tasks) for seed in whole]
    printed = PUBLISHED.get(k, {}).get(method, {})
    entries = {task: Entry(_figure(values), printed.get(task)) for task, values in by_task.items()}
    entries[AVERAGE] = Entry(_figure(averages), _printed_average(printed, tasks))
    return Row(method, PAPER_METHODS[method].label, entries)


def _figure(values: Sequence[float]) -> Figure | None:
    if not values:
        return None
    return Figure(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None, len(values))


def _printed_average(printed: Mapping[str, Published], tasks: Sequence[str]) -> Published | None:
    """The paper's own over all eight tasks; the mean of what it prints for fewer."""
    if not printed or not tasks:
        return None
    return printed[AVERAGE] if set(tasks) == set(TASKS) else Published(statistics.fmean(printed[task].mean for task in tasks), None)


def _oracle(label: str, names: Sequence[str], tasks: Sequence[str], rows: Sequence[Row]) -> Row:
    """The best of these methods, task by task, and the average of that."""
    members = [row for row in rows if row.method in names]
    entries = {}
    for task in tasks if len(members) == len(names) else ():
        here = [entry.here.mean for row in members if (entry := row.entries[task]).here]
        printed = [entry.published.mean for row in members if (entry := row.entries[task]).published]
        whole = len(here) == len(names)
        entries[task] = Entry(Figure(max(here), None, 0) if whole else None, Published(max(printed), None) if printed else None)
    here = [entry.here.mean for entry in entries.values() if entry.here]
    printed = [entry.published.mean for entry in entries.values() if entry.published]
    whole = bool(here) and len(here) == len(tasks)
    entries[AVERAGE] = Entry(
        Figure(statistics.fmean(here), None, 0) if whole else None, Published(statistics.fmean(printed), None) if printed else None
    )
    return Row(label, label, entries)


def _caveats(model: str) -> list[str]:
    found = list(ALWAYS)
    if "minilm" in model.lower():
        found.insert(0, SEEN_BY_MINILM)
    if model.rpartition("/")[2] != MODEL:
        found.insert(0, OTHER_BACKBONE.format(model=model))
    return found
