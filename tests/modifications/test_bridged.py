"""What holds of every method that peft carries out, of its count, its seeds, its files and its search space.

Its start, gradients, training and saving: tests/conformance; padding: test_published_sizes.py.
"""

import functools
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest
import torch

from pelt_automl.design_space import modification_from_dict
from pelt_automl.methods import LEARNING_RATE, METHODS
from pelt_automl.methods.bridged import BRIDGED
from pelt_automl.modifications import Pack, PackTrial, count_of, count_on, kept_form, why_not
from pelt_automl.search.spaces import load_space, shipped_spaces
from pelt_automl.settings import TrainingSettings
from pelt_automl.tasks import METRICS
from pelt_automl.tasks.kinds import LabelScale
from pelt_automl.timing.schedule import make_plan
from pelt_automl.training import packing
from pelt_automl.training.checkpoints import WEIGHTS, TrainedConfig, load_config, save_trained
from pelt_automl.training.predicting import trained_pack
from pelt_automl.training.work import Work
from tests.probing import a_batch, lively_backbone, moved
from tests.tiny import a_run, tiny_backbone, tiny_model

FAMILIES = ("bert", "llama", "bart")
SMALL = {
    "r": 4, "oft_block_size": 4, "n_frequency": 20, "num_virtual_tokens": 3, "encoder_hidden_size": 8, "init_r": 4, "target_r": 2,
    "num_vectors": 8, "vector_length": 8, "block_size": 8, "group_size": 8, "sparsity": 0.9,
}  # fmt: skip
"""Sizes for models of width 16, where a method has such a size."""

every_method = pytest.mark.parametrize("method", list(BRIDGED))
every_family = pytest.mark.parametrize("family", FAMILIES)


def modifications_of(method, **other):
    small = {name: value for name, value in SMALL.items() if name in METHODS[method].defaults}
    return METHODS[method].modifications(small | other)


@functools.cache
def backbone_of(family):
    return lively_backbone(family)


def pack_of(method, family="bert", seed=3, **other):
    return Pack(backbone_of(family), [PackTrial(modifications_of(method, **other), seed)], outputs=3)


def logits_of(pack):
    return pack(*a_batch(1)).logits.detach()


@every_family
def test_a_prompt_is_read_from_the_start(family):
    plain = logits_of(Pack(backbone_of(family), [PackTrial((), 3)], outputs=3))
    assert (logits_of(pack_of("peft-p-tuning", family)) - plain).abs().max() > 1e-4 * plain.abs().max()


@every_family
@every_method
def test_it_is_counted_as_it_is_without_a_model(method, family):
    backbone, pack = backbone_of(family), pack_of(method, family)
    count = count_on(pack.trials[0].modifications, backbone, 3)
    assert count == count_of(pack.trials[0].modifications, backbone.architecture, backbone.shape, 3)
    trained = sum(own.numel() for own in pack.trained_weights(0).values())
    assert trained == count.head + (count.training_only or count.pelt)
    assert count.pelt > 0


@every_method
def test_a_trials_start_depends_on_its_seed_alone(method):
    backbone_of("bert")  # which seeds torch itself where it isn't made yet
    torch.manual_seed(11)
    before = torch.random.get_rng_state()
    first = pack_of(method, seed=5).trained_weights(0)
    assert torch.equal(torch.random.get_rng_state(), before), "and nothing else depends on it"
    torch.manual_seed(12)
    again, other = pack_of(method, seed=5).trained_weights(0), pack_of(method, seed=6).trained_weights(0)
    assert all(torch.equal(first[name], own) for name, own in again.items())
    assert any(not torch.equal(first[name], own) for name, own in other.items()), "the head's at least"


@dataclass
class Trained:
    run: object
    backbone: object
    folder: Path


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Every method, trained on BERT for a few steps by the training loop and saved, each once."""

    @functools.cache
    def train(method):
        backbone, modifications = tiny_backbone(), modifications_of(method)
        run = a_run(method, modifications)
        plan = make_plan(4, (0.5,), 16, TrainingSettings(batch_size=8, min_steps=1))
        packing.train(Work(backbone, plan, METRICS["accuracy"], outputs=2), [run], until=4)
        folder = tmp_path_factory.mktemp(method)
        save_trained(folder, config_of(method, kept_form(modifications, backbone)), run.progress.best_weights, Tokenizer())
        return Trained(run, backbone, folder)

    return train


class Tokenizer:
    def save_pretrained(self, folder):
        pass


def config_of(method, modifications):
    return TrainedConfig(
        method, METHODS[method].defaults, modifications, "classification", ["no", "yes"], ["text"], LabelScale(), 32, "fp32",
        {"name": "tiny", "location": "/nowhere", "sha256": "00"}, "toy",
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
@every_method
def test_peft_itself_reads_the_folder(method, trained):
    from peft import PeftModel

    done = trained(method)
    ids, mask = a_batch(1)
    mask[:] = 1
    theirs = PeftModel.from_pretrained(tiny_model("bert"), str(done.folder)).eval()
    with torch.no_grad():
        hidden = theirs(input_ids=ids[0], attention_mask=mask[0]).last_hidden_state
    ours, seen = trained_pack(load_config(done.folder), tiny_backbone(), done.folder / WEIGHTS), []
    model = getattr(ours.stacks[0], "model", ours.backbone.model)
    model.get_submodule("encoder").register_forward_hook(lambda _, __, output: seen.append(output.last_hidden_state))
    ours(ids, mask)
    torch.testing.assert_close(seen[0], hidden, rtol=1e-4, atol=1e-5)


@every_method
def test_the_folder_is_safetensors_and_json_and_not_large(method, trained):
    done = trained(method)
    names = {path.name for path in done.folder.iterdir()}
    assert names == {"pelt_config.json", "weights.safetensors", "adapter_config.json", "adapter_model.safetensors", "tokenizer"}
    parameters = count_on(done.run.modifications, done.backbone, 2).kept
    size = sum((done.folder / name).stat().st_size for name in names if name.endswith("safetensors"))
    assert size < 2 * 4 * parameters + 2**16


@every_method
def test_kept_tensors_are_no_more_than_twice_what_is_trained(method):
    backbone = tiny_backbone()
    count = count_on(METHODS[method].modifications({}), backbone, 2)
    pack = Pack(backbone, [PackTrial(METHODS[method].modifications({}), 0)], 2)
    assert sum(own.numel() for own in pack.kept_weights(0).values()) < 2 * count.kept


@every_method
def test_a_configuration_is_the_same_after_a_round_trip_through_json(method):
    (modification,) = METHODS[method].modifications({})
    assert modification_from_dict(json.loads(json.dumps(asdict(modification)))) == modification
    (kept,) = kept_form([modification], backbone_of("bert"))
    assert modification_from_dict(json.loads(json.dumps(asdict(kept)))) == kept
    assert kept_form([kept], backbone_of("bert")) == (kept,)


def other_values(parameter):
    return parameter.choices if parameter.kind == "categorical" else (parameter.low, parameter.high)


@every_method
def test_every_searched_hyper_parameter_changes_the_output_the_count_or_the_training(method):
    space = load_space(shipped_spaces() / f"{method}.yaml")
    for parameter in space.parameters:
        if parameter.name == LEARNING_RATE:
            continue
        found = {
            _signature(method, **{parameter.name: int(value) if parameter.kind == "int" else value}) for value in other_values(parameter)
        }
        assert len(found) > 1, parameter.name


def _signature(method, **changed):
    """Logits after some training and the count; the published sizes, so that those of the space are compared as they are."""
    modifications = METHODS[method].modifications(changed)
    backbone = wide_backbone()
    pack = moved(Pack(backbone, [PackTrial(modifications, 3)], outputs=3))
    pack.begin(0, 20, {})
    penalty = torch.as_tensor(pack.penalty())
    (pack(*a_batch(1)).logits.sum() + penalty).backward()
    pack.after_step(6)
    return (count_on(modifications, backbone, 3), *(f"{value:.5f}" for value in (*logits_of(pack).flatten().tolist(), penalty.item())))


@functools.cache
def wide_backbone():
    """One layer of a width at which the shipped sizes fit as they are."""
    from pelt_automl.backbones.loading import wrap
    from tests.tiny import FakeTokenizer

    sizes = {"hidden_size": 256, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4, "max_position_embeddings": 80}
    return wrap(tiny_model("bert", **sizes), FakeTokenizer(), name="wide")


@every_method
def test_what_is_refused_is_refused_before_a_model_is_built(method):
    backbone = tiny_backbone("gpt2")
    reason = why_not(METHODS[method].modifications({})[0], backbone.architecture, backbone.shape)
    fits = {
        "peft-dora", "peft-rslora", "peft-pissa", "peft-adalora", "peft-vera", "peft-ln", "peft-p-tuning", "peft-ia3", "peft-fourierft",
        "peft-waveft", "peft-randlora", "peft-vblora", "peft-gralora", "peft-hira", "peft-deft",
    }  # fmt: skip
    assert (reason is None) == (method in fits)
    if reason:
        assert "transformers' Conv1D" in reason
