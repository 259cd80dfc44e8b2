"""The finalists: trained again on fresh paired seed triples, then scored on the report split, as many seeds as the verdict needs."""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from typing import Any

from torch import Tensor

from pelt_automl.log.events import Decision, Phase, Seeds, Segment, Stage, TrialEnded, What
from pelt_automl.log.history import History
from pelt_automl.log.log import Log
from pelt_automl.methods import BASELINES
from pelt_automl.scheduling.actions import Budget
from pelt_automl.scheduling.drive import drive
from pelt_automl.scheduling.grid import Grid
from pelt_automl.search.budget import WRITING, Clock
from pelt_automl.search.finalists import FAR_POINTS, Finalists, choose_finalists
from pelt_automl.selection.baseline_phase import confirm_baselines
from pelt_automl.selection.finalist_weights import weights_of_run
from pelt_automl.selection.machine import Machine, costs_of
from pelt_automl.selection.question import Question, plans_of
from pelt_automl.selection.report_scoring import FEWEST_SCORED, score_finalists
from pelt_automl.training.checkpoints import save_tensors
from pelt_automl.verdict.decision import outlook_of
from pelt_automl.verdict.statistics import point

AMPLE = 1.3
"""Time left over what the least seeds are predicted to take, from which on they train together: packs are fuller than one by one."""

SECOND = 0.5
"""Share of the runner-up's training that there has to be time for, after the leader's: what is cut off later can still be compared."""

ROOM_FOR_ANOTHER = 3
"""Runs for whose scoring time is kept when the leader is scored first: the runner-up's, and what training it takes."""


@dataclass(frozen=True)
class Candidate:
    """A configuration to be confirmed."""

    name: str
    """Unique in the selection; that of the search's trial which it repeats, if it repeats one."""
    method: str
    hyper_parameters: dict[str, Any]
    is_default: bool = False

    @staticmethod
    def of(trial: TrialEnded) -> "Candidate":
        """The configuration of a trial of the search."""
        return Candidate(trial.candidate, trial.method, trial.hyper_parameters, trial.is_default)


@dataclass(frozen=True)
class _FinalistRun:
    """One finalist on one seed triple."""

    candidate: Candidate
    index: int
    """Of the seed triple."""

    @property
    def name(self) -> str:
        return f"final-{self.candidate.name}-seed{self.index}"


def confirm(question: Question, machine: Machine, log: Log, clock: Clock) -> None:
    """Choose the finalists, train them on fresh seeds as long as there is time and the verdict needs it, and score them on report.

    Baselines take part whatever they scored, in addition: on the seeds that others are trained on, or, where there are none, by themselves.
    """
    found, finalists = _chosen(question, machine, log, clock)
    if finalists:
        _confirm(question, machine, log, clock, found, finalists)
    if all(scored.method in BASELINES for scored in log.history.scored):
        _confirm_alone(question, machine, log, clock)


def _confirm_alone(question: Question, machine: Machine, log: Log, clock: Clock) -> None:
    """Baselines by themselves, on one seed at least."""
    for index in range(question.search.finalist_seeds):
        if index and clock.left <= WRITING:
            numbers = {"seconds_left": clock.left}
            log.append(Decision(What.NO_TIME_FOR_SEED, f"seed {index}", "the time left is too short for another seed", numbers))
            break
        confirm_baselines(question, machine, log, {index: finalist_seeds(question.hash, index)})
    score_finalists(question, machine, log, clock)


def _confirm(question: Question, machine: Machine, log: Log, clock: Clock, found: Finalists, finalists: list[Candidate]) -> None:
    if len(finalists) == 1 and found.no_time_for:  # a second contender is worth more than a second seed
        _train(question, machine, log, clock, [_FinalistRun(finalists[0], 0)])
        score_finalists(question, machine, log, clock, more_runs=ROOM_FOR_ANOTHER)
        finalists = _with_others(question, machine, log, clock, found, finalists)
    complete = _train_least(question, machine, log, clock, finalists)
    score_finalists(question, machine, log, clock)
    finalists = _with_others(question, machine, log, clock, found, finalists)
    for trial in found.no_time_for:
        if trial.candidate not in log.history.decided(What.FINALIST):
            log.once(found.left_out(trial))
    if complete:
        _train_further_seeds(question, machine, log, clock, finalists)


def confirm_further(question: Question, machine: Machine, log: Log, clock: Clock, candidates: Sequence[Candidate]) -> None:
    """Train further candidates on the seed triples that the finalists have had, and score them on the same report examples.

    For what is found after the finals, such as a smaller union. Those that an earlier start has trained aren't trained again; what the time
    doesn't allow is left out, with a record.
    """
    indices = sorted({scored.seed_index for scored in log.history.scored})
    every_run = [_FinalistRun(candidate, index) for index in indices for candidate in candidates]
    if not _todo(log.history, every_run) or _time_for(question, machine, log, clock, every_run) >= 1:
        _train(question, machine, log, clock, every_run)
        score_finalists(question, machine, log, clock)
        return
    for candidate in candidates:
        why = "the time left is too short to train it on the finalists' seeds"
        log.append(Decision(What.NO_TIME_FOR_FINALIST, candidate.name, why, {"seconds_left": clock.left}))


def finalist_seeds(question: str, index: int) -> Seeds:
    """The seed triple of this index, from the hash of the question: shared by all finalists, and by no other question."""

    def drawn(purpose: str) -> int:
        return int.from_bytes(hashlib.sha256(f"{question}/{index}/{purpose}".encode()).digest()[:4], "big") >> 1

    return Seeds(split=drawn("split"), initialization=drawn("initialization"), order=drawn("order"))


def _chosen(question: Question, machine: Machine, log: Log, clock: Clock) -> tuple[Finalists, list[Candidate]]:
    """What the search leads to, and the finalists: those that an earlier start has decided on, if it has trained any."""
    trials, metric = [trial for trial in log.history.ended() if trial.method not in BASELINES], question.data.metric
    decided = set(log.history.decided(What.FINALIST))
    begun = any(trial.stage == Stage.FINALIST for trial in trials)
    found = choose_finalists(
        trials,
        partial(_affordable, question, machine, log, clock),
        out=log.history.out_of_race,
        far=FAR_POINTS * point(metric.name, machine.splits.search[1].labels),
        greater_is_better=metric.greater_is_better,
    )
    wanted = [*found.chosen, *found.no_time_for]
    chosen = [trial for trial in wanted if trial.candidate in decided] if begun else found.chosen
    for trial in chosen:
        if trial.candidate not in decided:  # an earlier start may have been killed between them
            log.append(found.decision(trial))
    return replace(found, chosen=chosen, no_time_for=[trial for trial in wanted if trial not in chosen]), [
        Candidate.of(trial) for trial in chosen
    ]


def _train_least(question: Question, machine: Machine, log: Log, clock: Clock, finalists: Sequence[Candidate]) -> bool:
    """Train every finalist on the least number of seeds; False when the time allows fewer."""
    seeds = [[_FinalistRun(candidate, index) for candidate in finalists] for index in range(question.search.finalist_seeds)]
    every_run = [run for runs in seeds for run in runs]
    return all(
        _train(question, machine, log, clock, runs)
        for runs in ([every_run] if _time_for(question, machine, log, clock, every_run) >= AMPLE else seeds)
    )


def _with_others(
    question: Question, machine: Machine, log: Log, clock: Clock, found: Finalists, finalists: Sequence[Candidate]
) -> list[Candidate]:
    """Use time that is left over: those that there seemed to be none for join the finals on the same seeds, one by one."""
    joined = list(finalists)
    for trial in found.no_time_for:
        candidate = Candidate.of(trial)
        runs = [_FinalistRun(candidate, index) for index in sorted({scored.seed_index for scored in log.history.scored})]
        if candidate in joined or not runs or _time_for(question, machine, log, clock, runs) < 1:
            continue
        log.append(found.decision(trial))
        _train(question, machine, log, clock, runs)
        score_finalists(question, machine, log, clock)
        joined.append(candidate)
    return joined


def _train_further_seeds(question: Question, machine: Machine, log: Log, clock: Clock, finalists: Sequence[Candidate]) -> None:
    """One seed after the other for those that are still in, as long as it may change the verdict and there is time."""
    search = question.search
    begun = {trial.number for trial in log.history.ended(Stage.FINALIST)}
    for index in range(search.finalist_seeds, search.most_seeds):
        if index not in begun and _enough(question, log):
            return
        out = log.history.out_of_finals
        runs = [_FinalistRun(candidate, index) for candidate in finalists if candidate.name not in out]
        if not runs or not _train(question, machine, log, clock, runs):
            return
        score_finalists(question, machine, log, clock)


def _enough(question: Question, log: Log) -> bool:
    """Whether the verdict needs no further seed; that, and which finalists can't be tied any more, is recorded."""
    if log.history.decided(What.ENOUGH_SEEDS):
        return True
    found = outlook_of(log.history, question.search.equivalence)
    if found.stop:
        log.append(Decision(What.ENOUGH_SEEDS, "finalists", found.stop, found.numbers))
        return True
    for name in found.behind:
        why = "by all of its interval it is further behind the best than the region of practical equivalence"
        log.append(Decision(What.LEFT_FINALS, name, why, found.numbers))
    return False


def _affordable(question: Question, machine: Machine, log: Log, clock: Clock, wanted: Sequence[TrialEnded]) -> int:
    """How many of these, most wanted first, can be confirmed in the time that is left, at the speed that each method has shown.

    All that fit on the least number of seeds; else two on one seed each, for which evidence and costs may be given up; else the first
    alone.
    """
    if clock.limit is None:
        return len(wanted)
    costs, example = costs_of(question, machine, log.history), plans_of(question, log.history).example_seconds
    training = [costs.finalist(log.history, trial.method) for trial in wanted]
    left, scoring = clock.left - costs.closing(log.history, clock.limit), costs.least_scored * example
    seeds = question.search.finalist_seeds
    fitting = sum(seeds * (seconds + count * scoring) <= left for count, seconds in enumerate(accumulate(training), 1))
    least = sum(training[:1]) + SECOND * sum(training[1:2]) + 2 * FEWEST_SCORED * example
    return fitting if fitting >= 2 else 2 if least <= clock.left - WRITING else 1


def _todo(history: History, runs: Sequence[_FinalistRun]) -> list[_FinalistRun]:
    """Those that no earlier start has trained."""
    ended = {trial.trial for trial in history.ended()}
    return [run for run in runs if run.name not in ended]


def _time_for(question: Question, machine: Machine, log: Log, clock: Clock, runs: Sequence[_FinalistRun]) -> float:
    """The time that is left for training over what these runs are predicted to take, as far as they aren't done."""
    costs = costs_of(question, machine, log.history)
    predicted = sum(costs.finalist(log.history, run.candidate.method) for run in _todo(log.history, runs))
    return (clock.left - _reserve(question, machine, log, clock, runs)) / predicted if predicted else math.inf


def _train(question: Question, machine: Machine, log: Log, clock: Clock, runs: Sequence[_FinalistRun]) -> bool:
    """Train runs of all finalists, one seed's where the time is short, so that they stay paired. False when there is no time for them."""
    todo, reserve = _todo(log.history, runs), _reserve(question, machine, log, clock, runs)
    if not todo:
        return True
    if runs[0].index > 0 and _time_for(question, machine, log, clock, runs) < 1:
        needed = sum(costs_of(question, machine, log.history).finalist(log.history, run.candidate.method) for run in todo) + reserve
        numbers = {"seconds_left": clock.left, "seconds_needed": needed}
        log.append(Decision(What.NO_TIME_FOR_SEED, f"seed {runs[0].index}", "the time left is too short for another seed", numbers))
        return False
    plan = plans_of(question, log.history).final
    segments = [_segment(question, plan.steps, run) for run in todo]
    executor = machine.executor(question, log, Phase.FINALISTS, len(todo) * plan.steps, _keeper(machine))
    drive(Grid(segments, least=reserve), executor, log, lambda: Budget(clock.limit, clock.elapsed), Stage.FINALIST)
    return True


def _segment(question: Question, steps: int, run: _FinalistRun) -> Segment:
    """All of its training."""
    candidate, seeds = run.candidate, finalist_seeds(question.hash, run.index)
    configuration = dict(candidate.hyper_parameters)
    return Segment(
        run.name, candidate.name, candidate.method, configuration, Stage.FINALIST, run.index, candidate.is_default, seeds, steps, 0, steps
    )


def _keeper(machine: Machine) -> Callable[[TrialEnded, Mapping[str, Tensor]], None]:
    def keep(event: TrialEnded, weights: Mapping[str, Tensor]) -> None:
        save_tensors(weights_of_run(machine.folder, event.trial), weights)

    return keep


def _reserve(question: Question, machine: Machine, log: Log, clock: Clock, runs: Sequence[_FinalistRun]) -> float:
    """Seconds kept for scoring these runs and those that wait for it, for evidence and writing.

    Half of what is left at most before anything is scored: fewer report examples are then scored, and evidence and costs may be left out.
    """
    if clock.limit is None:
        return 0.0
    scored, opened = {scored.trial for scored in log.history.scored}, log.history.opened
    ended = log.history.finals()
    trained = {trial.trial for trial in ended if trial.method not in BASELINES}
    unscored = len((trained | {run.name for run in runs}) - scored)
    costs = costs_of(question, machine, log.history)
    closing = costs.closing(log.history, clock.limit, unscored, opened.examples if opened else costs.least_scored)
    return closing if opened else min(closing, max(0.0, clock.left) / 2)
