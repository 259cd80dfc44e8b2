"""Where the heads of a selection's trainings start: decided once, the same for all methods, so that their comparison stays fair."""

from pelt_automl.baselines import CrossValidation
from pelt_automl.log.events import Decision, Phase, What
from pelt_automl.log.log import Log
from pelt_automl.selection.machine import Machine
from pelt_automl.selection.question import Question


def decide_head_start(question: Question, machine: Machine, log: Log) -> None:
    """Write the decision, unless an earlier start has. It rests on the train part of the search's split alone."""
    if log.history.decided(What.HEAD_START):
        return
    wanted, subject, why, numbers = question.settings.training.head_start, "random", "as asked (--head-start)", dict[str, float]()
    if question.data.task_kind.fitted_as is None:
        why = f"there is no probe for {question.data.kind}"
    elif wanted == "auto" and question.settings.task.protocol == "paper":
        why = "as in the paper's protocol"
    elif wanted != "random":
        log.progress(Phase.MODEL, 0.4, 1, "fitting the probe")
        found = machine.heads.probe(question.search.seed, machine.splits.search[0])
        validation, numbers = found.validation, {"strength": found.strength}
        if validation:
            numbers |= {"loss": validation.loss, "chance": validation.chance, "error": validation.error, "score": validation.score}
        if wanted == "probe":
            subject = "probe"
        else:
            subject, why = _by_itself(validation)
    log.append(Decision(What.HEAD_START, subject, why, numbers))


def _by_itself(validation: CrossValidation | None) -> tuple[str, str]:
    if validation is None:
        return "random", "train has too few examples, or too few different ones, to tell whether the probe is above chance"
    words = f"its cross-validated loss inside train is {validation.loss:.3g}, a constant's {validation.chance:.3g}"
    return (
        ("probe", f"the probe is above chance: {words}")
        if validation.above_chance
        else ("random", f"the probe isn't above chance: {words}")
    )
