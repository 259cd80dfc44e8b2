"""A head that reads every token: transformers' question answering takes it, merged and with peft."""

from dataclasses import replace

import peft
import pytest
import torch
import transformers

from pelt_automl.design_space import Form, Modification, Site
from pelt_automl.export.classification import plain_model
from pelt_automl.export.merged import why_not_merged, write_merged
from pelt_automl.export.peft_folder import why_not_peft, write_peft
from tests.export.winners import backbone_of, padded_texts, trained_config, trained_pack_of
from tests.tiny import by_structure, tiny_config

LORA = tuple(Modification("lora", site, Form.LINEAR, size=3, scale=1.5) for site in (Site.ATTENTION_QUERY, Site.FFN_DOWN))
ENCODERS = ["bert", "roberta", "xlm-roberta", "electra", "albert", "deberta-v3", "mpnet", "distilbert"]


def answering(family):
    """A backbone of which every token is read, and a winner on it."""
    backbone = backbone_of(family)
    backbone = replace(backbone, pooling="tokens", shape=replace(backbone.shape, dense_head=False, pooler=False))
    trained = trained_config(LORA, kind="question-answering", labels=[], text_columns=["question", "context"])
    return trained_pack_of(backbone, LORA, trained.outputs), trained


def assert_equal(pack, model):
    ids, mask = padded_texts(pack.backbone.model.config)
    with torch.no_grad():
        ours, theirs = pack(ids[None], mask[None]).logits[0], model.eval()(input_ids=ids, attention_mask=mask)
    found = torch.stack([theirs.start_logits, theirs.end_logits], dim=2)
    torch.testing.assert_close(found[mask.bool()], ours[mask.bool()], rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", by_structure(ENCODERS))
def test_merged_it_is_transformers_question_answering(family, tmp_path):
    pack, trained = answering(family)
    assert why_not_merged(trained, pack.backbone) == []
    assert write_merged(pack, trained, tiny_config(family), tmp_path) < 1e-5
    assert_equal(pack, transformers.AutoModelForQuestionAnswering.from_pretrained(str(tmp_path)))


@pytest.mark.parametrize("family", by_structure(["bert", "roberta", "distilbert"]))
def test_with_peft_it_is_the_same(family, tmp_path):
    pack, trained = answering(family)
    config = tiny_config(family)
    assert why_not_peft(trained, pack.backbone) == []
    assert write_peft(pack, trained, config, tmp_path) < 1e-5
    assert_equal(pack, peft.PeftModel.from_pretrained(plain_model(pack.backbone, config, trained), str(tmp_path)))


def test_where_transformers_has_another_head_it_is_said():
    pack, trained = answering("modernbert")
    (why,) = why_not_merged(replace(trained, modifications=()), pack.backbone)
    assert why == "transformers' question answering of modernbert has another kind of head than the one that was trained"
