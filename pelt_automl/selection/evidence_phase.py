"""Measuring the gates of the best gated finalist, and switching its submodules off one by one."""

from collections.abc import Mapping, Sequence

from pelt_automl.modifications import Pack, PackTrial
from pelt_automl.records import Decision, FinalistScored, GateMeasured, KnockedOut, TrialEnded
from pelt_automl.selection.context import Context
from pelt_automl.selection.finalist_weights import packs_of, trained_pack
from pelt_automl.training.evaluation import Evaluation, LabelScale, evaluate, predictions_of, score_of
from pelt_automl.training.tokens import Tokens


def explain(context: Context) -> None:
    """Write the gates, trained and at their start, and the scores without each submodule, on select, for each of its seeds."""
    runs = _best_gated(context)
    known = {(event.trial, event.submodule) for event in context.record.of(KnockedOut)}  # by an earlier start
    if not runs or known >= {(run.trial, name) for run in runs for name in _submodules(context, run)}:
        return
    if context.clock.left < context.evidence_seconds() / 2:
        context.record.add(Decision("left out", "gate evidence", "the time left is too short for it", {"seconds_left": context.clock.left}))
        return
    packs = packs_of(context, runs)
    for done, pack in enumerate(packs):
        context.progress("evidence", done, len(packs), "measuring gates, switching submodules off")
        _explain(context, pack, known)


def _explain(context: Context, runs: Sequence[TrialEnded], known: set[tuple[str, str]]) -> None:
    """The evidence of runs that share a pack."""
    sets = [context.evidence_select(run.seeds.split) for run in runs]
    trained = trained_pack(context, runs)
    evaluations = evaluate(trained, sets)
    _write_gates(context, runs, evaluations, _starts(context, runs, sets))
    for submodule in _submodules(context, runs[0]):
        without = evaluate(trained, sets, frozenset({submodule}))
        for run, tokens, whole, less in zip(runs, sets, evaluations, without, strict=True):
            if (run.trial, submodule) in known:
                continue
            scores = [_score(context, run, tokens, evaluation) for evaluation in (whole, less)]
            context.record.add(KnockedOut(run.trial, run.candidate, run.number, submodule, *scores))


def _submodules(context: Context, run: TrialEnded) -> list[str]:
    return sorted({modification.name for modification in context.modifications(run.method, run.hyper_parameters) if modification.gate})


def _best_gated(context: Context) -> list[TrialEnded]:
    """The runs, one a seed, of the gated finalist with the best mean on the report split; none without one."""
    runs = {trial.trial: trial for trial in context.record.of(TrialEnded) if trial.stage == "finalist" and trial.state != "failed"}
    by_candidate: dict[str, list[float]] = {}
    for scored in context.record.of(FinalistScored):
        if _submodules(context, runs[scored.trial]):
            by_candidate.setdefault(scored.candidate, []).append(scored.report_score)
    if not by_candidate:
        return []
    sign = 1 if context.data.metric.greater_is_better else -1
    best = max(by_candidate, key=lambda name: sign * sum(by_candidate[name]) / len(by_candidate[name]))
    return [run for run in runs.values() if run.candidate == best]


def _starts(context: Context, runs: Sequence[TrialEnded], sets: Sequence[Tokens]) -> list[Mapping[tuple[str, str, int], float]]:
    """The same gates before any training, from the runs' own initialization."""
    trials = [PackTrial(context.modifications(run.method, run.hyper_parameters), run.seeds.initialization) for run in runs]
    evaluations = evaluate(Pack(context.backbone, trials, context.data.outputs, context.lower), sets)
    return [{(gate.submodule, gate.site, gate.layer): gate.mean for gate in evaluation.gates} for evaluation in evaluations]


def _write_gates(
    context: Context, runs: Sequence[TrialEnded], evaluations: Sequence[Evaluation], starts: Sequence[Mapping[tuple[str, str, int], float]]
) -> None:
    known = {(event.trial, event.submodule, event.site, event.layer) for event in context.record.of(GateMeasured)}
    for run, evaluation, start in zip(runs, evaluations, starts, strict=True):
        for gate in evaluation.gates:
            if (run.trial, gate.submodule, gate.site, gate.layer) in known:
                continue
            began = start[gate.submodule, gate.site, gate.layer]
            context.record.add(
                GateMeasured(run.trial, run.candidate, run.number, gate.submodule, gate.site, gate.layer, gate.mean, gate.spread, began)
            )


def _score(context: Context, run: TrialEnded, tokens: Tokens, evaluation: Evaluation) -> float:
    scale = LabelScale.of(context.splits(run.seeds.split)[0].labels, regression=context.data.kind == "regression")
    return score_of(context.data.metric, tokens.labels, predictions_of(evaluation, scale))
