"""Several labels per text go through a whole selection, from search to prediction, kills included."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

import pelt_automl
from pelt_automl.errors import SettingsError
from pelt_automl.log.events import DataDescribed, FinalistScored, ReportOpened, TrialEnded, VerdictReached
from pelt_automl.predicting import predict_file
from pelt_automl.settings import TaskSettings
from pelt_automl.tasks import METRICS, TASKS, Examples, TaskInfo, load_task
from pelt_automl.tasks.examples import RawTask
from pelt_automl.tasks.files import read_table
from pelt_automl.tasks.kinds import KINDS, LabelScale
from tests.tiny_world import FILLERS, Killed, Watcher, of, outputs_of, records_of, write_csv


class Moods:
    """Which of two words are there: none, one of them, or both."""

    info = TaskInfo("moods", "which words are there", "multi-label", "micro_f1", "embedded")

    def read(self, _settings):
        random, texts, labels = np.random.default_rng(0), [], []
        for number in range(300):
            label = (number % 2, number // 2 % 2)
            words = [word for word, there in zip(("good", "bad"), label, strict=True) if there] + list(random.choice(FILLERS, 5))
            texts.append((" ".join(random.permutation(words)),))
            labels.append(label)
        return RawTask("moods", "multi-label", ("good", "bad"), None, ("text",), Examples(tuple(texts), tuple(labels)), None)


@pytest.fixture(autouse=True)
def registered(monkeypatch, without_mlflow):
    monkeypatch.setitem(TASKS, "moods", Moods())


def call(world, **more):
    own = {
        "task": "moods",
        "train": None,
        "test": None,
        "text_columns": None,
        "label_column": None,
        "k": 160,
        "baselines": ["probe", "bag-of-words", "neighbors"],
    }
    few = {"methods": ["lora", "unipelt-ap"], "trials": 2, "epochs": 15, "finalist_seeds": 2, "most_seeds": 2}
    return world.options(**own | few | more)


def of_whole(events):
    """What a selection has found, without the times."""
    trials = [(t.trial, t.state, t.select_score, t.outputs) for t in of(events, TrialEnded)]
    scored = [(s.trial, s.report_score, s.outputs) for s in of(events, FinalistScored)]
    (verdict,) = of(events, VerdictReached)
    return sorted(trials), sorted(scored), verdict.candidate, verdict.report_score, verdict.outcome, verdict.p_best


@pytest.mark.whole
def test_several_labels_go_through_a_selection_from_search_to_prediction(world, tmp_path):
    found = pelt_automl.select(output=tmp_path / "out", **call(world))
    events = records_of(tmp_path / "out")
    (data,) = of(events, DataDescribed)
    assert (data.kind, data.metric, data.labels) == ("multi-label", "micro_f1", ["good", "bad"])
    (opened,) = of(events, ReportOpened)
    assert {tuple(label) for label in outputs_of(tmp_path / "out", opened)} == {(0, 0), (0, 1), (1, 0), (1, 1)}
    for run in of(events, FinalistScored):
        assert run.report_score == pytest.approx(
            f1_score(*(outputs_of(tmp_path / "out", event) for event in (opened, run)), average="micro"), abs=1e-12
        )
    assert found.report_score > 0.7, "half of the labels are there: always saying both scores 0.67"
    assert {row.method for row in found.leaderboard} >= {"lora", "unipelt-ap"}
    assert {trial.method for trial in of(events, TrialEnded) if trial.select_score} >= {"probe", "bag-of-words", "neighbors"}
    assert "micro f1" in (tmp_path / "out" / "report.md").read_text()
    predictor = pelt_automl.load(tmp_path / "out")
    texts = [text for (text,) in Moods().read(None).train.texts]
    answers = predictor.predict(texts)
    assert {tuple(answer) for answer in answers} <= {(), ("good",), ("bad",), ("good", "bad")}
    assert len({tuple(answer) for answer in answers}) > 1
    chances = predictor.probabilities(texts)
    threshold = predictor.config.scale.threshold
    assert [[name for name, chance in zip(("good", "bad"), row, strict=True) if chance >= threshold] for row in chances] == answers
    check_threshold(predictor, events)
    given = write_csv(tmp_path / "in.csv", ["text"], [[text] for text in texts[:4]])
    for ending in (".jsonl", ".csv", ".parquet"):
        predict_file(tmp_path / "out", given, tmp_path / f"out{ending}", probabilities=True)
        rows = read_table(tmp_path / f"out{ending}").rows
        assert [row["prediction"] for row in rows] == (["|".join(own) for own in answers[:4]] if ending == ".csv" else answers[:4])
        assert [float(row["probability_bad"]) for row in rows] == pytest.approx(chances[:4, 1].tolist(), abs=1e-6)
    with pytest.raises(SettingsError, match="is a multi-label task, whose probabilities are those of single labels"):
        predictor.predict(texts, abstain_below=0.5)


def check_threshold(predictor, events):
    """The winner's threshold is that of its run, which was written before report was opened, and is the best one on its select."""
    ends = [event for event in events if isinstance(event, TrialEnded | ReportOpened)]
    opened = next(at for at, event in enumerate(ends) if isinstance(event, ReportOpened))
    assert not any(isinstance(event, TrialEnded) for event in ends[opened:]), "no threshold is chosen once report is open"
    (verdict,) = of(events, VerdictReached)
    runs = [trial for trial in ends[:opened] if trial.candidate == verdict.candidate and trial.stage == "finalist"]
    winner = max(runs, key=lambda run: run.select_score)
    data = load_task(TaskSettings(task="moods", k=160))
    _, select = data.split(winner.seeds.split)
    logits = predictor.logits([text for (text,) in select.texts])
    found = KINDS["multi-label"].fitted(LabelScale(), logits, np.asarray(select.labels), METRICS["micro_f1"])
    assert found.threshold == winner.threshold == predictor.config.scale.threshold


@pytest.mark.slow
def test_killed_in_the_search_and_in_the_finals_it_finds_the_same(world, tmp_path):
    quick, out = call(world, epochs=3, methods=["lora", "head"]), tmp_path / "out"
    pelt_automl.select(output=tmp_path / "whole", **quick)
    known = dict.fromkeys((TrialEnded, FinalistScored), 0)
    for kind, kills_at in ((TrialEnded, 2), (FinalistScored, 3)):
        more = kills_at - known[kind]
        with pytest.raises(Killed):
            pelt_automl.select(output=out, display=Watcher(kill=lambda w, kind=kind, more=more: len(of(w.events, kind)) >= more), **quick)
        known = {kind: len(of(records_of(out), kind)) for kind in known}
        assert known[kind] >= kills_at
    pelt_automl.select(output=out, **quick)
    assert of_whole(records_of(out)) == of_whole(records_of(tmp_path / "whole"))
