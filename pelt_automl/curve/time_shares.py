"""How one time limit is divided over the selections at several K: in proportion to what each is expected to cost."""

from collections.abc import Sequence

from pelt_automl.search.budget import FEWEST_REPORT
from pelt_automl.search.finalists import wanted_finalists
from pelt_automl.search.promotion import expected_share
from pelt_automl.settings import SelectionSettings
from pelt_automl.training.schedule import EVALUATION_COST, make_plan, wanted_steps


def expected_cost(sizes: dict[str, int], methods: Sequence[str], settings: SelectionSettings) -> float:
    """What an unshortened selection costs, in examples trained on; an example that is evaluated costs `EVALUATION_COST`.

    `sizes`: examples in ``train``, ``select`` and ``report``. What costs the same at every K (loading, measuring) isn't counted.
    """
    search, training = settings.search, settings.training
    plan = make_plan(wanted_steps(sizes["train"], training), search.rungs, sizes["select"], training)
    looked_at = len(plan.evaluate_at) * (plan.select_most or sizes["select"])
    one = plan.steps * plan.batch_size + EVALUATION_COST * looked_at
    trials = len(methods) * (1 + (search.trials - 1) * expected_share(plan, search.promoted))
    finalists = wanted_finalists(methods) * search.finalist_seeds
    return trials * one + finalists * (one + EVALUATION_COST * min(sizes["report"], FEWEST_REPORT))


def next_share(left: float, costs: Sequence[float]) -> float:
    """Seconds for the next selection out of `left`, with the costs of all that are to come, its own first; 1 at least."""
    return max(1.0, round(left * costs[0] / sum(costs), 1))
