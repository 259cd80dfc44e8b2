"""What the report shows, worked out from the history: one dataclass that every form of the report (HTML, Markdown, terminal) reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pelt_automl.log.events import Decision, Outcome, Stage, State, TrialEnded
from pelt_automl.log.history import History
from pelt_automl.methods import BASELINES
from pelt_automl.report.schema import Recommendation, recommendation_from
from pelt_automl.verdict.describing import decision_of
from pelt_automl.verdict.expected_best import ExpectedBest, expected_best_of
from pelt_automl.verdict.savings import Savings, latest, savings, searched
from pelt_automl.verdict.strength import GateEvidence, gate_evidence
from pelt_automl.verdict.submodules import place_rows, union_candidates
from pelt_automl.verdict.wording import NOTHING, Unit, candidate_names, chance, counted, name_of

Places = dict[tuple[str, str, int], dict[str, float]]
"""See `place_rows`."""


@dataclass(frozen=True)
class Summary:
    """A whole selection, ready to be laid out."""

    history: History
    recommendation: Recommendation
    unit: Unit
    names: dict[str, str]
    """Display name of each candidate."""
    trials: list[TrialEnded]
    """Of one that was recorded twice (after a restart) the later. What the clock kept from its first step isn't one."""
    searched: dict[str, list[TrialEnded]]
    """See `pelt_automl.verdict.savings.searched`."""
    methods: dict[str, dict[str, Any]]
    """The search and the bill of each method, in the order in which they were first trained (see `_method`)."""
    decisions: list[Decision]
    gates: list[tuple[GateEvidence, Places]]
    """One entry a finalist that was taken apart, those with gates before others; the recommended one first, if it is among them."""
    savings: Savings | None
    """What stopping trials early saved; None where the records don't say."""
    expected_best: list[ExpectedBest]
    """What n trials of each method can be expected to find."""

    @property
    def name(self) -> str:
        """Display name of the recommended configuration."""
        return self.names[self.recommendation.candidate]

    @property
    def failures(self) -> list[TrialEnded]:
        """Trainings that have failed."""
        return [trial for trial in self.trials if trial.state == State.FAILED]

    @property
    def asks_for_latency(self) -> bool:
        """Whether the user prefers or limits it."""
        search = (self.history.started.settings.get("search") if self.history.started else None) or {}
        return search.get("prefer") == "latency" or search.get("max_latency_ms") is not None

    @property
    def bill(self) -> dict[str, float]:
        """Seconds by phase; empty while the selection hasn't ended."""
        return self.history.end.bill if self.history.end else {}

    @property
    def devices(self) -> dict[str, float]:
        """Seconds that each worker was at work, by its name and device; empty without workers."""
        return self.history.end.devices if self.history.end else {}

    @property
    def calibration(self) -> str:
        """How far the winner's probabilities can be taken at their word; empty where that isn't known."""
        found = self.recommendation.calibration
        if found is None:
            return ""
        by = f"temperature {found.temperature:.3g}, fitted on {counted(found.select_examples, 'select example')}"
        if found.error_before is None or found.error_after is None:
            return by
        errors = f"{100 * found.error_before:.1f} points without it, {100 * found.error_after:.1f} with it"
        return f"{by}; calibration error on {counted(found.report_examples, 'report example')} {errors}"

    @property
    def headline(self) -> str:
        """The recommended configuration's name, as far as the answer carries: ``lora #3``, ``tentative: lora #3``, ``nothing learned``."""
        recommended = f"best so far: {self.name}" if self.recommendation.so_far else self.name
        named = {Outcome.RECOMMENDED: recommended, Outcome.TENTATIVE: f"tentative: {self.name}"}
        return named.get(self.recommendation.outcome, "nothing learned")

    @property
    def chance(self) -> str:
        """The recommended configuration's probability of being the best, as tables show it; a dash for two finalists."""
        rows = [row for row in self.recommendation.leaderboard if row.candidate == self.recommendation.candidate]
        told = rows and self.recommendation.p_best is not None and len(self.recommendation.leaderboard) > 2
        return chance(rows[0], self.recommendation.outcome) if told else NOTHING


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as ``outer.inner`` keys."""
    rows: dict[str, Any] = {}
    for key, value in settings.items():
        rows |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return rows


def summarize(history: History, folder: Path) -> Summary:
    """Everything that the report shows. Raises `SelectionError` when the records hold no verdict yet."""
    recommendation, data = recommendation_from(history, folder), history.data
    trials = [trial for trial in latest(history) if trial.steps or not trial.out_of_time]
    began = {trial.trial for trial in trials}
    twice = history.taken_over()
    tuned = {method: kept for method, own in searched(history).items() if (kept := [trial for trial in own if trial.trial in began])}
    gates = [(gate_evidence(history, name, recommendation.leaderboard), place_rows(history, name)) for name in union_candidates(history)]
    curves = [expected_best_of(method, own, data.sign) for method, own in tuned.items()]
    return Summary(
        history=history,
        recommendation=recommendation,
        unit=Unit(recommendation.report_metric, data.positive_class),
        names=candidate_names(trials),
        trials=trials,
        searched=tuned,
        methods={
            name: _method([own for own in trials if own.method == name and own.trial not in twice], data.sign)
            for name in dict.fromkeys(t.method for t in trials)
        },
        decisions=[made for event in history.events if (made := decision_of(event))],
        gates=sorted(gates, key=lambda pair: (pair[0].candidate != recommendation.candidate, not pair[0].moved)),
        savings=savings(history),
        expected_best=[curve for curve in curves if curve],
    )


def _method(trials: Sequence[TrialEnded], sign: int) -> dict[str, Any]:
    """One method: its ``trials``, of these ``completed``, ``stopped`` and ``failed``; scores on select, and whose is the best; seconds."""
    search = [trial for trial in trials if trial.stage == Stage.SEARCH]
    scored = [(trial.select_score, trial) for trial in search if trial.state != State.FAILED and trial.select_score is not None]
    score, best = max(scored, key=lambda pair: sign * pair[0], default=(None, None))
    defaults = [own for own, trial in scored if trial.is_default and trial.method not in BASELINES]
    return {
        "trials": len(search),
        **{state.value: sum(trial.state == state for trial in search) for state in State},
        "best_select": score,
        "best": name_of(best) if best else "",
        "default_select": defaults[0] if defaults else None,
        "search_seconds": sum(trial.seconds for trial in search),
        "finalist_seconds": sum(trial.seconds for trial in trials if trial.stage == Stage.FINALIST),
    }
