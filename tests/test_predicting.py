"""Predictions from file to file, and what is refused."""

import json
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

import pelt_automl
from pelt_automl import cli
from pelt_automl.errors import BackboneError, SelectionError, SettingsError, TaskError
from pelt_automl.predicting import WRITERS, predict_file
from pelt_automl.tasks.files import read_table
from pelt_automl.training.checkpoints import TrainedConfig
from pelt_automl.training.predicting import TrainedPredictor, check_abstaining
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


@pytest.mark.parametrize("ending", WRITERS)
def test_every_kind_of_file_goes_in_and_comes_out(finished, predictor, tmp_path, ending):
    first = write_csv(tmp_path / "in.csv", ["id", "text"], list(enumerate(TEXTS)))
    assert predict_file(finished.folder, first, tmp_path / f"once{ending}").rows == 6
    again = predict_file(finished.folder, tmp_path / f"once{ending}", tmp_path / "twice.csv", column="second")
    assert again.rows == 6, "it can be read again"
    table = read_table(tmp_path / f"once{ending}")
    assert table.columns == ("id", "text", "prediction")
    assert [row["text"] for row in table.rows] == TEXTS
    assert [row["prediction"] for row in table.rows] == predictor.predict(TEXTS)
    assert [row["second"] for row in read_table(tmp_path / "twice.csv").rows] == predictor.predict(TEXTS)


@pytest.mark.parametrize(
    ("encoding", "delimiter", "first"),
    [("cp1252", ";", ""), ("utf-16", "\t", ""), ("utf-8-sig", ",", ""), ("cp1252", ";", "sep=;\r\n"), ("utf-16-le", "|", "")],
)
def test_the_output_is_written_as_the_input_was(finished, predictor, tmp_path, encoding, delimiter, first):
    rows = [f"{number}{delimiter}{text}{delimiter}ähnlich: “so”" for number, text in enumerate(TEXTS)]
    whole = first + "\r\n".join([delimiter.join(["id", "text", "bemerkung"]), *rows]) + "\r\n"
    (tmp_path / "in.csv").write_bytes(whole.encode(encoding))
    predicted = predict_file(finished.folder, tmp_path / "in.csv", tmp_path / "out.csv")
    expected = [f"{row}{delimiter}{answer}" for row, answer in zip(rows, predictor.predict(TEXTS), strict=True)]
    header = delimiter.join(["id", "text", "bemerkung", "prediction"])
    assert (tmp_path / "out.csv").read_bytes() == (first + "\r\n".join([header, *expected]) + "\r\n").encode(encoding)
    assert any("read as" in note for note in predicted.notes)


def test_what_select_takes_predict_takes_too(finished, predictor, tmp_path):
    (tmp_path / "in.csv").write_bytes("id~text\n0~good w\xf6rd\n".encode("cp1252"))
    predict_file(finished.folder, tmp_path / "in.csv", tmp_path / "out.jsonl", encoding="windows-1252", delimiter="~")
    assert read_table(tmp_path / "out.jsonl").rows[0]["text"] == "good wörd"
    (tmp_path / "array.json").write_text(json.dumps([{"text": text} for text in TEXTS]), encoding="utf-8")
    predict_file(finished.folder, tmp_path / "array.json", tmp_path / "array.csv")
    assert [row["prediction"] for row in read_table(tmp_path / "array.csv").rows] == predictor.predict(TEXTS)
    with pytest.raises(SettingsError, match=r"no file ends in \.csv or \.tsv"):
        predict_file(finished.folder, tmp_path / "array.json", tmp_path / "other.csv", delimiter=";")


def test_a_file_of_texts_alone_is_not_split(finished, predictor, tmp_path):
    (tmp_path / "in.csv").write_text("text\ngood, word1; word2\nbad, word3\n", encoding="utf-8")
    predict_file(finished.folder, tmp_path / "in.csv", tmp_path / "out.csv")
    rows = read_table(tmp_path / "out.csv").rows
    assert [row["text"] for row in rows] == ["good, word1; word2", "bad, word3"]
    assert [row["prediction"] for row in rows] == predictor.predict(["good, word1; word2", "bad, word3"])


def test_awkward_text_survives_the_way_through(finished, tmp_path):
    awkward = ['good, "quoted"', "bad\nin two lines", "góod ☂ word1"]
    source = write_csv(tmp_path / "in.csv", ["text"], [[text] for text in awkward])
    predict_file(finished.folder, source, tmp_path / "out.csv")
    assert [row["text"] for row in read_table(tmp_path / "out.csv").rows] == awkward


def test_json_lines_may_lack_columns_that_are_no_text(finished, tmp_path):
    (tmp_path / "in.jsonl").write_text(json.dumps({"text": TEXTS[0], "id": 1}) + "\n" + json.dumps({"text": TEXTS[1]}) + "\n")
    predict_file(finished.folder, tmp_path / "in.jsonl", tmp_path / "out.csv")
    assert [row["id"] for row in read_table(tmp_path / "out.csv").rows] == ["1", ""]


@pytest.mark.parametrize("second", [{"id": 2}, {"text": None, "id": 2}, {"text": "  "}, {"text": float("nan"), "id": 2}])
@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_rows_without_text_have_an_empty_prediction_and_are_named(finished, predictor, tmp_path, second, ending):
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, ({"text": TEXTS[0]}, second, {"text": TEXTS[1]}))))
    predicted = predict_file(finished.folder, tmp_path / "in.jsonl", tmp_path / f"out{ending}", probabilities=True)
    assert predicted.rows == 3
    assert predicted.notes == (f"{tmp_path / 'in.jsonl'}: 1 row without text has an empty prediction (line 2)",)
    rows = read_table(tmp_path / f"out{ending}").rows
    first, last = predictor.predict(TEXTS[:2])
    assert [row["prediction"] for row in rows] == [first, "" if ending == ".csv" else None, last]
    assert rows[1]["probability_positive"] in ("", None)


def test_probabilities_are_a_column_for_each_class(finished, predictor, tmp_path):
    source = write_csv(tmp_path / "in.csv", ["text"], [[text] for text in TEXTS])
    predict_file(finished.folder, source, tmp_path / "out.csv", probabilities=True)
    table = read_table(tmp_path / "out.csv")
    assert table.columns == ("text", "prediction", *(f"probability_{label}" for label in predictor.config.labels))
    for row, chances in zip(table.rows, predictor.probabilities(TEXTS), strict=True):
        found = [float(row[f"probability_{label}"]) for label in predictor.config.labels]
        np.testing.assert_allclose(found, chances, atol=1e-6)
        assert predictor.config.labels[int(np.argmax(found))] == row["prediction"]


def test_predictions_below_a_probability_are_left_open(finished, predictor, tmp_path):
    source, surest = write_csv(tmp_path / "in.csv", ["text"], [[text] for text in TEXTS]), predictor.probabilities(TEXTS).max(axis=1)
    below = float(np.sort(surest)[2])  # two of six are less sure
    predicted = predict_file(finished.folder, source, tmp_path / "out.csv", abstain_below=below)
    assert (predicted.rows, predicted.predictions) == (6, 4)
    assert predicted.notes == (f"2 of 6 left open: no class has a probability of {below:g}",)
    answers = predictor.predict(TEXTS, abstain_below=below)
    assert [row["prediction"] or None for row in read_table(tmp_path / "out.csv").rows] == answers
    assert [answer is None for answer in answers] == (surest < below).tolist()


@pytest.mark.parametrize(
    ("kind", "below", "message"),
    [
        ("classification", 0.0, "abstain_below is 0, but it is a probability: give a number above 0 and at most 1, such as 0.8"),
        ("classification", 80.0, "abstain_below is 80, but"),
        ("classification", float("nan"), "abstain_below is nan, but"),
        ("regression", 0.8, "is a regression task, whose predictions have no probability: leave abstain_below out"),
    ],
)
def test_where_no_prediction_can_be_left_open_is_said(predictor, kind, below, message):
    with pytest.raises(SettingsError, match=message):
        check_abstaining(replace(predictor.config, kind=kind), below)


@pytest.mark.parametrize("temperature", [2.0, None])
def test_the_temperature_of_the_winner_makes_its_probabilities(predictor, temperature):
    """Winners of before have none."""
    plain = json.loads(predictor.config.to_json())
    del plain["temperature"]
    config = TrainedConfig.from_json(json.dumps(plain | ({"temperature": temperature} if temperature else {})))
    logits = predictor.logits(TEXTS)
    chances = TrainedPredictor(config, predictor.pack).chances(logits)
    odds = np.log(chances[:, 1] / chances[:, 0]) * (temperature or 1.0)
    np.testing.assert_allclose(odds, logits[:, 1] - logits[:, 0], rtol=1e-4)


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        (["text", "prediction"], {}, "has a column 'prediction' already, which isn't overwritten: .*--prediction-column"),
        (["text", "guess"], {"column": "guess"}, "has a column 'guess' already"),
        (["text", "probability_positive"], {"probabilities": True}, "has a column 'probability_positive' already, which isn't overwritten"),
    ],
)
def test_no_column_is_overwritten(finished, tmp_path, columns, options, message):
    source = write_csv(tmp_path / "in.csv", columns, [[TEXTS[0], "mine"]])
    with pytest.raises(SettingsError, match=message):
        predict_file(finished.folder, source, tmp_path / "out.csv", **options)
    assert not (tmp_path / "out.csv").exists()
    predict_file(finished.folder, source, tmp_path / "out.csv", column="another")
    row = read_table(tmp_path / "out.csv").rows[0]
    assert row[columns[1]] == "mine"
    assert row["another"] in CLASSES


def test_no_file_is_overwritten_unless_asked_for(finished, tmp_path):
    source = write_csv(tmp_path / "in.csv", ["text"], [[TEXTS[0]]])
    (tmp_path / "out.csv").write_text("mine")
    with pytest.raises(SettingsError, match="is there already; name a new file, or replace it with --overwrite"):
        predict_file(finished.folder, source, tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == "mine"
    with pytest.raises(SettingsError, match="is the input; name another file"):
        predict_file(finished.folder, source, source, overwrite=True)
    predict_file(finished.folder, source, tmp_path / "out.csv", overwrite=True)
    assert read_table(tmp_path / "out.csv").columns == ("text", "prediction")


def test_pairs_need_two_columns_in_the_order_of_training(pair_folder, tmp_path):
    rows = [(a, b) for a, b in zip(TEXTS[:3], TEXTS[3:], strict=True)]
    same = write_csv(tmp_path / "same.csv", ["answer", "question"], [(b, a) for a, b in rows])
    other = write_csv(tmp_path / "other.csv", ["q", "a"], rows)
    predict_file(pair_folder, same, tmp_path / "one.csv")
    predict_file(pair_folder, other, tmp_path / "two.csv", text_columns=("q", "a"))
    one, two = ([row["prediction"] for row in read_table(path).rows] for path in (tmp_path / "one.csv", tmp_path / "two.csv"))
    assert one == two == pelt_automl.load(pair_folder).predict(rows)
    with pytest.raises(SettingsError, match="trained on 2 text columns; 1 are named"):
        predict_file(pair_folder, other, tmp_path / "three.csv", text_columns=("q",))
    with pytest.raises(SettingsError, match="has no column question, answer; it has q, a"):
        predict_file(pair_folder, other, tmp_path / "three.csv")


def test_files_that_can_not_be_written_or_read_are_refused_before_the_model_is_loaded(tmp_path):
    source = write_csv(tmp_path / "in.csv", ["text"], [[TEXTS[0]]])
    with pytest.raises(SettingsError, match=r"unknown ending '.xlsx'; a file must end in .csv, .tsv, .jsonl"):
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
    with pytest.raises(SelectionError, match=r"reviews has 1 text an example; example 1 has 2; a list such as \[text\] is expected"):
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
    with pytest.raises(BackboneError, match=r"can't be loaded: .*neither a folder, nor.*--model FOLDER \(in Python: model="):
        pelt_automl.load(folder)


def test_a_winner_can_be_moved_with_its_tokenizer(finished, predictor, tmp_path):
    folder = finished.copy(tmp_path / "elsewhere")
    assert pelt_automl.load(folder / "winner").predict(TEXTS) == predictor.predict(TEXTS)


@pytest.mark.parametrize("texts", ["a text", b"a text", {"text": ["a"]}])
def test_one_text_in_place_of_a_list_is_refused(predictor, texts):
    for ask in (predictor.predict, predictor.probabilities, predictor.logits):
        with pytest.raises(SelectionError, match=r"a list of examples is expected, not (str|bytes|dict); .* write \[text\]"):
            ask(texts)


def test_a_table_in_place_of_a_list_is_refused_and_a_column_of_it_is_not(predictor):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"text": TEXTS})
    with pytest.raises(SelectionError, match="not DataFrame"):
        predictor.predict(frame)
    assert predictor.predict(frame["text"]) == predictor.predict(np.array(TEXTS)) == predictor.predict(TEXTS)


def test_texts_that_are_no_strings_are_named(predictor):
    with pytest.raises(SelectionError, match=r"example 1 is int, where a string is expected \(and 1 more are wrong\)"):
        predictor.predict([TEXTS[0], 3, ["a", "b"]])


@pytest.mark.parametrize("empty", ["", " \n", None, float("nan")])
def test_an_empty_text_is_predicted_as_none_and_a_warning_names_its_index(predictor, empty):
    with pytest.warns(UserWarning, match="no text at index 1: nothing is predicted there"):
        assert predictor.predict([TEXTS[0], empty, TEXTS[1]]) == [*predictor.predict(TEXTS[:1]), None, *predictor.predict(TEXTS[1:2])]
    with pytest.warns(UserWarning, match="no text at indices 0, 2"):
        chances = predictor.probabilities([empty, TEXTS[0], empty])
    assert np.isnan(chances).all(axis=1).tolist() == [True, False, True]
    with pytest.warns(UserWarning, match="index 0"):
        assert predictor.predict([empty]) == [None]


def test_a_winner_whose_model_has_moved_takes_its_new_place(finished, predictor, world, tmp_path):
    folder = finished.copy(tmp_path / "out")
    config = json.loads((folder / "winner" / "pelt_config.json").read_text())
    config["backbone"]["location"] = config["backbone"]["name"] = str(tmp_path / "gone")
    (folder / "winner" / "pelt_config.json").write_text(json.dumps(config))
    moved = shutil.copytree(world.model, tmp_path / "new place")
    assert pelt_automl.load(folder, model=moved).predict(TEXTS) == predictor.predict(TEXTS)
    source = write_csv(tmp_path / "in.csv", ["text"], [[text] for text in TEXTS])
    predict_file(folder, source, tmp_path / "out.csv", model=str(moved))
    assert [row["prediction"] for row in read_table(tmp_path / "out.csv").rows] == predictor.predict(TEXTS)
    weights = load_file(moved / "model.safetensors")
    save_file({name: tensor + 1 for name, tensor in weights.items()}, moved / "model.safetensors", {"format": "pt"})
    with pytest.raises(BackboneError, match=r"what is at .*new place now has [0-9a-f]{64}. Give it the same weights back"):
        pelt_automl.load(folder, model=moved)


def test_the_command_says_what_it_wrote_and_how_it_read(finished, tmp_path, monkeypatch, capsys):
    (tmp_path / "in.csv").write_bytes("id;text\n1;good w\xf6rd\n2;\n3;bad\n;\n".encode("cp1252"))
    command = ["pelt-automl", "predict", str(finished.folder), "--input", str(tmp_path / "in.csv"), "--output", str(tmp_path / "out.csv")]
    for more, code in (
        ([], 0),
        ([], 2),
        (["--overwrite", "--probabilities", "--prediction-column", "guess", "--abstain-below", "1e-9"], 0),
    ):
        monkeypatch.setattr(sys, "argv", [*command, *more])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert (ended.value.code or 0) == code
        said = capsys.readouterr()
        if code:
            assert said.err.startswith("error: the output: ")
            assert "is there already" in said.err
            continue
        assert said.out == f"2 predictions written to {tmp_path / 'out.csv'}\n"
        assert [line.partition(": ")[2].removeprefix(f"{tmp_path / 'in.csv'}: ") for line in said.err.splitlines()] == [
            "it isn't UTF-8; read as windows-1252 (--encoding overrides it)",
            "its cells stand between semicolons",
            "1 row without any content at the end was skipped",
            "1 row without text has an empty prediction (line 3)",
            *(["0 of 2 left open: no class has a probability of 1e-09"] if more else []),
        ]
    assert (tmp_path / "out.csv").read_text("cp1252").splitlines()[0] == "id;text;guess;probability_negative;probability_positive"


@pytest.mark.parametrize("ending", [".json", ".jsonl", ".ndjson"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "cp1252", "utf-16", "utf-16-le"])
def test_json_is_utf8_whatever_the_input_was(finished, tmp_path, encoding, ending):
    (tmp_path / "in.csv").write_bytes("text,note\ngood wörd,“so”\n".encode(encoding))
    (tmp_path / "in.json").write_bytes('[{"text": "good wörd", "note": "“so”"}]'.encode(encoding))
    for source in ("in.csv", "in.json"):
        output = tmp_path / f"{source}-out{ending}"
        predict_file(finished.folder, tmp_path / source, output)
        found = json.loads(output.read_bytes().decode("utf-8"))
        row = found[0] if ending == ".json" else found
        assert (row["text"], row["note"]) == ("good wörd", "“so”")
        assert row["prediction"] in CLASSES


def test_every_record_has_its_prediction_in_its_place(finished, tmp_path):
    (tmp_path / "in.json").write_text('[{"text": "good"}, {"text": ""}]')
    predict_file(finished.folder, tmp_path / "in.json", tmp_path / "out.json")
    assert [row["text"] for row in json.loads((tmp_path / "out.json").read_text())] == ["good", ""]


def test_two_new_columns_of_one_name_are_refused(finished, tmp_path):
    source = write_csv(tmp_path / "in.csv", ["text"], [[TEXTS[0]]])
    with pytest.raises(SettingsError, match=r"two new columns would be called 'probability_positive': .*--prediction-column"):
        predict_file(finished.folder, source, tmp_path / "out.csv", probabilities=True, column="probability_positive")
    assert not (tmp_path / "out.csv").exists()


def test_what_a_kind_of_file_can_not_hold_is_one_error(finished, tmp_path):
    (tmp_path / "in.json").write_text(f'[{{"text": "good", "id": {10**30}}}]')
    with pytest.raises(SettingsError, match=r"'id' holds whole numbers above 64 bits, which Parquet can't; write \.jsonl or \.csv"):
        predict_file(finished.folder, tmp_path / "in.json", tmp_path / "out.parquet")
    write_csv(tmp_path / "in.csv", ["text"], [["good. " + "word" * 20]])
    with pytest.raises(SettingsError, match="can't be written in the input's encoding idna"):
        predict_file(finished.folder, tmp_path / "in.csv", tmp_path / "out.csv", encoding="idna")


def test_one_prediction_is_counted_as_one(finished, tmp_path, monkeypatch, capsys):
    source = write_csv(tmp_path / "in.csv", ["text"], [[TEXTS[0]]])
    output = tmp_path / "out.csv"
    monkeypatch.setattr(sys, "argv", ["pelt-automl", "predict", str(finished.folder), "--input", str(source), "--output", str(output)])
    with pytest.raises(SystemExit):
        cli.main()
    assert capsys.readouterr().out == f"1 prediction written to {output}\n"
