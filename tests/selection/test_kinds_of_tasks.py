"""The same selection on other kinds of tasks: numbers, three classes, pairs, full fine-tuning, the paper's protocol, all data."""

import json

import numpy as np
import pytest

import pelt_automl
from pelt_automl.log.events import DataDescribed, FinalistScored, KnockedOut, ReportOpened, Seeds, TrialEnded
from pelt_automl.training.checkpoints import load_config
from tests.tiny_world import CLASSES, SIGNALS, of, outputs_of, records_of, sentences, write_csv

pytestmark = pytest.mark.usefixtures("without_mlflow")

FEW = {"trials": 1, "epochs": 6, "finalist_seeds": 2}


def run(world, folder, **options):
    return pelt_automl.select(output=folder, **world.options(**FEW | options)), records_of(folder)


@pytest.mark.whole
def test_numbers_are_learned_on_a_scale_of_their_own_and_predicted_in_their_unit(world, tmp_path):
    random = np.random.default_rng(3)
    rows = [(text, round(1000 + 400 * label + float(random.normal()), 2)) for text, label in sentences(130, seed=3)]
    train = write_csv(tmp_path / "prices.csv", ["text", "price"], rows[:90])
    test = write_csv(tmp_path / "prices-test.csv", ["text", "price"], rows[90:])
    options = {"train": train, "test": test, "label_column": "price", "methods": ["lora", "head"], "metric": "mae"}
    found, events = run(world, tmp_path / "out", **options | {"epochs": 20, "trials": 2})
    (data,) = of(events, DataDescribed)
    assert (data.kind, data.metric, data.greater_is_better, data.labels) == ("regression", "mae", False, [])
    assert found.report_score < 150, "the mean alone is 200 off"
    assert found.leaderboard[0].report_score == min(row.report_score for row in found.leaderboard)
    (opened,) = of(events, ReportOpened)
    assert outputs_of(tmp_path / "out", opened) == [label for _, label in rows[90:]]
    predictions = pelt_automl.load(tmp_path / "out").predict([text for text, _ in rows[90:]])
    runs = [trial for trial in of(events, TrialEnded) if trial.stage == "finalist" and trial.candidate == found.candidate]
    best = min(runs, key=lambda trial: trial.select_score)
    (scored,) = [event for event in of(events, FinalistScored) if event.trial == best.trial]
    assert predictions == pytest.approx(outputs_of(tmp_path / "out", scored), abs=0.01)
    assert np.mean(predictions) == pytest.approx(1200, abs=100)


@pytest.mark.slow
def test_spearman_decides_on_numbers_unless_another_metric_is_asked_for(world, tmp_path):
    rows = [(text, 0.5 + label) for text, label in sentences(60, seed=4)]
    train = write_csv(tmp_path / "numbers.csv", ["text", "label"], rows)
    found, events = run(world, tmp_path / "out", train=train, test=None, k="full", methods=["head"])
    assert found.report_metric == "spearman"
    assert of(events, DataDescribed)[0].sizes["report"] == 12, "a fifth of the file is put aside"


@pytest.mark.slow
def test_three_classes_have_three_outputs_and_their_names(world, tmp_path):
    rows = [(text, CLASSES[label]) for text, label in sentences(150, classes=3, seed=5)]
    train = write_csv(tmp_path / "three.csv", ["text", "label"], rows)
    found, events = run(world, tmp_path / "out", train=train, test=None, k=90, methods=["adapter"], epochs=25, trials=2, finalist_seeds=1)
    assert found.report_score > 0.5
    assert sorted(of(events, DataDescribed)[0].labels) == sorted(CLASSES)
    predictor = pelt_automl.load(tmp_path / "out")
    assert predictor.logits(["good word1 word2", "odd word3"]).shape == (2, 3)
    assert set(predictor.predict([text for text, _ in rows])) <= set(CLASSES)


@pytest.mark.slow
def test_pairs_are_read_as_pairs(world, tmp_path):
    """The label is whether the second text repeats the first one's signal word; the first alone tells nothing."""
    first, second = sentences(80, seed=6), sentences(80, seed=7)
    rows = [(a, b, "same" if label == (i // 2) % 2 else "other") for i, ((a, label), (b, _)) in enumerate(zip(first, second, strict=True))]
    rows = [(a, b.replace(SIGNALS[1], SIGNALS[0]) if i % 3 else b, label) for i, (a, b, label) in enumerate(rows)]
    train = write_csv(tmp_path / "pairs.csv", ["question", "answer", "label"], rows)
    options = {"train": train, "test": None, "text_columns": "question,answer", "methods": ["prefix", "head"]}
    found, events = run(world, tmp_path / "out", **options)
    assert load_config(tmp_path / "out" / "winner").text_columns == ["question", "answer"]
    predictor = pelt_automl.load(found.folder)
    one_way, other_way = predictor.logits([("good word1", "bad word2"), ("bad word2", "good word1")])
    assert np.abs(one_way - other_way).max() > 1e-4
    assert of(events, KnockedOut) == [], "no method with gates took part"


@pytest.mark.slow
def test_full_fine_tuning_takes_part_and_its_whole_model_can_be_kept(world, tmp_path):
    found, events = run(world, tmp_path / "out", methods=["full"], epochs=3)
    assert (found.method, found.candidate) == ("full", "full-0000")
    assert found.parameters > 5000
    texts = [text for text, _ in sentences(180)[120:]]
    runs = [trial for trial in of(events, TrialEnded) if trial.stage == "finalist"]
    best = max(runs, key=lambda trial: trial.select_score)
    (scored,) = [event for event in of(events, FinalistScored) if event.trial == best.trial]
    predictor = pelt_automl.load(tmp_path / "out")
    assert predictor.predict(texts) == [predictor.config.labels[int(index)] for index in outputs_of(tmp_path / "out", scored)]


@pytest.mark.slow
def test_full_fine_tuning_stands_beside_packed_methods(world, tmp_path):
    found, events = run(world, tmp_path / "out", methods=["full", "unipelt-ap"])
    assert {row.method for row in found.leaderboard} - {"unipelt"} == {"full", "unipelt-ap"}  # and perhaps a smaller union
    assert {event.submodule for event in of(events, KnockedOut)} == {"adapter", "prefix"}
    assert {trial.state for trial in of(events, TrialEnded)} == {"completed"}


@pytest.mark.whole
def test_the_papers_protocol_on_a_local_benchmark_reports_on_the_official_validation_set(world, tmp_path):
    folder = tmp_path / "glue" / "sst2"
    folder.mkdir(parents=True)
    rows = [json.dumps({"sentence": text, "label": label, "idx": i}) for i, (text, label) in enumerate(sentences(120, seed=8))]
    (folder / "train.jsonl").write_text("\n".join(rows[:90]) + "\n")
    (folder / "validation.jsonl").write_text("\n".join(rows[90:]) + "\n")
    hidden = [json.dumps({"sentence": f"good word{i}", "label": -1, "idx": i}) for i in range(5)]
    (folder / "test.jsonl").write_text("\n".join(hidden) + "\n")
    options = {"train": None, "test": None, "text_columns": None, "label_column": None}
    benchmark = {"task": "sst2", "data_dir": tmp_path / "glue", "protocol": "paper", "k": 32, "methods": ["lora"]}
    found, events = run(world, tmp_path / "out", **options | benchmark)
    (data,) = of(events, DataDescribed)
    assert (found.task, found.protocol, found.k) == ("sst2", "paper", 32)
    assert data.sizes == {"train": 32, "select": 58, "report": 30}
    assert data.labels == ["negative", "positive"]
    assert outputs_of(tmp_path / "out", of(events, ReportOpened)[0]) == [float(label) for _, label in sentences(120, seed=8)[90:]]
    assert load_config(tmp_path / "out" / "winner").text_columns == ["sentence"]


@pytest.mark.slow
def test_all_labeled_examples_are_used_when_k_is_full(world, tmp_path):
    found, events = run(world, tmp_path / "out", k="full", methods=["head"])
    (data,) = of(events, DataDescribed)
    assert (found.k, data.k) == (None, None)
    assert data.sizes == {"train": 84, "select": 36, "report": 60}
    (searched,) = [trial for trial in of(events, TrialEnded) if trial.stage == "search"]
    assert searched.seeds == Seeds(0, 0, 0)
