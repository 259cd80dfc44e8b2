"""Which methods take part, before anything is loaded."""

import pytest
import torch

import pelt_automl
from pelt_automl.backbones import loading
from pelt_automl.errors import BackboneError, SettingsError
from pelt_automl.log.events import Decision, SelectionStarted, What
from pelt_automl.methods import METHODS, STANDARD
from pelt_automl.options import settings_from
from pelt_automl.selection.field import field_of, longest_text, refusals
from tests.tiny import tiny_backbone, tiny_model
from tests.tiny_world import of, records_of


def outline(family):
    backbone = tiny_backbone(family)
    return backbone.architecture, backbone.shape


def test_without_names_the_standard_methods_take_part():
    assert field_of((), *outline("bert")) == (STANDARD, {})


def test_all_stands_for_every_method_that_the_model_supports():
    methods, out = field_of(("all",), *outline("llama"))
    assert set(methods) | set(out) == set(METHODS)
    assert "bitfit" in out
    assert "bitfit" not in methods


def test_what_nobody_named_is_left_out_with_its_reason():
    methods, out = field_of((), *outline("llama"))
    assert out == {"bitfit": ["llama has no bias terms"]}
    assert methods == tuple(method for method in STANDARD if method != "bitfit")


def test_what_was_named_and_cannot_be_is_refused_with_all_reasons_and_what_can():
    with pytest.raises(BackboneError, match=r"(?s)llama models do not support: bitfit: llama has no bias terms.*They do: .*lora.*adapter"):
        field_of(("lora", "bitfit"), *outline("llama"))


def test_every_standard_method_is_possible_on_bert():
    assert all(refusals(METHODS[method].build(), *outline("bert")) == [] for method in STANDARD)


def test_texts_are_cut_to_what_the_model_reads_and_a_prompt_needs_room_before_them():
    table, shape = outline("bert")  # 40 positions
    assert [longest_text(wanted, shape) for wanted in (30, 41)] == [30, 40]
    assert longest_text(4096, outline("llama")[1]) == 4096
    with pytest.raises(BackboneError, match="a prompt of 20 and texts of 21 tokens are more than the 40 that the model reads"):
        field_of(("prompt",), table, shape, 21)
    assert field_of(("prompt",), table, shape, 20) == (("prompt",), {})
    assert field_of(("prompt",), *outline("llama"), 4096) == (("prompt",), {})  # rotary positions have no table


def test_all_is_a_word_for_the_command_but_not_beside_names():
    assert settings_from(task="qnli", methods="all").search.methods == ("all",)
    with pytest.raises(SettingsError, match="'all' stands alone; methods has all, lora"):
        settings_from(task="qnli", methods="all,lora")


@pytest.fixture
def llama_world(world, tmp_path):
    """The small world with a tiny Llama in place of its encoder."""
    folder = tmp_path / "llama"
    torch.manual_seed(0)
    tiny_model("llama").save_pretrained(folder)
    for file in world.model.iterdir():
        if file.name.startswith("tokenizer"):
            (folder / file.name).write_bytes(file.read_bytes())
    return world, folder


@pytest.mark.usefixtures("without_mlflow")
def test_a_refusal_comes_before_a_model_is_loaded_and_leaves_nothing(llama_world, tmp_path, monkeypatch):
    world, folder = llama_world
    monkeypatch.setattr(loading, "_load", lambda *_: pytest.fail("a model was loaded"))
    with pytest.raises(BackboneError, match="bitfit: llama has no bias terms"):
        pelt_automl.select(output=tmp_path / "out", **world.options(model=str(folder), methods=["bitfit", "lora"]))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("without_mlflow")
def test_a_selection_on_a_decoder_says_what_it_left_out(llama_world, tmp_path):
    world, folder = llama_world
    options = {"trials": 1, "epochs": 1, "finalist_seeds": 1, "model": str(folder), "methods": None}
    found = pelt_automl.select(output=tmp_path / "out", **world.options(**options))
    events = records_of(tmp_path / "out")
    [started] = of(events, SelectionStarted)
    assert "bitfit" not in started.methods
    assert [d.subject for d in of(events, Decision) if d.what == What.METHOD_IMPOSSIBLE and "no bias terms" in d.why] == ["bitfit"]
    assert found.method in started.methods
