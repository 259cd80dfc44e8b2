"""Predictions from file to file, and what is refused."""

import json

import numpy as np
import pytest

import pelt_automl
from pelt_automl.errors import BackboneError, SelectionError, SettingsError, TaskError
from pelt_automl.predicting import predict_file
from pelt_automl.tasks.files import read_table
from tests.tiny_world import CLASSES, sentences, write_csv

TEXTS = [text for text, _ in sentences(6)]


@pytest.fixture(scope="module")
def predictor(finished):
    return pelt_automl.load(finished.folder)


@pytest.fixture(scope="module")
def pair_folder(world, tmp_path_factory):
    """A selection whose examples are pairs."""
    from pelt_automl.recorders import RECORDERS

    folder = tmp_path_factory.mktemp("pairs")
    rows = [(a, b, CLASSES[label]) for (a, label), (b, _) in zip(sentences(60, seed=1), sentences(60, seed=2), strict=True)]
    train = write_csv(folder / "pairs.csv", ["question", "answer", "label"], rows)
    own = {"train": train, "test": None, "text_columns": "question,answer", "methods": ["head"]}
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(RECORDERS, "mlflow")
        options = world.options(**own, k="full", trials=1, epochs=2, finalist_seeds=1)
        pelt_automl.select(output=folder / "out", **options)
    return folder / "out"


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_every_kind_of_file_goes_in_and_comes_out(finished, predictor, tmp_path, ending):
    first = write_csv(tmp_path / "in.csv", ["id", "text"], list(enumerate(TEXTS)))
    assert predict_file(finished.folder, first, tmp_path / f"once{ending}") == 6
    assert predict_file(finished.folder, tmp_path / f"once{ending}", tmp_path / "twice.csv") == 6, "what was written can be read again"
    table = read_table(tmp_path / f"once{ending}")
    assert table.columns == ("id", "text", "prediction")
    assert [row["text"] for row in table.rows] == TEXTS
    assert [row["prediction"] for row in table.rows] == predictor.predict(TEXTS)


def test_awkward_text_survives_the_way_through(finished, tmp_path):
    awkward = ['good, "quoted"', "bad\nin two lines", "góod ☂ word1"]
    source = write_csv(tmp_path / "in.csv", ["text"], [[text] for text in awkward])
    predict_file(finished.folder, source, tmp_path / "out.csv")
    assert [row["text"] for row in read_table(tmp_path / "out.csv").rows] == awkward


def test_json_lines_may_lack_columns_that_are_no_text(finished, tmp_path):
    (tmp_path / "in.jsonl").write_text(json.dumps({"text": TEXTS[0], "id": 1}) + "\n" + json.dumps({"text": TEXTS[1]}) + "\n")
    predict_file(finished.folder, tmp_path / "in.jsonl", tmp_path / "out.csv")
    assert [row["id"] for row in read_table(tmp_path / "out.csv").rows] == ["1", ""]


@pytest.mark.parametrize("second", [{"id": 2}, {"text": None}, {"text": "  "}])
def test_rows_without_text_are_named(finished, tmp_path, second):
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, ({"text": TEXTS[0]}, second, {"text": TEXTS[1]}))))
    with pytest.raises(SelectionError, match=r"in\.jsonl: no text in line 2$"):
        predict_file(finished.folder, tmp_path / "in.jsonl", tmp_path / "out.csv")


def test_pairs_need_two_columns_in_the_order_of_training(pair_folder, tmp_path):
    rows = [(a, b) for a, b in zip(TEXTS[:3], TEXTS[3:], strict=True)]
    same = write_csv(tmp_path / "same.csv", ["answer", "question"], [(b, a) for a, b in rows])
    other = write_csv(tmp_path / "other.csv", ["q", "a"], rows)
    predict_file(pair_folder, same, tmp_path / "one.csv")
    predict_file(pair_folder, other, tmp_path / "two.csv", ("q", "a"))
    one, two = ([row["prediction"] for row in read_table(path).rows] for path in (tmp_path / "one.csv", tmp_path / "two.csv"))
    assert one == two == pelt_automl.load(pair_folder).predict(rows)
    with pytest.raises(SettingsError, match="trained on 2 text columns; 1 are named"):
        predict_file(pair_folder, other, tmp_path / "three.csv", ("q",))
    with pytest.raises(SettingsError, match="has no column question, answer; it has q, a"):
        predict_file(pair_folder, other, tmp_path / "three.csv")


def test_files_that_can_not_be_written_or_read_are_refused_before_the_model_is_loaded(tmp_path):
    source = write_csv(tmp_path / "in.csv", ["text"], [[TEXTS[0]]])
    with pytest.raises(SettingsError, match=r"unknown ending '.xlsx'; a file must end in .csv, .tsv, .jsonl, .parquet"):
        predict_file(tmp_path / "no-selection", source, tmp_path / "out.xlsx")
    with pytest.raises(SettingsError, match=r"its folder .* isn't there"):
        predict_file(tmp_path / "no-selection", source, tmp_path / "none" / "out.csv")
    with pytest.raises(TaskError, match="there is no such file"):
        predict_file(tmp_path / "no-selection", tmp_path / "none.csv", tmp_path / "out.csv")
    with pytest.raises(SelectionError, match="holds no trained method"):
        predict_file(tmp_path / "no-selection", source, tmp_path / "out.csv")


def test_a_text_is_predicted_the_same_alone_and_among_longer_ones(predictor):
    together = predictor.logits([*TEXTS, " ".join(TEXTS[:4])])
    for text, row in zip(TEXTS, together, strict=False):
        np.testing.assert_allclose(predictor.logits([text])[0], row, atol=1e-5)


def test_no_texts_give_no_predictions(predictor):
    assert predictor.predict([]) == []
    assert predictor.logits([]).shape == (0, 2)


def test_a_pair_where_one_text_is_expected_is_refused(predictor):
    with pytest.raises(SelectionError, match="reviews has 1 texts an example; text 1 has 2"):
        predictor.predict([TEXTS[0], (TEXTS[0], TEXTS[1])])


def test_a_winner_is_bound_to_its_pretrained_weights(finished, tmp_path):
    folder = finished.copy(tmp_path / "out")
    config = json.loads((folder / "winner" / "pelt_config.json").read_text())
    config["backbone"]["sha256"] = "0" * 64
    (folder / "winner" / "pelt_config.json").write_text(json.dumps(config))
    with pytest.raises(BackboneError, match=r"was trained on .* now has [0-9a-f]{64}. Give it the same weights back"):
        pelt_automl.load(folder)
    config["backbone"]["location"] = str(tmp_path / "gone")
    (folder / "winner" / "pelt_config.json").write_text(json.dumps(config))
    with pytest.raises(BackboneError, match="neither a folder, nor a Hub name"):
        pelt_automl.load(folder)


def test_a_winner_can_be_moved_with_its_tokenizer(finished, predictor, tmp_path):
    folder = finished.copy(tmp_path / "elsewhere")
    assert pelt_automl.load(folder / "winner").predict(TEXTS) == predictor.predict(TEXTS)
