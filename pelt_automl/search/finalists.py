"""Which configurations are confirmed on fresh seeds."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from pelt_automl.methods import FIXED_DEFAULTS
from pelt_automl.records import Decision, TrialEnded


@dataclass(frozen=True)
class Finalists:
    """The chosen trials, best select score first, and why each was chosen or left out."""

    chosen: list[TrialEnded]
    decisions: list[Decision]


def wanted_finalists(methods: Sequence[str]) -> int:
    """How many there are at most without a time limit: the best of each method and the fixed defaults."""
    return len(methods) + sum(method in methods for method in FIXED_DEFAULTS)


def choose_finalists(trials: Sequence[TrialEnded], most: int, *, out: Collection[str] = (), greater_is_better: bool) -> Finalists:
    """The best configuration of each method that isn't `out` of the race, and the fixed defaults, whatever they scored.

    Trials trained in full come before stopped ones. With room for `most` only, the leader, one fixed default and the runner-up come
    first, then the other fixed defaults and the other methods in their order.
    """
    usable = [trial for trial in trials if trial.stage == "search" and trial.state != "failed" and trial.select_score is not None]
    sign = 1 if greater_is_better else -1

    def rank(trial: TrialEnded) -> tuple[bool, float, int, str]:  # of equals the earlier one, in whatever order they have ended
        return trial.state != "completed", -sign * (trial.select_score or 0.0), trial.number, trial.trial

    ranked = sorted(usable, key=rank)
    best = {trial.method: trial for trial in reversed(ranked)}
    defaults = [trial for method in FIXED_DEFAULTS for trial in ranked if trial.is_default and trial.method == method]
    reasons = {trial.trial: f"best of {trial.method} on select" for trial in best.values()}
    reasons |= {d.trial: "fixed default" + (f" and {reasons[d.trial]}" if d.trial in reasons else "") for d in defaults}
    contenders = sorted((trial for trial in best.values() if trial.method not in out), key=rank)
    order = [*contenders[:1], *defaults[:1], *contenders[1:2], *defaults[1:], *contenders[2:]]
    unique = list({trial.trial: trial for trial in order}.values())
    chosen = sorted(unique[:most], key=rank)
    decisions = [_decision("finalist", trial, reasons[trial.trial]) for trial in chosen]
    decisions += [
        replace(_decision("left out", trial, f"{reasons[trial.trial]}, but no time for it"), lack_of_time=True) for trial in unique[most:]
    ]
    return Finalists(chosen, decisions)


def _decision(what: str, trial: TrialEnded, why: str) -> Decision:
    return Decision(what, trial.candidate, why, {"select_score": trial.select_score or 0.0})
