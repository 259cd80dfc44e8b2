"""What is written of a training comes back as it was, and nothing else is accepted."""

import errno
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import SafetensorError

from pelt_automl.errors import SelectionError
from pelt_automl.methods import METHODS
from pelt_automl.modifications import without_reparameterization
from pelt_automl.settings import TrainingSettings
from pelt_automl.tasks import METRICS
from pelt_automl.tasks.kinds import LabelScale
from pelt_automl.timing.schedule import make_plan
from pelt_automl.training import checkpoints, packing
from pelt_automl.training.checkpoints import (
    CONFIG,
    WEIGHTS,
    TrainedConfig,
    load_config,
    load_progress,
    load_tensors,
    save_progress,
    save_tensors,
    save_trained,
)
from pelt_automl.training.evaluation import evaluate
from pelt_automl.training.predicting import trained_pack
from pelt_automl.training.work import Work
from tests.tiny import a_run, tiny_backbone

every_method = pytest.mark.parametrize("method", list(METHODS))


class Tokenizer:
    def save_pretrained(self, folder):
        pass


def config_of(method, **other):
    modifications = without_reparameterization(METHODS[method].modifications({}))
    config = TrainedConfig(
        method=method,
        hyper_parameters=METHODS[method].defaults,
        modifications=modifications,
        kind="classification",
        labels=["no", "yes"],
        text_columns=["text"],
        scale=LabelScale(0.5, 2.0),
        max_length=32,
        precision="fp32",
        backbone={"name": "tiny", "location": "/nowhere", "sha256": "00"},
        task="toy",
    )
    return replace(config, **other)


def trained(method, steps=6, until=6):
    run = a_run(method, METHODS[method].modifications({}), rate=1e-2)
    plan = make_plan(steps, (0.3,), 16, TrainingSettings(batch_size=8, min_steps=1))
    work = Work(tiny_backbone(), plan, METRICS["accuracy"], outputs=2)
    packing.train(work, [run], until=until)
    return run, work


@every_method
def test_a_config_is_the_same_after_a_round_trip(method):
    config = config_of(method)
    assert TrainedConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize(("kind", "labels", "outputs"), [("classification", ["a", "b", "c"], 3), ("regression", [], 1)])
def test_a_config_knows_its_number_of_outputs(kind, labels, outputs):
    assert config_of("lora", kind=kind, labels=labels).outputs == outputs


@every_method
def test_saved_and_loaded_weights_give_equal_logits(method, tmp_path):
    run, _ = trained(method)
    save_trained(tmp_path / "winner", config_of(method), run.progress.best_weights, Tokenizer())
    config = load_config(tmp_path / "winner")
    first, second = (trained_pack(config, tiny_backbone(), tmp_path / "winner" / WEIGHTS) for _ in range(2))
    one, other = (evaluate(pack, [run.select])[0].logits for pack in (first, second))
    np.testing.assert_array_equal(one, other)
    score = METRICS["accuracy"].value(one.argmax(1), run.select.labels)
    assert score == run.progress.best_score, "they are the weights of the best evaluation"
    untrained = evaluate(trained_pack(config, tiny_backbone(), _weights_of(method, tmp_path)), [run.select])[0].logits
    assert np.abs(one - untrained).max() > 1e-3


def _weights_of(method, tmp_path):
    run, _ = trained(method, steps=2, until=2)
    run.progress.best_weights = {name: torch.full_like(own, 0.1) for name, own in run.progress.best_weights.items()}
    save_tensors(tmp_path / "zeros.safetensors", run.progress.best_weights)
    return tmp_path / "zeros.safetensors"


@every_method
def test_a_training_goes_on_from_a_file_as_from_memory(method, tmp_path):
    paused, work = trained(method, steps=9, until=4)
    path = tmp_path / "checkpoints" / "trial.safetensors"
    save_progress(path, paused.progress)
    again = a_run(method, METHODS[method].modifications({}), rate=1e-2)
    again.progress = load_progress(path)
    assert (again.progress.step, again.progress.state, again.progress.curve) == (4, "running", paused.progress.curve)
    assert again.progress.continuation.keys() == paused.progress.continuation.keys()
    assert again.progress.best_weights.keys() == paused.progress.best_weights.keys()
    packing.train(work, [again], until=9)
    packing.train(work, [paused], until=9)
    assert again.progress.state == "completed"
    assert [(p.step, p.train_loss, p.select_score) for p in again.progress.curve] == [
        (p.step, p.train_loss, p.select_score) for p in paused.progress.curve
    ]
    for name, own in again.progress.best_weights.items():
        torch.testing.assert_close(own, paused.progress.best_weights[name], msg=name)


def test_weights_that_are_both_the_best_and_the_current_ones_are_kept_and_written_once(tmp_path):
    run, work = trained("full", steps=9, until=4)
    best, continuation = run.progress.best_weights, run.progress.continuation
    assert run.progress.curve[-1].step == 4
    assert all(continuation[name] is own for name, own in best.items())
    save_progress(tmp_path / "trial.safetensors", run.progress)
    assert load_tensors(tmp_path / "trial.safetensors")[0].keys() == {f"continuation/{name}" for name in continuation}
    again = load_progress(tmp_path / "trial.safetensors").best_weights
    assert again.keys() == best.keys()
    before = {name: own.clone() for name, own in best.items()}
    packing.train(work, [run], until=5)  # not evaluated there: the best ones are those of step 4
    assert run.progress.best_weights is best
    for name, own in before.items():
        assert torch.equal(best[name], own), name
        assert torch.equal(again[name], own), name
    assert not any(torch.equal(run.progress.continuation[name], own) for name, own in before.items())
    save_progress(tmp_path / "trial.safetensors", run.progress)
    assert all(torch.equal(load_progress(tmp_path / "trial.safetensors").best_weights[name], own) for name, own in before.items())


def test_a_kill_while_writing_leaves_the_old_file_whole(tmp_path, monkeypatch):
    path = tmp_path / "weights.safetensors"
    save_tensors(path, {"a": torch.ones(3)}, {"trial": "lora-0000"})

    def cut_off(tensors, target, metadata):
        target.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints, "save_file", cut_off)
    with pytest.raises(KeyboardInterrupt):
        save_tensors(path, {"a": torch.zeros(3)})
    tensors, metadata = load_tensors(path)
    assert tensors["a"].tolist() == [1.0, 1.0, 1.0]
    assert metadata == {"trial": "lora-0000"}


def full(*_, **__):
    """As safetensors tells of it."""
    raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


def test_a_full_disk_is_an_os_error_with_its_number_and_the_file(tmp_path, monkeypatch):
    path = tmp_path / "weights.safetensors"
    save_tensors(path, {"a": torch.ones(3)})
    monkeypatch.setattr(checkpoints, "save_file", full)
    with pytest.raises(OSError, match="No space left on device") as found:
        save_tensors(path, {"a": torch.zeros(3)})
    assert (found.value.errno, found.value.filename) == (errno.ENOSPC, str(path))
    assert [each.name for each in tmp_path.iterdir()] == ["weights.safetensors"], "no draft stays"
    assert load_tensors(path)[0]["a"].tolist() == [1.0, 1.0, 1.0]


def test_another_error_of_safetensors_stays_what_it_is(tmp_path, monkeypatch):
    def broken(*_):
        raise SafetensorError("I/O error: Permission denied (os error 13)")

    monkeypatch.setattr(checkpoints, "save_file", broken)
    with pytest.raises(SafetensorError, match="os error 13"):
        save_tensors(tmp_path / "x.safetensors", {"a": torch.zeros(3)})


def test_tensors_that_are_views_are_written_as_what_they_show(tmp_path):
    whole = torch.arange(24.0).view(2, 3, 4)
    save_tensors(tmp_path / "x.safetensors", {"row": whole[1].narrow(1, 0, 2), "turned": whole[0].T})
    tensors, _ = load_tensors(tmp_path / "x.safetensors")
    assert tensors["row"].tolist() == [[12.0, 13.0], [16.0, 17.0], [20.0, 21.0]]
    assert tensors["turned"].shape == (4, 3)


def test_a_folder_without_a_trained_method_is_named_as_such(tmp_path):
    with pytest.raises(SelectionError, match=rf"holds no trained method: {CONFIG} can't be read \(No such file"):
        load_config(tmp_path)


@pytest.mark.parametrize("content", ["", "not json", "[]", '"text"', "{}", '{"modifications": [{}]}', '{"modifications": 3}'])
def test_another_file_under_the_configs_name_is_refused(tmp_path, content):
    (tmp_path / CONFIG).write_text(content)
    with pytest.raises(SelectionError, match="isn't a file that this version has written"):
        load_config(tmp_path)


def test_a_config_with_an_unknown_field_is_refused(tmp_path):
    (tmp_path / CONFIG).write_text(json.dumps(json.loads(config_of("lora").to_json()) | {"command": "rm"}))
    with pytest.raises(SelectionError, match="isn't a file that this version has written: it has command, which isn't known"):
        load_config(tmp_path)


@pytest.mark.parametrize("content", [b"", b"x" * 100, b"\x80\x04\x95pickle"])
def test_a_file_that_is_no_safetensors_is_refused(tmp_path, content):
    (tmp_path / "weights.safetensors").write_bytes(content)
    with pytest.raises(SelectionError, match="isn't a readable safetensors file"):
        load_tensors(tmp_path / "weights.safetensors")


def test_weights_of_another_configuration_are_refused(tmp_path):
    run, _ = trained("lora")
    save_trained(tmp_path, config_of("lora"), run.progress.best_weights, Tokenizer())
    with pytest.raises(SelectionError, match="doesn't fit its configuration"):
        trained_pack(config_of("adapter"), tiny_backbone(), tmp_path / WEIGHTS)
    larger = without_reparameterization(METHODS["lora"].modifications({"rank": 3}))
    with pytest.raises(SelectionError, match="doesn't fit its configuration"):
        trained_pack(config_of("lora", modifications=larger), tiny_backbone(), tmp_path / WEIGHTS)
