"""What a whole selection measures of its finalists, and what it leaves out without time."""

from dataclasses import replace

import pytest

import pelt_automl
from pelt_automl.log.events import CostMeasured, Decision, SelectionEnded, TrialEnded, What
from pelt_automl.methods import METHODS
from pelt_automl.selection import Selection, costs, settings_from
from pelt_automl.selection.costs import PLAIN, cost_shape, measure_costs
from pelt_automl.selection.machine import costs_of
from pelt_automl.timing.clock import Clock
from tests.tiny_world import counted, of, records_of

FOLDED = ("lora", "head")
"""Of the finalists; the others are unions with gates."""


@pytest.fixture(scope="module")
def measured(finished):
    return {event.candidate: event for event in of(records_of(finished.folder), CostMeasured)}


@pytest.mark.slow
def test_each_finalist_is_measured_once_after_its_trainings(finished, measured):
    events = records_of(finished.folder)
    runs = [trial for trial in of(events, TrialEnded) if trial.stage == "finalist"]
    assert set(measured) == {run.candidate for run in runs}
    assert counted([event.candidate for event in of(events, CostMeasured)]) == {}
    for candidate, event in measured.items():
        assert event.trials == [run.trial for run in runs if run.candidate == candidate]
        assert event.memory_bytes > 10_000  # of a model of 10,000 parameters and more


def test_latency_is_of_1_and_32_texts_of_typical_length_merged_where_a_method_can_be_folded(measured):
    for event in measured.values():
        wanted = [(1, False), (1, True), (32, False), (32, True)] if event.method in FOLDED else [(1, False), (32, False)]
        assert sorted((own.batch, own.merged) for own in event.latencies) == wanted
        for own in event.latencies:
            assert own.ms > 0
            assert own.spread_ms >= 0
            assert costs.FEWEST <= own.repeats <= costs.MOST
            assert 6 <= own.tokens <= 10  # texts of 4 to 8 words between two special tokens
        assert event.served == event.latency(1, merged=event.exportable)


def test_all_that_is_folded_has_the_latency_of_the_plain_backbone_measured_once(measured):
    plain = {event.latency(1, merged=True) for event in measured.values() if event.method in FOLDED}
    assert len(plain) == 1
    head = next(event for event in measured.values() if event.method == "head")
    assert head.latency(1) == head.latency(1, merged=True)


def test_standings_and_mlflow_have_the_figures(finished, measured, monkeypatch):
    for row in finished.recommendation.leaderboard:
        event = measured[row.candidate]
        assert (row.latency_ms, row.memory_gb) == (event.latency(1), event.memory_bytes / 1e9)
    assert any(row.pareto for row in finished.recommendation.leaderboard)
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{finished.home / 'mlflow.db'}")
    (experiment,) = client.search_experiments(filter_string="name = 'reviews'")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id], max_results=1000)}
    for event in measured.values():
        for trial in event.trials:
            assert runs[trial].data.metrics["latency_ms_32"] == event.latency(32)
            assert runs[trial].data.metrics["memory_gb"] == event.memory_bytes / 1e9


def test_costs_do_not_depend_on_scale_nor_on_the_learning_rate():
    lora = METHODS["lora"]
    one, other = (cost_shape(lora.modifications({"learning_rate": rate, "alpha": alpha})) for rate, alpha in ((1e-3, 8.0), (1e-4, 64.0)))
    assert one == other
    assert one != cost_shape(lora.modifications({"rank": 4}))


@pytest.fixture
def opened(world, tmp_path, without_mlflow):
    """A selection with its model, before its search."""
    with Selection.open(settings_from(**world.options(methods=["lora", "full"])), tmp_path / "out") as selection:
        selection.prepare()
        yield selection


def test_shapes_take_turns_and_those_with_a_copy_of_the_backbone_come_alone(opened, monkeypatch):
    seen = []
    monkeypatch.setattr(costs, "_forward", lambda pack, inputs: seen.append((pack.trials[0].modifications, inputs)))
    lora, full = (cost_shape(METHODS[method].build()) for method in ("lora", "full"))
    timed = costs.time_passes(opened.machine, [lora, full, PLAIN], 32, most=6)
    assert {shape: len(times) for shape, times in timed.items()} == {lora: 6, full: 6, PLAIN: 6}
    assert [shape for shape, _ in seen] == [lora, PLAIN] * (costs.WARM_UP + 6) + [full] * (costs.WARM_UP + 6)
    assert {tuple(inputs["input_ids"].shape[:2]) for _, inputs in seen} == {(1, 32)}


def test_nothing_begins_after_the_end(opened):
    assert costs.time_passes(opened.machine, [PLAIN], 1, end=0.0) == {PLAIN: []}


def ended(opened, name):
    from tests.recorders.selection_double import trial

    return replace(trial(f"final-{name}-seed0", stage="finalist"), candidate=name)


def test_without_time_nothing_is_measured_and_the_records_say_so(opened):
    opened.log.append(ended(opened, "lora-0000"))
    opened.clock = Clock(limit=100.0, used=100.0)
    measure_costs(opened.question, opened.machine, opened.log, opened.clock)
    (event,) = of(opened.log.history.events, CostMeasured)
    assert (event.latencies, event.memory_bytes, event.served) == ([], None, None)
    left_out = {decision.subject for decision in of(opened.log.history.events, Decision) if decision.what == What.NO_TIME_FOR_COSTS}
    assert left_out == {"latency of one text", "latency of 32 texts", "memory"}
    measure_costs(opened.question, opened.machine, opened.log, opened.clock)  # as after a kill
    assert len(of(opened.log.history.events, CostMeasured)) == 1


def test_time_for_measuring_is_kept_when_there_is_a_limit(opened):
    history, seen = opened.log.history, costs_of(opened.question, opened.machine, opened.log.history)
    kept = seen.closing(history, 50.0) - seen.closing(history, None)
    assert kept == pytest.approx(min(2.0 * history.plan.finalists, 1.5))


@pytest.mark.slow
def test_a_selection_goes_on_where_it_was_killed_while_measuring(world, tmp_path, without_mlflow, monkeypatch):
    options = world.options(methods=["head", "lora"], trials=1, finalist_seeds=1)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(costs, "memory_bytes", killed)
        with pytest.raises(KeyboardInterrupt):
            pelt_automl.select(output=tmp_path / "out", **options)
    pelt_automl.select(output=tmp_path / "out", **options)
    events = records_of(tmp_path / "out")
    assert len(of(events, SelectionEnded)) == 1
    assert sorted(event.candidate for event in of(events, CostMeasured)) == ["head-0000", "lora-0000"]
