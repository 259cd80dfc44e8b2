"""A curve's result: the verdict at each K and the answer over all of them, rebuilt from the selections' records alone."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

from pelt_automl.curve.answer import (
    ALONE,
    CUT_OFF,
    NO_BETTER,
    NOTHING_LEARNED,
    ONE_LEFT,
    ONE_SEED,
    Answer,
    VerdictAt,
    answer_in_words,
    which_from_which_k_on,
)
from pelt_automl.curve.settings import in_words
from pelt_automl.errors import SelectionError
from pelt_automl.log.codec import checked
from pelt_automl.log.events import Outcome, SelectionStarted, Stage, Standing, State
from pelt_automl.log.folder import RECORDS, history_of
from pelt_automl.log.history import History
from pelt_automl.methods import BASELINES
from pelt_automl.report.schema import Recommendation, recommendation_from
from pelt_automl.verdict.finalists import report_labels
from pelt_automl.verdict.standings import Comparison, Difference
from pelt_automl.verdict.without_us import fixed_defaults
from pelt_automl.verdict.wording import Unit, name_of

SCHEMA_VERSION = 1
FILE = "k-curve.json"
PREFIX = "k-"
"""A selection at K = 50 lies in the folder ``k-50``."""


@dataclass(frozen=True)
class MethodAtK:
    """A method's best finalist at one K."""

    method: str
    finalist: str
    """Display name: ``lora (default)``, ``lora #3``."""
    score: float
    """Report score, mean over seeds."""
    interval: tuple[float, float]
    """95 %."""
    tied: bool
    """Within the region of practical equivalence of the best mean."""
    lead: Difference | None
    """By how much the recommended finalist is better; None for the recommended method itself."""


@dataclass(frozen=True)
class PointAtK:
    """One K's verdict. Scores are in the metric's own unit."""

    k: int | None
    """None for all labeled examples."""
    examples: int
    """Labeled examples that were used; in the paper's protocol those to train on."""
    folder: str
    """Of the selection, inside the curve's."""
    method: str
    """The recommended one."""
    finalist: str
    """Display name of the recommended configuration."""
    hyper_parameters: dict[str, Any]
    score: float | None
    """Its report score; None when no finalist was scored in time."""
    interval: tuple[float, float] | None
    p_best: float | None
    seeds: int
    """That its score is the mean of."""
    report_examples: int
    """Examples of the report split that were scored."""
    tied: list[str]
    """Display names of the finalists that are tied with the best, the recommended one among them."""
    margins: dict[str, Difference]
    """Its lead over each fixed default, by display name."""
    methods: list[MethodAtK]
    """Best report score first."""
    told_apart: list[tuple[str, str]]
    """Pairs of methods whose difference has an interval that leaves out 0."""
    seconds: float
    """Wall time of the selection."""
    warnings: list[str]
    doubts: list[str] = field(default_factory=list)
    """Why the answer doesn't build on this verdict, in words; empty for one that carries."""

    @property
    def name(self) -> str:
        """The K in words."""
        return in_words(self.k)

    def verdict(self) -> VerdictAt:
        """What the rule reads."""
        if self.score is None:
            return VerdictAt(self.name, None)
        return VerdictAt(
            self.name,
            self.method,
            doubts=tuple(self.doubts),
            tied=frozenset(row.method for row in self.methods if row.tied),
            compared=frozenset(row.method for row in self.methods),
            leads={row.method: row.lead for row in self.methods if row.lead is not None},
            told_apart=frozenset(frozenset(pair) for pair in self.told_apart),
        )


@dataclass(frozen=True)
class KCurve:
    """Which method from which K on, with the evidence."""

    folder: Path
    """Absolute. Not in the JSON, so that a folder can be moved."""
    task: str
    model: str
    protocol: str
    report_metric: str
    greater_is_better: bool
    ks: list[int | None]
    """All that were asked for, smallest first; None for all labeled examples."""
    points: list[PointAtK]
    """Those that have a verdict."""
    answer: Answer
    statement: str
    """The answer in words."""
    missing: dict[str, str]
    """K without a verdict, and why."""
    seconds: float
    """Wall time of the selections together."""
    positive_class: str | None = None
    """The class that the metric is about; None for a metric that treats classes alike."""
    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> str:
        """The file's text."""
        data = asdict(self)
        del data["folder"]
        return json.dumps(data, ensure_ascii=False, indent=2) + "\n"


def folder_of(k: int | None) -> str:
    """``k-50``, ``k-full``."""
    return PREFIX + in_words(k)


def read_curve(folder: Path, ks: Sequence[int | None], missing: Mapping[str, str]) -> KCurve | None:
    """The result of the selections in `folder`, by their records; None as long as there is no verdict at any K.

    `missing`: K that came to nothing, and why; others without a verdict haven't been run.
    """
    points: list[PointAtK] = []
    recommendation: Recommendation | None = None
    for k in ks:
        history = history_at(folder, k)
        if history.verdict:
            recommendation = recommendation_from(history, folder / folder_of(k))
            points.append(_point(k, history, recommendation))
    if recommendation is None:
        return None
    there = {point.name for point in points}
    answer = which_from_which_k_on([point.verdict() for point in points])
    return KCurve(
        folder=folder.absolute(),
        task=recommendation.task,
        model=recommendation.model,
        protocol=recommendation.protocol,
        report_metric=recommendation.report_metric,
        greater_is_better=recommendation.greater_is_better,
        ks=list(ks),
        points=points,
        answer=answer,
        statement=answer_in_words(
            answer, [point.name for point in points], Unit(recommendation.report_metric, recommendation.positive_class)
        ),
        missing={in_words(k): missing.get(in_words(k), "not run yet") for k in ks if in_words(k) not in there},
        seconds=sum(point.seconds for point in points),
        positive_class=recommendation.positive_class,
    )


def rebuilt_curve(folder: Path) -> KCurve:
    """The result of an earlier curve, made again from the records. Raises `SelectionError` when `folder` holds none."""
    path = folder / FILE
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        ks, missing = checked(list[int | None], data["ks"]), checked(dict[str, str], data["missing"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise SelectionError(f"{path} can't be read as a curve ({error}); run the same command again to write it again") from error
    curve = read_curve(folder, ks, missing)
    if curve is None:
        raise SelectionError(f"{folder} has no verdict at any K yet; run the same command again to take it up where it stands")
    return curve


def history_at(folder: Path, k: int | None) -> History:
    """The records of the selection at K; none where it hasn't begun."""
    path = folder / folder_of(k) / RECORDS
    return history_of(path.parent) if path.is_file() else History()


def _point(k: int | None, history: History, found: Recommendation) -> PointAtK:
    data = history.data
    winner = next((row for row in found.leaderboard if row.candidate == found.candidate), None)
    comparison = Comparison.of(history) if winner else None
    rows = _shown(winner, found.leaderboard)
    defaults = [row for row in fixed_defaults(found.leaderboard) if row is not winner]
    leads = {row.candidate: comparison.difference(winner.candidate, row.candidate) for row in defaults} if comparison and winner else {}
    names = {row.candidate: name_of(row) for row in found.leaderboard}
    trial = found.candidate if winner is None else names[winner.candidate]
    return PointAtK(
        k=k,
        examples=data.k or data.sizes["train"] + (data.sizes["select"] if data.protocol == "strict" else 0),
        folder=folder_of(k),
        method=found.method,
        finalist=trial,
        hyper_parameters=found.hyper_parameters,
        score=found.report_score,
        interval=found.report_interval,
        p_best=found.p_best,
        seeds=len(winner.seed_scores) if winner else 0,
        report_examples=len(report_labels(history)),
        tied=[names[candidate] for candidate in found.tied],
        margins={names[candidate]: lead for candidate, lead in leads.items()},
        methods=[_at_k(comparison, winner, row) for row in rows] if comparison and winner else [],
        told_apart=_told_apart(comparison, rows) if comparison else [],
        seconds=found.seconds,
        warnings=found.warnings,
        doubts=_doubts(found, winner, history) if winner else [],
    )


def _doubts(found: Recommendation, winner: Standing, history: History) -> list[str]:
    """What the verdict on scored finalists lacks."""
    own = [trial for trial in history.ended(Stage.FINALIST) if trial.candidate == winner.candidate]
    one, failed = len(winner.seed_scores) < 2, sum(not trial.out_of_time for trial in own) > 1
    lacks = {
        NOTHING_LEARNED: found.outcome == Outcome.NOTHING_LEARNED,
        NO_BETTER: found.outcome == Outcome.TENTATIVE,
        ALONE: sum(row.method not in BASELINES for row in found.leaderboard) <= 1 and len(history.of_kind(SelectionStarted)[0].methods) > 1,
        ONE_SEED: one and not failed,
        ONE_LEFT: one and failed,
        CUT_OFF: any(trial.state == State.STOPPED for trial in own),
    }
    return [doubt for doubt, holds in lacks.items() if holds]


def _shown(winner: Standing | None, leaderboard: Sequence[Standing]) -> list[Standing]:
    """A finalist for each method: the recommended one, of the other methods the best."""
    best = {row.method: row for row in reversed(leaderboard)}
    return [winner if winner and row.method == winner.method else row for row in leaderboard if best[row.method] is row]


def _at_k(comparison: Comparison, winner: Standing, row: Standing) -> MethodAtK:
    lead = None if row is winner else comparison.difference(winner.candidate, row.candidate)
    return MethodAtK(row.method, name_of(row), row.report_score, row.report_interval, row.tied, lead)


def _told_apart(comparison: Comparison, rows: Sequence[Standing]) -> list[tuple[str, str]]:
    """One of a pair has to be among the compared finalists: a difference to others isn't known."""
    compared = comparison.compared
    pairs = [sorted(pair, key=lambda row: row.candidate not in compared) for pair in combinations(rows, 2)]
    return [
        (one.method, other.method)
        for one, other in pairs
        if one.candidate in compared and comparison.difference(one.candidate, other.candidate).distinguishable
    ]
