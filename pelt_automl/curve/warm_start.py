"""What the search at a larger K learns from the one at a smaller K: its best configurations, tried right after the defaults."""

from collections.abc import Sequence

from pelt_automl.errors import NoTrialCompletedError
from pelt_automl.log.events import HyperParameters, TrialEnded
from pelt_automl.log.history import History
from pelt_automl.verdict.decision import best_by_select_score
from pelt_automl.verdict.savings import searched


def best_configurations(history: History) -> dict[str, list[HyperParameters]]:
    """For each method of a selection the configuration that was best on select, unless that is its default, which is tried anyway."""
    found: dict[str, list[HyperParameters]] = {}
    for method, trials in searched(history).items():
        best = _best(trials, history.data.greater_is_better)
        if best is not None and not best.is_default:
            found[method] = [best.hyper_parameters]
    return found


def _best(trials: Sequence[TrialEnded], greater_is_better: bool) -> TrialEnded | None:
    try:
        return best_by_select_score(trials, greater_is_better)
    except NoTrialCompletedError:
        return None
