"""What is known of the machine before the first training: remembered, measured in a moment, or estimated."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest

import pelt_automl
from pelt_automl.home import home
from pelt_automl.log.events import Planned, TrialEnded
from pelt_automl.methods import METHODS
from pelt_automl.options import settings_from
from pelt_automl.selection import measuring
from pelt_automl.selection.finalist_weights import packs_of
from pelt_automl.selection.measuring import longest_batch, pack_speed, remember_speed
from pelt_automl.selection.question import plans_of
from pelt_automl.selection.selection import Selection
from pelt_automl.timing.pack_speed import PackSpeed, Watch
from pelt_automl.timing.policy import POLICY
from pelt_automl.training import packing
from tests.tiny_world import Killed, Watcher, of, records_of

pytestmark = pytest.mark.usefixtures("without_mlflow")

SHORT = {"methods": ["lora", "adapter"], "trials": 3, "epochs": 4, "finalist_seeds": 1, "most_seeds": 1, "pack_size": None, "race": False}


@pytest.fixture
def opened(world, tmp_path):
    """A function that opens a selection and loads its model, nothing being known of its speed."""

    def open_(**options):
        selection = Selection.open(settings_from(**world.options(**{"pack_size": None} | options)), tmp_path / "out")
        selection.machine  # noqa: B018 loads it
        return selection

    return open_


def known(selection):
    plan = plans_of(selection.question, selection.log.history).search
    return pack_speed(selection.question, selection.machine, selection.log.history, selection.clock, plan)


@pytest.fixture
def stepped(monkeypatch):
    """The packs whose speed is measured, as the names of their trainings, and for how many steps."""
    made, real = [], packing.train

    def train(work, runs, until=None):
        if runs[0].name.startswith("speed-"):
            made.append(([run.name for run in runs], until))
        real(work, runs, until)

    monkeypatch.setattr(measuring.packing, "train", train)
    return made


def failing(monkeypatch, fails):
    """Packs of runs of which `fails` says so run out of memory."""
    real = packing.PackTraining

    def make(trainer, runs):
        if fails(runs):
            raise RuntimeError("out of memory")
        return real(trainer, runs)

    monkeypatch.setattr(packing, "PackTraining", make)


def test_without_a_limit_nothing_is_measured(opened, stepped):
    speed, figures = known(opened(methods=["full", "lora", "adapter"]))
    assert (figures, stepped) == ("estimated", [])
    assert speed.seconds_of(1) > 0


@pytest.mark.parametrize(
    ("options", "packed"),
    [
        ({"methods": ["full", "lora", "adapter"]}, ["speed-adapter", "speed-lora"]),
        ({"methods": ["prompt", "lora", "adapter"], "max_length": 16}, ["speed-adapter", "speed-lora"]),
        ({"methods": ["lora"]}, ["speed-lora", "speed-lora"]),
        ({"methods": ["full"]}, ["speed-full"]),
        ({"methods": ["lora", "adapter"], "pack_size": 1}, ["speed-adapter"]),
        ({"methods": ["lora"], "k": 16, "batch_size": 32}, ["speed-lora", "speed-lora"]),
    ],
    ids=["what can't share is left out", "the kind of most", "packed with itself", "alone", "no more than the user's", "few examples"],
)
def test_with_a_limit_it_is_one_small_pack_for_two_steps(options, packed, opened, stepped):
    speed, figures = known(opened(seconds=1000, **options))
    assert (figures, stepped) == ("measured", [(packed, 2)])
    assert list(speed.steps) == [len(packed)]


def test_a_pack_that_does_not_fit_is_tried_with_half_as_many_and_no_larger_one_is_planned(opened, monkeypatch):
    selection = opened(methods=["lora", "adapter", "head"], seconds=1000)
    failing(monkeypatch, lambda runs: len(runs) > 1)
    selection.prepare()
    planned = selection.log.history.plan
    assert (planned.figures, planned.pack_size) == ("measured", 1)
    assert "pack_seconds_1" in planned.numbers


@pytest.fixture
def packs_of_four(monkeypatch):
    """Packs of four are measured, as packs of eight on a GPU."""
    devices = {"cuda": POLICY.device("cuda"), "cpu": replace(POLICY.device("cpu"), measured_pack=4)}
    monkeypatch.setattr(measuring, "POLICY", replace(POLICY, devices=devices))


@pytest.mark.parametrize(("free", "later", "planned"), [(8e9, 8e9 - 2**20, 2), (8e9, 10e9, 2), (math.inf, math.inf, 4)])
def test_what_fits_is_planned_whatever_else_is_free_a_moment_later(free, later, planned, opened, monkeypatch, packs_of_four):
    """Where the system doesn't tell what is free, the search finds out."""
    selection = opened(methods=["lora", "adapter", "head"], seconds=1000)
    failing(monkeypatch, lambda runs: len(runs) > 2)
    monkeypatch.setattr(measuring, "usable_bytes", lambda _: free)
    monkeypatch.setattr("pelt_automl.selection.selection.usable_bytes", lambda _: later)
    selection.prepare()
    assert selection.log.history.plan.pack_size == planned


def test_one_that_fails_by_itself_makes_no_pack_smaller(opened, monkeypatch, packs_of_four):
    def fails(trainer, runs, real=packing.PackTraining):
        if any(run.name == "speed-adapter" for run in runs):
            raise ArithmeticError("made to fail")
        return real(trainer, runs)

    selection = opened(methods=["lora", "adapter"], seconds=1000)
    monkeypatch.setattr(packing, "PackTraining", fails)
    selection.prepare()
    assert selection.log.history.plan.pack_size == 4


def test_where_nothing_can_be_trained_sizes_have_to_do(opened, monkeypatch):
    failing(monkeypatch, lambda _: True)
    assert known(opened(methods=["lora"], seconds=1000))[1] == "estimated"


@pytest.mark.whole
def test_a_pack_that_does_not_fit_in_the_search_is_trained_in_halves(world, tmp_path, monkeypatch):
    """Nothing was measured: the first training that runs out of memory says what fits."""
    sizes = []
    failing(monkeypatch, lambda runs: sizes.append(len(runs)) or len(runs) > 2)
    pelt_automl.select(output=tmp_path / "out", **world.options(**SHORT))
    (planned,) = of(records_of(tmp_path / "out"), Planned)
    assert (planned.figures, planned.pack_size) == ("estimated", 4)
    assert {4, 2} <= set(sizes)
    trials = of(records_of(tmp_path / "out"), TrialEnded)
    assert len(trials) > 6
    assert not [trial for trial in trials if trial.state == "failed"]


@pytest.mark.whole
def test_what_trainings_have_shown_plans_the_next_selection_whatever_its_limit(world, tmp_path, stepped, monkeypatch):
    pelt_automl.select(output=tmp_path / "first", **world.options(**SHORT))
    assert list((home() / "cache").glob("packs-*.json"))
    for name, limit in (("no limit", None), ("limit", 1000)):
        settings = settings_from(**world.options(**SHORT | {"seconds": limit, "k": 50}))
        with Selection.open(settings, tmp_path / name) as selection:
            selection.prepare()
        (planned,) = of(records_of(tmp_path / name), Planned)
        assert planned.figures == "remembered"
        assert "as this machine has shown before" in planned.message
        assert planned.numbers["pack_seconds_4"] > 0
        assert planned.pack_size in (1, 2, 4, 8)
    assert stepped == []


def speeds_of(monkeypatch, selection, *, steps, threads=1):
    """Have a selection's trainings show this."""
    kind = selection.machine.kind(METHODS["lora"].build(), "lora")
    monkeypatch.setattr(selection.machine.watch, "shown", lambda *_: {(kind, threads): steps})
    remember_speed(selection.question, selection.machine)


ONE, OTHER = PackSpeed({1: 2.0, 4: 5.0}, 0.5, 1.0), PackSpeed({1: 0.002, 4: 0.005}, 0.5, 1.0)


def test_the_newest_counts(opened, monkeypatch):
    """A machine that was busy once doesn't spoil plans for ever."""
    selection = opened(methods=["lora"])
    speeds_of(monkeypatch, selection, steps=ONE)
    assert known(selection) == (ONE, "remembered")
    speeds_of(monkeypatch, selection, steps=OTHER)
    assert known(selection) == (OTHER, "remembered")


@pytest.mark.parametrize(
    "change",
    [{"methods": ["head"]}, {"batch_size": 4}, {"precision": "bf16"}, {"threads": 2}, {"dropout": 0.1}, {"methods": ["full"]}],
    ids=lambda change: next(iter(change)),
)
def test_what_the_speed_depends_on_is_remembered_with_it(change, world, tmp_path, monkeypatch):
    options = {"methods": ["lora"], "precision": "fp32", "threads": 1}
    for name, own, figures in (("same", options, "remembered"), ("other", options | change, "estimated")):
        with Selection.open(settings_from(**world.options(**options)), tmp_path / f"first-{name}") as selection:
            speeds_of(monkeypatch, selection, steps=ONE)
        with Selection.open(settings_from(**world.options(**own)), tmp_path / name) as selection:
            assert known(selection)[1] == figures


def test_a_plan_from_a_busy_machine_is_corrected_by_what_trainings_take(opened, monkeypatch):
    selection = opened(methods=["lora"], seconds=1000)
    speeds_of(monkeypatch, selection, steps=ONE)
    selection.prepare()
    costs = measuring_costs(selection)
    history, planned = selection.log.history, selection.log.history.plan
    assert costs.training(history) == planned.seconds_a_training
    assert costs.example(history) == 0.5
    ended = a_trial(planned.steps, seconds=planned.seconds_a_training / 10)
    history.apply(ended)
    assert costs.training(history) == pytest.approx(planned.seconds_a_training / 10)
    assert costs.example(history) == pytest.approx(0.05), "trainings were ten times as fast, and so is evaluating"
    measured = replace(planned, figures="measured")
    history.apply(measured)
    assert costs.example(history) == 0.5, "what was measured now is as it is"


def measuring_costs(selection):
    from pelt_automl.selection.machine import costs_of

    return costs_of(selection.question, selection.machine, selection.log.history)


def a_trial(steps, seconds):
    from pelt_automl.log.events import Seeds

    return TrialEnded(
        "lora-0000", "lora-0000", "lora", "search", 0, "completed", True, {}, Seeds(0, 0, 0), {}, [], 0.5, steps, seconds,
    )  # fmt: skip


def test_a_resumed_selection_has_its_plan_in_the_log_and_measures_nothing(world, tmp_path, stepped, monkeypatch):
    options = world.options(**SHORT | {"seconds": 1000})
    with pytest.raises(Killed):
        pelt_automl.select(output=tmp_path / "out", display=Watcher(kill=lambda own: bool(of(own.events, Planned))), **options)
    (before,) = of(records_of(tmp_path / "out"), Planned)
    assert (before.figures, len(stepped)) == ("measured", 1)
    monkeypatch.setattr("pelt_automl.selection.selection.pack_speed", lambda *_: pytest.fail("it is in the log"))
    with Selection.open(settings_from(**options), tmp_path / "out") as selection:
        selection.prepare()
        assert selection.log.history.plan == before
        assert plans_of(selection.question, selection.log.history).pack_size == before.pack_size
    assert len(stepped) == 1


def test_the_plan_says_what_is_known_and_from_where(opened, monkeypatch):
    selection = opened(methods=["lora"])
    monkeypatch.setattr("pelt_automl.selection.selection.usable_bytes", lambda _: 6500.0)
    tokens = measuring.batch_tokens(selection.question, selection.machine.splits)
    speeds_of(monkeypatch, selection, steps=PackSpeed({1: 0.03, 4: 0.033}, 0.001, 1000.0 / tokens))
    selection.prepare()
    planned = selection.log.history.plan
    figures = {name: value for name, value in planned.numbers.items() if name.startswith("pack_")}
    assert figures == pytest.approx({"pack_seconds_1": 0.03, "pack_seconds_4": 0.033, "pack_bytes": 4000, "pack_bytes_free": 6500})
    assert (planned.pack_size, planned.figures) == (4, "remembered")
    assert planned.step_seconds == pytest.approx(0.033 / 4)
    assert "trials in a pack: 4, 8 ms a trial's step, 4e-06 GB, as this machine has shown before" in planned.message


def test_the_users_pack_size_counts(opened, monkeypatch):
    selection = opened(methods=["lora"], pack_size=7)
    speeds_of(monkeypatch, selection, steps=ONE)
    selection.prepare()
    assert plans_of(selection.question, selection.log.history).pack_size == 7


def test_memory_is_measured_at_the_longest_texts_of_train_and_select(opened):
    splits = opened(batch_size=8).splits
    train, select = splits.of(0)
    lengths = sorted([*train.lengths, *select.lengths])
    assert sorted(longest_batch(splits, 8).lengths) == lengths[-8:]
    assert lengths[-8] > lengths[0]


def test_what_is_scored_together_is_of_one_kind_as_in_training(opened):
    machine = opened(methods=["prompt", "lora", "adapter", "full"], max_length=16).machine
    runs = [SimpleNamespace(method=name, hyper_parameters={}) for name in ("lora", "prompt", "full", "adapter", "lora", "prompt")]
    packs = [[run.method for run in pack] for pack in packs_of(machine, runs, 2)]
    assert packs == [["lora", "adapter"], ["lora"], ["prompt", "prompt"], ["full"]], "a prompt makes its neighbors' texts longer"


def test_what_real_packs_show_is_taken_down_by_their_kind_and_size(world, tmp_path):
    with Selection.open(settings_from(**world.options(**SHORT | {"methods": ["lora", "head", "full"]})), tmp_path / "out") as selection:
        selection.prepare()
        selection.search()
        shown = selection.machine.watch.shown(8, 20, 1.0)
    assert {kind for kind, _ in shown} == {"all layers", "no layer", "full alone"}
    assert list(shown["full alone", 1].steps) == [1]
    assert max(shown["all layers", 1].steps) <= 4
    for speed in shown.values():
        assert 0 < speed.token_bytes < math.inf
        assert speed.example < min(speed.steps.values()), "an example costs less than a step"
    assert isinstance(selection.machine.watch, Watch)
