"""What memory is predicted by, fresh processes that measure it, and the rows of the table."""

from types import SimpleNamespace

import pytest
import torch

from benchmarks import packing_stages
from benchmarks.common import Report
from benchmarks.measuring import TimeLimit
from benchmarks.our_steps import SHAPES, DidNotRun, Work, configurations, random_backbone
from benchmarks.pack_memory import PROBED, Probed, measure, predict
from benchmarks.packing_stages import Bench, Shape
from pelt_automl.selection import probe

TINY = random_backbone(SHAPES["tiny"], 16, torch.device("cpu"), "fp32")
WORK = Work(batch=8, tokens=128, steps=1, warmup=1)


def test_a_pack_of_average_trials_is_predicted_as_a_selection_does_it():
    probed = Probed({"lora": 80.0, "bitfit": 120.0}, ["lora", "bitfit"] * 2, 400.0)
    assert [probed.of(["lora", "bitfit"] * (trials // 2)) for trials in (2, 4, 8)] == [200.0, 400.0, 800.0]
    same = probe.PackProbe(("lora", "bitfit"), 4, (1.0, 1.0), (100.0, 400.0))
    assert [same.bytes_of(trials) for trials in (2, 4, 8)] == [200.0, 400.0, 800.0]
    assert PROBED == probe.PROBED


def test_what_is_shared_counts_once_and_each_trial_adds_its_own():
    probed = Probed({"lora": 30.0, "mam": 50.0, "bitfit": 25.0}, ["lora", "mam"], 60.0)
    assert probed.shared == 20.0
    assert probed.of(["lora", "mam"]) == 60.0
    assert probed.of(["bitfit", "bitfit", "mam"]) == 60.0
    assert probed.of(["bitfit"]) == 25.0
    light = Probed({"lora": 400.0}, ["lora"] * 4, 100.0)
    assert [light.of(["lora"] * trials) for trials in (1, 8)] == [400.0, 400.0], "never falling"


@pytest.mark.slow
def test_fresh_processes_predict_and_measure_what_a_pack_takes():
    probed = predict("tiny", TINY, configurations(["lora", "bitfit"], 2), "fp32", WORK)
    assert probed.together == ["lora", "bitfit"] * 2
    assert all(0 < alone < probed.packed for alone in probed.alone.values())
    # 16 * 8 * 128 tokens; the layers' wide activations alone (2 layers, width 64, fp32, before and after GELU) are 17 MB.
    assert measure("tiny", TINY, configurations(["lora"], 16), "fp32", WORK) > 17e6


@pytest.fixture
def shape(monkeypatch):
    """With probes and peaks by hand: of each pack 5 GB a trial, of eight trials more than there is."""

    def a_probe(_, __, trials, *___):
        asked.append([trial.method for trial in trials])
        return Probed({trial.method: 4e9 for trial in trials}, [trials[-1].method] * 4, 16e9)

    def a_peak(_, __, trials, *___):
        if len(trials) == 2:
            raise DidNotRun("2 trials don't train in one pack")
        return 5e9 * len(trials)

    asked = []
    monkeypatch.setattr(packing_stages, "predict", a_probe)
    monkeypatch.setattr(packing_stages, "measure", a_peak)
    monkeypatch.setattr(packing_stages, "usable_bytes", lambda _: 20e9)
    options = SimpleNamespace(methods=["lora", "bitfit", "ia3", "prompt", "adapter"], precision="fp32")
    made = Shape(Bench(options, Report("packing", {}), TimeLimit(1000.0), WORK), "tiny", TINY, "fp32")
    made.asked = asked
    return made


def test_each_pack_has_its_error_and_what_is_not_measured_has_its_reason(shape):
    shape.remember("mixed", [1, 2, 4, 8])
    assert [(row["pack of"], row["predicted GB"], row["measured GB"], row["error %"]) for row in shape.bench.memory.rows] == [
        (1, 4.0, 5.0, pytest.approx(-20.0)),
        (4, 16.0, 20.0, pytest.approx(-20.0)),
    ]
    assert shape.bench.report.left_out == [
        "tiny, mixed, memory of a pack of 2: 2 trials don't train in one pack",
        "tiny, mixed, memory of a pack of 8: 32.0 GB are predicted, 20.0 GB may be used",
    ]
    assert shape.asked == [["lora", "bitfit", "ia3", "prompt", "adapter"]]


def test_a_pack_of_one_method_is_as_much_work_as_the_peers_trial_that_stands_for_it(shape):
    assert shape.trials("lora", 3) == configurations(["lora"], 1) * 3
    assert len({trial.method for trial in shape.trials("mixed", 3)}) == 3


def test_what_does_not_fit_into_the_time_is_left_out(shape):
    shape.bench.limit = TimeLimit(5.0)
    shape.remember("lora", [1])
    assert shape.bench.report.left_out == ["tiny, lora, memory of a pack of 1: the time limit"]
    assert shape.asked == [["lora"]]
