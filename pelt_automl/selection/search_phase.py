"""The search: which configurations are tried, how far each is trained, and what is said when nothing could be."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from torch import Tensor

from pelt_automl.errors import NoTrialCompletedError
from pelt_automl.log.events import Because, Configuration, HyperParameters, Phase, Segment, Stage, State, TrialEnded, What
from pelt_automl.log.history import History
from pelt_automl.log.log import Log
from pelt_automl.methods import METHODS
from pelt_automl.scheduling.actions import Budget
from pelt_automl.scheduling.drive import drive
from pelt_automl.scheduling.search import SearchScheduler
from pelt_automl.search.finalists import fitted_baselines
from pelt_automl.search.portfolio import arranged
from pelt_automl.search.proposer import Proposer
from pelt_automl.search.samplers import portfolio_length
from pelt_automl.selection.inherited import Inherited
from pelt_automl.selection.limits import Limits
from pelt_automl.selection.machine import Machine, costs_of
from pelt_automl.selection.question import Question, plans_of
from pelt_automl.selection.working_folders import working
from pelt_automl.timing.clock import Clock
from pelt_automl.training.checkpoints import save_tensors
from pelt_automl.training.packing import Kind, kind_of
from pelt_automl.verdict.decision import best_by_select_score
from pelt_automl.verdict.outcome import more_time


def search(question: Question, machine: Machine, log: Log, clock: Clock, inherited: Inherited) -> None:
    """Try configurations of each method until all trials are done or the search's share of the time is gone.

    Raises `NoTrialCompletedError` when every trial has failed and no baseline has a score: those that have one are an answer.
    """
    decides, plan = scheduler(question, machine, log, inherited), plans_of(question, log.history).search
    share = plan.expected_share(question.search.promoted)
    steps = len(decides.methods) * (1 + (decides.trials - 1) * share) * plan.steps
    executor = machine.executor(question, log, Phase.SEARCH, lambda: steps, _keeper(machine, log.history))
    drive(decides, executor, log, lambda: Budget(clock.limit, clock.elapsed), Stage.SEARCH)
    trials = [trial for trial in log.history.ended() if trial.method in decides.methods]
    if not fitted_baselines(log.history) and all(trial.state == State.FAILED or trial.select_score is None for trial in trials):
        causes = "; ".join(sorted({f"{trial.method}: {trial.cause or Because.TIME}" for trial in trials})[:8])
        raise NoTrialCompletedError(
            f"no trial got as far as its first evaluation ({causes or Because.TIME}). {_advice(log.history, trials)}"
        )


def scheduler(question: Question, machine: Machine, log: Log, inherited: Inherited) -> SearchScheduler:
    """What decides in this selection's search."""
    methods, settings, spaces, metric = question.left(log.history), question.search, question.spaces, question.data.metric
    handed_on = {m: [spaces[m].searched(configuration) for configuration in inherited.first.get(m, ())] for m in methods}
    sequence, first = _known_first(question, log.history, handed_on)
    plans = plans_of(question, log.history)

    def rank(method: str) -> tuple[bool, bool]:
        return not machine.shares_packs(method), bool(METHODS[method].build())

    def kind(segment: Segment) -> Kind:
        """What trials that share a pack with this one have in common."""
        modifications = METHODS[segment.method].modifications(segment.hyper_parameters)
        return kind_of(segment.trial, modifications, plans.of(segment.steps), machine.backbone)

    return SearchScheduler(
        methods=sorted(methods, key=rank),
        shares_packs={method for method in methods if machine.shares_packs(method)},
        trials=settings.trials + inherited.more_trials,
        settings=settings,
        plan=plans.search,
        metric=metric,
        labels=machine.splits.search[1].labels,
        proposer=Proposer(
            spaces,
            settings.seed,
            greater_is_better=metric.greater_is_better,
            sampler=settings.sampler,
            first=first,
            refusal=Limits(question, machine, log).refusal,
        ),
        costs=costs_of(question, machine, log.history),
        kind=kind,
        inherited=inherited.first,
        source=inherited.source,
        sequence=sequence,
    )


def _known_first(
    question: Question, history: History, handed_on: Mapping[str, Sequence[HyperParameters]]
) -> tuple[list[str], dict[str, list[HyperParameters]]]:
    """The methods of the first trials in their order, and by method what is tried before anything is drawn.

    Places of a method that the learned order leaves free are those of the search space's own list. A default that is over a limit has no
    turn.
    """
    settings, spaces = question.search, question.spaces
    length = portfolio_length(settings.trials) if settings.portfolio else 0
    most = {method: 1 + len(own) + length for method, own in handed_on.items()}
    learned, over = history.portfolio, history.decided(What.DEFAULT_OVER)
    defaults = {method: spaces[method].default() for method in handed_on}

    def possible(some: Sequence[Configuration]) -> list[Configuration]:
        return [own for own in some if own.method in defaults and (own.method not in over or own.hyper_parameters != defaults[own.method])]

    order, useful = (possible(learned.order), len(possible(learned.order[: learned.useful]))) if learned else ([], 0)
    sequence, first = arranged(order, useful, defaults, handed_on, most)
    for method, known in first.items():
        more = [one for one in spaces[method].good()[:length] if one not in known]
        first[method] = [*known, *more][: most[method]]
    return sequence, first


def _keeper(machine: Machine, history: History) -> Callable[[TrialEnded, Mapping[str, Tensor]], None]:
    """Keeps the best weights of each method, by the rule of a verdict without finalists, which recommends that trial and needs them."""
    handed = list[TrialEnded]()  # of those that end together, the log has none yet

    def keep(event: TrialEnded, weights: Mapping[str, Tensor]) -> None:
        if event.select_score is None:
            return
        others = [other for other in (*history.ended(Stage.SEARCH), *handed) if other.method == event.method]
        handed.append(event)
        if best_by_select_score([*others, event], machine.data.metric.greater_is_better) is event:
            save_tensors(weights_of_method(machine.folder, event.method), weights, {"trial": event.trial})

    return keep


def _advice(history: History, trials: Sequence[TrialEnded]) -> str:
    """What to do when nothing was trained, by what went wrong."""
    errors = [trial.cause for trial in trials if trial.cause not in ("", Because.TIME)]
    if not errors:
        return f"Give it {more_time(history)}"
    if all(cause.partition(":")[0].endswith("MemoryError") or "can't allocate memory" in cause for cause in errors):
        return "Use a smaller --batch-size or --max-length, or a smaller model"
    return "More time won't help: --verbose shows where each training failed"


def weights_of_method(folder: Path, method: str) -> Path:
    """The best weights that a method's search has made."""
    return working(folder, "searched") / f"{method}.safetensors"
