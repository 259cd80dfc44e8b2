"""Which configurations are confirmed on fresh seeds."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from pelt_automl.log.events import Decision, Stage, State, TrialEnded, What, sign_of
from pelt_automl.log.history import History
from pelt_automl.methods import BASELINES, FIXED_DEFAULTS

FAR_POINTS = 5.0
"""Points on select by which a default has to be behind the leader to have no place of its own where the time is short.

About what other seeds alone make of two trainings that are equally good: 2.33 standard errors of their difference, 1.5 points each (see
`pelt_automl.search.race`).
"""


@dataclass(frozen=True)
class Finalists:
    """The chosen trials, best select score first, and why; and those that there was no time for, the most wanted first."""

    chosen: list[TrialEnded]
    no_time_for: list[TrialEnded]
    reasons: dict[str, str]
    """By trial, of all of them."""

    def decision(self, trial: TrialEnded) -> Decision:
        """That a trial's configuration is a finalist."""
        return Decision(What.FINALIST, trial.candidate, self.reasons[trial.trial], {"select_score": trial.select_score or 0.0})

    def left_out(self, trial: TrialEnded) -> Decision:
        """That there was no time for it."""
        why = f"{self.reasons[trial.trial]}, but no time for it"
        return Decision(What.NO_TIME_FOR_FINALIST, trial.candidate, why, {"select_score": trial.select_score or 0.0})


def choose_finalists(
    trials: Sequence[TrialEnded],
    affordable: Callable[[Sequence[TrialEnded]], int],
    *,
    out: Collection[str] = (),
    far: float,
    greater_is_better: bool,
) -> Finalists:
    """The best configuration of each method that isn't `out` of the race, and the fixed defaults, whatever they scored.

    What counts is the best select score, whether a trial was trained to its end or not: finalists are trained on fresh seeds anyway. Where
    there isn't time for all, the leader comes first, then one fixed default, the runner-up, the other fixed defaults, and the other methods
    in their order. A default that is behind the leader by more than `far` comes last: it can't be what is recommended.

    Args:
        trials: of the search.
        affordable: how many of the first of these, which are given in the order in which they are wanted, there is time for.
        out: methods that have left the race.
        far: in the metric's unit.
        greater_is_better: the metric's direction.
    """
    usable = [trial for trial in trials if trial.stage == Stage.SEARCH and has_score(trial)]
    sign = sign_of(greater_is_better)

    def rank(trial: TrialEnded) -> tuple[bool, float, int, str]:  # of equals the earlier one, in whatever order they have ended
        return trial.constant_predictions, -sign * (trial.select_score or 0.0), trial.number, trial.trial

    ranked = sorted(usable, key=rank)
    best = {trial.method: trial for trial in reversed(ranked)}
    defaults = [trial for method in FIXED_DEFAULTS for trial in ranked if trial.is_default and trial.method == method]
    reasons = {trial.trial: f"best of {trial.method} on select" for trial in best.values()}
    reasons |= {d.trial: "fixed default" + (f" and {reasons[d.trial]}" if d.trial in reasons else "") for d in defaults}
    contenders = sorted((trial for trial in best.values() if trial.method not in out), key=rank)
    leader = ranked[0].select_score or 0.0 if ranked else 0.0
    near = [trial for trial in defaults if not trial.constant_predictions and sign * (leader - (trial.select_score or 0.0)) <= far]
    order = [*contenders[:1], *near[:1], *contenders[1:2], *near[1:], *contenders[2:], *defaults]
    wanted = list({trial.trial: trial for trial in order}.values())
    most = affordable(wanted)
    return Finalists(sorted(wanted[:most], key=rank), wanted[most:], reasons)


def fitted_baselines(history: History) -> list[TrialEnded]:
    """The baselines that have a score on select, in their order."""
    return [trial for trial in history.ended(Stage.SEARCH) if trial.method in BASELINES and has_score(trial)]


def has_score(trial: TrialEnded) -> bool:
    """Whether it ended with one."""
    return trial.state != State.FAILED and trial.select_score is not None
