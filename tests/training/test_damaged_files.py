"""Whatever has become of a file, reading it is one clear error: never a traceback, never another's weights."""

import json
from dataclasses import fields

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from pelt_automl.errors import SelectionError
from pelt_automl.log.events import CurvePoint
from pelt_automl.methods import METHODS
from pelt_automl.modifications import without_reparameterization
from pelt_automl.training.checkpoints import CONFIG, TrainedConfig, load_config, load_progress, load_tensors, save_progress, save_tensors
from pelt_automl.training.predicting import trained_pack
from pelt_automl.training.trials import TrialProgress
from tests.tiny import tiny_backbone
from tests.training.test_checkpoints import config_of

POINT = CurvePoint(4, 0.5, 0.6, 1e-3, 1.0)
WRONG = ("text", -1.5, [], {}, None, True)
"""In the place of a value; those that may stand there are left out."""


def progress():
    both, moments = torch.arange(6.0).reshape(2, 3), torch.ones(3)
    weights = {"best_weights": {"w": both}, "continuation": {"w": both, "m": moments}}
    return TrialProgress(step=4, curve=(POINT,), best_score=0.6, best_predictions=(1.0, 0.0), **weights)


def again(path, change):
    """Write a file again, with its tensors and metadata changed."""
    with safe_open(path, framework="pt") as file:
        tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata())  # noqa: SIM118
    tensors, metadata = change(tensors, metadata)
    save_file(tensors, path, metadata)


def cut(path):
    path.write_bytes(path.read_bytes()[:-5])


def renamed(tensors, metadata):
    return {name.replace("continuation/w", "continuation/v"): own for name, own in tensors.items()}, metadata


SPOILT = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": cut,
    "cut in its header": lambda path: path.write_bytes(path.read_bytes()[:20]),
    "zeros": lambda path: path.write_bytes(b"\0" * path.stat().st_size),
    "a pickle": lambda path: path.write_bytes(b"\x80\x04\x95pickle"),
    "text": lambda path: path.write_text("hello"),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "away": lambda path: path.unlink(),
    "a link to nothing": lambda path: (path.unlink(), path.symlink_to("nowhere")),
    "no metadata": lambda path: again(path, lambda tensors, metadata: (tensors, None)),
    "other metadata": lambda path: again(path, lambda tensors, metadata: (tensors, {"format": "pt"})),
    "no progress": lambda path: again(path, lambda tensors, metadata: (tensors, metadata | {"progress": "{}"} | {"crc32": ""})),
    "of another": lambda path: again(path, lambda tensors, metadata: (tensors, metadata | {"of": "lora-0009 of 00"})),
    "other keys": lambda path: again(path, renamed),
    "other shapes": lambda path: again(path, lambda tensors, metadata: ({name: own[:1] for name, own in tensors.items()}, metadata)),
    "other values": lambda path: again(path, lambda tensors, metadata: ({name: own + 1 for name, own in tensors.items()}, metadata)),
    "other types": lambda path: again(path, lambda tensors, metadata: ({name: own.half() for name, own in tensors.items()}, metadata)),
    "fewer": lambda path: again(path, lambda tensors, metadata: ({"continuation/m": tensors["continuation/m"]}, metadata)),
    "none": lambda path: again(path, lambda tensors, metadata: ({}, metadata)),
}


def test_a_whole_checkpoint_is_read(tmp_path):
    save_progress(tmp_path / "a.safetensors", progress(), "lora-0003 of ab")
    found = load_progress(tmp_path / "a.safetensors", "lora-0003 of ab")
    assert (found.step, found.curve, found.best_predictions, found.state) == (4, (POINT,), (1.0, 0.0), "running")
    assert torch.equal(found.best_weights["w"], progress().best_weights["w"])


@pytest.mark.parametrize("how", SPOILT)
def test_a_spoilt_checkpoint_is_one_error(how, tmp_path):
    path = tmp_path / "a.safetensors"
    save_progress(path, progress(), "lora-0003 of ab")
    SPOILT[how](path)
    with pytest.raises(SelectionError, match=r"a\.safetensors"):
        load_progress(path, "lora-0003 of ab")


def without_sum(path, **metadata):
    again(path, lambda tensors, own: (tensors, {name: value for name, value in (own | metadata).items() if name != "crc32"}))


@pytest.mark.parametrize("name", [f.name for f in fields(TrialProgress) if f.name not in ("best_weights", "continuation")])
@pytest.mark.parametrize("value", [{"a": 1}, "text", [{"step": 1}], None])
def test_a_checkpoint_whose_fields_have_other_types_is_one_error(name, value, tmp_path):
    if (value == "text" and name in ("cause", "traceback")) or (value is None and name == "best_score"):
        pytest.skip("may be")
    path = tmp_path / "a.safetensors"
    save_progress(path, progress())
    with safe_open(path, framework="pt") as file:
        plain = json.loads(file.metadata()["progress"])
    without_sum(path, progress=json.dumps(plain | {name: value}))
    with pytest.raises(SelectionError, match=rf"isn't a checkpoint that this version has written: {name}"):
        load_progress(path)


@pytest.mark.parametrize("metadata", [{"progress": "["}, {"progress": "[]"}, {"best_is_current": '["nowhere"]'}, {"best_is_current": "3"}])
def test_a_checkpoint_with_damaged_metadata_is_one_error(metadata, tmp_path):
    path = tmp_path / "a.safetensors"
    save_progress(path, progress())
    without_sum(path, **metadata)
    with pytest.raises(SelectionError, match="isn't a checkpoint that this version has written"):
        load_progress(path)


def test_every_type_of_tensor_is_summed_up_and_a_file_of_another_program_is_read_without_a_sum(tmp_path):
    types = (torch.bfloat16, torch.float16, torch.float32, torch.int64, torch.uint8, torch.bool)
    tensors = {str(kind): torch.ones(3, 2, dtype=kind) for kind in types} | {"scalar": torch.tensor(2.0), "none": torch.zeros(0, 4)}
    save_tensors(tmp_path / "a.safetensors", tensors)
    found, metadata = load_tensors(tmp_path / "a.safetensors")
    assert metadata == {}
    assert all(torch.equal(found[name], own) for name, own in tensors.items())
    save_file({"a": torch.ones(2)}, tmp_path / "b.safetensors")
    assert load_tensors(tmp_path / "b.safetensors")[0]["a"].tolist() == [1.0, 1.0]


# ---------------------------------------------------------------- a winner's configuration


@pytest.mark.parametrize("name", [f.name for f in fields(TrainedConfig)])
def test_a_configuration_without_a_field_or_with_something_else_in_it_is_one_error(name, tmp_path):
    written = json.loads(config_of("unipelt-apl").to_json())
    save, refused = tmp_path / CONFIG, []
    without = {key: value for key, value in written.items() if key != name}
    for changed in (without, *(written | {name: value} for value in WRONG)):
        save.write_text(json.dumps(changed))
        try:
            found = load_config(tmp_path)
        except SelectionError as error:
            assert "isn't a file that this version has written" in str(error)  # noqa: PT017
            refused.append(changed.get(name))
        else:
            assert not found.problems()
    assert len(refused) >= (5 if name not in ("method", "task", "format", "labels", "hyper_parameters", "modifications") else 2)


def test_a_configuration_that_isnt_text_is_one_error(tmp_path):
    (tmp_path / CONFIG).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SelectionError, match="isn't a file that this version has written: 'utf-8' codec"):
        load_config(tmp_path)


@pytest.mark.parametrize("change", [{"layers": (99,)}, {"size": 10**4}, {"name": "other"}, {"size": 0}])
def test_a_configuration_that_the_backbone_cant_have_is_one_error(change, tmp_path):
    from dataclasses import replace

    modifications = without_reparameterization(METHODS["lora"].modifications({}))
    backbone = tiny_backbone()
    from pelt_automl.modifications import Pack, PackTrial

    pack = Pack(backbone, [PackTrial(modifications, seed=0)], outputs=2)
    save_tensors(tmp_path / "weights.safetensors", pack.kept_weights(0))
    config = config_of("lora", modifications=tuple(replace(own, **change) for own in modifications))
    with pytest.raises(SelectionError, match=r"weights\.safetensors doesn't fit its configuration"):
        trained_pack(config, backbone, tmp_path / "weights.safetensors")
