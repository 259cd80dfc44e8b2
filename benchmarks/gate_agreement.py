"""The analysis of gate_validity.py: what each measure of a cell says of the three submodules, and how well that agrees with their scores.

Laid down before any result was looked at (docs/gate-validity.md). Two references stand beside the measures: the own scores of the same
data set and K on the *other* seeds (how well own scores agree with themselves: nothing can be expected to do better), and the mean order on
the *other* data sets (what is known without looking at this task at all: a measure that doesn't do better says nothing of the task).
"""

import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.common import Table
from benchmarks.gate_cells import SINGLES, UNION
from pelt_automl.evidence.agreement import rank_agreement, top_agreement
from pelt_automl.evidence.contributions import submodule_contributions
from pelt_automl.evidence.gates import submodule_gates
from pelt_automl.evidence.knockouts import submodule_losses
from pelt_automl.records import from_json

TUNED = "tuned"
"""The variant in which each method has the learning rate with its best select score."""

DECIDED = 0.02
"""Own scores that lie at least so far apart, best against worst (2 points): a cell in which there is something to foretell."""

DRAWS = 10_000

Values = dict[str, float]
"""By submodule."""


@dataclass(frozen=True)
class Cell:
    """What is known of one data set, K and seed, with one choice of learning rates."""

    dataset: str
    k: int
    seed: int
    variant: str
    measures: dict[str, Values]
    """By measure; greater says: matters more."""
    own: Values
    """Report score of the single method of each submodule, the sign such that greater is better."""
    union: float
    """UniPELT-APL's."""

    @property
    def decided(self) -> bool:
        """Whether the own scores differ enough to be foretold."""
        return max(self.own.values()) - min(self.own.values()) >= DECIDED


def read_cells(found: Sequence[Mapping[str, Any]]) -> list[Cell]:
    """Cells from their JSON, and those with the learning rates that select chooses where there are several; failed ones left out."""
    by_place: dict[tuple[str, int, int], list[Mapping[str, Any]]] = defaultdict(list)
    for one in found:
        by_place[one["dataset"], one["k"], one["seed"]].append(one)
    rates = {one["rate"] for one in found}
    mixed = [tuned(own) for own in by_place.values() if len(own) == len(rates) > 1]
    return [cell for one in (*found, *mixed) if (cell := read_cell(one)) is not None]


def tuned(rates: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One cell of several that differ in their learning rate: each method from the one with its best select score, of equals the first."""
    sign = 1 if rates[0]["greater_is_better"] else -1
    usable = {
        method: [one for one in rates if one["scores"][method]["report"] is not None] or list(rates[:1]) for method in (UNION, *SINGLES)
    }
    best = {method: max(own, key=lambda one: sign * (one["scores"][method]["select"] or 0.0)) for method, own in usable.items()}
    scores = {method: one["scores"][method] for method, one in best.items()}
    return dict(rates[0]) | {"rate": TUNED, "scores": scores, "events": best[UNION]["events"]}


def read_cell(found: Mapping[str, Any]) -> Cell | None:
    """A cell from its JSON; None where a training has failed."""
    greater = found["greater_is_better"]
    reported = {method: own["report"] for method, own in found["scores"].items()}
    if any(score is None for score in reported.values()):
        return None
    events = [from_json(line) for line in found["events"]]
    gates, losses = submodule_gates(events, UNION), submodule_losses(events, UNION, greater)
    measures = {
        "gate": {row.submodule: row.mean for row in gates},
        "drift": {row.submodule: row.drift for row in gates},
        "contribution": {row.submodule: row.mean for row in submodule_contributions(events, UNION)},
        "knock-out": {row.submodule: row.loss for row in losses},
    }
    sign = 1 if greater else -1
    own = {name: sign * reported[name] for name in SINGLES}
    return Cell(found["dataset"], found["k"], found["seed"], found["rate"], measures, own, sign * reported[UNION])


def other_seeds(cell: Cell, cells: Sequence[Cell]) -> Values | None:
    """Mean own scores of the same data set and K on the other seeds; None without any."""
    others = [one.own for one in cells if (one.dataset, one.k) == (cell.dataset, cell.k) and one.seed != cell.seed]
    return {name: statistics.fmean(own[name] for own in others) for name in SINGLES} if others else None


def other_data_sets(cell: Cell, cells: Sequence[Cell]) -> Values | None:
    """Mean place (higher is better) by own score on the other data sets at the same K; None without any."""
    others = [one.own for one in cells if one.k == cell.k and one.dataset != cell.dataset]
    places = [
        {name: sum(own[name] > other for other in own.values()) + sum(own[name] >= other for other in own.values()) for name in own}
        for own in others
    ]
    return {name: statistics.fmean(place[name] for place in places) for name in SINGLES} if places else None


REFERENCES: dict[str, Callable[[Cell, Sequence[Cell]], Values | None]] = {
    "own score, other seeds": other_seeds,
    "mean order of other data sets": other_data_sets,
}


def said(cell: Cell, measure: str, cells: Sequence[Cell]) -> Values | None:
    """What a measure, or a reference, says of the submodules in a cell."""
    return REFERENCES[measure](cell, cells) if measure in REFERENCES else cell.measures[measure]


def clustered_interval(values: Mapping[str, Sequence[float]], seed: int = 0) -> tuple[float, float] | None:
    """95 % interval of the mean over all values: whole data sets are drawn with replacement; None for fewer than two of them."""
    if len(values) < 2:
        return None
    sums, counts = np.array([sum(own) for own in values.values()]), np.array([len(own) for own in values.values()])
    drawn = np.random.default_rng(seed).integers(0, len(values), (DRAWS, len(values)))
    low, high = np.percentile(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1), [2.5, 97.5])
    return float(low), float(high)


def agreement_table(cells: Sequence[Cell]) -> Table:
    """For each choice of learning rates, set of cells and measure: mean Kendall's tau and mean agreement on the first, with intervals."""
    columns = ("learning rates", "cells of", "measure", "cells", "data sets", "tau", "tau, 95 %", "same first", "same first, 95 %")
    table = Table("Agreement with the methods' own scores (tau by chance 0, same first by chance 0.333)", columns)
    for variant in dict.fromkeys(cell.variant for cell in cells):
        every = [cell for cell in cells if cell.variant == variant]
        subsets = {"all": every} | {f"K = {k}": [cell for cell in every if cell.k == k] for k in sorted({cell.k for cell in every})}
        subsets[f"own scores {100 * DECIDED:.0f} points apart"] = [cell for cell in every if cell.decided]
        for name, subset in subsets.items():
            for measure in (*every[0].measures, *REFERENCES):
                pairs = [(cell, values) for cell in subset if (values := said(cell, measure, every)) is not None]
                if pairs:
                    table.add(**{"learning rates": variant, "cells of": name, "measure": measure} | _agreement(pairs))
    return table


def _agreement(pairs: Sequence[tuple[Cell, Values]]) -> dict[str, Any]:
    row: dict[str, Any] = {"cells": len(pairs), "data sets": len({cell.dataset for cell, _ in pairs})}
    for column, agreement in (("tau", rank_agreement), ("same first", top_agreement)):
        by_data_set: dict[str, list[float]] = defaultdict(list)
        for cell, values in pairs:
            by_data_set[cell.dataset].append(agreement(values, cell.own) or 0.0)
        interval = clustered_interval(by_data_set)
        row[column] = round(statistics.fmean(value for own in by_data_set.values() for value in own), 3)
        row[f"{column}, 95 %"] = f"{interval[0]:.2f} to {interval[1]:.2f}" if interval else None
    return row


def cells_table(cells: Sequence[Cell]) -> Table:
    """Means over seeds, by data set, K and submodule."""
    columns = (
        "learning rates",
        "data set",
        "K",
        "submodule",
        "gate",
        "drift",
        "contribution",
        "knock-out",
        "own score",
        "UniPELT-APL",
        "seeds",
    )
    table = Table("Means over seeds (knock-out: points lost on select; scores: points on report)", columns)
    groups: dict[tuple[str, str, int], list[Cell]] = defaultdict(list)
    for cell in cells:
        groups[cell.variant, cell.dataset, cell.k].append(cell)
    for (variant, dataset, k), own in groups.items():
        for name in SINGLES:
            means = {measure: statistics.fmean(cell.measures[measure][name] for cell in own) for measure in own[0].measures}
            table.add(
                **{"learning rates": variant, "data set": dataset, "K": k, "submodule": name, "seeds": len(own)}
                | {measure: round(value, 3) for measure, value in means.items() if measure != "knock-out"}
                | {"knock-out": round(100 * means["knock-out"], 2)}
                | {"own score": round(100 * statistics.fmean(cell.own[name] for cell in own), 1)}
                | {"UniPELT-APL": round(100 * statistics.fmean(cell.union for cell in own), 1)}
            )
    return table
