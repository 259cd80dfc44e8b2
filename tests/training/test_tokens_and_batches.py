"""Tokens, the order of batches, and padding."""

import numpy as np
import pytest
import torch

from pelt_automl.errors import TaskError
from pelt_automl.tasks import Examples
from pelt_automl.training import tokens as tokens_module
from pelt_automl.training.tokens import BatchOrder, Tokens, TokenStore, collate, drawn, tokenize

LENGTHS = np.array([3, 9, 4, 12, 5, 7, 3, 11, 6, 8, 10], dtype=np.int64)


class Words:
    """Splits at spaces; a token is its word's length. Pairs as [9, first, 8, second], cut on the longer side."""

    def __call__(self, first, second=None, *, truncation, max_length=None, padding, verbose=True):
        assert not padding
        rows = []
        for i, text in enumerate(first):
            parts = [text.split(), second[i].split() if second else []]
            while truncation and len(parts[0]) + len(parts[1]) + 2 > max_length:
                max(parts, key=len).pop()
            rows.append([9, *map(len, parts[0]), 8, *map(len, parts[1])])
        return {"input_ids": rows, "token_type_ids": [[0] * len(row) for row in rows]}

    def convert_ids_to_tokens(self, number):
        return "x" * number


def tokens(*rows, types=None, labels=None):
    return Tokens([list(row) for row in rows], types, np.array(labels or range(len(rows)), dtype=np.float64))


def test_sentences_and_pairs_are_tokenized_with_their_labels():
    single = tokenize(Examples((("a bb",), ("ccc",)), (1, 0)), Words(), max_length=8)
    assert single.input_ids == [[9, 1, 2, 8], [9, 3, 8]]
    assert single.labels.tolist() == [1.0, 0.0]
    assert single.lengths.tolist() == [4, 3]
    pair = tokenize(Examples((("a bb", "ccc"),), (0.25,)), Words(), max_length=8)
    assert pair.input_ids == [[9, 1, 2, 8, 3]]
    assert pair.labels.tolist() == [0.25]


def test_the_longer_text_of_a_pair_is_cut_first():
    pair = tokenize(Examples((("a a a a a a", "bb bb"),), (0,)), Words(), max_length=6)
    assert pair.input_ids == [[9, 1, 1, 8, 2, 2]]


def test_what_is_cut_is_counted_and_goes_with_its_examples(monkeypatch):
    monkeypatch.setattr(tokens_module, "AT_ONCE", 2)  # several calls
    texts = [("a",), ("a a a a a a",), ("a a",), ("a a a a",), ("a a a a a",)]
    found = tokenize(Examples(tuple(texts), (0, 1, 2, 3, 4)), Words(), max_length=5)
    assert found.input_ids == [[9, 1, 8], [9, 1, 1, 1, 8], [9, 1, 1, 8], [9, 1, 1, 1, 8], [9, 1, 1, 1, 8]]
    assert [len(types) for types in found.token_type_ids] == found.lengths.tolist() == [3, 5, 4, 5, 5]
    assert found.whole.tolist() == [3, 8, 4, 6, 7]
    assert found.cut == {"texts": 5, "cut": 3, "tokens": 28, "lost": 6}
    assert found.take([3, 0]).cut == {"texts": 2, "cut": 1, "tokens": 9, "lost": 1}
    assert found[1:3].cut == {"texts": 2, "cut": 1, "tokens": 12, "lost": 3}
    assert found.at_most(2, seed=0).whole is not None
    assert tokens([1], [2, 2]).cut == {"texts": 2, "cut": 0, "tokens": 3, "lost": 0}, "texts whose whole length nobody knows"


def test_a_token_that_the_model_has_no_row_for_is_an_error_and_no_crash_in_a_training():
    assert tokenize(Examples((("a bb",),), (0,)), Words(), 8, rows=10).input_ids == [[9, 1, 2, 8]]
    expected = r"a text \('a twelveletter'\) has 'xxxxxxxxxxxx', token 12 of the tokenizer, and the model embeds 12 of them \(0 to 11\)"
    with pytest.raises(TaskError, match=expected):
        tokenize(Examples((("a bb",), ("a twelveletter",)), (0, 0)), Words(), 8, rows=12)


def test_a_batch_of_texts_without_any_token_has_one_place_each():
    assert collate([tokens([], [])], 0, torch.device("cpu")).inputs["attention_mask"].tolist() == [[[1], [1]]]


def test_take_keeps_texts_types_and_labels_together():
    some = tokens([1], [2, 2], [3, 3, 3], types=[[0], [0, 1], [0, 0, 1]], labels=[5, 6, 7]).take([2, 0])
    assert (some.input_ids, some.token_type_ids, some.labels.tolist()) == ([[3, 3, 3], [1]], [[0, 0, 1], [0]], [7.0, 5.0])


@pytest.mark.parametrize("types", [True, False])
def test_a_store_tokenizes_each_text_once_whatever_is_asked_for(types):
    asked = []

    def tokenized(own):
        asked.append([text for (text,) in own.texts])
        found = tokenize(own, Words(), max_length=8)
        return found if types else Tokens(found.input_ids, None, found.labels)

    store = TokenStore(Examples((("a",), ("bb b",), ("ccc",), ("dddd d",)), (0, 1, 2, 3)), tokenized)
    first = store.take(np.array([2, 0], dtype=np.int32))
    assert (first.input_ids, first.labels.tolist()) == ([[9, 3, 8], [9, 1, 8]], [2.0, 0.0])
    second = store.take([3, 0, 3, 1])
    assert second.input_ids == [[9, 4, 1, 8], [9, 1, 8], [9, 4, 1, 8], [9, 2, 1, 8]]
    assert second.token_type_ids == ([[0] * 4, [0] * 3, [0] * 4, [0] * 4] if types else None)
    assert second.labels.tolist() == [3.0, 0.0, 3.0, 1.0]
    assert asked == [["ccc", "a"], ["dddd d", "bb b"]]
    assert len(store.take([])) == 0


def test_what_is_drawn_is_at_most_so_many_in_order_and_the_same_as_of_tokens():
    assert drawn(5, None, seed=1).tolist() == drawn(5, 9, seed=1).tolist() == [0, 1, 2, 3, 4]
    some = drawn(11, 4, seed=3).tolist()
    assert len(set(some)) == 4
    assert some == sorted(some) != drawn(11, 4, seed=4).tolist()
    eleven = tokens(*([index] for index in range(11)))
    assert [ids[0] for ids in eleven.at_most(4, seed=3).input_ids] == some


@pytest.mark.parametrize("batch_size", [1, 3, 4, 11, 50])
def test_every_epoch_shows_every_example_once_in_batches_of_about_equal_size(batch_size):
    order = BatchOrder(LENGTHS, batch_size, seed=1)
    for epoch in range(3):
        steps = range(epoch * order.batches_an_epoch, (epoch + 1) * order.batches_an_epoch)
        batches = [order.batch(step) for step in steps]
        assert sorted(np.concatenate(batches).tolist()) == list(range(11))
        sizes = [len(batch) for batch in batches]
        assert max(sizes) <= batch_size
        assert max(sizes) - min(sizes) <= 1


def test_batches_depend_on_the_seed_and_the_step_alone():
    def composition(order, steps):
        return [sorted(order.batch(step).tolist()) for step in steps]

    one, same, other = BatchOrder(LENGTHS, 3, seed=1), BatchOrder(LENGTHS, 3, seed=1), BatchOrder(LENGTHS, 3, seed=2)
    assert composition(one, range(12)) == composition(same, reversed(range(12)))[::-1], "going back doesn't matter"
    assert composition(one, range(12)) != composition(other, range(12))
    assert composition(one, range(4)) != composition(one, range(4, 8)), "epochs differ"


def test_trials_of_a_pack_meet_batches_of_similar_length_at_the_same_step():
    lengths = np.arange(4, 104, dtype=np.int64)
    one, other = BatchOrder(lengths, 10, seed=1), BatchOrder(lengths, 10, seed=2)
    means = np.array([[lengths[order.batch(step)].mean() for order in (one, other)] for step in range(30)])
    assert np.corrcoef(means.T)[0, 1] > 0.95
    widths = [np.ptp(lengths[one.batch(step)]) for step in range(10)]
    assert np.mean(widths) < 40, "a batch at random spans about 80"


@pytest.mark.parametrize("period", [7, 10, 25, 30])
def test_a_trial_that_joins_some_periods_later_meets_batches_of_similar_length_too(period):
    lengths = np.arange(4, 104, dtype=np.int64)
    one, other = (BatchOrder(lengths, 10, seed, period) for seed in (1, 2))
    for later in (period, 3 * period):
        means = np.array([[lengths[order.batch(step)].mean() for order, step in ((one, later + t), (other, t))] for t in range(2 * period)])
        assert np.corrcoef(means.T)[0, 1] > 0.85
    assert sorted(np.concatenate([one.batch(step) for step in range(20, 30)]).tolist()) == list(range(100))


def test_collate_pads_to_the_longest_and_marks_what_is_missing():
    batch = collate([tokens([5, 6, 7], [8], labels=[1, 0]), tokens([9, 9], labels=[2])], pad_id=3, device=torch.device("cpu"))
    assert batch.inputs["input_ids"].tolist() == [[[5, 6, 7], [8, 3, 3]], [[9, 9, 3], [3, 3, 3]]]
    assert batch.inputs["attention_mask"].tolist() == [[[1, 1, 1], [1, 0, 0]], [[1, 1, 0], [1, 0, 0]]]
    assert batch.weights.tolist() == [[1.0, 1.0], [1.0, 0.0]]
    assert "token_type_ids" not in batch.inputs


def test_keys_tell_texts_apart_by_all_that_the_model_reads_and_by_nothing_else():
    def keys(*rows, types=None, pad_id=0):
        return collate([tokens(*rows, types=types)], pad_id, torch.device("cpu")).inputs["keys"]

    [key] = keys([5, 6])
    assert keys([5, 6], [5, 6, 7]) == [key, keys([5, 6, 7])[0]]  # whatever the padding
    assert keys([5, 6], [5, 6, 7], pad_id=3)[0] == key
    assert keys([5, 6], types=[[0, 0]]) == [key]
    others = [keys(row, types=types)[0] for row, types in [([5], None), ([6, 5], None), ([5, 6, 0], None), ([5, 6], [[0, 1]])]]
    assert len({key, *others}) == 5
    two_trials = collate([tokens([5, 6], [7]), tokens([8])], pad_id=3, device=torch.device("cpu")).inputs["keys"]
    assert two_trials == [key, keys([7])[0], keys([8])[0], keys([3])[0]]  # trial after trial; a missing example is one of padding


def test_collate_keeps_token_types_where_the_model_has_them():
    batch = collate([tokens([5, 6, 7], [8, 8], types=[[0, 0, 1], [0, 1]])], pad_id=0, device=torch.device("cpu"))
    assert batch.inputs["token_type_ids"].tolist() == [[[0, 0, 1], [0, 1, 0]]]
