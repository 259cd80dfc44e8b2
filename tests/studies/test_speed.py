"""The peers train what ours trains; packs are measured without the libraries of a whole installation; where time goes is looked at."""

import json
import math
import subprocess
import sys
import time
from importlib.util import find_spec

import pytest
import torch
import transformers

from pelt_automl.design_space import count_all
from pelt_automl.methods import METHODS
from studies import sampling
from studies.harness import ROOT
from studies.speed import power_law, summary
from studies.steps import (
    BY_FLAGS,
    BY_PEFT,
    SHAPES,
    DidNotRun,
    Probed,
    Work,
    configurations,
    default_of,
    flops,
    memory,
    random_backbone,
    time_pack,
    tuned,
)  # fmt: skip
from tests.tiny import _BERT

WORK = Work(batch=4, tokens=16, steps=2, warmup=1)


def classifier():
    return transformers.BertForSequenceClassification(transformers.BertConfig(**_BERT))


def trained(model):
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


@pytest.fixture(scope="module")
def backbone():
    return random_backbone(SHAPES["tiny"], 16, torch.device("cpu"), "fp32")


@pytest.mark.slow
@pytest.mark.parametrize("targets", ["query-value", "all-linear"])
def test_the_peers_lora_changes_the_maps_that_ours_does(targets, backbone):
    values = METHODS["lora"].defaults | {"rank": 4, "targets": targets}
    theirs = trained(tuned(transformers.BertForSequenceClassification(backbone.model.config), "lora", values))
    assert theirs == count_all(METHODS["lora"].modifications(values), backbone.shape, outputs=2).kept


@pytest.mark.slow
def test_the_peers_other_methods_train_as_many_weights_as_ours():
    # Width 16, feed-forward 24, 2 layers; the head 2 * 16 + 2 = 34.
    head, every = 34, trained(classifier())
    biases = sum(weight.numel() for name, weight in classifier().named_parameters() if name.endswith("bias"))
    expected = {"ia3": 2 * (16 + 16 + 24) + head, "prompt": 20 * 16 + head, "bitfit": biases + 32, "full": every}
    assert {name: trained(tuned(classifier(), name, METHODS[name].defaults)) for name in expected} == expected
    assert {*expected, "lora"} == {*BY_PEFT, *BY_FLAGS}


@pytest.mark.slow
def test_what_the_peer_trains_is_fp32_on_a_backbone_in_bf16():
    model = tuned(classifier().to(torch.bfloat16), "lora", METHODS["lora"].defaults)
    kinds = {(parameter.requires_grad, parameter.dtype) for parameter in model.parameters()}
    assert kinds == {(True, torch.float32), (False, torch.bfloat16)}


def test_a_mixed_pack_begins_with_every_default_and_goes_on_with_others_of_the_tables_grid():
    chosen = configurations(["lora", "adapter"], 6)
    assert [(trial.method, trial.name) for trial in chosen] == [
        (method, name) for name in ("default", "known-1", "known-2") for method in ("lora", "adapter")
    ]
    assert [dict(trial.hyper_parameters) for trial in chosen[:2]] == [METHODS[name].defaults for name in ("lora", "adapter")]
    assert [trial.method for trial in configurations(["tiny-attention"] if "tiny-attention" in METHODS else ["mam"], 2)]


def test_the_real_loop_is_timed_and_a_pack_that_fails_is_no_timing(backbone):
    timing = time_pack(backbone, configurations(["lora", "bitfit"], 2), WORK)
    assert timing.step > 0
    assert timing.setup > 0
    with pytest.raises(DidNotRun, match="packs of"):
        time_pack(backbone, [default_of("full")] * 2, WORK)


def test_the_work_of_a_step_is_counted_forward_and_backward(backbone):
    # Width 32, feed-forward 64, 2 layers, 4 texts of 16 tokens: 2 * (4 * 32 * 32 + 2 * 32 * 64) FLOPs a token and layer in the linear maps,
    # 2 * 2 * 16 * 32 in attention, as many again and more backward.
    forward = 4 * 16 * 2 * (2 * (4 * 32 * 32 + 2 * 32 * 64) + 2 * 2 * 16 * 32)
    one, many = (flops(backbone, [default_of("bitfit")] * count, WORK) for count in (1, 3))
    assert 1.5 * forward < one < 4 * forward
    assert many == pytest.approx(one, rel=0.01), "of one trial, however many share the pack"
    assert flops(backbone, [default_of("head")], WORK) < 1.2 * forward, "nothing goes back through a frozen backbone"


def test_what_is_shared_counts_once_and_each_trial_adds_its_own():
    probed = Probed({"lora": 30.0, "mam": 50.0, "bitfit": 25.0}, ["lora", "mam"], 60.0)
    assert probed.shared == 20.0
    assert [probed.of(own) for own in (["lora", "mam"], ["bitfit", "bitfit", "mam"], ["bitfit"])] == [60.0, 60.0, 25.0]
    light = Probed({"lora": 400.0}, ["lora"] * 4, 100.0)
    assert [light.of(["lora"] * trials) for trials in (1, 8)] == [400.0, 400.0], "never falling"


@pytest.mark.slow
def test_a_fresh_process_measures_what_a_pack_takes(backbone):
    # 16 * 8 * 128 tokens; the layers' wide activations alone (2 layers, width 64, fp32, before and after GELU) are 17 MB.
    assert memory("pack", "tiny", backbone, configurations(["lora"], 1) * 16, "fp32", Work(8, 128, 1, 1)) > 17e6


@pytest.mark.slow
def test_packing_runs_without_the_libraries_of_a_whole_installation_and_says_what_stood_in(tmp_path):
    absent = ("msgspec", "optuna", "mlflow", "prefect", "datasets", "peft", "sklearn", "pandas", "scipy", "matplotlib")
    options = "packing --shapes tiny --packs 1,2 --reference 2 --methods lora --processes= --memory= --steps 1 --warmup 1 --repeats 1"
    program = f"""
import runpy, sys
sys.modules.update(dict.fromkeys({absent!r}))
sys.argv = ["speed", *{options.split()!r}, "--tokens", "8", "--batch", "2", "--precision", "fp32", "--output", {str(tmp_path)!r}]
runpy.run_module("studies.speed", run_name="__main__")
"""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True)
    found = json.loads((tmp_path / "packing.json").read_text())
    assert found["left_out"] == []
    speeds = found["tables"]["Speed"]
    assert {row["how"] for row in speeds if row["who"] != "ours"} == {"own module (no peft here) + HF Trainer"}
    sizes = {(row["trials of"], row["at once"]) for row in speeds if row["who"] == "ours"}
    assert sizes == {(what, size) for what in ("mixed", "lora") for size in (1, 2)}
    assert all(row["share of ceiling"] > 0 for row in speeds)
    assert [row["times faster"] > 0 for row in found["tables"]["Ours against the peers"]] == [True, True]


# -------------------------------------------------------------------- scaling


def test_a_power_law_is_found_again():
    law = power_law([1, 2, 4, 8], [3.0, 3 * 2**1.5, 3 * 4**1.5, 3 * 8**1.5])
    assert (law["exponent"], law["low"], law["high"], law["factor"]) == pytest.approx((1.5, 1.5, 1.5, 3.0), abs=1e-6)


def test_the_interval_of_an_exponent_is_students():
    # In powers of two: x = 0, 1, 2 and y = 0, 2, 2. The line is 1/3 + x with residuals -1/3, 2/3, -1/3: their squares sum to 2/3, on one
    # degree of freedom. Standard error sqrt((2/3) / 2) = 0.57735; t(0.975, 1) = 12.7062.
    law = power_law([1, 2, 4], [1.0, 4.0, 4.0])
    assert law["factor"] == pytest.approx(2 ** (1 / 3))
    assert (law["low"], law["high"]) == pytest.approx((1 - 12.7062 * 0.57735, 1 + 12.7062 * 0.57735), abs=1e-3)
    two = power_law([10, 100], [5.0, 50.0])
    assert (two["exponent"], two["low"], two["high"]) == (pytest.approx(1.0), -math.inf, math.inf)


# -------------------------------------------------------------------- overheads


def a_frame(*modules):
    """Of a stack of functions in modules of these names, the outermost first; the test's own frames are in no part."""
    call = sys._getframe
    for module in reversed(modules):
        scope = {"__name__": module, "inner": call}
        exec("def call():\n    return inner()", scope)
        call = scope["call"]
    return call()


@pytest.mark.parametrize(
    ("modules", "part"),
    [
        (("pelt_automl.training.evaluation",), "evaluation"),
        (("pelt_automl.training.packing", "pelt_automl.modifications.pack"), "training"),
        (("pelt_automl.selection.selection", "pelt_automl.log.folder"), "records"),
        (("pelt_automl.selection.selection", "pelt_automl.recorders.sending"), "mlflow"),
        (("pelt_automl.search.proposer", "optuna.study.study"), "optuna"),
        (("pelt_automl.selection.measuring", "pelt_automl.training.packing"), "measuring speed"),
        (("pelt_automl.cli", "optunax"), "command line"),
        (("json",), "everything else"),
    ],
)
def test_a_look_belongs_to_the_innermost_part_and_throwaway_steps_to_measuring(modules, part):
    assert sampling.part_of(a_frame(*modules)) == part


def test_every_part_is_in_the_program():
    for part, own in sampling.PARTS.items():
        assert any(find_spec(prefix) for prefix in own if "." not in prefix or find_spec(prefix.rpartition(".")[0])), part


def test_the_sampler_counts_the_main_threads_seconds_and_what_it_waited():
    sampler = sampling.Sampler()
    sampler.start()
    time.sleep(0.3)
    seen = sampler.stop()
    wall, cpu = map(sum, zip(*seen["parts"].values(), strict=True))
    assert 0.1 < wall <= seen["seconds"] + 0.01
    assert cpu < 0.5 * wall


def test_overheads_are_start_orchestration_and_tracking_over_everything():
    parts = {"training": (60.0, 40.0), "evaluation": (15.0, 15.0), "optuna": (1.0, 1.0), "mlflow": (4.0, 0.5), "selection": (12.0, 9.0)}
    found = summary({"seconds": 98.0, "parts": parts, "first_trial": 5.5, "padding": 0.05}, 100.0)
    assert found["overheads %"] == pytest.approx(7.0)  # 2 before the first look + 1 + 4; our own bookkeeping doesn't count
    assert (found["evaluation / training %"], found["first trial s"], found["padding %, training"]) == (25.0, 7.5, 5.0)
