"""What things take, by the recordings of the program that had this in its context."""

import pytest

from pelt_automl.log.events import DataDescribed, FinalistScored, Planned, ReportOpened, SelectionStarted
from pelt_automl.log.history import History
from pelt_automl.settings import SearchSettings, TrainingSettings
from pelt_automl.timing.costs import Costs, Sizes
from tests.recorded.reading import PATHS, SchedulerCalled, read


def calls(path):
    """The history before each call of the search, with what the scheduler knew."""
    history = History()
    for event in read(path):
        if isinstance(event, SchedulerCalled) and event.stage == "search":
            yield history, event
        history.apply(event)


def costs(history, start):
    sizes = history.of_kind(DataDescribed)[-1].sizes
    given = history.of_kind(SelectionStarted)[-1].settings["search"]
    settings = SearchSettings(**{name: given[name] for name in ("finalist_share", "finalist_seeds", "most_seeds")})
    about = start.about
    return Costs(
        about["methods"],
        {method for method, shares in about["shares_packs"].items() if shares},
        settings,
        TrainingSettings(),
        Sizes(sizes["train"], sizes["select"], sizes["report"], sizes["train"] + sizes["select"], 2000),
    )


FURTHER_SEEDS = ("medium-limit.jsonl.gz",)
"""Recordings with time for further seeds: they were for all finalists when it was recorded, and are for two now."""


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name.partition(".")[0])
def test_it_expects_of_trainings_and_of_the_finals_what_was_expected(path):
    compared, fresh = 0, True
    for history, call in calls(path):
        if call.call == "start":
            model, fresh = costs(history, call), len(history.of_kind(SelectionStarted)) == 1
        if call.ended:  # the reserve was reckoned again when a trial ended in its pack, not when one that waited was stopped
            fresh = list(call.ended) == [call.trial] and not call.ended[call.trial].startswith("stopped")
        if call.call != "next" or call.ended:  # the history of others has what their call came to
            continue
        compared += 1
        assert {method: model.training(history, method) for method in call.seconds_a_training} == pytest.approx(call.seconds_a_training)
        slower = model.training(history) > history.plan.seconds_a_training  # evaluations were reckoned as dear as before then
        if call.limit is not None and fresh and not slower and path.name not in FURTHER_SEEDS:
            assert model.reserve(history, call.limit) == pytest.approx(call.reserve)
    assert compared


@pytest.mark.parametrize(("others", "passes"), [([], 2), (["probe", "bag-of-words"], 3)])
def test_scoring_takes_what_it_took(others, passes):
    model = Costs(["lora"], ["lora"], SearchSettings(), TrainingSettings(), Sizes(70, 30, 900, 100, 2000))
    planned = History.of([Planned(10, 3, 2, 1.0, example_seconds=0.5, figures="measured")])
    assert model.scored(planned) == model.example(planned) == 0.5
    runs = [FinalistScored(f"{name}-{place}", name, name, 0, 0.5, "[]", 3.0) for place, name in enumerate(["lora", "adapter", *others])]
    history = History.of([*planned.events, ReportOpened(1, 100, 900, "[]"), *runs])
    assert model.scored(history) == pytest.approx(3.0 * len(runs) / (100 * passes)), "all baselines together are a pass"
