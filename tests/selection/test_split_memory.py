"""Many split seeds of one task take the memory of one: texts are tokenized once, and a split is where its examples stand."""

import gc
import tracemalloc

import pytest

from pelt_automl.recorders import RECORDERS
from pelt_automl.selection import Selection, settings_from
from tests.tiny_world import CLASSES, sentences, write_csv

ROWS = 6_000


@pytest.fixture(scope="module")
def selection(world, tmp_path_factory):
    """A selection on all of a large file, as far as its splits need it."""
    folder = tmp_path_factory.mktemp("large")
    rows = [(f"{text} text{number}", CLASSES[label]) for number, (text, label) in enumerate(sentences(100) * (ROWS // 100))]
    train = write_csv(folder / "large.csv", ["text", "label"], rows)
    settings = settings_from(**world.options(train=train, k="full", methods=["head"]))
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(RECORDERS, "mlflow")
        opened = Selection.open(settings, folder / "out")
    with opened:
        yield opened


def test_eleven_split_seeds_take_the_memory_of_one(selection):
    splits = selection.splits
    tracemalloc.start()
    try:
        splits.of(1)
        gc.collect()
        one = tracemalloc.get_traced_memory()[0]
        for seed in range(2, 12):
            train, select = splits.of(seed)
        gc.collect()
        eleven = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert one > 1e6, "the tokens of all texts"
    assert eleven < 1.05 * one
    assert (len(train), len(select)) == (ROWS - 1000, 1000)


def test_the_tokens_of_a_split_are_those_of_its_own_examples(selection):
    splits, question = selection.splits, selection.question
    for seed in (3, 4):
        for tokens, examples in zip(splits.of(seed), question.data.split(seed), strict=True):
            assert tokens.labels.tolist() == list(examples.labels)
            expected = question.tokenizer([text for (text,) in examples.texts[:50]], truncation=True, max_length=question.length.most)
            assert tokens.input_ids[:50] == expected["input_ids"]
    assert splits.of(3)[1].input_ids != splits.of(4)[1].input_ids


def test_no_text_is_tokenized_twice(selection, monkeypatch):
    selection.splits.of(1)

    def again(*_, **__):
        raise AssertionError("tokenized again")

    monkeypatch.setattr("pelt_automl.selection.question.tokenize", again)
    for seed in range(20, 24):
        selection.splits.of(seed)
