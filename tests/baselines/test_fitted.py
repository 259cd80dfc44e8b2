"""Contenders of every kind: what they learn, that they see nothing but train, and that they are the same when they are loaded again."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from pelt_automl.baselines import fit_baseline, load_fitted
from pelt_automl.baselines.contender import FACTS
from pelt_automl.baselines.words import VOCABULARY, Span, Words, _fitted
from pelt_automl.errors import SelectionError
from pelt_automl.methods.baselines import BASELINES
from pelt_automl.modifications import Pack, PackTrial
from pelt_automl.tasks import Examples
from pelt_automl.training.checkpoints import WEIGHTS
from pelt_automl.training.evaluation import evaluate
from pelt_automl.training.tokens import tokenize
from tests.baselines.worlds import KINDS, backbone_of, encoder_of, examples_of, words_alone
from tests.tiny import by_structure

NAMES = sorted(BASELINES)


def correct(outputs: np.ndarray, examples: Examples) -> float:
    if isinstance(examples.labels[0], tuple):
        return float(((outputs > 0) == np.asarray(examples.labels)).mean())
    if outputs.shape[1] == 1:
        return float(np.corrcoef(outputs[:, 0], examples.labels)[0, 1])
    return float((outputs.argmax(axis=1) == examples.labels).mean())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_a_contender_is_the_same_when_it_is_saved_and_loaded(name, kind, tmp_path):
    train, other, outputs = examples_of(kind), examples_of(kind, 30, seed=1), KINDS[kind]
    fitted = fit_baseline(name, train, outputs, encoder_of(backbone_of()))
    found = fitted.outputs(other)
    assert found.shape == (30, outputs)
    assert np.isfinite(found).all()
    fitted.save(tmp_path)
    again = load_fitted(tmp_path, encoder_of(backbone_of()))
    np.testing.assert_array_equal(again.outputs(other), found)
    assert (again.facts.name, again.facts, again.parameters) == (name, fitted.facts, fitted.parameters)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json"] * (2 if name == "bag-of-words" else 1) + [".safetensors"]
    if not kind.startswith("pairs"):  # the tiny model knows nothing of pairs
        # it has learned texts with one signal word, and those with several labels have two
        assert correct(found, other) > (0.6 if name == "neighbors" else 0.7 if kind == "labels" else 0.8)
    if outputs == 1:
        assert 95 < found.mean() < 115, "in the labels' unit"


@pytest.mark.parametrize("name", NAMES)
def test_the_same_examples_give_the_same_contender_and_labels_of_others_are_not_looked_at(name):
    train, other = examples_of("classes"), examples_of("classes", 10, seed=1)
    one, two = (fit_baseline(name, train, 2, encoder_of(backbone_of())) for _ in range(2))
    np.testing.assert_array_equal(one.outputs(other), two.outputs(other.exchanged()))


@pytest.mark.parametrize("name", NAMES)
def test_labels_at_random_are_not_above_chance_and_labels_that_words_tell_are(name):
    encoder = encoder_of(backbone_of())
    assert sum(fit_baseline(name, words_alone(60, seed), 2, encoder).validation.above_chance for seed in range(6)) <= 1
    assert fit_baseline(name, examples_of("classes"), 2, encoder).validation.above_chance


@pytest.mark.parametrize("name", NAMES)
def test_equal_texts_do_not_give_each_other_away_in_cross_validation(name):
    once = words_alone(40)
    twice = Examples(tuple(t for t in once.texts for _ in (0, 1)), tuple(label for label in once.labels for _ in (0, 1)))
    assert fit_baseline(name, twice, 2, encoder_of(backbone_of())).validation.score < 0.7


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "train",
    [
        Examples((("!",), ("?!",), ("...",), ("!!",), ("?",), ("-",)), (0, 1, 0, 1, 0, 1)),
        Examples((("good",), ("bad",), ("odd",)), (1, 1, 1)),
        Examples((("good",),), (1,)),
        Examples((("good",), ("bad",)), (0, 1)),
        Examples((("good word1",), ("!",), ("bad word2",), ("?",), ("word3",), ("-",)), (0, 1, 0, 1, 0, 2)),
        Examples((("good",),) * 8, (0, 1) * 4),
    ],
    ids=["punctuation", "one class", "one example", "one of each class", "some punctuation", "one text"],
)
def test_a_hopeless_train_part_is_no_error(name, train, tmp_path):
    fitted = fit_baseline(name, train, 3, encoder_of(backbone_of()))
    found = fitted.outputs(Examples((("good",), ("!",), ("nothing known",)), (0, 0, 0)))
    assert np.isfinite(found).all()
    fitted.save(tmp_path)
    np.testing.assert_array_equal(load_fitted(tmp_path, encoder_of(backbone_of())).outputs(train), fitted.outputs(train))
    if set(train.labels) == {1}:
        assert found.argmax(axis=1).tolist() == [1, 1, 1]


@pytest.mark.parametrize("name", NAMES)
def test_equal_numbers_are_predicted_again(name):
    train = Examples(examples_of("classes", 12).texts, (7.0,) * 12)
    np.testing.assert_allclose(fit_baseline(name, train, 1, encoder_of(backbone_of())).outputs(train), 7.0)


# ---------------------------------------------------------------- the probe


@pytest.mark.parametrize("family", by_structure())
@pytest.mark.parametrize("outputs", [2, 1])
def test_the_probe_is_a_head_of_every_family(family, outputs):
    """Set into a pack it predicts what the contender does; with a hidden layer, at seed 0's initialization."""
    backbone, train = backbone_of(family), examples_of("numbers" if outputs == 1 else "classes", 16)
    fitted = fit_baseline("probe", train, outputs, encoder_of(backbone))
    pack = Pack(backbone, [PackTrial((), seed=0, head=fitted.head())], outputs=outputs)
    logits = evaluate(pack, [tokenize(train, backbone.tokenizer, 32)])[0].logits
    np.testing.assert_allclose(logits * fitted.facts.scale.deviation + fitted.facts.scale.mean, fitted.outputs(train), rtol=1e-4, atol=2e-3)
    assert fitted.parameters == sum(tensor.numel() for tensor in pack.kept_weights(0).values())


def test_of_a_pair_a_sentence_encoder_may_compare_the_texts_and_another_may_not():
    """Whether both have the same signal word: no linear map of the two read together tells it, |u - v| does."""
    train, other = examples_of("pairs", 120), examples_of("pairs", 60, seed=1)
    apart, joint = (fit_baseline("probe", train, 2, encoder_of(backbone_of(sentences=made))) for made in (True, False))
    assert (apart.facts.form, joint.facts.form) == ("apart", "head")
    assert apart.head() is None
    assert joint.head()["weight"].shape == (2, 16)
    assert correct(apart.outputs(other), other) > 0.8 > correct(joint.outputs(other), other)


def test_where_the_texts_alone_tell_no_more_the_head_is_kept():
    texts = examples_of("classes", 60)
    pairs = Examples(tuple((first, "word1 word2") for (first,) in texts.texts), texts.labels)
    assert fit_baseline("probe", pairs, 2, encoder_of(backbone_of(sentences=True))).facts.form == "head"


def test_pairs_whose_labels_are_random_are_read_together():
    """However little either map weighs, and so however small the standard error of their difference."""
    encoder = encoder_of(backbone_of(sentences=True))
    for seed in range(6):
        first, second = words_alone(60, seed), words_alone(60, seed + 100)
        pairs = Examples(tuple((*one, *other) for one, other in zip(first.texts, second.texts, strict=True)), first.labels)
        assert fit_baseline("probe", pairs, 2, encoder).facts.form == "head"


def test_a_single_text_is_never_read_apart():
    assert fit_baseline("probe", examples_of("classes"), 2, encoder_of(backbone_of(sentences=True))).facts.form == "head"


# ---------------------------------------------------------------- the bag of words


def test_words_of_other_examples_do_not_enter_the_vocabulary():
    train = Examples((("good word",), ("bad word",)) * 4, (0, 1) * 4)
    fitted = fit_baseline("bag-of-words", train, 2, None)
    assert fitted.words.terms == ["bad", "bad word", "good", "good word", "word"]
    assert fitted.words.weights(["something new"]).nnz == 0


def test_of_too_many_words_the_most_frequent_are_kept(monkeypatch):
    monkeypatch.setattr("pelt_automl.baselines.words.MOST_WEIGHTS", 8)
    fitted = fit_baseline("bag-of-words", examples_of("classes"), 2, None)
    assert len(fitted.words.terms) == 4
    assert {"good", "bad"} <= set(fitted.words.terms)
    assert fitted.validation.above_chance


@pytest.mark.parametrize("classes", [2, 3, 1])
def test_the_map_of_many_examples_is_that_of_few(classes, monkeypatch):
    """In the directions that they span, and on the sparse weights themselves."""
    texts = [text for (text,) in examples_of("classes", 80).texts]
    rows, labels = Words.of(texts, 2).weights(texts), np.arange(80.0) % classes if classes > 1 else np.random.default_rng(0).normal(size=80)
    spanned, offset = _fitted(rows, labels, classes, 1.0)
    monkeypatch.setattr("pelt_automl.baselines.words.DENSE", 10)
    sparse, other_offset = _fitted(rows, labels, classes, 1.0)
    np.testing.assert_allclose(sparse, spanned, atol=5e-3)
    np.testing.assert_allclose(other_offset - other_offset[0], offset - offset[0], atol=5e-3)


def test_coordinates_in_a_span_have_the_products_of_the_rows():
    texts = [text for (text,) in examples_of("classes", 20).texts]
    rows = Words.of(texts, 2).weights(texts)
    span, centered = Span(rows), rows.toarray() - rows.toarray().mean(axis=0)
    own = span.coordinates(rows)
    np.testing.assert_allclose(own @ own.T, centered @ centered.T, atol=1e-9)
    weight = np.ones((1, own.shape[1]))
    np.testing.assert_allclose(centered @ span.weight(weight).T, own @ weight.T, atol=1e-9)


# ---------------------------------------------------------------- the neighbors


def test_noise_calls_for_many_neighbors():
    encoder = encoder_of(backbone_of())
    found = [fit_baseline("neighbors", words_alone(120, seed), 2, encoder).settings["neighbors"] for seed in range(5)]
    assert np.median(found) == 45


def test_neighbors_keep_the_features_and_vote_with_their_similarity():
    train = examples_of("classes", 40)
    encoder = encoder_of(backbone_of())
    fitted = fit_baseline("neighbors", train, 2, encoder)
    assert fitted.parameters == 40 * 16
    features = encoder.joint(train) - encoder.joint(train).mean(axis=0)
    directions = features / np.linalg.norm(features, axis=1, keepdims=True)
    similarity = np.maximum(directions[0] @ directions.T, 0)
    k = int(fitted.settings["neighbors"])
    near = np.argsort(-similarity)[:k]
    shares = np.array([similarity[near][np.array(train.labels)[near] == c].sum() for c in (0, 1)]) / similarity[near].sum()
    np.testing.assert_allclose(np.exp(fitted.outputs(train)[0]), (shares * k + 0.5) / (k + 1), atol=1e-5)


# ---------------------------------------------------------------- files from outside


def rewritten(change):
    def spoil(folder: Path) -> None:
        path = folder / FACTS
        path.write_text(json.dumps(change(json.loads(path.read_text()))))

    return spoil


def other_numbers(change):
    def spoil(folder: Path) -> None:
        save_file(change(load_file(folder / WEIGHTS)), folder / WEIGHTS)

    return spoil


SPOILT = {
    "no facts": lambda folder: (folder / FACTS).unlink(),
    "facts cut": lambda folder: (folder / FACTS).write_bytes((folder / FACTS).read_bytes()[:-9]),
    "facts not UTF-8": lambda folder: (folder / FACTS).write_bytes(b"\xff\xfe\x00"),
    "a list": rewritten(lambda facts: [facts]),
    "an unknown form": rewritten(lambda facts: facts | {"form": "forest"}),
    "another format": rewritten(lambda facts: facts | {"format": 2}),
    "no outputs": rewritten(lambda facts: facts | {"outputs": 0}),
    "other outputs": rewritten(lambda facts: facts | {"outputs": 1, "settings": {"neighbors": 99999}}),
    "settings of another type": rewritten(lambda facts: facts | {"settings": {"neighbors": "many"}}),
    "no weights": lambda folder: (folder / WEIGHTS).unlink(),
    "weights cut": lambda folder: (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-5]),
    "weights of zeros": lambda folder: (folder / WEIGHTS).write_bytes(bytes(200)),
    "fewer numbers": other_numbers(lambda tensors: tensors | {min(tensors): tensors[min(tensors)][:-1].copy()}),
    "other names": other_numbers(lambda tensors: {"x" + name: own for name, own in tensors.items()}),
    "not a number": other_numbers(lambda tensors: {name: np.full_like(own, np.nan) for name, own in tensors.items()}),
    "whole numbers": other_numbers(lambda tensors: {name: own.astype(np.int64) for name, own in tensors.items()}),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    home = tmp_path_factory.mktemp("saved")
    for name in NAMES:
        fit_baseline(name, examples_of("classes", 20), 2, encoder_of(backbone_of())).save(home / name)
    return home


@pytest.mark.parametrize("how", SPOILT)
@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_folder_is_one_clear_error(name, how, saved, tmp_path):
    folder = shutil.copytree(saved / name, tmp_path / name)
    SPOILT[how](folder)
    with pytest.raises(SelectionError, match=str(folder)):
        load_fitted(folder, encoder_of(backbone_of()))


@pytest.mark.parametrize("content", ["[", "{}", '["a", 3]', '["good", "good"]', '["good"]'])
def test_a_damaged_vocabulary_is_one_clear_error(content, saved, tmp_path):
    folder = shutil.copytree(saved / "bag-of-words", tmp_path / "words")
    (folder / VOCABULARY).write_text(content)
    with pytest.raises(SelectionError, match=str(folder)):
        load_fitted(folder, None)


def test_a_vocabulary_that_is_away_is_one_clear_error(saved, tmp_path):
    folder = shutil.copytree(saved / "bag-of-words", tmp_path / "words")
    (folder / VOCABULARY).unlink()
    with pytest.raises(SelectionError, match=r"vocabulary\.json can't be read"):
        load_fitted(folder, None)


def test_contenders_of_a_model_cannot_be_had_without_it(saved):
    with pytest.raises(SelectionError, match="reads the features of its pretrained model"):
        load_fitted(saved / "neighbors", None)
    assert torch.is_tensor(load_fitted(saved / "bag-of-words", None).tensors()["weight"])


# ---------------------------------------------------------------- threads

THREADS = """
import sys, torch
torch.set_num_threads(1)  # until the first fit: on a busy machine two that wait for each other take minutes to make the tiny model
from threadpoolctl import threadpool_info
from pelt_automl.baselines import fit_baseline, linear
from pelt_automl.training.features import FrozenFeatures
from tests.baselines.worlds import backbone_of, encoder_of, examples_of

seen, solved, computed = [], linear.Problem.solved, FrozenFeatures._computed

def blas(self, strength):
    import scipy.linalg
    seen.append(max(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"))
    return solved(self, strength)

def passes(self, tokens):
    assert torch.get_num_threads() == 2, torch.get_num_threads()
    return computed(self, tokens)

linear.Problem.solved, FrozenFeatures._computed = blas, passes
encoder = encoder_of(backbone_of())
torch.set_num_threads(2)
fit_baseline(sys.argv[1], examples_of("classes", 20), 2, encoder)
assert set(seen) == {1}, seen
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["probe", "bag-of-words"])
def test_linear_algebra_has_one_thread_and_the_backbone_all(name):
    """In a process of its own, in which no library is loaded before the first fit."""
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"}
    ended = subprocess.run([sys.executable, "-c", THREADS, name], env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
