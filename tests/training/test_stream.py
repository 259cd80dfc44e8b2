"""A stream of trials: who ends leaves the pack at once, and the next takes the place."""

import weakref
from collections import deque
from dataclasses import dataclass, field, replace

import pytest
import torch

from pelt_automl.methods import METHODS
from pelt_automl.training import pack_training
from pelt_automl.training.trials import TrialRun
from tests.tiny import a_run
from tests.training import test_packing
from tests.training.test_packing import assert_close, mixed_runs


def trainer():
    """12 steps, evaluated after 3, 6, 9 and 12; a rung after 3."""
    teacher = test_packing.trainer()
    return replace(teacher, plan=replace(teacher.plan, evaluate_at=(3, 6, 9, 12), rungs=(3,)))


@dataclass
class Scripted:
    """A source that ends trials at their first rung, by name, and writes down what it is asked and told."""

    todo: deque[TrialRun]
    stop: frozenset[str] = frozenset()
    judged: list[tuple[str, int]] = field(default_factory=list)
    done: list[str] = field(default_factory=list)

    def next(self, waiting):
        return self.todo.popleft() if self.todo else None

    def judge(self, run):
        self.judged.append((run.name, run.progress.step))
        assert run.progress.continuation, "all that it needs to go on is there"
        if run.name in self.stop:
            run.end("stopped", "as told")

    def ended(self, run):
        self.done.append(run.name)


def adapters(count):
    build = METHODS["adapter"].modifications
    return [a_run(f"adapter-{index}", build({"bottleneck": 2 + index}), seed=index) for index in range(count)]


def test_those_that_end_at_a_rung_are_replaced_at_once():
    packs = []
    teacher = replace(trainer(), on_step=packs.append)
    source = Scripted(deque(adapters(5)), stop=frozenset({"adapter-0", "adapter-1"}))
    teacher.stream(source, at_once=2)
    # 0 and 1 end after 3 steps, 2 and 3 train in full beside each other, then 4 alone
    assert packs == [2] * 3 + [2] * 12 + [1] * 12
    assert source.judged == [(f"adapter-{index}", 3) for index in range(5)]
    assert source.done == [f"adapter-{index}" for index in range(5)]


def test_a_trial_that_joins_later_ends_as_it_ends_alone():
    runs, alone, teacher = mixed_runs()[:4], mixed_runs()[:4], trainer()
    for run in (*runs, *alone):
        run.progress.step = 0
    stop = frozenset({runs[0].name})
    teacher.stream(Scripted(deque(runs), stop), at_once=2)
    assert runs[0].progress.state == "stopped"
    for run, single in zip(runs[1:], alone[1:], strict=True):
        teacher.train([single], until=12)
        assert run.progress.state == single.progress.state == "completed"
        assert [point.select_score for point in run.progress.curve] == [point.select_score for point in single.progress.curve]
        assert_close(run.progress.best_weights, single.progress.best_weights)


def test_trials_that_can_not_share_a_pack_wait_for_one_of_their_own():
    packs = []
    teacher = replace(trainer(), on_step=packs.append)
    full = a_run("full", METHODS["full"].modifications({}), rate=1e-3)
    source = Scripted(deque([*adapters(2), full, *adapters(1)]))
    teacher.stream(source, at_once=3)
    assert sorted(source.done) == ["adapter-0", "adapter-0", "adapter-1", "full"]
    assert sorted(packs) == [1] * 12 + [3] * 12
    assert full.progress.state == "completed"


def test_prompts_do_not_lengthen_the_sequences_of_other_methods():
    sizes = []
    teacher = replace(trainer(), on_step=sizes.append)
    prompts = [a_run(f"prompt-{index}", METHODS["prompt"].modifications({}), seed=index) for index in range(2)]
    teacher.stream(Scripted(deque([prompts[0], *adapters(2), prompts[1]])), at_once=4)
    assert sizes == [2] * 24


def test_when_the_time_is_up_every_trial_is_told_of_those_that_never_began_too():
    steps = []
    limited = replace(trainer(), on_step=steps.append, expired=lambda: len(steps) >= 4)
    first, second = adapters(2)
    prompt = a_run("prompt", METHODS["prompt"].modifications({}))  # asked for before the second adapter, and left waiting
    source = Scripted(deque([first, prompt, second]))
    limited.stream(source, at_once=2)
    assert source.done == ["adapter-0", "adapter-1", "prompt"]
    assert [run.progress.step for run in (first, prompt, second)] == [4, 0, 4]
    assert all(run.running for run in (first, prompt, second))


def test_who_has_ended_is_told_before_the_next_is_asked_for():
    told = []

    class Telling(Scripted):
        def next(self, waiting):
            told.append(("asked", len(self.done)))
            return super().next(waiting)

    trainer().stream(Telling(deque(adapters(4)), stop=frozenset({"adapter-0", "adapter-1"})), at_once=2)
    assert told[:4] == [("asked", 0), ("asked", 0), ("asked", 2), ("asked", 2)]


def test_after_running_out_of_memory_packs_stay_as_small_as_what_fitted(monkeypatch):
    sizes, pack = [], pack_training.Pack

    def small_memory(backbone, trials, outputs, lower=None):
        sizes.append(len(trials))
        if len(trials) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return pack(backbone, trials, outputs, lower)

    monkeypatch.setattr(pack_training, "Pack", small_memory)
    runs = adapters(8)
    trainer().stream(Scripted(deque(runs)), at_once=4)
    assert sizes == [4, 2, 2, 2, 2]
    assert all(run.progress.state == "completed" for run in runs)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_only_memory_that_runs_out_halves_a_pack(monkeypatch, error):
    assert sizes_of_packs(monkeypatch, error, only_above=2) == [4, 2, 2, 2, 2]


@pytest.mark.parametrize(
    "error", [TypeError("of the program"), KeyError("of the program"), RuntimeError("mat1 and mat2 shapes cannot be multiplied")]
)
def test_an_error_of_the_program_is_met_once_more_by_each_trial_alone_and_never_in_halves(monkeypatch, error, caplog):
    caplog.set_level("INFO", logger="pelt_automl")
    runs = adapters(8)
    assert sizes_of_packs(monkeypatch, error, only_above=0, runs=runs) == [4, 1, 1, 1, 1] * 2
    for run in runs:
        assert run.progress.state == "failed"
        assert run.progress.cause == f"{type(error).__name__}: {error}"
        assert run.progress.traceback.startswith("Traceback (most recent call last):")
        assert "in one_that_fails" in run.progress.traceback
        assert run.progress.traceback.endswith(f"{type(error).__name__}: {error}\n")
    assert "adapter-3 failed\nTraceback" in caplog.text


def sizes_of_packs(monkeypatch, error, only_above, runs=None):
    """The sizes of all packs that are made of eight trials, at most four at once, where those above a size raise."""
    sizes, pack = [], pack_training.Pack

    def one_that_fails(backbone, trials, outputs, lower=None):
        sizes.append(len(trials))
        if len(trials) > only_above:
            raise error
        return pack(backbone, trials, outputs, lower)

    monkeypatch.setattr(pack_training, "Pack", one_that_fails)
    trainer().stream(Scripted(deque(runs or adapters(8))), at_once=4)
    return sizes


def test_what_a_failed_pack_held_is_free_before_it_is_tried_again(monkeypatch):
    held, alive = [], []
    step = pack_training.PackTraining._one_step

    def failing(pack):
        activations = torch.zeros(3)
        alive.append([kept() is not None for kept in held])
        if len(pack.runs) > 1:
            held.append(weakref.ref(activations))
            held.append(weakref.ref(pack))
            raise MemoryError("made to fail")
        step(pack)

    monkeypatch.setattr(pack_training.PackTraining, "_one_step", failing)
    trainer().stream(Scripted(deque(adapters(2))), at_once=2)
    assert alive[1] == [False, False]


def test_an_error_of_the_source_ends_the_training_and_fails_no_trial():
    class Broken(Scripted):
        def judge(self, run):
            raise OSError("no space left on device")

    runs = adapters(2)
    with pytest.raises(OSError, match="no space left"):
        trainer().stream(Broken(deque(runs)), at_once=2)
    assert all(run.running for run in runs)


def test_a_failure_after_a_rung_goes_back_to_the_rung(monkeypatch):
    step = pack_training.PackTraining._one_step
    failed = []

    def failing(pack):
        if pack._step_of(0) == 4 and not failed:
            failed.append([run.name for run in pack.runs])
            raise MemoryError("made to fail")
        step(pack)

    monkeypatch.setattr(pack_training.PackTraining, "_one_step", failing)
    runs, source = adapters(2), None
    source = Scripted(deque(runs))
    trainer().stream(source, at_once=2)
    assert failed == [["adapter-0", "adapter-1"]]
    assert [run.progress.state for run in runs] == ["completed"] * 2
    assert sorted(source.judged) == [("adapter-0", 3), ("adapter-1", 3)], "nobody is judged twice at a rung"
    assert [point.step for point in runs[0].progress.curve] == [3, 6, 9, 12]


def test_where_evaluations_look_at_a_part_the_end_is_scored_on_all(monkeypatch):
    seen = []
    evaluate = pack_training.evaluate

    def counting(pack, sets, *more):
        seen.append([len(part) for part in sets])
        return evaluate(pack, sets, *more)

    monkeypatch.setattr(pack_training, "evaluate", counting)
    teacher = trainer()
    runs = adapters(2)
    replace(teacher, plan=replace(teacher.plan, select_most=5)).train(runs, until=12)
    assert seen == [[5, 5]] * 4 + [[16], [16]]
    assert all(len(run.progress.best_predictions) == 16 for run in runs)
    assert runs[0].watched(5).labels.tolist() == runs[1].watched(5).labels.tolist()
