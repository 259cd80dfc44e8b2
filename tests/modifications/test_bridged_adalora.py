"""AdaLoRA's ranks are really allocated: the budget falls as the paper says, and a training goes on from a file as from memory."""

import pytest
import torch

from pelt_automl.errors import BackboneError
from pelt_automl.methods import METHODS
from pelt_automl.modifications import Pack, PackTrial
from pelt_automl.settings import TrainingSettings
from pelt_automl.tasks import METRICS
from pelt_automl.timing.schedule import make_plan
from pelt_automl.training import packing
from pelt_automl.training.checkpoints import load_progress, save_progress
from pelt_automl.training.work import Work
from tests.tiny import a_run, tiny_backbone

MAPS = 4  # query and value of two layers
SIZES = {"init_r": 4, "target_r": 1, "tinit_share": 0.1, "tfinal_share": 0.2}


def modifications(**other):
    return METHODS["peft-adalora"].modifications(SIZES | other)


def work_of(steps, backbone=None):
    plan = make_plan(steps, (0.4,), 16, TrainingSettings(batch_size=8, min_steps=1, patience=100))
    return Work(backbone or tiny_backbone(), plan, METRICS["accuracy"], outputs=2)


def ranks_left(weights):
    values = [own for name, own in weights.items() if "lora_E" in name]
    assert len(values) == MAPS
    return sum(int(own.count_nonzero()) for own in values)


def trained(until, steps=10, **other):
    run = a_run("adalora", modifications(**other))
    packing.train(work_of(steps), [run], until=until)
    assert run.progress.cause == ""
    return run


@pytest.mark.parametrize(
    ("until", "left"),
    [
        (1, 16),  # warm-up: all 4 x 4
        (4, 6),  # 4 + (16 - 4) (1 - 3/7)^3 = 6.24
        (8, 4),  # the fall ends: one a map, on average
        (9, 4),
    ],
)
def test_the_budget_falls_with_the_cube_of_the_share_of_the_fall_that_is_left(until, left):
    run = trained(until)
    weights = {name: own for name, own in run.progress.continuation.items() if not name.startswith(("exp_", "state/"))}
    assert ranks_left(weights) == left


def test_ranks_that_are_gone_stay_gone_and_what_is_kept_has_its_full_shape():
    run = trained(10)
    assert ranks_left(run.progress.best_weights) == MAPS
    assert {own.shape[0] for name, own in run.progress.best_weights.items() if "lora_E" in name} == {4}


def test_the_schedule_follows_the_length_of_the_training():
    pack = Pack(tiny_backbone(), [PackTrial(modifications(), 0)], 2)
    pack.begin(0, 50, {})
    config = pack.stacks[0].config
    assert (config.total_step, config.tinit, config.tfinal) == (50, 5, 10)
    pack.begin(0, 2, {})
    assert (config.total_step, config.tinit, config.tfinal) == (2, 0, 0), "what little there is goes to the fall"
    with pytest.raises(BackboneError, match="can't fall in a training of 10 steps that begins with 9 without"):
        Pack(tiny_backbone(), [PackTrial(modifications(tinit_share=0.9), 0)], 2).begin(0, 10, {})


def test_orthogonality_is_part_of_the_loss():
    pack = Pack(tiny_backbone(), [PackTrial(modifications(orth_reg_weight=0.5), 0)], 2)
    with torch.no_grad():
        for name, own in pack.named_parameters():
            if "lora_A" in name:
                own.copy_(torch.eye(4, 16))  # orthonormal
            if "lora_B" in name:
                own.copy_(2 * torch.eye(16, 4))  # 4 I - I = 3 I, of norm 3 sqrt(4) = 6
    assert pack.penalty().item() == pytest.approx(0.5 * 6 / 2)


def test_other_methods_add_nothing_to_the_loss():
    pack = Pack(tiny_backbone(), [PackTrial(METHODS["peft-dora"].modifications({}), 0)], 2)
    assert pack.penalty() == 0


@pytest.mark.parametrize("at", [3, 9])
def test_a_training_goes_on_from_a_file_with_the_same_ranks(at, tmp_path):
    whole = trained(10)
    paused = trained(at)
    save_progress(tmp_path / "trial.safetensors", paused.progress)
    again = a_run("adalora", modifications())
    again.progress = load_progress(tmp_path / "trial.safetensors")
    packing.train(work_of(10), [again], until=10)
    assert again.progress.state == "completed"
    for name, own in whole.progress.best_weights.items():
        torch.testing.assert_close(again.progress.best_weights[name], own, msg=name)
