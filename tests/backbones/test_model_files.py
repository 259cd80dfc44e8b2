"""Folders with a model that can't be used: each is refused before anything is loaded, with what to do. Nothing is ever unpickled."""

import json
import shutil

import pytest
import torch
import transformers

import pelt_automl
from pelt_automl.backbones.loading import check_model, load_backbone, load_outline
from pelt_automl.backbones.sources import find_model
from pelt_automl.errors import BackboneError
from pelt_automl.options import settings_from
from pelt_automl.selection import selection as selection_module
from pelt_automl.selection.selection import Selection
from tests.tiny import tiny_config, tiny_model
from tests.tiny_world import word_tokenizer

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"


@pytest.fixture
def folder(world, tmp_path):
    """A sound model."""
    return shutil.copytree(world.model, tmp_path / "model")


def checked(folder):
    return check_model(str(folder), load_outline(str(folder))[1])


def test_a_sound_folder_is_let_through_and_gives_its_tokenizer(folder):
    assert checked(folder)("good word1")["input_ids"] == [2, 4, 8, 3]


def changed(folder, **entries):
    path = folder / CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def cut(path, size):
    path.write_bytes(path.read_bytes()[:size])


CONFIGS = {
    "an empty folder": (lambda f: [p.unlink() for p in f.iterdir()], "is empty; give a folder that save_pretrained has written"),
    "no config": (lambda f: (f / CONFIG).unlink(), r"has no config\.json; give a folder"),
    "a config in a folder below": (
        lambda f: (shutil.copytree(f, f / "0_Transformer"), (f / CONFIG).unlink()),
        r"has no config\.json \(there is one in .*0_Transformer\)",
    ),
    "a peft adapter": (
        lambda f: (f / CONFIG).rename(f / "adapter_config.json"),
        "holds a peft adapter, not a model; give the model that it was trained on",
    ),
    "a selection of ours": (
        lambda f: (f / CONFIG).rename(f / "records.jsonl"),
        "holds what pelt-automl has trained, not a pretrained model",
    ),
    "a config that was cut off": (lambda f: cut(f / CONFIG, 20), r"config\.json is damaged \(.*\); download the model again"),
    "a config that isn't text": (lambda f: (f / CONFIG).write_bytes(b"\xff\xfe\x00"), r"config\.json is damaged"),
    "a list": (lambda f: (f / CONFIG).write_text("[]"), "names no model_type"),
    "no model type": (lambda f: (f / CONFIG).write_text("{}"), "names no model_type"),
    "a pointer": (
        lambda f: (f / CONFIG).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
        r"config\.json is a pointer of Git LFS, not the file itself; fetch it with `git lfs pull`",
    ),
    "a size that is text": (
        lambda f: changed(f, hidden_size="large"),
        "can't be used: .*hidden_size.*expected int, got str.*save it again",
    ),
    "a size that is missing": (lambda f: changed(f, hidden_size=None), "can't be used: .*hidden_size.*expected int, got NoneType"),
    "heads that don't divide": (
        lambda f: changed(f, num_attention_heads=3),
        "hidden size .*is not a multiple of the number of attention heads",
    ),
}


@pytest.mark.parametrize("case", CONFIGS)
def test_a_configuration_that_cannot_be_read_is_named_with_what_to_do(case, folder):
    spoil, message = CONFIGS[case]
    spoil(folder)
    with pytest.raises(BackboneError, match=message) as caught:
        load_outline(str(folder))
    assert "HF_HUB_CACHE" not in str(caught.value), "advice for models of the Hub"
    with pytest.raises(BackboneError, match=message):
        load_backbone(str(folder))


def in_two_parts(folder):
    (folder / WEIGHTS).unlink()
    transformers.AutoModel.from_config(tiny_config("bert")).save_pretrained(folder, max_shard_size="10KB")
    return sorted(path.name for path in folder.glob("model-*.safetensors"))


def as_pickle(folder):
    torch.save(tiny_model("bert").state_dict(), folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()


FILES = {
    "cut off at its end": (lambda f: cut(f / WEIGHTS, -100), r"model\.safetensors is damaged or was cut off: it has [\d,]+ bytes"),
    "cut off in its header": (lambda f: cut(f / WEIGHTS, 50), "it has 50 bytes and can't be read .*; copy or download it again"),
    "empty": (lambda f: cut(f / WEIGHTS, 0), "it has 0 bytes and can't be read"),
    "a pointer": (lambda f: (f / WEIGHTS).write_text("version https://git-lfs.github.com/spec/v1\n"), "is a pointer of Git LFS"),
    "none": (lambda f: (f / WEIGHTS).unlink(), r"has no weights: model\.safetensors is expected; download it"),
    "pickle": (as_pickle, r"has no model\.safetensors, only pytorch_model\.bin\. Files of pickle .* convert it once: python -c "),
    "another form": (
        lambda f: (f / WEIGHTS).rename(f / "model.gguf"),
        r"no model\.safetensors, only model\.gguf; load it where it comes from",
    ),
    "another name": (lambda f: (f / WEIGHTS).rename(f / "weights.safetensors"), r"no model\.safetensors, only weights\.safetensors"),
    "a part is missing": (
        lambda f: (f / in_two_parts(f)[0]).unlink(),
        r"lacks 1 of the \d files of weights: model-00001-of-.*; download them",
    ),
    "a part is cut off": (lambda f: cut(f / in_two_parts(f)[0], -9), r"model-00001-of-\d+\.safetensors is damaged or was cut off"),
    "the index is damaged": (lambda f: (in_two_parts(f), cut(f / INDEX, 30)), r"model\.safetensors\.index\.json is damaged"),
    "the index names nothing": (lambda f: (in_two_parts(f), (f / INDEX).write_text("[]")), r"model\.safetensors\.index\.json is damaged"),
}


@pytest.mark.parametrize("case", FILES)
def test_weights_that_cannot_be_used_are_found_before_anything_is_loaded(case, folder, world, tmp_path, monkeypatch):
    spoil, message = FILES[case]
    spoil(folder)
    monkeypatch.setattr("torch.load", None)  # a pickle is never read
    monkeypatch.setattr(selection_module, "load_backbone", None)
    with pytest.raises(BackboneError, match=message):
        Selection.open(settings_from(**world.options(model=str(folder))), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(BackboneError, match=message):
        load_backbone(str(folder))


def test_everything_wrong_with_a_folder_is_said_at_once(folder):
    (folder / WEIGHTS).unlink()
    (folder / "tokenizer.json").unlink()
    with pytest.raises(BackboneError, match=r"(?s)has 2 problems:.*has no weights.*has no tokenizer"):
        checked(folder)


def test_the_advice_about_pickle_makes_a_folder_that_works(folder, monkeypatch):
    as_pickle(folder)
    with pytest.raises(BackboneError) as caught:
        checked(folder)
    code = str(caught.value).partition('python -c "')[2].partition('", and give')[0]
    exec(code, {})
    assert load_backbone(f"{folder}-safe").shape.vocabulary == 60


def weights_of(model, folder):
    model.save_pretrained(folder / "other")
    shutil.copy(folder / "other" / WEIGHTS, folder / WEIGHTS)
    shutil.rmtree(folder / "other")


def sequence_classifier(family):
    return transformers.AutoModelForSequenceClassification.from_config(tiny_config(family))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        pytest.param(
            lambda: tiny_model("gpt2"),
            r"37 of the 37 weights of a bert model are missing: embeddings\.LayerNorm\.bias, .*; what is there and not needed: h\.0\.",
            id="another architecture",
        ),
        pytest.param(lambda: sequence_classifier("roberta"), "37 of the 37 weights of a bert model are missing", id="another prefix"),
        pytest.param(
            lambda: tiny_model("bert", num_hidden_layers=1), r"16 of the 39 weights .* are missing: encoder\.layer\.1\.", id="a layer less"
        ),
        pytest.param(
            lambda: tiny_model("bert", hidden_size=32),
            r"37 weights have other sizes than config\.json says: .* is \(32,\), not",
            id="wider",
        ),
        pytest.param(
            lambda: tiny_model("bert", vocab_size=70),
            r"1 weights? .*other sizes .*word_embeddings\.weight is \(70, 16\), not \(60, 16\)",
            id="another vocabulary",
        ),
    ],
)
def test_weights_of_another_model_are_refused_and_never_drawn_at_random(model, message, folder):
    weights_of(model(), folder)
    with pytest.raises(BackboneError, match=rf"aren't those of its config\.json: {message}") as caught:
        load_backbone(str(folder))
    assert "They would be drawn at random" in str(caught.value)


def test_the_head_of_another_task_is_no_hindrance(folder):
    weights_of(sequence_classifier("bert"), folder)
    assert load_backbone(str(folder)).pooling == "pooler"


@pytest.mark.parametrize("family", ["bert", "albert"])
def test_a_pooler_that_nobody_trained_is_not_read(family, tmp_path):
    """Of a masked language model: transformers would draw the pooler at random, another one in each process."""
    transformers.AutoModelForMaskedLM.from_config(tiny_config(family)).save_pretrained(tmp_path)
    word_tokenizer().save_pretrained(tmp_path)
    backbone = load_backbone(str(tmp_path))
    assert (backbone.pooling, backbone.shape.pooler) == ("cls", False)
    assert load_outline(str(tmp_path)) == (backbone.architecture, backbone.shape)


def test_a_model_in_several_files_is_loaded_and_told_apart_by_their_hash(folder):
    whole, parts = load_backbone(str(folder)).sha256, in_two_parts(folder)
    assert len(parts) > 1
    first = load_backbone(str(folder)).sha256
    assert (len(first), first != whole) == (64, True)
    tiny_model("bert", initializer_range=0.5).save_pretrained(folder, max_shard_size="10KB")
    assert load_backbone(str(folder)).sha256 != first


def test_a_file_in_place_of_a_folder_and_no_name_at_all_are_named(folder):
    with pytest.raises(BackboneError, match=r"model\.safetensors is a file; give the folder that it lies in"):
        find_model(str(folder / WEIGHTS))
    with pytest.raises(BackboneError, match="no model is named"):
        find_model(" ")


def test_a_damaged_model_ends_a_selection_with_one_message(folder, world, tmp_path):
    cut(folder / WEIGHTS, -100)
    with pytest.raises(BackboneError, match="cut off"):
        pelt_automl.select(output=tmp_path / "out", **world.options(model=str(folder)))
