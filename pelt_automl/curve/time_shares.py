"""How one time limit is divided over the selections at several K: in proportion to what each is expected to cost."""

from collections.abc import Sequence

from pelt_automl.settings import SelectionSettings
from pelt_automl.timing.costs import Costs, Sizes, Speed
from pelt_automl.timing.plan import everything
from pelt_automl.timing.policy import POLICY


def expected_cost(sizes: dict[str, int], methods: Sequence[str], settings: SelectionSettings) -> float:
    """What an unshortened selection costs, in examples trained on; one that is evaluated costs `Policy.evaluation_cost` of that.

    `sizes`: examples in ``train``, ``select`` and ``report``. What costs the same at every K (loading, measuring) isn't counted.
    """
    examples = Sizes(sizes["train"], sizes["select"], sizes["report"], sizes["train"] + sizes["select"], 0)
    costs = Costs(methods, methods, settings.search, settings.training, examples)
    plan, speed = everything(costs), Speed(settings.training.batch_size, POLICY.evaluation_cost)
    return costs.searching(plan.steps, speed, settings.search.trials) + costs.finals(plan, speed)


def next_share(left: float, costs: Sequence[float]) -> float:
    """Seconds for the next selection out of `left`, with the costs of all that are to come, its own first; 1 at least."""
    return max(1.0, round(left * costs[0] / sum(costs), 1))
