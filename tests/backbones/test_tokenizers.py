"""A tokenizer that isn't the model's is refused: it would train on unknown tokens, or end in an index out of range."""

import json

import pytest
import transformers

from pelt_automl.backbones.loading import check_model, load_backbone, load_outline
from pelt_automl.errors import BackboneError
from tests.tiny import FAMILIES, tiny_model
from tests.tiny_world import word_tokenizer


def model_with(folder, tokenizer, vocabulary=60, family="bert", **changes):
    tiny_model(family, vocab_size=vocabulary, **changes).save_pretrained(folder)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
    return folder


def checked(folder):
    return check_model(str(folder), load_outline(str(folder))[1])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_folder_without_a_tokenizer_is_refused_for_every_family(family, tmp_path):
    with pytest.raises(
        BackboneError, match=r"has no tokenizer: tokenizer\.json is expected. Every word would be unknown. Copy the tokenizer"
    ):
        checked(model_with(tmp_path, None, family=family))


@pytest.mark.parametrize("there", ["vocab.json", "merges.txt"])
def test_half_a_tokenizer_is_none(there, tmp_path):
    model_with(tmp_path, None, family="gpt2")
    (tmp_path / there).write_text(json.dumps({chr(97 + i): i for i in range(26)}) if there == "vocab.json" else "#version: 0.2\n")
    with pytest.raises(BackboneError, match=rf"has no tokenizer \(only {there} of vocab\.json and merges\.txt\)"):
        checked(tmp_path)


def test_a_configuration_of_a_tokenizer_is_no_vocabulary(tmp_path):
    model_with(tmp_path, word_tokenizer())
    (tmp_path / "tokenizer.json").unlink()
    assert (tmp_path / "tokenizer_config.json").is_file()
    with pytest.raises(BackboneError, match="has no tokenizer"):
        checked(tmp_path)


@pytest.mark.parametrize("text", ["{", "", "[]", "version https://git-lfs.github.com/spec/v1\n"])
def test_a_damaged_tokenizer_is_one_message(text, tmp_path):
    model_with(tmp_path, word_tokenizer())
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(BackboneError, match=r"the tokenizer of .* can't be read from .*Download or save its files again"):
        checked(tmp_path)


@pytest.mark.parametrize(
    ("rows", "fits"),
    [
        pytest.param(60, True, id="as many"),
        pytest.param(64, True, id="padded to 64"),
        pytest.param(128, True, id="padded to 128"),
        pytest.param(572, True, id="512 more"),
        pytest.param(573, False, id="more than that"),
        pytest.param(30522, False, id="another model's"),
    ],
)
def test_a_vocabulary_far_smaller_than_the_embedding_is_refused_with_both_numbers(rows, fits, tmp_path):
    model_with(tmp_path, word_tokenizer(), rows)
    if fits:
        assert len(checked(tmp_path)) == 60
        return
    with pytest.raises(BackboneError, match=rf"it has 60 tokens, and the model embeds {rows:,}\. Copy the tokenizer of this very model"):
        checked(tmp_path)


@pytest.mark.parametrize(
    ("tokens", "rows"), [(250_100, 250_112), (32_100, 32_128), (50_257, 50_304), (151_665, 151_936), (128_001, 128_100)]
)
def test_the_slack_of_well_known_models_is_let_through(tokens, rows):
    from pelt_automl.backbones.tokenizers import mismatch

    assert mismatch(Counted(tokens), rows) is None
    assert mismatch(Counted(tokens // 2), rows) is not None


class Counted:
    """So many tokens, none of them special."""

    all_special_ids = ()

    def __init__(self, tokens):
        self.tokens = tokens

    def get_vocab(self):
        return {str(number): number for number in range(self.tokens)}

    def __call__(self, text):
        return {"input_ids": [0]}


def test_more_tokens_than_embeddings_are_refused_with_both_numbers(tmp_path):
    expected = r"it has 60 tokens, up to number 59, and the model embeds 50 \(0 to 49\), so that 10 would have no embedding"
    with pytest.raises(BackboneError, match=rf"{expected}.*model\.resize_token_embeddings"):
        checked(model_with(tmp_path, word_tokenizer(), 50))


def test_tokens_that_were_added_without_a_row_are_refused(tmp_path):
    tokenizer = word_tokenizer()
    tokenizer.add_tokens(["emoji", "hashtag"])
    with pytest.raises(BackboneError, match="it has 62 tokens, up to number 61, and the model embeds 60"):
        checked(model_with(tmp_path, tokenizer))


def test_a_special_token_without_a_row_is_let_through_since_no_text_has_it(tmp_path):
    """Gemma 3 has one more token than rows, for images."""
    tokenizer = word_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    assert len(checked(model_with(tmp_path, tokenizer))) == 61


def test_a_special_token_without_a_row_that_stands_in_every_text_is_refused(tmp_path):
    from tokenizers import processors

    tokenizer = word_tokenizer()
    tokenizer.add_special_tokens({"cls_token": "<cls>"})
    around = [("<cls>", 60), ("[SEP]", 3)]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single="<cls> $A [SEP]", special_tokens=around)
    with pytest.raises(BackboneError, match="up to number 60, and the model embeds 60"):
        checked(model_with(tmp_path, tokenizer))


def test_a_padding_token_that_was_added_without_a_row_is_replaced_by_the_end_of_text(tmp_path):
    """As people do with GPT-2: tokenizer.add_special_tokens({"pad_token": "[PAD]"}), and nothing more."""
    tokenizer = word_tokenizer()
    tokenizer.add_special_tokens({"pad_token": "<pad>", "eos_token": "[SEP]"})
    assert tokenizer.pad_token_id == 60
    assert checked(model_with(tmp_path, tokenizer, family="gpt2")).pad_token_id == 3


def test_a_decoder_whose_tokenizer_has_no_padding_token_is_let_through(tmp_path):
    tokenizer = word_tokenizer()
    tokenizer.pad_token = None
    model_with(tmp_path, tokenizer, family="gpt2")
    assert checked(tmp_path).pad_token_id is None
    assert load_backbone(str(tmp_path)).architecture.family == "gpt2"


def test_a_tokenizer_of_bytes_needs_no_file(tmp_path):
    transformers.ByT5Tokenizer().save_pretrained(tmp_path)
    assert len(checked(model_with(tmp_path, None, vocabulary=384, family="t5"))) == 384
