"""The contract of packing: a trial ends in a pack as it ends alone."""

import re
from dataclasses import replace

import pytest
import torch

from pelt_automl.methods import METHODS
from pelt_automl.modifications import Pack
from pelt_automl.settings import TrainingSettings
from pelt_automl.tasks import METRICS
from pelt_automl.timing.schedule import TrainingPlan, make_plan
from pelt_automl.training import pack_training, packing
from pelt_automl.training.tokens import Tokens
from pelt_automl.training.trials import TrialRun
from pelt_automl.training.work import Work
from tests.tiny import a_run, tiny_backbone

MIXED = [
    ("lora", {"rank": 4}, 3e-3),
    ("lora", {"rank": 2, "alpha": 32.0}, 1e-2),
    ("adapter", {"bottleneck": 6}, 1e-2),
    ("prefix", {"prefix_length": 3, "reparameterization": False}, 2e-2),
    ("unipelt-apl", {"bottleneck": 3, "prefix_length": 5, "rank": 3}, 5e-3),
    ("bitfit", {}, 1e-2),
]
"""Six trials: several methods, sizes and learning rates."""


def mixed_runs() -> list[TrialRun]:
    return [
        a_run(f"{name}-{index}", METHODS[name].modifications(sizes), rate=rate, seed=index)
        for index, (name, sizes, rate) in enumerate(MIXED)
    ]


def plan_of(steps: int) -> TrainingPlan:
    return make_plan(steps, (0.3,), 16, TrainingSettings(batch_size=8, min_steps=1, patience=50))


def work(steps: int = 12, family: str = "bert") -> Work:
    return Work(tiny_backbone(family), plan_of(steps), METRICS["accuracy"], outputs=2)


def final_weights(run: TrialRun) -> dict[str, torch.Tensor]:
    """The trained weights one step before the end, where everything needed to go on is held."""
    return {name: tensor for name, tensor in run.progress.continuation.items() if not name.startswith("exp_avg")}


def assert_close(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor], relative: float = 1e-5) -> None:
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        if re.search("attention__(self__key|k_lin)$", name):
            continue  # a bias of the keys cancels in the softmax: its gradient is rounding noise, which Adam blows up
        distance = (tensor - theirs[name]).norm() / theirs[name].norm().clamp_min(1e-3)
        assert distance < relative, f"{name}: {distance:.2e}"


@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_a_trial_in_a_mixed_pack_of_six_ends_with_the_weights_it_has_alone(family: str) -> None:
    together, alone, shared = mixed_runs(), mixed_runs(), work(family=family)
    packing.train(shared, together, until=11)
    for run in alone:
        packing.train(shared, [run], until=11)
    for packed, single in zip(together, alone, strict=True):
        assert_close(final_weights(packed), final_weights(single))
        assert [p.select_score for p in packed.progress.curve] == [p.select_score for p in single.progress.curve]


def test_training_moves_every_trained_tensor_and_no_weight_of_the_backbone() -> None:
    runs, shared = mixed_runs(), work()
    frozen = {name: tensor.clone() for name, tensor in shared.backbone.model.state_dict().items()}
    packing.train(shared, runs, until=1)
    early = [final_weights(run) for run in runs]
    packing.train(shared, runs, until=11)
    for run, before in zip(runs, early, strict=True):
        after = final_weights(run)
        still = [name for name in after if torch.equal(before[name], after[name])]
        assert still == [], f"{run.name}: {still}"
    assert all(torch.equal(frozen[name], tensor) for name, tensor in shared.backbone.model.state_dict().items())


def test_going_on_from_a_rung_ends_where_an_uninterrupted_training_ends() -> None:
    through, paused, shared = mixed_runs()[:3], mixed_runs()[:3], work()
    packing.train(shared, through, until=11)
    packing.train(shared, paused, until=5)
    packing.train(shared, paused, until=11)
    for one, other in zip(through, paused, strict=True):
        assert_close(final_weights(one), final_weights(other))


def test_a_trial_that_diverges_fails_alone_and_leaves_the_others_untouched() -> None:
    runs, clean, shared = mixed_runs(), mixed_runs(), work()
    runs[1].learning_rate = float("nan")
    packing.train(shared, runs, until=11)
    packing.train(shared, [clean[0]], until=11)
    assert runs[1].progress.state == "failed"
    assert "not finite" in runs[1].progress.cause
    assert_close(final_weights(runs[0]), final_weights(clean[0]))


def test_a_trial_that_raises_fails_with_its_cause_and_its_neighbors_do_not(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="pelt_automl")
    runs, shared = mixed_runs(), work()
    runs[4].modifications = METHODS["prefix"].modifications({"prefix_length": -1})
    packing.train(shared, runs, until=12)
    assert [run.progress.state for run in runs] == ["completed"] * 4 + ["failed", "completed"]
    assert "Error" in runs[4].progress.cause
    assert f"{runs[4].name} failed\nTraceback" in caplog.text


def test_out_of_memory_halves_the_pack_and_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    pack = pack_training.Pack

    def small_memory(backbone: object, trials: list[object], outputs: int, lower: object) -> object:
        sizes.append(len(trials))
        if len(trials) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return pack(backbone, trials, outputs, lower)  # type: ignore[arg-type]

    monkeypatch.setattr(pack_training, "Pack", small_memory)
    runs = mixed_runs()
    packing.train(work(), runs, until=12)
    assert all(run.progress.state == "completed" for run in runs)
    assert sizes[:2] == [6, 3]


def test_a_trial_that_has_come_so_far_already_is_left_alone() -> None:
    run, shared = mixed_runs()[0], work()
    packing.train(shared, [run], until=6)
    packing.train(shared, [run], until=6)
    assert run.progress.step == 6
    assert run.running


def test_the_time_limit_leaves_trials_running_where_they_stand() -> None:
    steps: list[int] = []
    shared = work()
    limited = replace(shared, on_step=steps.append, expired=lambda: len(steps) >= 4)
    run = mixed_runs()[0]
    packing.train(limited, [run], until=12)
    assert run.running
    assert run.progress.step == 4
    packing.train(shared, [run], until=12)
    assert run.progress.state == "completed"


def test_full_fine_tuning_trains_a_copy_in_a_pack_of_its_own() -> None:
    full, lora, shared = a_run("full", METHODS["full"].modifications({}), rate=1e-3), mixed_runs()[0], work()
    frozen = {name: tensor.clone() for name, tensor in shared.backbone.model.state_dict().items()}
    packing.train(shared, [full, lora], until=12)
    assert [full.progress.state, lora.progress.state] == ["completed", "completed"]
    weights = full.progress.best_weights
    assert not torch.equal(
        weights["full.everything.model.encoder.layer.0.attention.self.query.weight"], frozen["encoder.layer.0.attention.self.query.weight"]
    )
    assert all(torch.equal(frozen[name], tensor) for name, tensor in shared.backbone.model.state_dict().items())


def test_a_learnable_task_is_learned() -> None:
    run = a_run("lora", METHODS["lora"].modifications({}), rate=2e-2, count=64)
    packing.train(work(steps=80), [run], until=80)
    assert run.progress.best_score == 1.0


def test_early_stopping_ends_a_trial_without_a_new_best() -> None:
    run, stale = a_run("lora", METHODS["lora"].modifications({}), rate=2e-2, count=64), work(steps=80)
    plan = replace(stale.plan, patience=2, evaluate_at=tuple(range(5, 81, 5)))
    packing.train(replace(stale, plan=plan), [run], until=80)
    assert run.progress.state == "completed"
    assert "no new best in 2 evaluations" in run.progress.cause
    assert len(run.progress.curve) < len(plan.evaluate_at)


def test_where_evaluations_look_at_a_part_it_is_the_same_for_all_and_the_end_is_scored_on_all(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[int]] = []
    evaluate = pack_training.evaluate

    def counting(pack: Pack, sets: list[Tokens], *more: object) -> object:
        seen.append([len(part) for part in sets])
        return evaluate(pack, sets, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(pack_training, "evaluate", counting)
    runs, shared = mixed_runs()[:2], work()
    packing.train(replace(shared, plan=replace(shared.plan, evaluate_at=(3, 6, 9, 12), select_most=5)), runs, until=12)
    assert seen == [[5, 5]] * 4 + [[16], [16]]
    assert all(len(run.progress.best_predictions) == 16 for run in runs)
    assert runs[0].watched(5).labels.tolist() == runs[1].watched(5).labels.tolist()
