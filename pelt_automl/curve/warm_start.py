"""What the search at a larger K learns from the one at a smaller K: its best configurations, tried right after the defaults."""

from pelt_automl.errors import NoTrialCompletedError
from pelt_automl.log.events import HyperParameters
from pelt_automl.log.history import History
from pelt_automl.verdict.decision import best_by_select_score
from pelt_automl.verdict.savings import searched


def best_configurations(history: History) -> dict[str, list[HyperParameters]]:
    """For each method of a selection the configuration that was best on select, unless that is its default, which is tried anyway."""
    found: dict[str, list[HyperParameters]] = {}
    for method, trials in searched(history).items():
        try:
            best = best_by_select_score(trials, history.data.greater_is_better)
        except NoTrialCompletedError:
            continue
        if not best.is_default:
            found[method] = [best.hyper_parameters]
    return found
