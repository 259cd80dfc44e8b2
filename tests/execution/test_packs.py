"""Segments in packs: what the stream promised, and that a kill costs a segment and changes nothing."""

import weakref
from dataclasses import replace

import pytest
import torch

from pelt_automl.execution import packs as packs_module
from pelt_automl.log.events import Because, SegmentEnded, StateLost, TrialEnded
from pelt_automl.training import pack_training, packing
from tests.execution.laboratory import ADAPTERS, MIXED, Laboratory, begin, plan_of, segment, work
from tests.training.test_packing import assert_close


@pytest.fixture
def laboratory(tmp_path):
    lives = []
    yield lambda **options: Laboratory(tmp_path, lives=lives, **options)
    for life in lives:
        life.packs.stop()


def reference(name, plan=None):
    """The same training alone and uninterrupted, without segments."""
    run, own = begin(segment(name)), work()
    packing.train(replace(own, plan=plan or own.plan), [run])
    return run


def of(events):
    return [(type(event).__name__, event.trial) for event in events]


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(own, other[name]) for name, own in one.items())


# ------------------------------------------------------------ what comes of a training


@pytest.mark.parametrize("ends", [(12,), (3, 12), (3, 6, 12), (4, 5, 12)])
def test_alone_a_trial_in_segments_ends_to_the_digit_as_in_one_go(laboratory, ends):
    own = laboratory(at_once=1)
    for start, end in zip((0, *ends), ends, strict=False):
        own.release(segment("lora-0", start, end))
        events = own.wait()
    (event,) = events
    before = reference("lora-0")
    assert [replace(point, seconds=0.0) for point in event.curve] == [replace(point, seconds=0.0) for point in before.progress.curve]
    assert (event.state, event.select_score, event.steps) == ("completed", before.progress.best_score, 12)
    assert event.tokens == {"computed": before.progress.tokens_computed, "text": before.progress.tokens_of_text}
    assert same(own.weights["lora-0"], before.progress.best_weights)


def test_in_a_pack_with_others_it_ends_as_alone_though_others_leave_and_join(laboratory):
    own = laboratory(at_once=3)
    own.release(*(segment(name) for name in list(MIXED)[:4]))
    own.to_the_end(stop=frozenset({"lora-0"}))
    assert {name: event.state for name, event in own.results().items()} == dict.fromkeys(list(MIXED)[:4], "completed") | {
        "lora-0": "stopped"
    }
    for name in list(MIXED)[1:4]:
        before = reference(name)
        assert [point.select_score for point in own.results()[name].curve] == [point.select_score for point in before.progress.curve]
        assert_close(own.weights[name], before.progress.best_weights)


def test_a_segments_end_says_what_is_new_and_gives_the_state_to_go_on_from(laboratory):
    own = laboratory()
    own.release(segment("adapter-0", 0, 6))
    (first,) = own.wait()
    own.release(segment("adapter-0", 6, 9))
    (second,) = own.wait()
    assert [[point.step for point in event.points] for event in (first, second)] == [[3, 6], [9]]
    assert [(event.trial, event.attempt, event.reached, event.device) for event in (first, second)] == [
        ("adapter-0", 0, 6, "cpu"), ("adapter-0", 0, 9, "cpu"),
    ]  # fmt: skip
    assert 0 < first.seconds < second.seconds
    assert first.state != second.state
    own.release(segment("adapter-0", 9, 12))
    (last,) = own.wait()
    assert [point.step for point in last.curve] == [3, 6, 9, 12]


def test_the_end_is_scored_on_all_where_evaluations_look_at_a_part(laboratory):
    own = laboratory(plan=lambda steps: replace(plan_of(steps), select_most=5))
    own.release(segment("adapter-0", 0, 12), segment("adapter-1", 0, 12))
    for event in own.wait():
        assert len(own.history.outputs.get(event.outputs)) == 16
        assert event.state == "completed"


def test_a_trial_without_a_new_best_has_completed_early(laboratory):
    plan = replace(plan_of(12), patience=1, evaluate_at=tuple(range(1, 13)))
    own = laboratory(plan=lambda _: plan)
    own.release(segment("adapter-0", 0, 12))
    (event,) = own.wait()
    assert event.state == "completed"
    assert "no new best in 1 evaluations" in event.cause
    assert event.steps < 12
    assert same(own.weights["adapter-0"], reference("adapter-0", plan).progress.best_weights)


def test_every_step_is_told_of_with_its_trials(laboratory):
    sizes = []
    own = laboratory(at_once=2, changes={"on_step": sizes.append})
    own.release(*(segment(name) for name in list(ADAPTERS)[:5]))
    own.to_the_end(stop=frozenset({"adapter-0", "adapter-1"}))
    # 0 and 1 end after 3 steps, 2 and 3 train in full with each other, then 4 alone
    assert sizes == [2] * 3 + [2] * 12 + [1] * 12


# ------------------------------------------------------------ who shares a pack


def test_a_pack_whose_trials_all_go_on_is_the_same_one_over_a_rung_and_their_states_are_written(laboratory):
    own = laboratory(at_once=2)
    own.release(segment("adapter-0"), segment("adapter-1"))
    assert of(own.wait()) == [("SegmentEnded", "adapter-0"), ("SegmentEnded", "adapter-1")]
    live = own.packs._packing.pack
    own.release(segment("adapter-0", 3, 12), segment("adapter-1", 3, 12))
    assert of(own.wait()) == [("TrialEnded", "adapter-0"), ("TrialEnded", "adapter-1")]
    assert own.packs._packing.pack is live
    assert len([event for event in own.history.events if isinstance(event, SegmentEnded) and event.state]) == 2


def test_one_that_goes_on_alone_stays_though_another_has_left(laboratory, monkeypatch):
    own = laboratory(at_once=2)
    own.release(segment("adapter-0"), segment("adapter-1"))
    own.wait()
    monkeypatch.setattr(packs_module, "load_progress", None)  # its progress is the one in memory
    own.release(segment("adapter-0", 3, 12))
    assert own.packs.room().at == {"adapter-0": 3, "adapter-1": 3}
    assert of(own.wait()) == [("TrialEnded", "adapter-0")]
    assert own.history.trials["adapter-1"].undecided


def test_a_freed_place_is_refilled_at_once_with_one_of_the_kind(laboratory):
    sizes = []
    own = laboratory(at_once=2, changes={"on_step": sizes.append})
    own.release(*(segment(name, 0, 12) for name in ("adapter-0", "full", "prompt-0")), segment("adapter-1", 0, 3))
    assert of(own.wait()) == [("SegmentEnded", "adapter-1")]
    room = own.packs.room()
    assert (room.free, set(room.waiting), room.at) == (0, {"full", "prompt-0"}, {"adapter-0": 3, "adapter-1": 3})
    own.end("adapter-1")
    assert own.packs.room().free == 1
    assert of(own.wait()) == [("TrialEnded", "adapter-1")], "told before anything else is trained"
    own.release(segment("adapter-2", 0, 12))
    assert of(own.wait()) == [("TrialEnded", "adapter-0")]
    assert sizes == [2] * 12


def test_when_a_kind_is_used_up_the_one_that_waits_in_the_greatest_number_is_next_and_can_be_filled(laboratory):
    own, sizes = laboratory(at_once=3), []
    own.packs.work = own.packs._packing.work = replace(own.packs.work, on_step=sizes.append)
    own.release(segment("prompt-0", 0, 12), segment("adapter-0", 0, 12), segment("full", 0, 12), segment("adapter-1", 0, 12))
    assert own.packs.room().kind == own.packs.room().waiting["adapter-0"]
    own.wait()
    assert own.wait() == []
    room = own.packs.room()
    assert (room.kind, room.free) == (room.waiting["prompt-0"], 3)
    own.release(segment("prompt-1", 0, 12))
    assert of(own.wait()) == [("TrialEnded", "prompt-0"), ("TrialEnded", "prompt-1")]
    own.to_the_end()
    assert sizes == [2] * 12 + [2] * 12 + [1] * 12
    assert own.results()["full"].state == "completed"
    assert own.packs.room().kind is None, "whoever comes next may have a place"


def test_different_schedules_share_no_pack_and_equal_ones_do(laboratory):
    sizes = []
    own = laboratory(changes={"on_step": sizes.append}, plan=lambda steps: plan_of(12 if steps == 11 else steps))
    own.release(segment("adapter-0", 0, 12), segment("adapter-1", 0, 8, steps=8), segment("adapter-2", 0, 12, steps=11))
    own.to_the_end()
    assert sorted(sizes) == [1] * 8 + [2] * 12
    assert {name: event.steps for name, event in own.results().items()} == {"adapter-0": 12, "adapter-1": 8, "adapter-2": 12}


# ------------------------------------------------------------ ends that were decided


def test_a_trial_that_nothing_is_decided_about_leaves_the_pack_and_goes_on_later_from_its_state(laboratory):
    own = laboratory(at_once=1)
    own.release(segment("adapter-0"))
    own.wait()
    own.release(segment("adapter-1"))
    assert of(own.wait()) == [("SegmentEnded", "adapter-1")]
    assert own.packs.room().at == {"adapter-1": 3}
    own.release(segment("adapter-0", 3, 12))
    assert of(own.wait()) == [("TrialEnded", "adapter-0")]
    assert same(own.weights["adapter-0"], reference("adapter-0").progress.best_weights)


@pytest.mark.parametrize("where", ["in the pack", "outside", "after a kill"])
def test_a_trial_is_stopped_with_its_scores_and_its_weights_wherever_it_is(laboratory, where):
    own = laboratory(at_once=1)
    own.release(segment("adapter-0", 0, 6))
    own.wait()
    if where != "in the pack":
        own.release(segment("adapter-1"))
        own.wait()
    if where == "after a kill":
        own = own.after_a_kill()
    own.end("adapter-0", because=Because.METHOD_OUT)
    (event,) = own.wait()
    assert (event.state, event.cause, event.steps) == ("stopped", "its method has left the race", 6)
    assert [point.step for point in event.curve] == [3, 6]
    assert event.select_score == max(point.select_score for point in event.curve)
    assert own.weights["adapter-0"]


def test_a_trial_that_never_began_can_be_stopped(laboratory):
    own = laboratory(at_once=1)
    own.release(segment("adapter-0"), segment("adapter-1"))
    own.end("adapter-1", because=Because.TIME)
    (event,) = own.wait()
    assert (event.state, event.cause, event.steps, event.select_score) == ("stopped", "time limit", 0, None)
    assert [each.trial for each in own.packs.running()] == ["adapter-0"]
    assert "adapter-1" not in own.weights


def test_when_the_time_is_up_trials_stay_where_they_are_and_go_on_in_the_same_pack_or_are_cut_off(laboratory):
    steps = []
    own = laboratory(at_once=3, changes={"on_step": steps.append})
    own.release(*(segment(name, 0, 12) for name in ("adapter-0", "adapter-1", "full")))
    assert own.wait(lambda: len(steps) >= 4) == []
    live = own.packs._packing.pack
    assert own.packs.room().at == {"adapter-0": 4, "adapter-1": 4}
    assert {each.trial for each in own.packs.running()} == {"adapter-0", "adapter-1", "full"}
    assert own.wait(lambda: len(steps) >= 7) == []
    assert own.packs._packing.pack is live
    own.end("adapter-1", "full", because=Because.TIME)
    events = own.wait()
    assert [(event.trial, event.state, event.cause, event.steps) for event in events] == [
        ("adapter-1", "stopped", "time limit", 7), ("full", "stopped", "time limit", 0),
    ]  # fmt: skip
    assert [point.step for point in events[0].curve] == [3, 6]
    own.to_the_end()
    assert_close(own.weights["adapter-0"], reference("adapter-0").progress.best_weights)


def test_a_segment_can_be_made_longer_while_it_is_trained(laboratory):
    steps = []
    own = laboratory(changes={"on_step": steps.append})
    own.release(segment("adapter-0", 0, 6))
    own.wait(lambda: len(steps) >= 4)
    own.release(segment("adapter-0", 0, 12))
    assert of(own.wait()) == [("TrialEnded", "adapter-0")]
    assert len(steps) == 12


# ------------------------------------------------------------ kills


@pytest.mark.parametrize("steps_before", [1, 3, 4, 7, 11])
def test_a_kill_in_a_step_costs_the_segment_and_changes_nothing(laboratory, steps_before):
    steps = []
    own = laboratory(at_once=1, changes={"on_step": steps.append})
    own.release(segment("lora-0"))
    for start, end in ((3, 6), (6, 12)):
        if own.wait(lambda: len(steps) >= steps_before):
            own.release(segment("lora-0", start, end))
    own.wait(lambda: len(steps) >= steps_before)
    taken = []
    after = own.after_a_kill(on_step=taken.append)
    reached = after.history.trials["lora-0"].reached
    assert reached == max(end for end in (0, 3, 6) if end <= steps_before)
    after.to_the_end()
    assert len(taken) == 12 - reached, "what had ended isn't repeated"
    assert same(after.weights["lora-0"], reference("lora-0").progress.best_weights)
    before, event = reference("lora-0").progress, after.results()["lora-0"]
    assert [(point.step, point.train_loss, point.select_score) for point in event.curve] == [
        (point.step, point.train_loss, point.select_score) for point in before.curve
    ]


def test_a_kill_between_two_evaluations_loses_nothing_of_the_loss(laboratory):
    own = laboratory(at_once=1)
    own.release(segment("lora-0", 0, 5))
    own.wait()
    own = own.after_a_kill()
    own.release(segment("lora-0", 5, 12))
    (event,) = own.wait()
    assert [point.train_loss for point in event.curve] == [point.train_loss for point in reference("lora-0").progress.curve]


def test_kills_in_a_pack_change_nothing_beyond_rounding(laboratory):
    own = laboratory(at_once=4)
    own.release(*(segment(name) for name in list(MIXED)[:4]))
    own.wait()
    own.release(*(segment(name, 3, 9) for name in list(MIXED)[:4]))
    own = own.after_a_kill()
    own.to_the_end()
    for name in list(MIXED)[:4]:
        assert_close(own.weights[name], reference(name).progress.best_weights)


@pytest.mark.parametrize("harm", ["missing", "cut", "changed", "of another trial", "of another step"])
def test_a_spoilt_state_is_told_and_the_trial_starts_over_to_the_same_end(laboratory, harm):
    own = laboratory(at_once=1)
    own.release(segment("lora-0"))
    own.wait()
    own.release(segment("adapter-2"))
    own.wait()
    events, folder = own.history.events, own.folder / "states"
    state = folder / own.history.trials["lora-0"].state
    if harm == "missing":
        state.unlink()
    elif harm == "cut":
        state.write_bytes(state.read_bytes()[:-10])
    elif harm == "changed":
        state.write_bytes(state.read_bytes()[:-1] + b"x")
    elif harm == "of another trial":
        other = own.history.trials["adapter-2"].state
        events[1] = replace(events[1], state=other)
    else:
        events[1] = replace(events[1], reached=4)
    own = own.after_a_kill()
    start = own.history.trials["lora-0"].reached
    own.release(segment("lora-0", start, 12))
    (lost,) = own.wait()
    assert isinstance(lost, StateLost)
    assert (lost.trial, lost.attempt) == ("lora-0", 0)
    assert not own.history.open()
    own.release(segment("lora-0", 0, 12, attempt=1))
    (event,) = own.wait()
    assert isinstance(event, TrialEnded)
    assert [point.step for point in event.curve] == [3, 6, 9, 12]
    assert same(own.weights["lora-0"], reference("lora-0").progress.best_weights)


def test_a_trial_with_a_spoilt_state_can_be_stopped_with_its_scores(laboratory):
    own = laboratory(at_once=1)
    own.release(segment("lora-0", 0, 6))
    own.wait()
    (own.folder / "states" / own.history.trials["lora-0"].state).unlink()
    own = own.after_a_kill()
    own.end("lora-0")
    (event,) = own.wait()
    assert (event.state, event.steps) == ("stopped", 6)
    assert event.select_score == max(point.select_score for point in own.history.trials["lora-0"].curve)
    assert own.weights == {}


def test_only_states_that_a_trial_can_go_on_from_are_kept(laboratory):
    own = laboratory(at_once=2)
    own.release(segment("adapter-0"), segment("adapter-1"))
    own.wait()
    (own.folder / "states" / f"{'01' * 32}.safetensors").write_bytes(b"of a kill between state and log")
    (own.folder / "states" / "mine.safetensors").write_bytes(b"a user's")
    own.release(segment("adapter-0", 3, 6), segment("adapter-1", 3, 12))
    own.wait()
    own.release(segment("adapter-0", 6, 12))
    own.wait()
    needed = {own.history.trials["adapter-0"].state, own.history.trials["adapter-1"].state} - {""}
    own.wait()
    assert {path.name for path in (own.folder / "states").iterdir()} - needed == {"mine.safetensors"}
    own.to_the_end()
    own.wait()
    assert [path.name for path in (own.folder / "states").iterdir()] == ["mine.safetensors"]


# ------------------------------------------------------------ failures


def test_a_trial_that_raises_or_diverges_fails_with_its_cause_and_its_neighbors_do_not(laboratory):
    own = laboratory(at_once=4)
    own.release(*(segment(name, 0, 12) for name in ("adapter-0", "broken", "diverges", "lora-1")))
    own.to_the_end()
    results = own.results()
    assert {name: event.state for name, event in results.items()} == {
        "adapter-0": "completed", "broken": "failed", "diverges": "failed", "lora-1": "completed",
    }  # fmt: skip
    assert "Error" in results["broken"].cause
    assert results["broken"].traceback.startswith("Traceback (most recent call last):")
    assert "not finite by step 3" in results["diverges"].cause
    assert set(own.weights) == {"adapter-0", "lora-1"}
    assert same(own.weights["adapter-0"], reference("adapter-0").progress.best_weights)


OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory"),
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
]
OF_THE_PROGRAM = [TypeError("of the program"), KeyError("of the program"), RuntimeError("mat1 and mat2 shapes cannot be multiplied")]


@pytest.mark.parametrize(
    ("error", "above", "sizes"),
    [*((error, 2, [4, 2, 2, 2, 2]) for error in OF_MEMORY), *((error, 0, [4, 1, 1, 1, 1] * 2) for error in OF_THE_PROGRAM)],
)
def test_memory_that_runs_out_halves_packs_and_another_error_is_met_once_more_by_each_alone(laboratory, monkeypatch, error, above, sizes):
    made, pack = [], pack_training.Pack

    def one_that_fails(backbone, trials, outputs, lower=None):
        made.append(len(trials))
        if len(trials) > above:
            raise error
        return pack(backbone, trials, outputs, lower)

    monkeypatch.setattr(pack_training, "Pack", one_that_fails)
    own = laboratory(at_once=4)
    own.release(*(segment(name, 0, 12) for name in ADAPTERS))
    own.to_the_end()
    assert made == sizes
    assert {event.state for event in own.results().values()} == {"completed" if above else "failed"}
    for event in own.results().values() if not above else ():
        assert event.cause == f"{type(error).__name__}: {error}"
        assert "in one_that_fails" in event.traceback


@pytest.mark.parametrize("error", [MemoryError("made to fail"), TypeError("made to fail")])
def test_a_failure_after_a_segments_end_goes_back_to_it_and_tells_nothing_twice(laboratory, monkeypatch, error):
    step, failed = pack_training.PackTraining._one_step, []

    def failing(pack):
        if pack._step_of(0) == 7 and not failed:
            failed.append([run.name for run in pack.runs])
            raise error
        step(pack)

    monkeypatch.setattr(pack_training.PackTraining, "_one_step", failing)
    own = laboratory(at_once=2)
    own.release(segment("adapter-0"), segment("adapter-1"))
    own.to_the_end()
    assert failed == [["adapter-0", "adapter-1"]]
    assert sorted(of(own.history.of_kind(SegmentEnded))) == [("SegmentEnded", "adapter-0"), ("SegmentEnded", "adapter-1")]
    for name, event in own.results().items():
        assert event.state == "completed"
        assert [point.step for point in event.curve] == [3, 6, 9, 12]
        assert_close(own.weights[name], reference(name).progress.best_weights)


def test_the_weights_of_one_that_fails_late_are_not_handed_out(laboratory, monkeypatch):
    step = pack_training.PackTraining._one_step

    def failing(pack):
        if pack._step_of(0) == 7:
            raise TypeError("made to fail")
        step(pack)

    monkeypatch.setattr(pack_training.PackTraining, "_one_step", failing)
    own = laboratory()
    own.release(segment("adapter-0"))
    own.to_the_end()
    assert (own.results()["adapter-0"].state, own.weights) == ("failed", {})


def test_what_a_failed_pack_held_is_free_before_it_is_tried_again(laboratory, monkeypatch):
    held, alive, step = [], [], pack_training.PackTraining._one_step

    def failing(pack):
        activations = torch.zeros(3)
        alive.append([kept() is not None for kept in held])
        if len(pack.runs) > 1:
            held.extend((weakref.ref(activations), weakref.ref(pack)))
            raise MemoryError("made to fail")
        step(pack)

    monkeypatch.setattr(pack_training.PackTraining, "_one_step", failing)
    own = laboratory(at_once=2)
    own.release(segment("adapter-0", 0, 12), segment("adapter-1", 0, 12))
    own.to_the_end()
    assert alive[1] == [False, False]


def test_what_a_pack_held_is_free_before_the_next_is_built(laboratory, monkeypatch):
    held, alive, made = [], [], packing.PackTraining

    def make(*arguments):
        alive.append([kept() is not None for kept in held])
        found = made(*arguments)
        held.append(weakref.ref(found))
        return found

    monkeypatch.setattr(packing, "PackTraining", make)
    own = laboratory(at_once=1)
    own.release(*(segment(name, 0, 12) for name in ("adapter-0", "adapter-1", "full")))
    own.to_the_end()
    assert alive == [[], [False], [False, False]]


@pytest.mark.parametrize("broken", ["put", "keep"])
def test_an_error_of_the_disk_ends_the_training_and_fails_no_trial(laboratory, monkeypatch, broken):
    def full(*_):
        raise OSError("no space left on device")

    own = laboratory()
    if broken == "put":
        monkeypatch.setattr(packs_module, "put", full)
    else:
        own.packs.keep = full
    own.release(segment("adapter-0", 0, 3 if broken == "put" else 12))
    with pytest.raises(OSError, match="no space left"):
        own.wait()
    after = own.after_a_kill()
    monkeypatch.undo()
    after.to_the_end()
    assert after.results()["adapter-0"].state == "completed"


def test_what_is_let_go_can_be_started_again(laboratory):
    own = laboratory()
    own.release(segment("adapter-0"))
    own.wait()
    own.release(segment("adapter-0", 3, 12))
    own.packs.stop()
    assert own.packs.running() == []
    assert own.wait() == []
    own.release(segment("adapter-0", 3, 12))
    assert of(own.wait()) == [("TrialEnded", "adapter-0")]
