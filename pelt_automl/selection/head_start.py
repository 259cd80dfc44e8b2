"""Where the heads of a selection's trainings start: decided once, the same for all methods, so that their comparison stays fair."""

from pelt_automl.baselines import CrossValidation
from pelt_automl.log.events import Decision, Phase, What
from pelt_automl.selection.context import Context


def decide_head_start(context: Context) -> None:
    """Write the decision, unless an earlier start has. It rests on the train part of the search's split alone."""
    if context.record.history.decided(What.HEAD_START):
        return
    wanted, subject, why, numbers = context.settings.training.head_start, "random", "as asked (--head-start)", dict[str, float]()
    if context.data.task_kind.fitted_as is None:
        why = f"there is no probe for {context.data.kind}"
    elif wanted == "auto" and context.settings.task.protocol == "paper":
        why = "as in the paper's protocol"
    elif wanted != "random":
        assert context.heads is not None
        context.progress(Phase.MODEL, 0.4, 1, "fitting the probe")
        seed = context.settings.search.seed
        found = context.heads.probe(seed, context.splits(seed)[0])
        validation, numbers = found.validation, {"strength": found.strength}
        if validation:
            numbers |= {"loss": validation.loss, "chance": validation.chance, "error": validation.error, "score": validation.score}
        if wanted == "probe":
            subject = "probe"
        else:
            subject, why = _by_itself(validation)
    context.record.append(Decision(What.HEAD_START, subject, why, numbers))


def _by_itself(validation: CrossValidation | None) -> tuple[str, str]:
    if validation is None:
        return "random", "train has too few examples, or too few different ones, to tell whether the probe is above chance"
    words = f"its cross-validated loss inside train is {validation.loss:.3g}, a constant's {validation.chance:.3g}"
    return (
        ("probe", f"the probe is above chance: {words}")
        if validation.above_chance
        else ("random", f"the probe isn't above chance: {words}")
    )
