"""What a time limit allows: how many finalists on how many fresh seeds, and how long trainings are."""

import math
from dataclasses import replace

from pelt_automl.timing.costs import Costs, Plan, Speed
from pelt_automl.timing.policy import POLICY
from pelt_automl.timing.schedule import even_steps, wanted_steps


def everything(costs: Costs) -> Plan:
    """What a selection does that has all the time it wants."""
    steps = even_steps(wanted_steps(costs.sizes.train, costs.training_settings))
    return Plan(steps, steps, costs.wanted_finalists, costs.search.finalist_seeds)


def lengths(costs: Costs) -> list[int]:
    """Steps that a training can have, longest first."""
    wanted = wanted_steps(costs.sizes.train, costs.training_settings)
    return sorted({even_steps(steps) for steps in range(min(costs.training_settings.min_steps, wanted), wanted + 1)}, reverse=True)


def choose(costs: Costs, left: float, speed: Speed) -> Plan:
    """What fits into `left` seconds; everything where they are infinite.

    - The finals have their share of the time less what writing takes. Of the finalists there are first fewer (down to `fewest_finalists`),
      then fewer seeds (down to `fewest_seeds`). Where not even these fit, no finalist is trained on fresh seeds: their trainings in the
      search are scored as they are, and the search has the finals' time.
    - Trainings have their full length: what is recommended is no better than its training, and a short time is better spent on few
      configurations, the best first, than on short trainings of many. They are shortened only where the search's time, less a reserve, is
      too short for a full training of each of the `first` methods.
    """
    whole = everything(costs)
    if math.isinf(left):
        return whole
    for_finals = max(left * costs.search.finalist_share - costs.writing, 1.0)
    fewest, fewest_seeds = min(POLICY.fewest_finalists, whole.finalists), min(POLICY.fewest_seeds, whole.seeds)
    ways = [(count, whole.seeds) for count in range(whole.finalists, fewest - 1, -1)] + [(fewest, fewest_seeds)]
    plans = [replace(whole, finalists=count, seeds=seeds) for count, seeds in ways]
    scored = replace(whole, finalists=fewest, seeds=0)
    plan = next((plan for plan in plans if costs.finals(plan, speed) <= for_finals), scored)
    finals = min(for_finals, costs.finals(plan, speed)) if plan is scored else for_finals
    for_search = (1 - POLICY.search_reserve) * (left - finals - costs.writing)
    trainings = min(POLICY.first, len(costs.methods))
    possible = lengths(costs)
    steps = next((steps for steps in possible if trainings * costs.full(steps, speed) <= for_search), possible[-1])
    return replace(plan, steps=steps, final_steps=steps if plan is scored else plan.final_steps)


def seconds_enough(costs: Costs, used: float, speed: Speed) -> float:
    """A time limit that allows every method a full training of its default, and `few_finalists` with `fewest_seeds` full trainings each.

    `used`: seconds spent before the search.
    """
    whole = everything(costs)
    plan = replace(whole, finalists=POLICY.few_finalists, seeds=POLICY.fewest_seeds)
    share, finals = costs.search.finalist_share, costs.finals(plan, speed) + costs.writing
    search = costs.searching(whole.steps, speed) / (1 - POLICY.search_reserve)
    return used + max(search / (1 - share), finals / share)


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
    if not plan.seeds:
        shortened.append("no finalist on fresh seeds (the best trainings of the search are scored as they are)")
    elif plan.finalists < whole.finalists:
        shortened.append(f"about {plan.finalists} instead of {whole.finalists} finalists")
    if 0 < plan.seeds < whole.seeds:
        shortened.append(f"{plan.seeds} instead of {whole.seeds} seeds for each")
    return f"the time limit allows {', '.join(shortened)}" if shortened else "the time limit allows everything"
