"""What the report shows, worked out from the records: one dataclass that every form of the report (HTML, Markdown, terminal) reads."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pelt_automl.errors import SelectionError
from pelt_automl.log.events import (
    CostMeasured,
    DataDescribed,
    Decision,
    Event,
    Planned,
    ReportOpened,
    SelectionEnded,
    SelectionStarted,
    Stage,
    Standing,
    State,
    TrialEnded,
    UnionPruned,
    of_kind,
    sign_of,
)
from pelt_automl.log.folder import RECORDS
from pelt_automl.methods import BASELINES
from pelt_automl.report.schema import Recommendation, recommendation_from
from pelt_automl.verdict.describing import decision_of
from pelt_automl.verdict.expected_best import ExpectedBest, budgets, expected_best_by_method
from pelt_automl.verdict.pareto import front_in_words
from pelt_automl.verdict.savings import Savings, savings
from pelt_automl.verdict.strength import GateEvidence, gate_evidence
from pelt_automl.verdict.unions import PlaceRow, place_rows, union_candidates
from pelt_automl.verdict.wording import NOTHING, Unit, candidate_names, chance, display_name


@dataclass(frozen=True)
class MethodSummary:
    """One method's search, and its bill."""

    method: str
    trials: int
    completed: int
    stopped: int
    failed: int
    best_select: float | None
    default_select: float | None
    best: str
    """Display name of the trial with the best select score; empty without one."""
    search_seconds: float
    finalist_seconds: float


@dataclass(frozen=True)
class Summary:
    """A whole selection, ready to be laid out."""

    recommendation: Recommendation
    name: str
    """Display name of the recommended configuration."""
    unit: Unit
    started: SelectionStarted
    data: DataDescribed
    plan: Planned | None
    opened: ReportOpened | None
    ended: SelectionEnded | None
    methods: list[MethodSummary]
    trials: list[TrialEnded]
    failures: list[TrialEnded]
    decisions: list[Decision]
    gates: list[tuple[GateEvidence, list[PlaceRow]]]
    """One entry a finalist that was taken apart, those with gates before others; the recommended one first, if it is among them."""
    pruned: list[UnionPruned]
    """Smaller unions that were found."""
    savings: Savings | None
    """What stopping trials early saved; None where the records don't say."""
    names: dict[str, str]
    """Display name of each candidate."""
    measured: list[CostMeasured]
    """What configurations cost, those included that were measured for a limit."""
    expected_best: list[ExpectedBest]
    """What n trials of each method can be expected to find."""

    @property
    def budgets(self) -> list[int]:
        """Numbers of trials that `expected_best` is shown at."""
        return budgets(self.expected_best)

    @property
    def leaderboard(self) -> list[Standing]:
        """The finalists, best first."""
        return self.recommendation.leaderboard

    @property
    def front(self) -> str:
        """The Pareto front in words; empty without one."""
        return front_in_words(self.leaderboard, self.unit)

    @property
    def baselines(self) -> list[str]:
        """Those among the finalists."""
        return [row.method for row in self.leaderboard if row.method in BASELINES]

    @property
    def trainings(self) -> int:
        """Baselines aren't trained but fitted."""
        return sum(trial.method not in BASELINES for trial in self.trials)

    @property
    def costs(self) -> list[CostMeasured]:
        """What was measured of the finalists."""
        return [event for event in self.measured if event.candidate]

    @property
    def asks_for_latency(self) -> bool:
        """Whether the user prefers or limits it."""
        search = self.started.settings.get("search") or {}
        return search.get("prefer") == "latency" or search.get("max_latency_ms") is not None

    @property
    def bill(self) -> dict[str, float]:
        """Seconds by phase; empty while the selection hasn't ended."""
        return self.ended.bill if self.ended else {}

    @property
    def settings(self) -> dict[str, Any]:
        """All settings, flat: ``training.batch_size``."""
        return flat(self.started.settings)

    @property
    def fixed(self) -> dict[str, Any]:
        """Hyper-parameters that were the same for every trial."""
        training = self.started.settings.get("training")
        chosen = {"max_length": self.data.text_length["most"]} if self.data.text_length else {}
        return dict(training) | chosen if isinstance(training, Mapping) else {}

    @property
    def headline(self) -> str:
        """The recommended configuration's name, as far as the answer carries: ``lora #3``, ``tentative: lora #3``, ``nothing learned``."""
        recommended = f"best so far: {self.name}" if self.recommendation.so_far else self.name
        names = {"recommended": recommended, "tentative": f"tentative: {self.name}", "nothing-learned": "nothing learned"}
        return names[self.recommendation.outcome]

    @property
    def chance(self) -> str:
        """The recommended configuration's probability of being the best, as tables show it; a dash for two finalists."""
        rows = [row for row in self.leaderboard if row.candidate == self.recommendation.candidate]
        told = rows and self.recommendation.p_best is not None and len(self.leaderboard) > 2
        return chance(rows[0], self.recommendation.outcome) if told else NOTHING

    def gap(self, row: Standing) -> float:
        """By how much the select score flatters, in the metric's unit."""
        return (row.select_score - row.report_score) * self.data.sign


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as ``outer.inner`` keys."""
    rows: dict[str, Any] = {}
    for key, value in settings.items():
        rows |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return rows


def summarize(events: Sequence[Event], folder: Path) -> Summary:
    """Everything that the report shows. Raises `SelectionError` when the records hold no verdict yet."""
    recommendation = recommendation_from(events, folder)
    trials = latest_trials(events)
    data, started = of_kind(events, DataDescribed)[-1], of_kind(events, SelectionStarted)[-1]
    names = candidate_names(trials)
    plans, opened, ended = of_kind(events, Planned), of_kind(events, ReportOpened), of_kind(events, SelectionEnded)
    return Summary(
        recommendation=recommendation,
        name=names[recommendation.candidate],
        unit=Unit(recommendation.report_metric, data.positive_class),
        started=started,
        data=data,
        plan=plans[-1] if plans else None,
        opened=opened[-1] if opened else None,
        ended=ended[-1] if ended else None,
        methods=method_summaries(trials, data.greater_is_better),
        trials=trials,
        failures=[trial for trial in trials if trial.state == State.FAILED],
        decisions=[made for event in events if (made := decision_of(event))],
        gates=_gates(events, recommendation),
        pruned=of_kind(events, UnionPruned),
        savings=savings(events),
        names=names,
        measured=of_kind(events, CostMeasured),
        expected_best=expected_best_by_method(trials, greater_is_better=data.greater_is_better),
    )


def latest_trials(events: Iterable[Event]) -> list[TrialEnded]:
    """Trainings by name; of one that was recorded twice (after a restart) the later. What the clock kept from its first step isn't one."""
    latest = {trial.trial: trial for trial in of_kind(events, TrialEnded)}
    return [trial for trial in latest.values() if trial.steps or not trial.out_of_time]


def _gates(events: Sequence[Event], recommendation: Recommendation) -> list[tuple[GateEvidence, list[PlaceRow]]]:
    standings, greater = recommendation.leaderboard, recommendation.greater_is_better
    found = [(gate_evidence(events, name, standings, greater), place_rows(events, name)) for name in union_candidates(events)]
    return sorted(found, key=lambda pair: (pair[0].candidate != recommendation.candidate, not pair[0].gates))


def method_summaries(trials: Sequence[TrialEnded], greater_is_better: bool) -> list[MethodSummary]:
    """One row a method, in the order in which they were first trained."""
    by_method: dict[str, list[TrialEnded]] = defaultdict(list)
    for trial in trials:
        by_method[trial.method].append(trial)
    return [_method_summary(method, own, greater_is_better) for method, own in by_method.items()]


def _method_summary(method: str, trials: Sequence[TrialEnded], greater_is_better: bool) -> MethodSummary:
    search = [trial for trial in trials if trial.stage == Stage.SEARCH]
    scores = {trial.trial: trial.select_score for trial in search if trial.state != State.FAILED and trial.select_score is not None}
    sign = sign_of(greater_is_better)
    best = max(scores, key=lambda name: sign * scores[name]) if scores else None
    default = next((trial.trial for trial in search if trial.is_default), None)
    states = [trial.state for trial in search]
    return MethodSummary(
        method,
        trials=len(search),
        completed=states.count(State.COMPLETED),
        stopped=states.count(State.STOPPED),
        failed=states.count(State.FAILED),
        best_select=scores[best] if best else None,
        default_select=scores.get(default) if default and method not in BASELINES else None,
        best=next((display_name(t.candidate, method, t.is_default) for t in search if t.trial == best), ""),
        search_seconds=sum(trial.seconds for trial in search),
        finalist_seconds=sum(trial.seconds for trial in trials if trial.stage == Stage.FINALIST),
    )


def records_of(folder: Path) -> Path:
    """The selection's records file. Raises `SelectionError` when there is none."""
    path = folder / RECORDS
    if not path.is_file():
        raise SelectionError(f"{folder} isn't a selection: a folder with {RECORDS} is expected, as `pelt-automl select` writes it")
    return path
