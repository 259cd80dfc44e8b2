"""From a saved winner to a folder that other programs read: as typed, in a process without our package, or not at all."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors import SafetensorError

import pelt_automl
from pelt_automl import cli
from pelt_automl.backbones.loading import load_backbone
from pelt_automl.design_space import Form, Modification, Site
from pelt_automl.errors import BackboneError, SelectionError, SettingsError
from pelt_automl.export import exporting
from pelt_automl.export.exporting import FORMATS, Exported, export_winner
from pelt_automl.methods import METHODS
from pelt_automl.training.checkpoints import describe, save_trained
from tests.export.winners import trained_config, trained_pack_of
from tests.probing import lively_model
from tests.tiny_world import word_tokenizer

TEXTS = ["good word1 word2", "bad", "word3 odd word4 word5 word6 word7"]
READ_AGAIN = """
import json, sys, torch
snippets, texts = json.loads(sys.argv[1])
found = []
for snippet in snippets:
    exec(snippet)
    with torch.no_grad():
        batch = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        found.append(model.eval()(**batch).logits.tolist())
    assert model.config.id2label == {0: "no", 1: "perhaps", 2: "yes"}, model.config
    assert model.config.label2id == {"no": 0, "perhaps": 1, "yes": 2}, model.config
assert not [name for name in sys.modules if name.startswith("pelt_automl")]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    lively_model("bert").save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def selection(model_folder, tmp_path_factory):
    """Makes a selection's folder with a winner in it."""

    def saved(modifications, **other):
        folder = tmp_path_factory.mktemp("selection")
        backbone = load_backbone(str(model_folder), precision="fp32")
        trained = trained_config(modifications, backbone=describe(backbone), max_length=6, **other)
        pack = trained_pack_of(backbone, modifications)
        save_trained(folder / "winner", trained, pack.kept_weights(0), backbone.tokenizer)
        return folder

    return saved


@pytest.fixture(scope="module")
def lora(selection):
    return selection(METHODS["lora"].modifications({}), method="lora")


@pytest.mark.slow
def test_a_process_without_our_package_gives_the_winners_outputs_with_what_is_printed(lora, tmp_path):
    merged = export_winner(lora, tmp_path / "deep" / "merged", merged=True, peft=False)
    folder = export_winner(lora / "winner", tmp_path / "peft", merged=False, peft=True)
    assert max(merged.difference, folder.difference) < 1e-5
    snippets = [said.described().partition("Load it with:\n\n")[2] for said in (merged, folder)]
    script = [sys.executable, "-c", READ_AGAIN, json.dumps([snippets, TEXTS])]
    done = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True, check=True)
    ours = pelt_automl.load(lora).logits(TEXTS)
    for theirs in json.loads(done.stdout.splitlines()[-1]):
        np.testing.assert_allclose(np.array(theirs), ours, atol=1e-5)


def test_a_winner_whose_model_has_moved_is_exported_from_its_new_place(lora, model_folder, tmp_path):
    folder = shutil.copytree(lora, tmp_path / "selection")
    trained = json.loads((folder / "winner" / "pelt_config.json").read_text())
    trained["backbone"]["location"] = trained["backbone"]["name"] = str(tmp_path / "gone")
    (folder / "winner" / "pelt_config.json").write_text(json.dumps(trained))
    with pytest.raises(BackboneError, match=r"can't be loaded: .*say where it is: --model FOLDER"):
        export_winner(folder, tmp_path / "out", merged=True, peft=False)
    moved = shutil.copytree(model_folder, tmp_path / "moved")
    assert export_winner(folder, tmp_path / "merged", merged=True, peft=False, model=str(moved)).difference < 1e-5
    said = export_winner(folder, tmp_path / "peft", merged=False, peft=True, model=str(moved)).described()
    assert f"from_pretrained('{moved}', config=config" in said
    assert json.loads((tmp_path / "peft" / "adapter_config.json").read_text())["base_model_name_or_path"] == str(moved)


def test_nothing_but_the_folder_is_left(lora, tmp_path):
    export_winner(lora, tmp_path / "out", merged=True, peft=False)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert {"config.json", "model.safetensors", "tokenizer_config.json", "tokenizer.json"} <= {
        path.name for path in (tmp_path / "out").iterdir()
    }


def test_an_empty_folder_may_be_there(lora, tmp_path):
    (tmp_path / "out").mkdir()
    assert export_winner(lora, tmp_path / "out", merged=False, peft=True).folder == tmp_path / "out"


def test_an_empty_folder_stays_the_folder_that_it_is(lora, tmp_path, monkeypatch):
    """A terminal may be in it, it may be a link or a mounted disk."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    before = (tmp_path / "real").stat().st_ino
    export_winner(lora, tmp_path / "link", merged=False, peft=True)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").stat().st_ino == before
    assert {"adapter_config.json", "adapter_model.safetensors"} <= {path.name for path in (tmp_path / "real").iterdir()}
    assert [path.name for path in (tmp_path / "real").iterdir() if path.name.startswith(".")] == []
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    export_winner(lora, Path("."), merged=False, peft=True)  # noqa: PTH201 as it is typed
    assert Path("adapter_config.json").is_file()


def test_a_place_that_cant_be_written_is_one_message(lora, tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(SettingsError, match="there is a file of that name"):
        export_winner(lora, tmp_path / "link", merged=False, peft=True)
    with pytest.raises(SettingsError, match=r"can't be written to .*/file/out \(.*\); name another folder"):
        export_winner(lora, tmp_path / "file" / "out", merged=False, peft=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]


@pytest.mark.parametrize("kind", list(FORMATS))
def test_what_is_refused_is_not_written_and_everything_is_said(selection, kind, tmp_path):
    folder = selection((*METHODS["unipelt-apl"].modifications({"reparameterization": False}),), method="unipelt-apl")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("keep me")
    with pytest.raises(SettingsError, match=rf"^export of unipelt-apl on .* with --{kind} to .* has \d problems:\n") as refused:
        export_winner(folder, tmp_path / "out", merged=kind == "merged", peft=kind == "peft")
    for part in ("the folder isn't empty; name a new one", "adapter at ffn", "prefix at heads", "lora at attention.value"):
        assert part in str(refused.value)
    assert str(refused.value).endswith("\nPredict with it (`pelt-automl predict`) or serve it (`mlflow models serve`).")
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "mine.txt"]


def test_a_file_in_the_place_is_refused(lora, tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(SettingsError, match=r"there is a file of that name; name a new folder$"):
        export_winner(lora, tmp_path / "out", merged=True, peft=False)
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.parametrize("both", [True, False])
def test_one_kind_has_to_be_named(lora, both, tmp_path):
    with pytest.raises(SettingsError, match=r"say what to write: --merged .* or --peft"):
        export_winner(lora, tmp_path / "out", merged=both, peft=both)


def test_a_failure_while_writing_leaves_nothing(lora, tmp_path, monkeypatch):
    def fails(pack, trained, config, folder):
        (folder / "half.txt").write_text("half")
        raise SelectionError("the exported model isn't the trained one")

    monkeypatch.setitem(exporting.FORMATS, "merged", (lambda trained, backbone: [], fails))
    with pytest.raises(SelectionError, match="isn't the trained one"):
        export_winner(lora, tmp_path / "out", merged=True, peft=False)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_a_winner_is_refused(tmp_path):
    with pytest.raises(SelectionError, match="holds no trained method"):
        export_winner(tmp_path, tmp_path / "out", merged=True, peft=False)


def test_a_winner_trained_in_bf16_is_written_in_fp32_and_that_is_said(selection, tmp_path):
    folder = selection((Modification("bitfit", Site.BIASES, Form.BIAS),), method="bitfit", precision="bf16")
    said = export_winner(folder, tmp_path / "out", merged=True, peft=False).described()
    assert f"bitfit on {trained_name(folder)} written to {tmp_path / 'out'}, in fp32." in said
    assert "The training computed in bf16, so that predictions may differ in its rounding." in said


def trained_name(folder):
    return json.loads((folder / "winner" / "pelt_config.json").read_text())["backbone"]["name"]


def typed(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["pelt-automl", "export", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code


def test_the_command_writes_and_says_how_to_load_it(lora, tmp_path, monkeypatch, capsys):
    assert not typed(monkeypatch, lora, "--merged", "--output", tmp_path / "out")
    said = capsys.readouterr()
    assert said.out.startswith("lora on ")
    assert f"model = AutoModelForSequenceClassification.from_pretrained('{tmp_path / 'out'}')" in said.out
    assert said.err == ""
    assert typed(monkeypatch, lora, "--peft", "--output", tmp_path / "out") == 2
    assert "the folder isn't empty" in capsys.readouterr().err


def test_what_a_prompt_in_peft_asks_for_is_said(tmp_path):
    prompt = (Modification("prompt", Site.EMBEDDINGS, Form.PROMPT, size=2),)
    for kind, said in (("peft", True), ("merged", False)):
        text = Exported(kind, tmp_path, trained_config(prompt), 1e-7, "/nowhere").described()
        assert ("give it one text at a time, or texts of the same number of tokens" in text) == said


def test_a_disk_that_is_full_under_an_export_is_one_error_and_leaves_nothing(lora, monkeypatch, tmp_path):
    def full(pack, trained, config, folder):
        (folder / "half.txt").write_text("half")
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setitem(exporting.FORMATS, "merged", (lambda trained, backbone: [], full))
    with pytest.raises(SettingsError, match=r"can't be written to .*/out \(No space left on device\)"):
        export_winner(lora, tmp_path / "out", merged=True, peft=False)
    assert list(tmp_path.iterdir()) == []
