"""Passages in windows: nothing of them is lost, each token knows its characters, and the best piece of all windows is the answer."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from pelt_automl.backbones.loading import wrap
from pelt_automl.design_space import Form, Modification, Site
from pelt_automl.errors import BackboneError
from pelt_automl.methods import METHODS
from pelt_automl.modifications import Pack, PackTrial
from pelt_automl.tasks import Examples
from pelt_automl.tasks.answers import Answer, as_label
from pelt_automl.tasks.kinds import KINDS, LabelScale
from pelt_automl.training.evaluation import evaluate
from pelt_automl.training.tokens import collate, tokenize
from pelt_automl.training.windows import LONGEST_ANSWER, Window, best_answers, of_examples
from tests.tiny import tiny_model
from tests.tiny_world import FILLERS, word_tokenizer

ENCODERS = ("bert", "roberta", "distilbert", "electra", "albert", "deberta-v3", "mpnet", "modernbert", "xlm-roberta")


def passage(words, seed=0):
    return "  ".join(np.random.default_rng(seed).choice(FILLERS, words))


def asked(text, answer, question="word1 word2 word3"):
    return Examples(((question, text),), (as_label([Answer(text.index(answer), answer)] if answer else []),))


def tokens_of(examples, max_length=24):
    return tokenize(examples, word_tokenizer(), max_length, windows=True)


def test_all_of_a_long_passage_is_in_some_window_and_each_token_knows_its_characters():
    text = f" {passage(70)} good {passage(30, 1)} "
    (own,) = tokens_of(asked(text, "good")).passages
    assert len(own.windows) > 3
    seen = np.zeros(len(text), bool)
    for window in own.windows:
        assert len(window.input_ids) <= 24
        assert window.token_type_ids is not None
        assert len(window.characters) == len(window.input_ids) == len(window.token_type_ids)
        for token, kind, (start, end) in zip(window.input_ids, window.token_type_ids, window.characters.tolist(), strict=True):
            assert (start >= 0) == (kind == 1 and token > 3), "the question and special tokens are none of it"
            if start >= 0:
                assert word_tokenizer().convert_ids_to_tokens(token) == text[start:end]
                seen[start:end] = True
    assert seen[[i for i, letter in enumerate(text) if letter != " "]].all()
    there = [window for window in own.windows if window.answer != (0, 0)]
    assert there
    for window in there:
        (start, _), (_, end) = window.characters[window.answer[0]], window.characters[window.answer[1]]
        assert text[start:end] == "good"


def test_an_answer_of_several_words_is_found_only_where_it_stands_whole():
    text = f"{passage(14)} good bad odd {passage(14, 1)}"
    (own,) = tokens_of(asked(text, "good bad odd")).passages
    whole = [window.answer for window in own.windows if window.answer != (0, 0)]
    assert whole
    assert all(last - first == 2 for first, last in whole)
    cut = [window for window in own.windows if window.answer == (0, 0)]
    assert all(not {4, 5, 6} <= set(window.input_ids) for window in cut)


def test_a_long_question_is_cut_and_leaves_room_for_the_passage():
    text = passage(40)
    (own,) = tokens_of(asked(text, text.split()[-1], question=passage(60, 2))).passages
    assert all(len(window.input_ids) <= 24 for window in own.windows)
    assert any(window.answer != (0, 0) for window in own.windows)


def test_the_shortest_windows_have_room_for_question_and_passage():
    text = passage(20)
    (own,) = tokens_of(asked(text, text.split()[-1], question=passage(9, 2)), 8).passages
    assert {len(window.input_ids) for window in own.windows} <= set(range(4, 9))
    assert any(window.answer != (0, 0) for window in own.windows)


def test_without_a_fast_tokenizer_it_is_said():
    with pytest.raises(BackboneError, match="doesn't tell which characters a token stands for"):
        tokenize(asked("good", "good"), object(), 24, windows=True)


def test_a_training_reads_each_window_in_turn_and_an_evaluation_all_of_them():
    text = f"{passage(60)} good"
    tokens = tokens_of(Examples((("word1", text), ("word2", "bad day")), (as_label([Answer(len(text) - 4, "good")]), as_label([]))))
    count = len(tokens.passages[0].windows)
    read = [tokens.one_window(turn) for turn in range(count)]
    assert [one.input_ids[0] for one in read] == [window.input_ids for window in tokens.passages[0].windows]
    assert all(one.input_ids[1] == tokens.input_ids[1] for one in read)
    assert sum(tuple(one.targets[0]) != (0, 0) for one in read) >= 1
    every, owners = tokens.all_windows()
    assert owners.tolist() == [0] * count + [1]
    assert len(every) == count + 1
    assert tokens.take([1, 0]).passages == (tokens.passages[1], tokens.passages[0])


def slowly(logits, window):
    """By trying all pieces."""
    characters = window.characters.tolist()
    pieces = [(first, last) for first in range(len(characters)) for last in range(first, min(len(characters), first + LONGEST_ANSWER))]
    return max(
        (logits[first, 0] + logits[last, 1], characters[first][0], characters[last][1])
        for first, last in pieces
        if all(stop > start >= 0 for start, stop in (characters[first], characters[last]))
    )


def test_the_best_piece_is_that_of_trying_all():
    random = np.random.default_rng(0)
    windows = tokens_of(asked(passage(200), ""), 60).passages[0].windows[:4]
    logits = random.normal(size=(4, 60, 2)).astype(np.float32) * 3
    for own, row, window in zip(logits, best_answers(logits, windows), windows, strict=True):
        score, start, end = slowly(own.astype(np.float64), window)
        assert row.tolist() == pytest.approx([start, end, score, own[0].sum()])


def test_of_all_windows_the_best_piece_counts_and_the_least_score_of_none():
    rows = np.array([[0, 1, 5.0, 2.0], [7, 9, 6.0, 3.0], [1, 2, -1.0, 9.0]])
    assert of_examples(rows, np.array([0, 0, 1]), 2).tolist() == [[7, 9, 6.0, 2.0], [1, 2, -1.0, 9.0]]


def test_the_loss_is_cross_entropy_of_start_and_end():
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 3, 7, 2), torch.randint(0, 7, (2, 3, 2))
    found = KINDS["question-answering"].losses(logits, labels.float(), [LabelScale()] * 2)
    for i in range(2):
        expected = sum(cross_entropy(logits[i, :, :, side], labels[i, :, side], reduction="none") for side in (0, 1)) / 2
        assert torch.allclose(found[i], expected)


# ------------------------------------------------------------------ the head


def backbone_of(family):
    return wrap(tiny_model(family), word_tokenizer(), name=f"tiny-{family}", pooling="tokens")


def batch_of(lengths=(14, 9, 5), seed=0):
    random = np.random.default_rng(seed)
    texts = [" ".join(random.choice(FILLERS, length)) for length in lengths]
    return tokens_of(Examples(tuple(("word1", text) for text in texts), (as_label([]),) * len(texts)))


@pytest.mark.parametrize("family", [pytest.param(f, marks=[] if f == "bert" else pytest.mark.slow) for f in ENCODERS])
def test_every_token_has_its_logits_in_any_pack_with_any_padding(family):
    """With a prompt, which moves the tokens, beside LoRA, UniPELT and the plain head."""
    backbone = backbone_of(family)
    methods = ["lora", "prompt", "unipelt-apl", "head", "adapter"]
    trials = []
    for seed, name in enumerate(methods):
        try:
            Pack(backbone, [PackTrial(METHODS[name].build(), seed)], 2)
        except BackboneError:
            continue
        trials.append(PackTrial(METHODS[name].build(), seed))
    assert len(trials) > 2
    trials = trials if backbone.architecture.packs else trials[:1]
    pack = Pack(backbone, trials, 2).eval()
    backbone.model.eval()
    tokens = batch_of()
    batch = collate([tokens] * len(trials), 0, backbone.device)
    with torch.no_grad():
        together = pack(**batch.inputs).logits
        assert together.shape == (len(trials), 3, max(tokens.lengths), 2)
        for slot, trial in enumerate(trials):
            alone = Pack(backbone, [trial], 2).eval()
            for i, length in enumerate(tokens.lengths):
                own = alone(**collate([tokens[i : i + 1]], 0, backbone.device).inputs).logits
                assert torch.allclose(own[0, 0], together[slot, i, :length], atol=2e-5), (family, trial, i)
    assert (together[:, 1, int(tokens.lengths[1]) :] < -1e8).all(), "no answer starts in padding"


@torch.no_grad()
def test_behind_a_prompt_each_token_keeps_its_own_state():
    backbone, states = backbone_of("bert"), []
    pack = Pack(backbone, [PackTrial(METHODS["prompt"].build(), 0)], 2).eval()
    backbone.model.eval()
    handle = backbone.model.register_forward_hook(lambda _, __, output: states.append(output.last_hidden_state))
    tokens = batch_of((9,))
    found = pack(**collate([tokens], 0, backbone.device).inputs).logits[0, 0]
    handle.remove()
    prompt = states[0].shape[1] - len(found)
    assert prompt > 0
    torch.testing.assert_close(found, pack.head(states[0][:, prompt:])[0])


def test_an_evaluation_joins_windows_and_order_and_padding_change_nothing():
    backbone = backbone_of("bert")
    pack = Pack(backbone, [PackTrial((Modification("lora", Site.ATTENTION_QUERY, Form.LINEAR, size=4),), 0)], 2)
    texts = [passage(words, seed) for seed, words in enumerate((50, 4, 33, 12))]
    tokens = tokens_of(Examples(tuple(("word1", text) for text in texts), (as_label([]),) * 4))
    found = evaluate(pack, [tokens])[0].logits
    assert found.shape == (4, 4)
    for i, text in enumerate(texts):
        assert evaluate(pack, [tokens.take([i])])[0].logits[0] == pytest.approx(found[i], abs=1e-4)
        assert text[int(found[i, 0]) : int(found[i, 1])].strip() == text[int(found[i, 0]) : int(found[i, 1])] != ""


def test_a_window_knows_no_place_of_an_answer_that_is_said_to_start_nowhere():
    tokens = tokens_of(Examples((("word1", "good day"),), (as_label([Answer(-1, "night")]),)))
    assert isinstance(tokens.passages[0].windows[0], Window)
    assert tokens.passages[0].windows[0].answer == (0, 0)
