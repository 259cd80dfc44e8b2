"""A contender as the winner: its folder predicts, is served by MLflow, and exports where it is a head; where it isn't, that is said."""

import json
import shutil
import sys
import warnings

import numpy as np
import pandas as pd
import pytest

import pelt_automl
from pelt_automl import cli
from pelt_automl.backbones.loading import load_backbone
from pelt_automl.baselines import Encoder, fit_baseline, load_winner, write_winner
from pelt_automl.baselines.contender import FACTS
from pelt_automl.errors import BackboneError, SelectionError, SettingsError
from pelt_automl.export import export_winner
from pelt_automl.methods.baselines import BASELINES
from pelt_automl.recorders.mlflow_registry import requirements, save_model
from pelt_automl.tasks import METRICS, TaskData
from pelt_automl.training.checkpoints import CONFIG, TrainedConfig
from pelt_automl.training.features import FrozenFeatures
from pelt_automl.training.predicting import PredictionWarning, load_predictor
from pelt_automl.training.tokens import tokenize
from tests.baselines.worlds import KINDS, examples_of
from tests.tiny import tiny_model
from tests.tiny_world import CLASSES, word_tokenizer, write_csv, write_model

NAMES = sorted(BASELINES)
LENGTH = 24


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A plain encoder, one that was made for sentences, and one with a hidden layer in its head."""
    home = tmp_path_factory.mktemp("models")
    write_model(home / "plain")
    pooling = write_model(home / "sentences") / "1_Pooling"
    pooling.mkdir()
    (pooling / "config.json").write_text('{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}')
    tiny_model("roberta").save_pretrained(home / "hidden")
    word_tokenizer().save_pretrained(home / "hidden")
    return {name: load_backbone(str(home / name), precision="fp32") for name in ("plain", "sentences", "hidden")}


def task_of(kind, count=60):
    pool, outputs = examples_of(kind, count), KINDS[kind]
    labels = ("no", "yes") if kind == "pairs" else CLASSES[:outputs] if outputs > 1 else ()
    columns = ("first", "second") if kind.startswith("pairs") else ("text",)
    own = "multi-label" if kind == "labels" else "classification" if outputs > 1 else "regression"
    metric = METRICS["micro_f1" if kind == "labels" else "accuracy" if outputs > 1 else "pearson"]
    return TaskData(kind, own, labels, metric, columns, count, "strict", examples_of(kind, 20, seed=1), (), "", pool)


def encoder_of(backbone):
    return Encoder(FrozenFeatures(backbone), lambda examples: tokenize(examples, backbone.tokenizer, LENGTH))


def written(folder, name, kind, backbone, count=60):
    """The folder of a selection with this winner, and the contender."""
    data = task_of(kind, count)
    fitted = fit_baseline(name, data.pool, data.outputs, encoder_of(backbone))
    write_winner(folder / "winner", fitted, data, backbone, LENGTH)
    return fitted, data


FORMS = {("neighbors", "plain"): "neighbors", ("bag-of-words", "plain"): "words", ("probe", "sentences"): "apart"}
"""What is no head, by contender and model; the last for pairs."""


@pytest.fixture(scope="module")
def no_heads(models, tmp_path_factory):
    """The folder of a selection for each form that is no head."""
    found = {}
    for (name, model), form in FORMS.items():
        found[form] = tmp_path_factory.mktemp(form)
        fitted, _ = written(found[form], name, "pairs" if form == "apart" else "classes", models[model], 120 if form == "apart" else 40)
        assert fitted.facts.form == form
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_the_winners_folder_predicts_what_the_contender_said(name, kind, models, tmp_path):
    pair = kind.startswith("pairs")
    fitted, data = written(tmp_path, name, kind, models["sentences" if pair else "plain"], 120 if pair else 60)
    assert (fitted.facts.form == "apart") == (pair and name == "probe")
    predictor = pelt_automl.load(tmp_path)
    texts = data.report.texts if data.pair else [text for (text,) in data.report.texts]
    expected, found = fitted.outputs(data.report), predictor.predict(texts)
    if data.kind == "multi-label":
        assert found == [[data.labels[index] for index in np.flatnonzero(row > 0)] for row in expected]
    elif data.kind == "regression":
        np.testing.assert_allclose(found, expected[:, 0], rtol=1e-5)
    else:
        assert found == [data.labels[index] for index in expected.argmax(axis=1)]
        np.testing.assert_allclose(predictor.probabilities(texts).sum(axis=1), 1)
    assert (predictor.config.method, predictor.config.task) == (name, kind)
    assert predictor.config.hyper_parameters == fitted.settings
    kept = {path.suffix or path.name for path in (tmp_path / "winner").iterdir()}
    assert kept == {".json", ".safetensors"} | ({"tokenizer"} if name != "bag-of-words" else set())


def test_a_bag_of_words_predicts_where_its_pretrained_model_is_gone_and_loads_none(no_heads, monkeypatch):
    expected = pelt_automl.load(no_heads["words"]).predict(["good word1", "bad word1"])

    def no_model(*_, **__):
        raise AssertionError

    monkeypatch.setattr("pelt_automl.training.predicting.load_backbone", no_model)
    assert pelt_automl.load(no_heads["words"], model="/nowhere").predict(["good word1", "bad word1"]) == expected == list(CLASSES[:2])


def test_the_others_say_that_their_model_is_gone(no_heads):
    with pytest.raises(BackboneError, match="say where it is: --model FOLDER"):
        pelt_automl.load(no_heads["neighbors"], model="/nowhere")


@pytest.mark.parametrize("form", sorted(FORMS.values()))
def test_the_command_predicts_from_a_file_to_a_file(form, no_heads, tmp_path, monkeypatch, capsys):
    pair = form == "apart"
    texts = [("good word1", "good word2"), ("", "good"), ("good word1", "bad word2")] if pair else [("good word1",), ("",), ("bad word2",)]
    given = write_csv(tmp_path / "in.csv", ["first", "second"] if pair else ["text"], texts)
    typed(monkeypatch, "predict", no_heads[form], "--input", given, "--output", tmp_path / "out.csv", "--probabilities")
    found = pd.read_csv(tmp_path / "out.csv")
    labels = ("no", "yes") if pair else CLASSES[:2]
    assert found.columns.tolist() == [*(["first", "second"] if pair else ["text"]), "prediction", *(f"probability_{x}" for x in labels)]
    chances = found[[f"probability_{x}" for x in labels]].to_numpy()
    np.testing.assert_allclose(chances[[0, 2]].sum(axis=1), 1, atol=1e-5)
    assert found["prediction"].tolist()[::2] == [labels[index] for index in chances[[0, 2]].argmax(axis=1)]
    assert found["prediction"].isna().tolist() == [False, True, False]
    assert "2 predictions written" in capsys.readouterr().out


def typed(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["pelt-automl", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code


@pytest.mark.parametrize("kind", ["--merged", "--peft"])
@pytest.mark.parametrize("form", sorted(FORMS.values()))
def test_what_is_no_head_cannot_be_exported_and_one_sentence_says_what_to_do(form, kind, no_heads, tmp_path, monkeypatch, capsys):
    assert typed(monkeypatch, "export", no_heads[form], kind, "--output", tmp_path / "out") == 2
    said = capsys.readouterr().err
    reason = {
        "words": "it counts words",
        "neighbors": "the train examples that it keeps",
        "apart": "reads the two texts of a pair one by one",
    }
    assert reason[form] in said
    assert said.startswith("error: ")
    for way in ("pelt-automl predict", "mlflow models serve", "--baselines none"):
        assert way in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("model", "kind"), [("plain", "classes"), ("plain", "numbers"), ("hidden", "three classes"), ("plain", "pairs")])
def test_a_probe_that_is_a_head_exports_as_a_plain_folder_of_transformers(model, kind, models, tmp_path):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    fitted, data = written(tmp_path, "probe", kind, models[model])
    export_winner(tmp_path, tmp_path / "out", merged=True, peft=False)
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    columns = [list(column) for column in zip(*data.report.texts, strict=True)]
    logits = plain(**tokenizer(*columns, truncation=True, padding=True, return_tensors="pt")).logits.detach().numpy()
    np.testing.assert_allclose(logits, fitted.outputs(data.report), rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize("form", sorted(FORMS.values()))
def test_mlflow_loads_and_serves_it(form, no_heads, tmp_path, monkeypatch):
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    save_model(no_heads[form] / "winner", tmp_path / "model")
    model = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    rows = [("good word1", "bad word2"), ("bad", "bad word1")] if form == "apart" else [("good word1",), ("bad word2",)]
    columns = ["first", "second"] if form == "apart" else ["text"]
    found = model.predict(pd.DataFrame(rows, columns=columns))["prediction"].tolist()
    assert found == pelt_automl.load(no_heads[form]).predict([row if form == "apart" else row[0] for row in rows])
    assert model.metadata.signature.inputs.input_names() == columns
    assert any(line.startswith("scikit-learn==") for line in requirements(json.loads((no_heads[form] / "winner" / CONFIG).read_text())))


def test_mlflow_leaves_predictions_open_below_a_probability(no_heads, tmp_path, monkeypatch):
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    save_model(no_heads["words"] / "winner", tmp_path / "model")
    texts = ["good word1", "word3 word4"]
    surest = pelt_automl.load(no_heads["words"]).probabilities(texts).max(axis=1)
    assert surest[1] < surest[0]
    model = mlflow.pyfunc.load_model(str(tmp_path / "model"), model_config={"abstain_below": float(surest[0])})
    assert model.predict(pd.DataFrame({"text": texts}))["prediction"].isna().tolist() == [False, True]
    monkeypatch.setenv("PELT_AUTOML_ABSTAIN_BELOW", "often")
    with pytest.raises(SettingsError, match="abstain_below is 'often', but it is a probability"):
        mlflow.pyfunc.load_model(str(tmp_path / "model"))
    monkeypatch.delenv("PELT_AUTOML_ABSTAIN_BELOW")
    with pytest.raises(SettingsError, match="abstain_below is 0, but it is a probability"):
        mlflow.pyfunc.load_model(str(tmp_path / "model"), model_config={"abstain_below": 0})


def test_texts_that_are_cut_are_said_once_and_a_bag_of_words_cuts_none(no_heads):
    long = " ".join(["word1"] * 40)
    with pytest.warns(PredictionWarning, match="1 of 2 texts are longer than the 24 tokens") as said:
        pelt_automl.load(no_heads["neighbors"]).predict(["good", long])
    assert len(said) == 1
    with pytest.warns(PredictionWarning, match="1 of 4 texts are longer") as said:
        pelt_automl.load(no_heads["apart"]).predict([("good", long), ("bad", "bad")])
    assert len(said) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pelt_automl.load(no_heads["words"]).predict([f"{long} good"]) == [CLASSES[0]]


@pytest.mark.parametrize("form", sorted(FORMS.values()))
def test_many_texts_are_predicted_as_few_are(form, no_heads, monkeypatch):
    texts = task_of("pairs" if form == "apart" else "classes").report.texts
    predictor = pelt_automl.load(no_heads[form])
    whole = predictor.logits(list(texts))
    monkeypatch.setattr("pelt_automl.baselines.winner.AT_ONCE", 7)
    np.testing.assert_allclose(predictor.logits(list(texts)), whole, rtol=1e-4, atol=1e-4)
    assert predictor.logits([]).shape == (0, 2)


# ---------------------------------------------------------------- files from outside


def test_a_winner_of_an_earlier_version_has_no_form_and_is_a_trained_method(models, tmp_path):
    written(tmp_path, "probe", "classes", models["plain"])
    path = tmp_path / "winner" / CONFIG
    config = json.loads(path.read_text())
    assert config.pop("form") == "trained"
    path.write_text(json.dumps(config))
    assert load_predictor(tmp_path / "winner").config.form == "trained"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"form": "forest"}, "form"),
        ({"form": "words", "labels": ["a", "b", "c"]}, "the files of two winners"),
        ({"form": "apart"}, "the files of two winners"),
        ({"method": "probe"}, "the files of two winners"),
        ({"backbone": {}}, "backbone lacks name"),
        ({"max_length": 0}, "max_length is 0"),
        ({"temperature": 0.0}, r"temperature is 0\.0"),
    ],
)
def test_a_configuration_that_fits_neither_itself_nor_the_files_is_one_error(change, said, no_heads, tmp_path):
    folder = shutil.copytree(no_heads["neighbors"] / "winner", tmp_path / "winner")
    (folder / CONFIG).write_text(json.dumps(json.loads((folder / CONFIG).read_text()) | change))
    with pytest.raises(SelectionError, match=said):
        load_winner(folder)


@pytest.mark.parametrize("form", sorted(FORMS.values()))
def test_a_damaged_winner_is_one_message_of_the_command(form, no_heads, tmp_path, monkeypatch, capsys):
    folder = shutil.copytree(no_heads[form], tmp_path / "selection")
    (folder / "winner" / FACTS).write_text("{")
    given = write_csv(tmp_path / "in.csv", ["first", "second", "text"], [("good", "good", "good")])
    assert typed(monkeypatch, "predict", folder, "--input", given, "--output", tmp_path / "out.csv") == 2
    said = capsys.readouterr().err
    assert "isn't a file that this version has written" in said
    assert "Traceback" not in said


def test_a_contender_that_is_no_method_is_no_trained_method(no_heads):
    with pytest.raises(SelectionError, match="holds no trained method: neighbors keeps neighbors"):
        load_predictor(no_heads["neighbors"] / "winner")


def test_the_configuration_survives_json(no_heads):
    for form, folder in no_heads.items():
        text = (folder / "winner" / CONFIG).read_text()
        assert json.loads(TrainedConfig.from_json(text).to_json())["form"] == form
