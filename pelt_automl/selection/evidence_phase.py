"""Taking the finalist unions apart, the best first: gates, contributions, and the score without each submodule."""

from collections.abc import Sequence
from statistics import fmean

from pelt_automl.design_space import submodules
from pelt_automl.log.events import ContributionMeasured, Decision, Event, GateMeasured, KnockedOut, Phase, TrialEnded, What
from pelt_automl.log.history import History
from pelt_automl.log.log import Log
from pelt_automl.methods import BASELINES, METHODS
from pelt_automl.modifications import Pack, PackTrial
from pelt_automl.selection.finalist_weights import predictions_of, trained_pack
from pelt_automl.selection.machine import Machine, costs_of
from pelt_automl.selection.question import Question, plans_of
from pelt_automl.selection.spreading import computed, spread_packs
from pelt_automl.timing.clock import Clock
from pelt_automl.timing.policy import POLICY
from pelt_automl.training.dissection import dissect
from pelt_automl.training.evaluation import Evaluation
from pelt_automl.training.tokens import Tokens


def explain(question: Question, machine: Machine, log: Log, clock: Clock) -> None:
    """Write what the submodules of every finalist union do, on select, for each of its seeds, as far as there is time."""
    plans, known = plans_of(question, log.history), {(event.trial, event.submodule) for event in log.history.of_kind(KnockedOut)}
    todo = {  # of which an earlier start hasn't written everything: the knock-outs come last
        candidate: left
        for candidate, runs in _unions(log.history, question.data.metric.sign).items()
        if (left := [run for run in runs if any((run.trial, name) not in known for name in _submodules(run))])
    }
    for done, (candidate, runs) in enumerate(todo.items()):
        evaluations = 2 + len(_submodules(runs[0]))  # at its start, whole, and without each submodule
        examples = len(runs) * evaluations * len(_examples(machine, runs[0]))
        costs = costs_of(question, machine, log.history)
        if clock.left - costs.writing < examples * costs.example(log.history):
            numbers = {"seconds_left": clock.left}
            log.once(Decision(What.NO_TIME_FOR_EVIDENCE, candidate, "the time left is too short to take it apart", numbers))
            continue
        log.progress(Phase.EVIDENCE, done, len(todo), f"taking {candidate} apart")
        there = {_place(event) for kind in (GateMeasured, ContributionMeasured, KnockedOut) for event in log.history.of_kind(kind)}
        packs = spread_packs(machine, log, runs, plans.pack_size)
        for events in computed(machine, log, packs, evidence_of, lambda _: None):
            for event in events:
                if _place(event) not in there:
                    log.append(event)


def _unions(history: History, sign: int) -> dict[str, list[TrialEnded]]:
    """The scored runs, one a seed, of each finalist that has submodules, by candidate; the best mean on the report split first."""
    runs = {trial.trial: trial for trial in history.finals()}
    scores: dict[str, dict[str, float]] = {}
    for scored in history.scored:
        if scored.method not in BASELINES and _submodules(runs[scored.trial]):
            scores.setdefault(scored.candidate, {})[scored.trial] = scored.report_score
    order = sorted(scores, key=lambda name: -sign * fmean(scores[name].values()))
    return {name: [runs[trial] for trial in scores[name]] for name in order}


def _submodules(run: TrialEnded) -> tuple[str, ...]:
    return submodules(METHODS[run.method].modifications(run.hyper_parameters))


def _examples(machine: Machine, run: TrialEnded) -> Tokens:
    """The part of select that gates are measured on: all of it, or the same `Policy.evidence_examples` of it."""
    return machine.splits.of(run.seeds.split)[1].at_most(POLICY.evidence_examples, run.seeds.split)


def evidence_of(machine: Machine, runs: Sequence[TrialEnded]) -> list[Event]:
    """The evidence of runs that share a pack."""
    sets = [_examples(machine, run) for run in runs]
    fresh = [PackTrial(METHODS[run.method].modifications(run.hyper_parameters), run.seeds.initialization) for run in runs]
    found = dissect(trained_pack(machine, runs), Pack(machine.backbone, fresh, machine.data.outputs, machine.lower), sets)
    events = list[Event]()
    for run, tokens, dissection in zip(runs, sets, found, strict=True):

        def score(evaluation: Evaluation, run: TrialEnded = run, tokens: Tokens = tokens) -> float:
            return machine.data.metric.value(predictions_of(machine, run, evaluation.logits), tokens.labels)

        events += dissection.events(run.trial, run.candidate, run.number, score)
    return events


def _place(event: Event) -> tuple[object, ...]:
    """What an event is about: a second one about the same isn't written."""
    return type(event), *(getattr(event, name, None) for name in ("trial", "submodule", "site", "layer"))
