"""Limits on parameters, latency and memory: what is refused, what is left out, what is said, what is measured and how often."""

from contextlib import ExitStack

import pytest

import pelt_automl
from pelt_automl.cli import main
from pelt_automl.errors import SettingsError
from pelt_automl.log.events import CostMeasured, Decision, SelectionStarted, TrialEnded, What
from pelt_automl.methods import METHODS
from pelt_automl.selection import Selection, limits, settings_from
from pelt_automl.selection.limits import Limits
from tests.tiny_world import counted, of, records_of

pytestmark = pytest.mark.usefixtures("without_mlflow")

HEAD = 34
"""Parameters of the head on the tiny model of width 16, with two classes."""


def decisions(events, what):
    return {decision.subject: decision.why for decision in of(events, Decision) if decision.what == what}


@pytest.mark.slow
def test_what_has_too_many_parameters_is_never_trained_and_the_report_says_so(world, tmp_path):
    # LoRA of rank r at query and value of 2 layers of width 16: 2 * 2 * r * 32 = 128 r; the default has rank 8.
    recommendation = pelt_automl.select(
        output=tmp_path / "out", max_trainable=HEAD + 700, **world.options(methods=["head", "lora", "adapter"], trials=2, finalist_seeds=1)
    )
    events = records_of(tmp_path / "out")
    searched = [trial for trial in of(events, TrialEnded) if trial.stage == "search"]
    assert {trial.method for trial in searched} == {"head", "lora", "adapter"}
    assert all(trial.parameters["kept"] <= HEAD + 700 for trial in of(events, TrialEnded))
    assert not [trial for trial in searched if trial.method == "lora" and trial.is_default]
    assert decisions(events, "default over a limit")["lora"] == "it has 1,058 trainable parameters, more than the 734 of --max-trainable"
    warning = "The published default of lora is over the limit: it has 1,058 trainable parameters, more than the 734 of --max-trainable. "
    assert warning + "It was searched without it." in recommendation.warnings
    assert "The published default of lora is over the limit" in (tmp_path / "out" / "report.html").read_text()


def test_a_method_of_which_nothing_fits_is_left_out_with_its_smallest_configuration(world, tmp_path):
    options = world.options(methods=["head", "lora", "full"], max_trainable=HEAD + 100)
    with Selection.open(settings_from(**options), tmp_path / "out") as selection:
        assert selection.question.left(selection.log.history) == ("head",)
    left_out = decisions(records_of(tmp_path / "out"), What.METHOD_OVER)
    smallest = (
        "no configuration is within the limits; of the smallest: it has 162 trainable parameters, more than the 134 of --max-trainable"
    )
    assert left_out["lora"] == smallest
    assert set(left_out) == {"lora", "full"}
    with Selection.open(settings_from(**options), tmp_path / "out") as again:
        assert again.question.left(again.log.history) == ("head",)
    assert counted([(d.what, d.subject) for d in of(records_of(tmp_path / "out"), Decision)]) == {}


def test_limits_that_leave_no_method_are_one_error_before_anything_is_written(world, tmp_path, monkeypatch, capsys):
    options = world.options(methods=["head", "lora"])
    with pytest.raises(SettingsError, match=r"the selection has 2 problems:\n  - head: no configuration .* 34 trainable"):
        Selection.open(settings_from(max_trainable=10, **options), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    command = ["select", "--train", str(world.train), "--text-columns", "text", "--label-column", "label", "--model", str(world.model)]
    monkeypatch.setattr(
        "sys.argv", ["pelt-automl", *command, "--methods", "head", "--max-trainable", "10", "--output", str(tmp_path / "out")]
    )
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("error: the selection: head: no configuration is within the limits; of the")


def milliseconds(modifications):
    """A made-up machine: 1 ms, and as much more as the sizes add up to."""
    return 1.0 + sum(m.size for m in modifications)


@pytest.fixture
def made_up(monkeypatch):
    """Latencies of `milliseconds`; the shapes that were timed."""
    timed = []

    def passes(machine, shapes, batch, most):
        timed.extend(shapes)
        assert batch == 1
        return {shape: [milliseconds(shape) / 1000] * most for shape in shapes}

    monkeypatch.setattr(limits, "time_passes", passes)
    return timed


@pytest.fixture
def prepared(world, tmp_path):
    """A function that opens a selection and prepares it; the one that was opened before is closed."""
    with ExitStack() as held:

        def prepare(**options):
            held.pop_all().close()
            selection = held.enter_context(Selection.open(settings_from(**world.options(**options)), tmp_path / "out"))
            selection.prepare()
            return selection

        yield prepare


def limits_of(opened):
    return Limits(opened.question, opened.machine, opened.log)


def test_latency_is_measured_once_a_shape_and_sizes_beyond_a_known_one_need_no_measurement(prepared, made_up):
    opened = prepared(methods=["adapter", "head"], max_latency_ms=40.0)
    assert decisions(opened.log.history.events, "default over a limit") == {
        "adapter": "it takes 49 ms or more for one text, over the 40 of --max-latency-ms"
    }
    found, before = limits_of(opened), len(made_up)
    adapter = {"learning_rate": 1e-3, "activation": "relu"}
    assert found.refusal("adapter", adapter | {"bottleneck": 100}).startswith("it takes 49 ms or more")  # the default, 48, is over
    assert len(made_up) == before
    assert found.refusal("adapter", adapter | {"bottleneck": 30}) is None
    assert len(made_up) == before + 1
    assert found.refusal("adapter", adapter | {"bottleneck": 20, "learning_rate": 1e-4}) is None  # smaller than 30, which is within
    assert found.refusal("adapter", adapter | {"bottleneck": 44}).startswith("it takes 45 ms")
    assert len(made_up) == before + 2


def test_an_earlier_starts_measurements_count(prepared, made_up):
    opened = prepared(methods=["adapter", "head"], max_latency_ms=40.0)
    before = len(made_up)
    again = prepared(methods=["adapter", "head"], max_latency_ms=40.0)
    assert limits_of(again).refusal("adapter", {"bottleneck": 48, "learning_rate": 1e-3}) is not None
    assert len(made_up) == before
    assert again.question.left(again.log.history) == opened.question.left(opened.log.history)


def test_what_can_be_exported_merged_is_judged_as_the_plain_backbone(prepared, made_up):
    opened = prepared(methods=["lora", "prefix"], max_latency_ms=8.0)
    assert decisions(opened.log.history.events, "default over a limit").keys() == {"prefix"}
    assert made_up.count(()) == 1
    assert limits_of(opened).refusal("lora", {"rank": 64, "learning_rate": 1e-3}) is None
    assert made_up.count(()) == 1


def test_a_method_that_is_too_slow_is_left_out_of_this_start_and_the_next(prepared, tmp_path, made_up, monkeypatch):
    monkeypatch.setitem(globals(), "milliseconds", lambda modifications: 99.0 if modifications else 1.0)
    options = {"methods": ["adapter", "head"], "max_latency_ms": 40.0}
    for _ in range(2):
        opened = prepared(**options)
        assert opened.question.left(opened.log.history) == ("head",)
    events = records_of(tmp_path / "out")
    assert [decision.subject for decision in of(events, Decision) if decision.what == What.METHOD_OVER] == ["adapter"]
    assert len(of(events, SelectionStarted)) == 2


def test_no_method_fast_enough_is_one_error(prepared, made_up):
    with pytest.raises(SettingsError, match=r"the selection: head: .* takes 1 ms or more for one text, over the 0.5 of"):
        prepared(methods=["head"], max_latency_ms=0.5)


def test_memory_is_measured_before_a_first_training_and_refused_over_the_limit(prepared, monkeypatch):
    taken = {"head": 0.2e9, "lora": 0.4e9}
    monkeypatch.setattr(limits, "memory_bytes", lambda _, __, method, ___: taken[method])
    opened = prepared(methods=["head", "lora"], max_memory=0.3)
    assert opened.question.left(opened.log.history) == ("head",)
    assert (
        "its training takes 0.4 GB or more, over the 0.3 of --max-memory" in decisions(opened.log.history.events, What.METHOD_OVER)["lora"]
    )
    assert [event.memory_gb for event in of(opened.log.history.events, CostMeasured) if event.method == "head"] == [0.2]


@pytest.mark.slow
def test_real_limits_that_everything_meets_change_nothing_but_the_records(world, tmp_path):
    options = world.options(methods=["head", "lora"], trials=2, finalist_seeds=1, max_latency_ms=60_000.0, max_memory=1000.0)
    pelt_automl.select(output=tmp_path / "out", **options)
    events = records_of(tmp_path / "out")
    assert len([trial for trial in of(events, TrialEnded) if trial.stage == "search"]) == 4
    before = [event for event in of(events, CostMeasured) if not event.candidate]
    assert {event.method for event in before} == {"head", "lora"}
    assert all((event.served is None) != (event.memory_bytes is None) for event in before)
    assert decisions(events, "default over a limit") == {}


@pytest.mark.slow
def test_a_method_whose_fitting_configurations_are_too_rare_to_be_drawn_ends_its_search_and_the_others_go_on(world, tmp_path, monkeypatch):
    def refusal(self, method, hyper_parameters):
        return "too rare" if method == "lora" and hyper_parameters["learning_rate"] != METHODS["lora"].learning_rate else None

    monkeypatch.setattr(Limits, "refusal", refusal)
    monkeypatch.setattr("pelt_automl.search.proposer.MOST_DRAWS", 8)
    pelt_automl.select(output=tmp_path / "out", **world.options(methods=["head", "lora"], trials=3, finalist_seeds=1))
    events = records_of(tmp_path / "out")
    searched = [trial for trial in of(events, TrialEnded) if trial.stage == "search"]
    assert [trial.is_default for trial in searched if trial.method == "lora"] == [True]
    assert len([trial for trial in searched if trial.method == "head"]) == 5  # its three, and the two that lora has left
    assert "configurations of lora in a row make no sense" in decisions(events, "nothing left to try")["lora"]
