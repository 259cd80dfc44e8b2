"""Taking the finalist unions apart, the best first: gates, contributions, and the score without each submodule."""

from collections.abc import Sequence

from pelt_automl.design_space import submodules
from pelt_automl.log.events import ContributionMeasured, Decision, Event, GateMeasured, KnockedOut, Phase, Stage, State, TrialEnded, What
from pelt_automl.methods import BASELINES
from pelt_automl.modifications import Pack, PackTrial
from pelt_automl.search.budget import WRITING
from pelt_automl.selection.context import Context
from pelt_automl.selection.finalist_weights import packs_of, trained_pack
from pelt_automl.training.dissection import dissect
from pelt_automl.training.evaluation import Evaluation
from pelt_automl.training.tokens import Tokens
from pelt_automl.verdict.gates import mean


def explain(context: Context) -> None:
    """Write what the submodules of every finalist union do, on select, for each of its seeds, as far as there is time."""
    todo = {candidate: left for candidate, runs in _unions(context).items() if (left := _not_explained(context, runs))}
    for done, (candidate, runs) in enumerate(todo.items()):
        if context.clock.left - WRITING < _seconds(context, runs):
            _leave_out(context, candidate)
            continue
        context.progress(Phase.EVIDENCE, done, len(todo), f"taking {candidate} apart")
        for pack in packs_of(context, runs):
            _explain(context, pack)


def _unions(context: Context) -> dict[str, list[TrialEnded]]:
    """The scored runs, one a seed, of each finalist that has submodules, by candidate; the best mean on the report split first."""
    runs = {trial.trial: trial for trial in context.record.history.ended(Stage.FINALIST) if trial.state != State.FAILED}
    scores: dict[str, dict[str, float]] = {}
    for scored in context.record.history.scored:
        if scored.method not in BASELINES and _submodules(context, runs[scored.trial]):
            scores.setdefault(scored.candidate, {})[scored.trial] = scored.report_score
    sign = context.data.metric.sign
    order = sorted(scores, key=lambda name: -sign * mean(list(scores[name].values())))
    return {name: [runs[trial] for trial in scores[name]] for name in order}


def _submodules(context: Context, run: TrialEnded) -> tuple[str, ...]:
    return submodules(context.modifications(run.method, run.hyper_parameters))


def _not_explained(context: Context, runs: Sequence[TrialEnded]) -> list[TrialEnded]:
    """Those of which an earlier start hasn't written everything: the knock-outs come last."""
    known = {(event.trial, event.submodule) for event in context.record.history.of_kind(KnockedOut)}
    return [run for run in runs if any((run.trial, name) not in known for name in _submodules(context, run))]


def _seconds(context: Context, runs: Sequence[TrialEnded]) -> float:
    """What taking these runs of one candidate apart is going to take: at its start, whole, and without each submodule."""
    evaluations = 2 + len(_submodules(context, runs[0]))
    return len(runs) * evaluations * len(context.evidence_select(runs[0].seeds.split)) * context.speed.example


def _leave_out(context: Context, candidate: str) -> None:
    numbers = {"seconds_left": context.clock.left}
    context.record.once(Decision(What.NO_TIME_FOR_EVIDENCE, candidate, "the time left is too short to take it apart", numbers))


def _explain(context: Context, runs: Sequence[TrialEnded]) -> None:
    """The evidence of runs that share a pack."""
    sets = [context.evidence_select(run.seeds.split) for run in runs]
    fresh = [PackTrial(context.modifications(run.method, run.hyper_parameters), run.seeds.initialization) for run in runs]
    found = dissect(trained_pack(context, runs), Pack(context.backbone, fresh, context.data.outputs, context.lower), sets)
    known = {_place(event) for kind in (GateMeasured, ContributionMeasured, KnockedOut) for event in context.record.history.of_kind(kind)}
    for run, tokens, dissection in zip(runs, sets, found, strict=True):

        def score(evaluation: Evaluation, run: TrialEnded = run, tokens: Tokens = tokens) -> float:
            return _score(context, run, tokens, evaluation)

        for event in dissection.events(run.trial, run.candidate, run.number, score):
            if _place(event) not in known:
                context.record.append(event)


def _place(event: Event) -> tuple[object, ...]:
    """What an event is about: a second one about the same isn't written."""
    return type(event), *(getattr(event, name, None) for name in ("trial", "submodule", "site", "layer"))


def _score(context: Context, run: TrialEnded, tokens: Tokens, evaluation: Evaluation) -> float:
    kind = context.data.task_kind
    predictions = kind.predictions(evaluation.logits, kind.scale(context.splits(run.seeds.split)[0].labels))
    return context.data.metric.value(predictions, tokens.labels)
