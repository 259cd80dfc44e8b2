"""Where texts are cut: by the data, and what of them is cut is said."""

import dataclasses

import numpy as np
import pytest

import pelt_automl
from pelt_automl.backbones.loading import load_outline
from pelt_automl.errors import BackboneError
from pelt_automl.log.events import DataDescribed, Planned, ReportOpened, TrialEnded, VerdictReached
from pelt_automl.log.history import History
from pelt_automl.options import settings_from
from pelt_automl.selection.field import prompt_tokens
from pelt_automl.selection.selection import Selection
from pelt_automl.selection.text_length import TextLength, length_note, recorded_length, text_length
from pelt_automl.tasks import Examples, load_task
from pelt_automl.verdict.warnings import all_warnings
from tests.tiny import tiny_backbone
from tests.tiny_world import CLASSES, FILLERS, SIGNALS, Killed, Watcher, of, records_of, word_tokenizer, write_csv

SHAPE = dataclasses.replace(tiny_backbone().shape, positions=512)


def pool(*lengths):
    """Texts with so many tokens, [CLS] and [SEP] included."""
    return Examples(tuple((" ".join(["word1"] * (length - 2)),) for length in lengths), tuple(range(len(lengths))))


def chosen(world, texts, shape=SHAPE, methods=("lora",), **options):
    settings = settings_from(**world.options(**options))
    data = dataclasses.replace(load_task(settings.task), pool=texts)
    return text_length(settings, data, word_tokenizer(), shape, methods)


@pytest.mark.parametrize(
    ("lengths", "needed", "most"),
    [
        pytest.param([5] * 99 + [300], 5, 32, id="one text of a hundred may be cut"),
        pytest.param([5] * 98 + [300] * 2, 300, 320, id="two of a hundred are more than one per cent"),
        pytest.param([96] * 10, 96, 96, id="a multiple of 32"),
        pytest.param([97] * 10, 97, 128, id="one token more"),
        pytest.param([450] * 10, 450, 480, id="long documents"),
        pytest.param([2000] * 10, 2000, 512, id="never more than 512 unless it is asked for"),
    ],
)
def test_by_default_nearly_all_texts_to_train_on_are_read_whole(world, lengths, needed, most):
    assert chosen(world, pool(*lengths)) == TextLength(most, needed, 512)


def test_a_model_that_reads_less_is_the_limit_and_one_without_positions_is_none(world):
    assert chosen(world, pool(*[450] * 10), dataclasses.replace(SHAPE, positions=100)).most == 100
    assert chosen(world, pool(*[450] * 10), dataclasses.replace(SHAPE, positions=None)) == TextLength(480, 450, 0)


@pytest.mark.parametrize(("wanted", "positions", "most"), [(16, 512, 16), (700, 1024, 700), (700, 512, 512), (700, None, 700)])
def test_a_user_may_ask_for_less_or_more_up_to_what_the_model_reads(world, wanted, positions, most):
    assert chosen(world, pool(*[40] * 10), dataclasses.replace(SHAPE, positions=positions), max_length=wanted).most == most


@pytest.mark.parametrize("length", [20, 300])
def test_the_paper_has_128_tokens(world, length):
    assert chosen(world, pool(*[length] * 10), protocol="paper").most == 128
    assert chosen(world, pool(*[length] * 10), protocol="paper", max_length=64).most == 64


def test_a_prompt_that_is_compared_gets_its_positions_from_long_texts_and_from_short_ones_nothing(world):
    for prompts in (("lora", "prompt"), ("peft-p-tuning",)):
        assert chosen(world, pool(*[600] * 10), methods=prompts) == TextLength(492, 600, 512, 20)
    assert chosen(world, pool(*[60] * 10), methods=("prompt",)) == TextLength(64, 60, 512)
    tiny = dataclasses.replace(SHAPE, positions=30)
    assert chosen(world, pool(*[60] * 10), tiny, ("prompt",)).most == 30, "it would leave less than itself for the text"
    assert prompt_tokens(()) == 0


@pytest.mark.parametrize(
    ("words", "why"),
    [
        pytest.param(["unheard", "of", "words"], "100 % of the tokens aren't among the tokenizer's 60 tokens", id="all of them"),
        pytest.param(["word1", "unheard", "of"], "67 % of the tokens aren't among", id="most of them"),
    ],
)
def test_texts_that_the_tokenizer_does_not_know_are_refused_before_anything_is_trained(world, words, why):
    with pytest.raises(BackboneError, match=rf"{why}.*Give the model the tokenizer that belongs to it, or take a model for this language"):
        chosen(world, Examples(((" ".join(words),),) * 20, (0,) * 20))


def test_texts_of_which_nothing_is_left_are_refused(world):
    with pytest.raises(BackboneError, match="of 100 % of the texts the tokenizer's 60 tokens leave nothing"):
        chosen(world, Examples((("",),) * 20, (0,) * 20))


def test_some_unknown_tokens_are_allowed_and_said(world):
    found = chosen(world, Examples((("word1 word2 unheard of",),) * 20, (0,) * 20))
    assert found.unknown == 50
    assert "50 % of the tokens are unknown to the tokenizer" in length_note(found, {})


def test_the_note_says_where_texts_are_cut_why_and_what_of_each_split():
    cut = {"train": {"texts": 200, "cut": 3, "tokens": 9000, "lost": 1234}, "select": {"texts": 90, "cut": 0, "tokens": 900, "lost": 0}}
    assert length_note(TextLength(480, 450, 512, 20), cut) == (
        "texts are read up to 480 tokens (99 % of those to train on have 450 at most, and 20 positions are kept for a prompt); "
        "cut: 3 of 200 in train (1.5 %), 1,234 tokens in all"
    )
    assert length_note(TextLength(96, 90), {"train": cut["select"], "select": cut["select"]}).endswith("cut: none in train or select")
    assert length_note(TextLength(384, 700, 512), {}, windows=True) == (
        "questions and passages of more than 384 tokens are read in windows (99 % of those to train on have 700 at most)"
    )


@pytest.fixture(scope="module")
def long_documents(world, tmp_path_factory):
    """Documents whose last word but one tells the class; the last is there so that pairs of them differ."""
    random = np.random.default_rng(0)

    def rows(count, length):
        texts = [" ".join(FILLERS[i] for i in random.integers(0, len(FILLERS), length - 4)) for _ in range(count)]
        return [(f"{text} {SIGNALS[i % 2]} word{i % 50}", CLASSES[i % 2]) for i, text in enumerate(texts)]

    folder = tmp_path_factory.mktemp("long")
    write_csv(folder / "train.csv", ["text", "label"], rows(80, 36))
    write_csv(folder / "test.csv", ["text", "label"], rows(40, 50))
    return folder


def options(world, folder, **more):
    files = {"train": folder / "train.csv", "test": folder / "test.csv"}
    return world.options(**files, k="full", methods=["lora", "head"], trials=1, finalist_seeds=1, epochs=4) | more


@pytest.mark.slow
@pytest.mark.usefixtures("without_mlflow")
def test_what_is_cut_stands_in_plan_notes_verdict_and_the_winner_and_a_prediction_warns(world, long_documents, tmp_path):
    found = pelt_automl.select(output=tmp_path / "out", **options(world, long_documents))
    events = records_of(tmp_path / "out")
    (described,), (planned,), (opened,) = of(events, DataDescribed), of(events, Planned), of(events, ReportOpened)
    assert (described.text_length["most"], described.text_length["needed"]) == (40, 36)
    assert "texts are read up to 40 tokens (99 % of those to train on have 36 at most); cut: none in train or select" in described.notes
    assert "texts of at most 40 tokens, 0 of 80 cut" in planned.message
    assert opened.cut == {"texts": 40, "cut": 40, "tokens": 2000, "lost": 400}
    warning = (
        "100 % of the texts of report are longer than 40 tokens and were cut there, 20 % of their split's tokens in all: this model reads"
    )
    assert any(text.startswith(warning) for text in found.warnings)
    assert any(text.startswith(warning) for text in of(events, VerdictReached)[-1].warnings)

    predictor = pelt_automl.load(tmp_path / "out")
    assert predictor.config.max_length == 40
    with pytest.warns(UserWarning, match="1 of 2 texts are longer than the 40 tokens .* 10 of 64 tokens are lost"):
        predictor.predict([" ".join(["word1"] * 48), " ".join(["word1"] * 12)])


@pytest.mark.slow
@pytest.mark.usefixtures("without_mlflow")
def test_a_selection_that_is_taken_up_cuts_where_it_began(world, long_documents, tmp_path, monkeypatch):
    wanted = options(world, long_documents, output=tmp_path / "out", max_length=None)
    with pytest.raises(Killed):
        pelt_automl.select(display=Watcher(kill=lambda watcher: bool(of(watcher.events, TrialEnded))), **wanted)
    monkeypatch.setattr("pelt_automl.selection.selection.text_length", lambda *_: TextLength(8, 8))
    found = pelt_automl.select(**wanted)
    assert pelt_automl.load(found.folder).config.max_length == 40


@pytest.mark.usefixtures("without_mlflow")
def test_a_prompt_is_compared_on_long_texts_by_default_and_left_out_where_the_user_wants_all_positions(world, long_documents, tmp_path):
    both = options(world, long_documents, methods=["lora", "prompt"])
    with Selection.open(settings_from(**both), tmp_path / "default") as selection:
        assert (selection.question.methods, selection.question.length.most) == (("lora", "prompt"), 20)
    with pytest.raises(BackboneError, match="a prompt of 20 and texts of 40 tokens are more than the 40 that the model reads"):
        Selection.open(settings_from(**both, max_length=40), tmp_path / "asked")
    assert not (tmp_path / "asked").exists(), "nothing is written before a refusal"


@pytest.mark.parametrize(
    ("most", "needed", "model", "advice"),
    [
        (128, 450, 512, "--max-length 450 reads more of them"),
        (128, 450, 0, "--max-length 450 reads more of them"),
        (128, 900, 512, "--max-length 512 reads more of them"),
        (512, 900, 512, "this model reads no more: take one that does, or shorten them"),
    ],
)
def test_advice_about_texts_that_are_cut_fits_the_model(world, most, needed, model, advice):
    events = [described(TextLength(most, needed, model), {"train": counts(100, 6), "select": counts(100, 5)})]
    (warning,) = all_warnings(History.of(events), None)
    assert (
        warning
        == f"6 % of the texts of train are longer than {most} tokens and were cut there, 10 % of their split's tokens in all: {advice}."
    )


def test_texts_that_are_hardly_cut_are_no_news_and_records_of_before_have_none():
    assert all_warnings(History.of([described(TextLength(128, 120, 512), {"train": counts(100, 5), "select": counts(100, 0)})]), None) == []
    assert all_warnings(History.of([dataclasses.replace(described(TextLength(1, 1), {}), text_length={}, cut={})]), None) == []


def test_many_unknown_tokens_are_warned_of():
    (warning,) = all_warnings(History.of([described(TextLength(128, 120, unknown=23), {})]), None)
    assert warning.startswith("23 % of the tokens to train on are unknown to the model's tokenizer")


def test_a_length_is_taken_up_from_records_and_what_a_later_version_adds_is_left_out():
    length = TextLength(492, 600, 512, 20, 3)
    assert recorded_length([described(length, {})]) == length
    later = dataclasses.replace(described(length, {}), text_length=length.recorded() | {"stride": 7})
    assert recorded_length([later]) == length
    assert recorded_length([dataclasses.replace(later, text_length={})]) is None


def counts(texts, cut):
    return {"texts": texts, "cut": cut, "tokens": 1000, "lost": 100 if cut else 0}


def described(length, cut):
    sizes, hashes = {"train": 100, "select": 100, "report": 100}, {}
    return DataDescribed(
        "t", "classification", "accuracy", True, ["a", "b"], None, "strict", sizes, hashes, text_length=length.recorded(), cut=cut
    )


def test_the_outline_of_a_model_has_the_rows_of_its_embedding(world):
    assert load_outline(str(world.model))[1].vocabulary == 60
