"""A time limit on a machine that is slower than it seemed: the search must not eat the time in which its answer is scored.

The program's own search, finals and costs, over recorded trainings on a clock of their own.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest

from pelt_automl.execution.recorded import Recorded, RecordedPool, RecordedTraining
from pelt_automl.log.events import CurvePoint, FinalistScored, Planned, Released, ReportOpened, Seeds, Stage
from pelt_automl.log.history import History
from pelt_automl.log.log import Log
from pelt_automl.scheduling.actions import Budget
from pelt_automl.scheduling.drive import drive
from pelt_automl.scheduling.finals import Finals
from pelt_automl.scheduling.search import SearchScheduler
from pelt_automl.settings import SearchSettings, TrainingSettings
from pelt_automl.tasks import METRICS
from pelt_automl.timing.costs import LEFT, Costs, Sizes, Speed
from pelt_automl.timing.plan import choose
from pelt_automl.timing.policy import POLICY
from pelt_automl.timing.schedule import make_plan
from pelt_automl.verdict.another_seed import Outlook
from tests.scheduling.world import FakeProposer, kind_of

LIMIT, REPORT = 60.0, 1065
METHODS = ("lora", "adapter", "bitfit")
SEEDS = Seeds(0, 0, 0)
SETTINGS, TRAINING = SearchSettings(trials=2), TrainingSettings(epochs=20)
COSTS = Costs(METHODS, set(METHODS), SETTINGS, TRAINING, Sizes(70, 30, REPORT, 100, 2000))
STEP = 0.4
"""Seconds of a trial's step as it was measured before the search."""


@dataclass
class Slower(Recorded):
    """A machine that takes `early` times what it has shown, and from `turns` seconds on `late` times."""

    early: float = 1.0
    late: float = 1.0
    turns: float = math.inf
    reads: float = 1.0
    """Seconds of a report example over what they seemed."""

    def __post_init__(self):
        self.together = lambda seconds: self.slow * math.fsum(seconds)

    @property
    def slow(self):
        return self.late if self.seconds >= self.turns else self.early

    def _score(self, action):
        self.example = EXAMPLE * self.slow * self.reads
        super()._score(action)


EXAMPLE = POLICY.evaluation_cost * STEP / TRAINING.batch_size


def recorded(steps, method, number, seconds, seed=0):
    points = tuple(CurvePoint(step, 0.5, 0.6, 0.001, 0.0) for step in range(steps // 8, steps + 1, steps // 8))
    said = (0.0,) * REPORT
    return RecordedTraining(method, {"learning_rate": number * 0.001} if steps > 8 else {}, seed, steps, steps, points, seconds, 0.6, 0.5,
                            parameters={"kept": 9}, report=said)  # fmt: skip


def select(start, **machine):
    """A selection whose search begins `start` seconds after the selection, with the probe; its history, and when it ended."""
    speed = Speed(STEP, EXAMPLE)
    plan = choose(COSTS, LIMIT - start, speed)
    schedule = make_plan(plan.steps, SETTINGS.rungs, 30, TRAINING)
    full = COSTS.full(plan.steps, speed)
    trainings = [recorded(plan.steps, method, number, full, seed) for method in METHODS for number in range(2) for seed in range(10)]
    probe = replace(recorded(8, "probe", 0, 1.0), planned=0, steps=0, points=(CurvePoint(0, None, 0.5, 0.0, 1.0),))
    pool, log = RecordedPool([*trainings, *(replace(probe, seed=seed) for seed in range(10))]), Log([])
    executor = Slower(pool, log.history, 4, kind=kind_of, seconds=start, **machine)
    log.append(
        Planned(plan.steps, schedule.rungs[0], 8, full, numbers={LEFT: LIMIT - start}, rungs=list(schedule.rungs),
                final_steps=plan.final_steps, example_seconds=EXAMPLE, finalists=plan.finalists, pack_size=4,
                figures="measured", fresh=plan.seeds > 0)
    )  # fmt: skip
    log.append(executor.fitted("probe-0000", "probe", Stage.SEARCH, 0, SEEDS))

    def clock():
        return Budget(LIMIT, executor.seconds)

    labels = np.zeros(30)
    search = SearchScheduler(METHODS, set(METHODS), 2, SETTINGS, schedule, METRICS["accuracy"], labels, FakeProposer(2), COSTS, kind_of)
    drive(search, executor, log, clock, Stage.SEARCH)
    finals = Finals(lambda index: Seeds(index, index, index), SETTINGS, plan.final_steps, REPORT, True, 0.05, COSTS,
                    lambda _: Outlook("enough"), None if plan.seeds else SEEDS)  # fmt: skip
    drive(finals, executor, log, clock, Stage.FINALIST)
    return log.history, executor.seconds


MACHINES = {
    "as it seemed": {},
    "1.3 times as slow": {"early": 1.3, "late": 1.3},
    "half as fast": {"early": 2.0, "late": 2.0},
    "half as fast from the middle on": {"late": 2.0, "turns": 35.0},
    "a third as fast when it scores": {"late": 3.0, "turns": 45.0},
}


@pytest.mark.parametrize(("start", "enough"), [(5.0, 250), (15.0, 250), (25.0, 250), (35.0, 200), (42.0, 125)])
@pytest.mark.parametrize("machine", MACHINES)
def test_the_answer_is_scored_on_enough_examples_whatever_the_search_takes(machine, start, enough):
    history, ended = select(start, **MACHINES[machine])
    assert {scored.method for scored in history.scored} > {"probe"}, "a training is among them"
    assert history.opened.examples >= enough, f"{history.opened.examples} by {ended:.0f} s"
    assert ended <= LIMIT * 1.2


def test_where_scoring_is_faster_than_it_seemed_the_time_goes_into_more_examples():
    (once, _), (twice, ended) = select(35.0), select(35.0, reads=0.5)
    first, more = (opened.examples for opened in twice.of_kind(ReportOpened))
    assert [opened.examples for opened in once.of_kind(ReportOpened)] == [first]
    assert more > 1.5 * first
    assert ended <= LIMIT


def test_trainings_of_the_search_are_scored_before_any_is_trained_on_a_fresh_seed():
    """That seed would cost most of the report examples."""
    history, _ = select(30.0)
    assert not history.plan.fresh
    first = next(event for event in history.events if isinstance(event, FinalistScored))
    later = [event for event in history.of_kind(Released) if event.segment.stage == Stage.FINALIST]
    assert all(history.events.index(event) > history.events.index(first) for event in later)
    assert history.opened.examples >= POLICY.few_scored


def test_a_baseline_that_the_search_has_fitted_on_the_same_seeds_is_not_fitted_again():
    costs, (history, _) = COSTS, select(25.0)
    before = History.of([event for event in history.events if getattr(event, "stage", "") != Stage.FINALIST])
    assert costs.baselines(before) == costs.baselines(replace_seconds(before, 1000.0)) == costs.least_scored * costs.example(before)


def replace_seconds(history, seconds):
    """The same with fits that took so long."""
    return History.of([replace(own, seconds=seconds) if getattr(own, "trial", "") == "probe-0000" else own for own in history.events])
