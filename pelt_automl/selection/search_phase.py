"""The search: which configurations are tried, how far each is trained, and what is said when nothing could be."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from torch import Tensor

from pelt_automl.errors import NoTrialCompletedError
from pelt_automl.log.events import Because, Phase, Stage, State, TrialEnded
from pelt_automl.methods import METHODS
from pelt_automl.scheduling.drive import drive
from pelt_automl.scheduling.search import SearchScheduler
from pelt_automl.search.promotion import expected_share
from pelt_automl.search.proposer import Proposer
from pelt_automl.search.samplers import portfolio_length
from pelt_automl.selection.baseline_phase import fitted_in_search
from pelt_automl.selection.context import Context
from pelt_automl.selection.limits import Limits
from pelt_automl.selection.working_folders import working
from pelt_automl.training.checkpoints import save_tensors
from pelt_automl.verdict.decision import best_by_select_score
from pelt_automl.verdict.outcome import more_time


def search(context: Context, methods: Sequence[str]) -> None:
    """Try configurations of each method until all trials are done or the search's share of the time is gone.

    Raises `NoTrialCompletedError` when every trial has failed and no baseline has a score: those that have one are an answer.
    """
    plan, settings = context.plan, context.settings.search
    share = expected_share(plan, settings.promoted)
    steps = len(methods) * (1 + (context.trials - 1) * share) * plan.steps
    executor = context.executor(Phase.SEARCH, steps, _keeper(context))
    drive(scheduler(context, methods), executor, context.record, context.budget, Stage.SEARCH)
    trials = [trial for trial in context.record.history.ended() if trial.method in methods]
    if not fitted_in_search(context) and all(trial.state == State.FAILED or trial.select_score is None for trial in trials):
        causes = "; ".join(sorted({f"{trial.method}: {trial.cause or Because.TIME}" for trial in trials})[:8])
        raise NoTrialCompletedError(f"no trial got as far as its first evaluation ({causes or Because.TIME}). {_advice(context, trials)}")


def scheduler(context: Context, methods: Sequence[str]) -> SearchScheduler:
    """What decides in this selection's search."""
    settings, spaces, metric = context.settings.search, context.spaces, context.data.metric
    handed_on = {m: [spaces[m].searched(configuration) for configuration in context.inherited.first.get(m, ())] for m in methods}
    portfolio = {m: spaces[m].good()[: portfolio_length(settings.trials)] if settings.portfolio else [] for m in methods}
    limits = Limits(context)

    def rank(method: str) -> tuple[bool, bool]:
        return not context.shares_packs(method), bool(context.modifications(method, METHODS[method].defaults))

    return SearchScheduler(
        methods=sorted(methods, key=rank),
        shares_packs={method for method in methods if context.shares_packs(method)},
        trials=context.trials,
        settings=settings,
        plan=context.plan,
        metric=metric,
        labels=context.splits(settings.seed)[1].labels,
        proposer=Proposer(
            spaces,
            settings.seed,
            greater_is_better=metric.greater_is_better,
            sampler=settings.sampler,
            first={method: [*handed_on[method], *portfolio[method]] for method in methods},
            refusal=limits.refusal,
        ),
        costs=context.costs,
        kind=context.kind,
        inherited=context.inherited.first,
        source=context.inherited.source,
    )


def _keeper(context: Context) -> Callable[[TrialEnded, Mapping[str, Tensor]], None]:
    """Keeps the best weights of each method, by the rule of a verdict without finalists, which recommends that trial and needs them."""

    def keep(event: TrialEnded, weights: Mapping[str, Tensor]) -> None:
        if event.select_score is None:
            return
        others = [other for other in context.record.history.ended(Stage.SEARCH) if other.method == event.method]
        if best_by_select_score([*others, event], context.data.metric.greater_is_better) is event:
            save_tensors(weights_of_method(context.folder, event.method), weights, {"trial": event.trial})

    return keep


def _advice(context: Context, trials: Sequence[TrialEnded]) -> str:
    """What to do when nothing was trained, by what went wrong."""
    errors = _errors(trials)
    if not errors:
        return f"Give it {more_time(context.record.events)}"
    if all(cause.partition(":")[0].endswith("MemoryError") or "can't allocate memory" in cause for cause in errors):
        return "Use a smaller --batch-size or --max-length, or a smaller model"
    return "More time won't help: --verbose shows where each training failed"


def _errors(trials: Sequence[TrialEnded]) -> list[str]:
    return [trial.cause for trial in trials if trial.cause not in ("", Because.TIME)]


def weights_of_method(folder: Path, method: str) -> Path:
    """The best weights that a method's search has made."""
    return working(folder, "searched") / f"{method}.safetensors"
