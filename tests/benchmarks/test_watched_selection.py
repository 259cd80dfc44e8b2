"""What is seen of a selection from outside, with a clock that passes only when told."""

from types import SimpleNamespace

import torch

from benchmarks.ledger import Entry, Ledger
from benchmarks.watched_selection import PROBE, SCORING, Watch


class Clock:
    def __init__(self):
        self.time = 0.0

    def __call__(self):
        return self.time


def watch_with(clock):
    return Watch(Ledger("rest", wall=clock, cpu=clock), started=0.0)


def batch():
    """Two texts of 3 and 1 tokens, and a missing one."""
    mask = torch.tensor([[[1, 1, 1], [1, 0, 0], [1, 1, 1]]])
    return SimpleNamespace(inputs={"attention_mask": mask}, weights=torch.tensor([[1.0, 1.0, 0.0]]))


def look_at_a_batch(watch, part, inner, seconds):
    """As if `inner`, called by `part`, had collated a batch and taken so long; nothing is watched afterwards."""
    with watch.ledger.inside(part), watch.ledger.inside(watch._name(inner)), watch.ledger.inside(watch._name("collate")):
        watch.ledger._wall.time += seconds
        watch._look_at_batch(batch())
    watch.ledger.close()


def test_throwaway_steps_are_neither_training_nor_tokens():
    watch = watch_with(Clock())
    look_at_a_batch(watch, PROBE, "train", seconds=5)
    assert watch.ledger.entries == {"rest": Entry(0, 0, 0), PROBE: Entry(5, 5, 3)}
    assert (watch.tokens["train"].computed, watch.first_trial) == (0, None)


def test_batches_belong_to_training_or_to_evaluation_and_padding_is_counted():
    watch = watch_with(Clock())
    with watch.ledger.inside("search"), watch.ledger.inside("train"):
        assert watch._name("collate") == "collate, training"
        watch._look_at_batch(batch())
        with watch.ledger.inside("evaluate"):
            assert watch._name("collate") == "collate, evaluation"
            watch._look_at_batch(batch())
    assert [(kind.computed, kind.real) for kind in watch.tokens.values()] == [(9, 4), (9, 4)]
    assert watch.first_trial is not None


def test_finalists_scoring_on_report_is_apart_from_evaluations_on_select():
    watch = watch_with(Clock())
    look_at_a_batch(watch, SCORING, "evaluate", seconds=4)
    assert watch.ledger.entries == {"rest": Entry(0, 0, 0), SCORING: Entry(4, 4, 3)}
    assert watch.tokens["evaluate"].computed == 9
