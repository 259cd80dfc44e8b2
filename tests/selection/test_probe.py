"""How many trials train in a pack: by what a few steps of them have taken."""

import math
from types import SimpleNamespace

import pytest

from pelt_automl.log.events import Planned
from pelt_automl.options import settings_from
from pelt_automl.selection import probe as probe_module
from pelt_automl.selection import selection as selection_module
from pelt_automl.selection import speed as speed_module
from pelt_automl.selection.finalist_weights import packs_of
from pelt_automl.selection.probe import PackProbe, choose_packs, longest_batch, probe_packs
from pelt_automl.selection.question import plans_of
from pelt_automl.selection.selection import Selection
from pelt_automl.training import packing
from tests.tiny_world import of, records_of

pytestmark = pytest.mark.usefixtures("without_mlflow")

FREE = 10_000.0


def measured(size, seconds, taken=(100.0, 100.0)):
    return PackProbe(("lora",), size, seconds, taken)


@pytest.mark.parametrize(
    ("trials", "seconds", "taken"),
    [(1, 61.0, 100.0), (2, 118.0, 200.0), (4, 232.0, 400.0), (8, 460.0, 800.0)],
)
def test_time_and_memory_lie_on_the_line_through_what_was_measured(trials, seconds, taken):
    probe = measured(4, (61.0, 232.0), (100.0, 400.0))
    assert probe.seconds_of(trials) == pytest.approx(seconds)
    assert probe.bytes_of(trials) == pytest.approx(taken)


@pytest.mark.parametrize(
    ("size", "seconds", "most", "chosen"),
    [
        pytest.param(4, (60.0, 240.0), 8, 1, id="four in a pack take as long as four alone"),
        pytest.param(4, (60.0, 300.0), 8, 1, id="a pack is slower"),
        pytest.param(4, (61.0, 232.0), 8, 2, id="57 + 4/N: 57.5 at most times 1.05 is 60.4; two take 59 each"),
        pytest.param(8, (30.0, 37.0), 32, 32, id="1 + 29/N: 1.91 at 32, 2.81 at 16"),
        pytest.param(8, (30.0, 37.0), 16, 16, id="the same up to 16: 2.81 there, 4.6 at 8"),
        pytest.param(8, (30.0, 198.0), 32, 8, id="24 + 6/N: 24.19 at most times 1.05 is 25.4; 8 take 24.75 each, 4 take 25.5"),
        pytest.param(4, (60.0, 50.0), 8, 8, id="a pack that was faster than one trial: a pack costs the same whatever is in it"),
        pytest.param(1, (60.0, 60.0), 8, 1, id="no pack was measured"),
    ],
)
def test_the_smallest_pack_within_a_twentieth_of_the_cheapest_step_is_chosen(size, seconds, most, chosen):
    assert measured(size, seconds).best(most, FREE) == chosen


@pytest.mark.parametrize(("free", "chosen"), [(math.inf, 8), (800.0, 8), (799.0, 4), (350.0, 2), (100.0, 1), (50.0, 1)])
def test_a_pack_has_to_fit_into_memory_and_one_trial_is_always_tried(free, chosen):
    assert measured(4, (60.0, 60.0), (100.0, 400.0)).best(8, free) == chosen


@pytest.fixture
def opened(world, tmp_path):
    """A function that opens a selection and loads its model, its speed not yet measured."""

    def open_(**options):
        selection = Selection.open(settings_from(**world.options(**{"pack_size": None} | options)), tmp_path / "out")
        selection.machine  # noqa: B018 loads it
        return selection

    return open_


def probed(selection):
    return probe_packs(selection.question, selection.machine, selection.log.history, selection.clock)


def failing(monkeypatch, fails):
    """Packs of runs of which `fails` says so can't be made."""
    real = packing.PackTraining

    def make(trainer, runs):
        if fails(runs):
            raise RuntimeError("out of memory")
        return real(trainer, runs)

    monkeypatch.setattr(packing, "PackTraining", make)


def test_a_probe_measures_the_methods_that_share_packs_alone_and_together(opened):
    probe = probed(opened(methods=["full", "lora", "adapter"]))
    assert (probe.size, probe.methods) == (4, ("lora", "adapter"))
    assert min(probe.seconds) > 0


def test_methods_that_train_in_packs_of_another_kind_are_left_to_themselves(opened):
    assert probed(opened(methods=["prompt", "lora", "adapter"], max_length=16)).methods == ("lora", "adapter")


def test_what_is_scored_together_is_of_one_kind_as_in_training(opened):
    machine = opened(methods=["prompt", "lora", "adapter", "full"], max_length=16).machine
    runs = [SimpleNamespace(method=name, hyper_parameters={}) for name in ("lora", "prompt", "full", "adapter", "lora", "prompt")]
    packs = [[run.method for run in pack] for pack in packs_of(machine, runs, 2)]
    assert packs == [["lora", "adapter"], ["lora"], ["prompt", "prompt"], ["full"]], "a prompt makes its neighbors' texts longer"


def test_one_method_is_packed_with_itself(opened):
    assert probed(opened(methods=["lora"])).size == 4


def test_methods_that_need_their_own_pack_are_measured_alone(opened):
    probe = probed(opened(methods=["full"]))
    assert (probe.size, probe.methods, probe.best(8, FREE * 1e9)) == (1, ("full",), 1)


def test_a_handful_of_examples_are_enough(opened):
    assert probed(opened(methods=["lora"], k=16, batch_size=32)).seconds[1] > 0


@pytest.mark.parametrize(("enough", "timed"), [(0.0, 1), (1e9, probe_module.STEPS - 1)])
def test_on_a_slow_machine_fewer_steps_and_evaluations_are_timed(enough, timed, opened, monkeypatch):
    selection = opened(methods=["lora"])
    machine, plan = selection.machine, plans_of(selection.question, selection.log.history).search
    monkeypatch.setattr(probe_module, "ENOUGH", enough)
    assert len(probe_module._train(machine, plan, [probe_module._run(machine, plan, "lora")], probe_module.STEPS)[0]) == timed
    evaluated, real = [], speed_module.evaluate
    monkeypatch.setattr(speed_module, "ENOUGH", enough or 1e-9)
    monkeypatch.setattr(speed_module, "evaluate", lambda *given: evaluated.append(1) or real(*given))
    assert speed_module._evaluation(machine, ["lora"]) > 0
    assert len(evaluated) - 1 == (1 if timed == 1 else speed_module.EVALUATIONS)


def test_a_pack_that_does_not_fit_is_tried_with_half_as_many(opened, monkeypatch):
    selection = opened(methods=["lora", "adapter", "head"])
    failing(monkeypatch, lambda runs: len(runs) > 2)
    assert probed(selection).size == 2
    failing(monkeypatch, lambda runs: len(runs) > 1)
    assert probed(selection).size == 1


def test_a_method_that_cannot_be_trained_is_left_out_and_none_is_no_error(opened, monkeypatch):
    selection = opened(methods=["lora", "adapter", "full"])
    failing(monkeypatch, lambda runs: any("lora" in run.name for run in runs))
    assert probed(selection).methods == ("adapter",)
    failing(monkeypatch, lambda runs: not any("full" in run.name for run in runs))
    assert probed(selection).methods == ("full",)
    failing(monkeypatch, lambda _: True)
    assert probed(selection) is None
    assert choose_packs(selection.question, selection.machine, None).size == 1


def test_with_little_time_one_method_alone_has_to_do(opened):
    probe = probed(opened(methods=["lora", "adapter", "head"], seconds=0.01))
    assert (probe.size, len(probe.methods)) == (1, 1)


def test_memory_is_measured_at_the_longest_texts_of_train_and_select(opened):
    splits = opened(batch_size=8).splits
    train, select = splits.of(0)
    lengths = sorted([*train.lengths, *select.lengths])
    assert sorted(longest_batch(splits, 8).lengths) == lengths[-8:]
    assert lengths[-8] > lengths[0]


def test_the_users_pack_size_counts_and_no_larger_pack_is_measured(opened):
    selection = opened(methods=["lora", "head"], pack_size=2)
    packs = choose_packs(selection.question, selection.machine, probed(selection))
    assert (packs.size, packs.probe.size, plans_of(selection.question, selection.log.history).pack_size) == (2, 2, 2)
    object.__setattr__(selection.question.settings.training, "pack_size", 7)
    assert choose_packs(selection.question, selection.machine, None).size == 7


def test_the_plan_records_pack_size_time_and_memory_and_a_resumed_selection_takes_it_from_there(world, tmp_path, monkeypatch):
    monkeypatch.setattr(selection_module, "probe_packs", lambda *_: PackProbe(("lora",), 4, (0.03, 0.033), (1000.0, 4000.0)))
    monkeypatch.setattr(probe_module, "usable_bytes", lambda _: 6500.0)
    options = settings_from(**world.options(methods=["lora"], pack_size=None))
    with Selection.open(options, tmp_path / "out") as selection:
        selection.prepare()
        assert plans_of(selection.question, selection.log.history).pack_size == 4
    (planned,) = of(records_of(tmp_path / "out"), Planned)
    expected = {"pack_probed": 4, "pack_seconds_1": 0.03, "pack_seconds_n": 0.033}
    expected |= {"pack_bytes_1": 1000, "pack_bytes_n": 4000, "pack_bytes": 4000, "pack_bytes_free": 6500}
    assert {name: value for name, value in planned.numbers.items() if name.startswith("pack_")} == pytest.approx(expected)
    assert planned.pack_size == 4
    assert planned.step_seconds == pytest.approx(0.033 / 4)
    assert "trials in a pack: 4, 8 ms a trial's step (30 alone), 4e-06 GB" in planned.message
    monkeypatch.setattr(selection_module, "probe_packs", lambda *_: pytest.fail("it was measured before"))
    with Selection.open(options, tmp_path / "out") as resumed:
        resumed.prepare()
        assert plans_of(resumed.question, resumed.log.history).pack_size == 4
