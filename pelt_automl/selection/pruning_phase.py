"""Gate-guided pruning: finalist unions without the submodules that knock-outs find dispensable are trained again and become finalists."""

import math
from collections.abc import Iterator
from typing import Any

from pelt_automl.design_space import Modification
from pelt_automl.log.events import Decision, KnockedOut, Stage, UnionPruned, What
from pelt_automl.methods import BASELINES, LEARNING_RATE
from pelt_automl.methods.unipelt import ANY, smaller_union
from pelt_automl.selection.context import Context
from pelt_automl.selection.finalist_phase import Candidate, confirm_further
from pelt_automl.verdict.decision import region_of_equivalence
from pelt_automl.verdict.finalists import report_labels
from pelt_automl.verdict.knockouts import submodule_losses
from pelt_automl.verdict.pruning import dispensable
from pelt_automl.verdict.wording import WITHOUT


def prune(context: Context) -> None:
    """Find smaller unions, record them, and confirm them like any finalist, as far as there is time; what is recorded is taken up again."""
    for pruned in _found(context):
        context.record.append(pruned)
    left_out = context.record.history.decided(What.SAME_CONFIGURATION, What.NO_TIME_FOR_FINALIST)
    todo = [pruned for pruned in context.record.history.of_kind(UnionPruned) if pruned.candidate not in left_out]
    candidates = [Candidate(pruned.candidate, pruned.method, pruned.hyper_parameters) for pruned in todo]
    if candidates and math.isinf(context.clock.left):
        confirm_further(context, candidates)
        return
    for candidate in candidates:  # one by one, so that there may be time for the first
        confirm_further(context, [candidate])


def name_without(candidate: str, removed: list[str]) -> str:
    """``unipelt-apl-0003-without-prefix``."""
    return candidate + "".join(f"{WITHOUT}{name}" for name in removed)


def _found(context: Context) -> Iterator[UnionPruned]:
    """Smaller unions of finalists that were taken apart and are still in the finals, the best first; those of an earlier start left out."""
    record, metric = context.record, context.data.metric
    region = region_of_equivalence(context.settings.search.equivalence, metric.name, report_labels(record.events))
    runs = {trial.candidate: trial for trial in record.history.ended(Stage.FINALIST) if trial.method not in BASELINES}
    done = {name for pruned in record.history.of_kind(UnionPruned) for name in (pruned.candidate, pruned.of)} | record.history.out_of_finals
    known = {**runs} | {pruned.candidate: pruned for pruned in record.history.of_kind(UnionPruned)}
    there = {_configuration(context, one.method, one.hyper_parameters): name for name, one in known.items()}
    for candidate in dict.fromkeys(event.candidate for event in record.history.of_kind(KnockedOut)):
        removed = dispensable(submodule_losses(record.events, candidate, metric.greater_is_better), region)
        run = runs[candidate]
        smaller = smaller_union(run.method, run.hyper_parameters, [row.submodule for row in removed])
        if candidate in done or smaller is None:
            continue
        name = name_without(candidate, sorted(row.submodule for row in removed))
        same = there.setdefault(_configuration(context, ANY.name, smaller), name)
        if same == name:
            yield UnionPruned(name, candidate, ANY.name, smaller, {row.submodule: row.loss for row in removed}, region)
        else:
            context.record.once(Decision(What.SAME_CONFIGURATION, name, f"{same} is the same configuration"))


def _configuration(context: Context, method: str, hyper_parameters: dict[str, Any]) -> tuple[tuple[Modification, ...], float]:
    """What makes two candidates the same."""
    changes = sorted(context.modifications(method, hyper_parameters), key=str)
    return tuple(changes), float(hyper_parameters[LEARNING_RATE])
