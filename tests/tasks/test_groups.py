"""Examples that share a group (a patient, an author, a document) never stand on two sides of a split."""

import json
import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pelt_automl.baselines import words
from pelt_automl.baselines.linear import choose_strength
from pelt_automl.errors import PeltError
from pelt_automl.selection.environment import question_of
from pelt_automl.settings import SelectionSettings, TaskSettings
from pelt_automl.tasks import load_task
from pelt_automl.tasks.examples import Examples, joined_up
from pelt_automl.tasks.loading import load_nested
from pelt_automl.training.features import text_groups
from pelt_automl.training.tokens import Tokens, TokenStore
from tests.tiny_world import write_csv

AUTHORS = 30


def rows(count=240, seed=0, authors=AUTHORS):
    """Texts of authors who write between two and many of them, mostly of one class each."""
    draw = random.Random(seed)
    found = []
    for number in range(count):
        author = int(authors * draw.random() ** 1.5)
        label = ("yes", "no")[(author + (draw.random() < 0.3)) % 2]
        found.append((f"text {seed} {number}", label, f"author {author}"))
    return found


def written(folder, found, name="own.csv"):
    return write_csv(folder / name, ["text", "label", "author"], found)


def settings(train, **more):
    return TaskSettings(**{"train": train, "text_columns": ("text",), "label_column": "label", "group_column": "author"} | more)


def authors_of(examples):
    return set(examples.groups)


def problem(*arguments, **named):
    with pytest.raises(PeltError) as raised:
        load_task(settings(*arguments, **named))
    return str(raised.value)


@pytest.mark.parametrize("protocol", ["strict", "paper"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_author_stands_on_two_sides_of_any_split(tmp_path, protocol, seed):
    data = load_task(settings(written(tmp_path, rows()), protocol=protocol, k=80 if protocol == "strict" else 40, seed=seed))
    assert not authors_of(data.report) & authors_of(data.pool)
    for split in range(4):
        train, select = data.split(split)
        assert not authors_of(train) & authors_of(select)
        assert set(train.labels) == {0, 1}
        if protocol == "strict":
            assert len(train) + len(select) == 80
            assert 16 <= len(select) <= 32, "24 of 80 are wanted"
    assert 36 <= len(data.report) <= 60, "48 of 240 are wanted"
    (note,) = [note for note in data.notes if "'author'" in note]
    assert note.startswith(
        f"examples with the same 'author' stay on one side of every split: 240 training examples in {AUTHORS} groups, the "
    )


@pytest.mark.parametrize(("protocol", "k"), [("strict", 60), ("paper", 60)])
def test_each_seed_has_something_to_select_on_where_authors_are_few_and_some_classes_have_one(tmp_path, protocol, k):
    found = [
        (f"text {number}", ("yes", "no", "maybe", "perhaps")[number % 8 if number % 8 < 4 else 0], f"author {number % 8}")
        for number in range(240)
    ]
    tested = written(
        tmp_path, [(f"other {number}", ("yes", "no", "maybe", "perhaps")[number % 4], "nobody") for number in range(40)], "t.csv"
    )
    data = load_task(settings(written(tmp_path, found), test=tested, protocol=protocol, k=k))
    for split in range(60):
        train, select = data.split(split)
        assert len(select) >= 5, split
        assert not authors_of(train) & authors_of(select)
        assert len(train) == k or protocol == "strict"


def test_other_seeds_carve_other_authors(tmp_path):
    data = load_task(settings(written(tmp_path, rows()), k=120))
    assert len({frozenset(authors_of(data.split(seed)[1])) for seed in range(6)}) > 3


def test_numbers_are_split_by_group_too(tmp_path):
    found = [(text, 0.5 + index % 7, author) for index, (text, _, author) in enumerate(rows())]
    data = load_task(settings(written(tmp_path, found), k=90))
    assert data.kind == "regression"
    for split in range(3):
        train, select = data.split(split)
        assert not authors_of(train) & authors_of(select)
        assert 18 <= len(select) <= 36


def test_training_examples_of_an_author_who_is_in_the_test_file_are_removed_with_a_note(tmp_path):
    test = [(f"other {number}", ("yes", "no")[number % 2], f"author {number % 4}") for number in range(60)]
    train = rows()
    data = load_task(settings(written(tmp_path, train), test=written(tmp_path, test, "test.csv")))
    left = [author for _, _, author in train if author not in {f"author {number}" for number in range(4)}]
    assert len(data.pool) == len(left)
    removed = len(train) - len(left)
    assert f"{removed} training examples with the same texts, or the same 'author', as one of report were removed" in data.notes
    assert len(data.report) == 60


def test_an_author_of_the_validation_file_is_no_author_of_train_or_report(tmp_path):
    files = {"test": rows(60, 1, 3), "validation": rows(90, 2, 9)}
    data = load_task(settings(written(tmp_path, rows()), **{name: written(tmp_path, own, f"{name}.csv") for name, own in files.items()}))
    of = [authors_of(data.pool), authors_of(data.validation), authors_of(data.report)]
    assert sum(map(len, of)) == len(set.union(*of))


def test_a_row_without_an_author_is_a_group_of_its_own_and_is_named(tmp_path):
    found = [(text, label, "" if number in (3, 5) else author) for number, (text, label, author) in enumerate(rows())]
    train = written(tmp_path, found)
    data = load_task(settings(train))
    assert f"{train}: 2 rows without 'author', each a group of its own (lines 5, 7)" in data.notes


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_groups_are_read_from_each_format_and_numbers_are_one_group_however_they_are_written(tmp_path, ending):
    found = [{"text": text, "label": label, "author": int(author.split()[1])} for text, label, author in rows()]
    path = tmp_path / f"own.{ending}"
    if ending == "jsonl":
        found = [row | {"author": str(row["author"]) if number % 2 else row["author"]} for number, row in enumerate(found)]
        path.write_text("\n".join(map(json.dumps, found)) + "\n")
    else:
        pq.write_table(pa.Table.from_pylist([row | {"author": float(row["author"])} for row in found]), path)
    data = load_task(settings(path))
    assert authors_of(data.pool) | authors_of(data.report) == {str(number) for number in range(AUTHORS)}


def test_the_examples_of_a_smaller_k_are_among_those_of_a_larger_one_and_report_is_the_same(tmp_path):
    small, large = load_nested(settings(written(tmp_path, rows())), [40, 80])
    assert set(small.pool.texts) < set(large.pool.texts)
    assert small.report == large.report


def test_what_cannot_be_grouped_is_one_clear_error(tmp_path):
    same = written(tmp_path, [(text, label, "me") for text, label, _ in rows()])
    assert "all training examples have the same 'author'" in problem(same)
    assert "there is no column 'writer'" in problem(same, group_column="writer")
    assert "the column 'label' is named twice" in problem(same, group_column="label")
    both = written(tmp_path, [(text, label, f"of {label}") for text, label, _ in rows()], "two.csv")
    assert "the groups of 'author' are too few or too large to put some aside to report on" in problem(both, k=40)
    tested = written(tmp_path, rows(60, 1), "test.csv")
    assert "examples with the same texts or of one group stay together" in problem(both, k=40, test=tested)
    with pytest.raises(PeltError, match="leave kind and columns out"):
        load_task(TaskSettings(task="pydoc-topic", group_column="author"))


def test_groups_are_part_of_what_is_asked_and_tasks_without_them_are_as_before(tmp_path):
    train = written(tmp_path, rows())
    grouped, plain = (load_task(settings(train, group_column=column)) for column in ("author", None))
    assert grouped.data_hash != plain.data_hash
    assert (plain.pool.groups, plain.report.groups) == ((), ())
    asked = [SelectionSettings(task=settings(train, group_column=column)) for column in ("author", None)]
    assert question_of(asked[0], "data") == question_of(asked[1], "data"), "the data's hash says it"


def test_what_a_chain_of_texts_and_groups_connects_is_one_unit():
    assert joined_up(["a", "b", "a", "c", "d"], ["x", "y", "z", "y", None]) == [0, 1, 0, 1, 2]
    assert joined_up(["a", "b", "c", "b"], ["x", "y", "x", "z"]) == [0, 1, 0, 1]
    assert joined_up(["a", "b", "c"], ["x", None, None]) == [0, 1, 2]
    assert joined_up(["b", "a", "b"]) == [0, 1, 0]
    assert Examples((("a",), ("b",), ("a",)), (0, 1, 0), ("x", "y", "y")).units() == [0, 0, 0]


def test_the_folds_that_a_strength_is_chosen_in_keep_groups_together(monkeypatch):
    tokens = Tokens([[1], [2], [3], [4]], None, np.zeros(4), None, ("x", "y", "x", None))
    assert text_groups(tokens) == [0, 1, 0, 2]
    assert text_groups(tokens.take([1, 2])) == [0, 1]
    examples = Examples((("a",), ("b",), ("c",)), (0, 1, 0), ("x", "y", "x"))
    store = TokenStore(examples, lambda some: Tokens([[ord(text)] for (text,) in some.texts], None, np.zeros(len(some)), None, some.groups))
    assert text_groups(store.take([2, 1, 0])) == text_groups(store.take([2, 1, 0])) == [0, 1, 0]
    seen = []
    monkeypatch.setattr(words, "choose_strength", lambda *given: seen.append(given[-1]) or (1.0, None))
    words.fit_words(Examples((("good day",), ("bad day",), ("no day",)), (0, 1, 0), ("x", "y", "x")), 2)
    assert seen == [[0, 1, 0]]
    asked = []
    labels = np.array([0.0, 1.0] * 20)
    groups = [number // 4 for number in range(40)]
    choose_strength(lambda rest, out: (asked.append((rest, out)), (np.ones((len(rest), 1)), np.ones((len(out), 1))))[1], labels, 2, groups)
    assert asked
    for rest, out in asked:
        assert not {groups[i] for i in rest} & {groups[i] for i in out}
