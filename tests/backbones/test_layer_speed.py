"""Which precision and how many threads: by the time that real layers take, not by what a processor says of itself."""

import time
from dataclasses import replace

import pytest
import torch

from pelt_automl.backbones import layer_speed, loading
from pelt_automl.backbones.layer_speed import PrecisionSpeeds, Workload, fastest, layer_seconds, precision_speeds, times_in_turn
from pelt_automl.backbones.loading import load_backbone, wrap
from pelt_automl.home import home
from tests.tiny import CONFIGS, FakeTokenizer, tiny_model

CPU = torch.device("cpu")
SMALL = Workload(2, 8, threads=1)
DEPTHS = ("num_hidden_layers", "n_layers", "n_layer", "encoder_layers", "num_layers")


def deep(family):
    """A tiny model with more layers than are measured."""
    config = CONFIGS[family][1]
    fixed = family == "modernbert" or family.startswith("albert")
    depth = {} if fixed else {name: 4 for name in DEPTHS if name in config}
    return wrap(tiny_model(family, **depth), FakeTokenizer(), name=family)


@pytest.mark.parametrize("family", CONFIGS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_the_lowest_layers_of_every_family_run_forward_and_backward_and_are_left_as_they_were(family, dtype):
    backbone = deep(family)
    before = {name: (tensor.dtype, tensor.clone()) for name, tensor in backbone.model.state_dict().items()}
    called, seen = [], []
    layers = backbone.measurable().layers
    handles = [layer.register_forward_hook(lambda own, *_: called.append(layers.index(own))) for layer in layers]
    handles += [layers[0].register_full_backward_hook(lambda _own, _into, out: seen.append(out[0].dtype))]
    layer_speed._step(backbone.measurable(), SMALL, dtype)()
    for handle in handles:
        handle.remove()
    if not family.startswith("albert"):  # it applies one layer many times
        assert called == [0, 1]
    assert dtype in seen, "the gradient reached the lowest layer, in this precision"
    after = backbone.model.state_dict()
    assert all(after[name].dtype is kind and torch.equal(after[name], tensor) for name, (kind, tensor) in before.items())
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in backbone.model.parameters())
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in (backbone.embeddings(), *layers))


def measured_as(monkeypatch, **seconds):
    """What the layers take, in place of their true times; how often they were measured."""
    asked = []

    def times(steps, budget, device):
        asked.append(list(steps))
        return {name: seconds.get(name, 1.0) for name in steps}

    monkeypatch.setattr(layer_speed, "times_in_turn", times)
    return asked


@pytest.mark.parametrize(("bf16", "fp32", "expected"), [(0.181, 0.099, torch.float32), (0.05, 0.11, torch.bfloat16)])
@pytest.mark.parametrize("says_bf16", [True, False])
def test_auto_takes_what_is_faster_whatever_the_processor_says(world, monkeypatch, bf16, fp32, expected, says_bf16):
    monkeypatch.setattr(loading, "_has_bf16", lambda _: says_bf16)
    monkeypatch.setattr(loading, "_emulates_bf16", lambda _: False)
    measured_as(monkeypatch, bf16=bf16, fp32=fp32)
    backbone = load_backbone(str(world.model), work=SMALL)
    assert backbone.dtype is next(backbone.model.parameters()).dtype is expected
    assert backbone.speeds == PrecisionSpeeds(bf16, fp32, 1)
    whole = load_backbone(str(world.model), precision="fp32").model.state_dict()
    assert all(torch.equal(own, whole[name].to(own.dtype)) for name, own in backbone.model.state_dict().items()), "never rounded twice"


@pytest.mark.parametrize(
    ("flags", "device", "emulated"),
    [
        ("flags\t\t: sse2 avx avx2 fma", "cpu", True),
        ("flags\t\t: sse2 avx avx2 avx512f", "cpu", False),
        ("flags\t\t: avx avx512f avx512_bf16 amx_bf16", "cpu", False),
        ("flags\t\t: sse2 avx avx2", "cuda", False),
        ("Features\t: fp asimd bf16", "cpu", False),
    ],
)
def test_bf16_is_not_measured_where_a_processor_would_only_emulate_it(world, monkeypatch, tmp_path, flags, device, emulated):
    (tmp_path / "cpuinfo").write_text(f"model name\t: some\n{flags}\n")
    monkeypatch.setattr(loading, "PROCESSORS", tmp_path / "cpuinfo")
    assert loading._emulates_bf16(torch.device(device)) == emulated
    if device == "cpu":
        asked = measured_as(monkeypatch, bf16=0.1, fp32=0.2)
        assert (load_backbone(str(world.model), work=SMALL).dtype is torch.float32) == emulated
        assert bool(asked) != emulated


def test_a_precision_that_was_given_is_not_measured(world, monkeypatch):
    asked = measured_as(monkeypatch)
    assert load_backbone(str(world.model), precision="bf16").dtype is torch.bfloat16
    assert load_backbone(str(world.model), precision="bf16").speeds is None
    assert asked == []


def test_what_was_measured_is_remembered_for_the_machine_the_shape_the_batch_and_the_threads(monkeypatch):
    asked = measured_as(monkeypatch, bf16=0.2, fp32=0.1)
    small, large = deep("bert").measurable(), wrap(tiny_model("bert", num_hidden_layers=5), FakeTokenizer(), name="b").measurable()
    for own, work in [(small, SMALL), (small, Workload(2, 16, 1)), (small, Workload(4, 8, 1)), (small, Workload(2, 8, 2)), (large, SMALL)]:
        assert precision_speeds(own, work) == precision_speeds(own, work)
    assert len(asked) == 5
    monkeypatch.setattr(layer_speed, "machine", lambda _: "another processor")
    precision_speeds(small, SMALL)
    assert len(asked) == 6


@pytest.mark.parametrize("kept", ['{"bf16": "fast", "fp32": 0.1, "threads": 1}', '{"bf16": 0.0, "fp32": 0.1, "threads": 1}', "3"])
def test_what_can_not_be_used_is_measured_again(monkeypatch, kept):
    measured_as(monkeypatch, bf16=0.2, fp32=0.1)
    own, found = deep("bert").measurable(), PrecisionSpeeds(0.2, 0.1, 1)
    assert precision_speeds(own, SMALL) == found
    (path,) = (home() / "cache").glob("precision-*.json")
    path.write_text(path.read_text().replace('{"bf16":0.2,"fp32":0.1,"threads":1}', kept))
    assert kept in path.read_text()
    measured_as(monkeypatch, bf16=0.3, fp32=0.1)
    assert precision_speeds(own, SMALL) == replace(found, bf16=0.3)
    assert precision_speeds(own, SMALL, remembered=False) == replace(found, bf16=0.3)


def test_layers_that_can_not_be_run_by_themselves_leave_it_to_the_processors_flags(world, monkeypatch):
    def broken(*_):
        raise TypeError("made to fail")

    monkeypatch.setattr(layer_speed, "_step", broken)
    monkeypatch.setattr(loading, "_has_bf16", lambda _: False)
    backbone = load_backbone(str(world.model), work=SMALL)
    assert (backbone.dtype, backbone.speeds) == (torch.float32, None)


def test_times_are_true_and_what_is_far_slower_is_not_waited_for():
    calls = []

    def sleeping(name, seconds):
        return lambda: (calls.append(name), time.sleep(seconds))

    found = times_in_turn({"short": sleeping("short", 0.002), "longer": sleeping("longer", 0.006), "far": sleeping("far", 0.1)}, 0.05, CPU)
    assert 0.002 <= found["short"] < found["longer"] < found["far"]
    assert found["longer"] >= 0.006
    assert calls.count("far") == 1
    assert calls.count("longer") > 2


def test_fewer_threads_have_to_be_clearly_faster():
    assert fastest({4: 1.0, 1: 0.95}) == 4
    assert fastest({4: 1.0, 1: 0.5}) == 1
    assert fastest({4: 1.0, 1: 3.0}) == 4


def test_measuring_threads_leaves_their_number_and_the_random_numbers_as_they_were():
    own = deep("bert").measurable()  # it sets the seed, whatever an earlier test has left
    before, draws = torch.get_num_threads(), torch.get_rng_state()
    found = layer_seconds(own, SMALL, (2, 1))
    assert set(found) == {2, 1}
    assert min(found.values()) > 0
    assert torch.get_num_threads() == before
    assert torch.equal(torch.get_rng_state(), draws)
    assert layer_seconds(deep("bert").measurable(), SMALL, (3,)) == {3: 0.0}
