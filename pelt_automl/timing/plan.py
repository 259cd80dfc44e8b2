"""What a time limit allows: one ladder of plans, from everything to the least; the first that fits is taken."""

import math
from collections.abc import Callable, Iterator

from pelt_automl.timing.costs import Costs, Plan, Speed
from pelt_automl.timing.policy import POLICY
from pelt_automl.timing.schedule import even_steps, wanted_steps


def everything(costs: Costs) -> Plan:
    """What a selection does that has all the time it wants."""
    steps = even_steps(wanted_steps(costs.sizes.train, costs.training_settings))
    return Plan(steps, costs.search.trials, steps, costs.wanted_finalists, costs.search.finalist_seeds)


def lengths(costs: Costs) -> list[int]:
    """Steps that a training can have, longest first."""
    wanted = wanted_steps(costs.sizes.train, costs.training_settings)
    return sorted({even_steps(steps) for steps in range(min(costs.training_settings.min_steps, wanted), wanted + 1)}, reverse=True)


def ladder(costs: Costs, of_use: Callable[[Plan], bool] = lambda _: True) -> Iterator[Plan]:
    """All plans of a limited time, the most wanted first; `of_use`: whether a plan's finals are, asked once of those with the same finals.

    What is recommended is trained as the finalists are, and a search on shorter trainings finds much the same, as every search by
    successive halving takes for granted: so the finals are shortened last.

    - Of the finalists there are first fewer (down to `few_finalists`), then they are trained shorter (down to `long`), then the same with
      `fewest_finalists`. What is left then are the longest trainings that fit with `fewest_seeds`, and with more if that fits, too.
    - With each of these, trainings of the search get shorter (down to `short`), then there are fewer trials a method than `few_trials`,
      then again shorter ones; they are never longer than the finalists'.

    The last finals are always of use.
    """
    whole, steps = everything(costs), lengths(costs)
    few, fewest = min(POLICY.few_finalists, whole.finalists), min(POLICY.fewest_finalists, whole.finalists)
    seeds, fewest_seeds = whole.seeds, min(POLICY.fewest_seeds, whole.seeds)
    long = [length for length in steps if length >= POLICY.long * steps[0]]
    finals = [
        *((steps[0], count, seeds) for count in range(whole.finalists, few, -1)),
        *((length, few, seeds) for length in long),
        *((length, fewest, seeds) for length in long),
        *((length, *way) for length in steps for way in ((few, seeds), (fewest, seeds), (fewest, fewest_seeds))),
    ]
    trials = min(POLICY.few_trials, whole.trials)
    for number, way in enumerate(finals, 1):
        if number < len(finals) and not of_use(Plan(way[0], trials, *way)):
            continue
        shorter = [length for length in steps if length <= way[0]]
        short = next(length for length in reversed(shorter) if length >= POLICY.short * shorter[0])
        yield from (Plan(length, trials, *way) for length in shorter if length >= short)
        yield from (Plan(short, fewer, *way) for fewer in range(trials - 1, 0, -1))
        yield from (Plan(length, 1, *way) for length in shorter if length < short)


def choose(costs: Costs, left: float, speed: Speed) -> Plan:
    """The first plan of the ladder that fits into `left` seconds; everything where they are infinite.

    The finals have their share of the time less what writing takes, and the search the rest of it less a reserve. A search that has too
    little time even for the shortest training of each method takes what there is: no finalist is trained shorter for that.
    """
    if math.isinf(left):
        return everything(costs)
    for_finals = max(left * costs.search.finalist_share - costs.writing, 1.0)
    for_search, least = (1 - POLICY.search_reserve) * (left - for_finals), (lengths(costs)[-1], 1)
    plans = ladder(costs, lambda plan: costs.finals(plan, speed) <= for_finals)
    return next(plan for plan in plans if (plan.steps, plan.trials) == least or costs.searching(plan, speed) <= for_search)


def seconds_enough(costs: Costs, used: float, speed: Speed) -> float:
    """A time limit that allows every method a full training of its default, and `few_finalists` with `fewest_seeds` full trainings each.

    `used`: seconds spent before the search.
    """
    steps = everything(costs).steps
    plan = Plan(steps, 1, steps, POLICY.few_finalists, POLICY.fewest_seeds)
    return used + costs.searching(plan, speed) / (1 - POLICY.search_reserve) + costs.finals(plan, speed) + costs.writing


def in_words(plan: Plan, costs: Costs, left: float) -> str:
    """What the time limit allows, and what is shorter for whom."""
    if math.isinf(left):
        return "no time limit"
    whole, shortened = everything(costs), []
    if plan.steps < whole.steps:
        where = "" if plan.steps == plan.final_steps else " in the search"
        shortened.append(f"trainings of {plan.steps} instead of {whole.steps} steps{where}")
    if plan.steps < plan.final_steps:
        of_finalists = f"{plan.final_steps}" if plan.final_steps < whole.steps else f"all {plan.final_steps}"
        shortened.append(f"{of_finalists} for the finalists")
    if plan.finalists < whole.finalists:
        shortened.append(f"about {plan.finalists} instead of {whole.finalists} finalists")
    if plan.seeds < whole.seeds:
        shortened.append(f"{plan.seeds} instead of {whole.seeds} seeds for each")
    return f"the time limit allows {', '.join(shortened)}" if shortened else "the time limit allows everything"
