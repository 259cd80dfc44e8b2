"""Gate-guided pruning: finalist unions without the submodules that knock-outs find dispensable are trained again and become finalists."""

from collections.abc import Iterator
from typing import Any

from pelt_automl.design_space import Modification
from pelt_automl.log.events import Decision, KnockedOut, Stage, UnionPruned, What
from pelt_automl.log.history import History
from pelt_automl.log.log import Log
from pelt_automl.methods import BASELINES, LEARNING_RATE, METHODS
from pelt_automl.methods.unipelt import ANY, smaller_union
from pelt_automl.selection.finalist_phase import confirm
from pelt_automl.selection.machine import Machine
from pelt_automl.selection.question import Question
from pelt_automl.timing.clock import Clock
from pelt_automl.verdict.finalists import report_labels
from pelt_automl.verdict.statistics import point
from pelt_automl.verdict.submodules import dispensable, measured
from pelt_automl.verdict.wording import WITHOUT


def prune(question: Question, machine: Machine, log: Log, clock: Clock) -> None:
    """Find smaller unions, record them, and confirm them like any finalist, as far as there is time; what is recorded is taken up again."""
    for event in list(smaller_unions(question, log.history)):
        log.append(event)
    if log.history.of_kind(UnionPruned):
        confirm(question, machine, log, clock)


def name_without(candidate: str, removed: list[str]) -> str:
    """``unipelt-apl-0003-without-prefix``."""
    return candidate + "".join(f"{WITHOUT}{name}" for name in removed)


def smaller_unions(question: Question, history: History) -> Iterator[UnionPruned | Decision]:
    """Smaller unions of finalists that were taken apart and are still in the finals, the best first; those of an earlier start left out.

    Those that come to the same as what is there already are decisions.
    """
    metric = question.data.metric
    region = question.search.equivalence * point(metric.name, report_labels(history))
    runs = {trial.candidate: trial for trial in history.ended(Stage.FINALIST) if trial.method not in BASELINES}
    pruned = {union.candidate: union for union in history.of_kind(UnionPruned)}
    done = {name for union in pruned.values() for name in (union.candidate, union.of)} | history.out_of_finals
    there = {_configuration(run.method, run.hyper_parameters): name for name, run in runs.items()}
    there |= {_configuration(union.method, union.hyper_parameters): name for name, union in pruned.items()}
    for candidate in dict.fromkeys(event.candidate for event in history.of_kind(KnockedOut)):
        removed = dispensable(measured(history, "knock-out", candidate, metric.sign), region)
        run = runs[candidate]
        smaller = smaller_union(run.method, run.hyper_parameters, [row.submodule for row in removed])
        if candidate in done or smaller is None:
            continue
        name = name_without(candidate, sorted(row.submodule for row in removed))
        same = there.setdefault(_configuration(ANY.name, smaller), name)
        if same == name:
            yield UnionPruned(name, candidate, ANY.name, smaller, {row.submodule: row.mean for row in removed}, region)
        elif name not in history.decided(What.SAME_CONFIGURATION):
            yield Decision(What.SAME_CONFIGURATION, name, f"{same} is the same configuration")


def _configuration(method: str, hyper_parameters: dict[str, Any]) -> tuple[tuple[Modification, ...], float]:
    """What makes two candidates the same."""
    changes = sorted(METHODS[method].modifications(hyper_parameters), key=str)
    return tuple(changes), float(hyper_parameters[LEARNING_RATE])
