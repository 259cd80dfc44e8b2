"""A kind of task that the product does not know, several labels per text, goes through a whole selection, kills included."""

import numpy as np
import pytest
from sklearn.metrics import f1_score
from torch.nn.functional import binary_cross_entropy_with_logits

import pelt_automl
from pelt_automl.log.events import DataDescribed, FinalistScored, ReportOpened, TrialEnded, VerdictReached
from pelt_automl.tasks import METRICS, TASKS, Examples, Metric, TaskInfo
from pelt_automl.tasks.examples import RawTask
from pelt_automl.tasks.kinds import KINDS, TaskKind
from tests.tiny_world import FILLERS, Killed, Watcher, of, outputs_of, records_of


class MultiLabel(TaskKind):
    """Labels and predictions are rows of zeros and ones, one for each name."""

    name = "multi-label"
    problem_type = "multi_label_classification"

    def outputs(self, names):
        return len(names)

    def losses(self, logits, labels, scales):
        return binary_cross_entropy_with_logits(logits, labels, reduction="none").mean(2)

    def predictions(self, logits, scale):
        return (logits > 0).astype(np.float64)

    def default_metric(self, labels, names):
        return "micro_f1", ""

    def answers(self, predictions, names):
        return [[name for name, there in zip(names, row, strict=True) if there] for row in predictions]

    def probabilities(self, logits):
        return 1 / (1 + np.exp(-logits.astype(np.float64)))


def counts(predictions, labels):
    return np.stack([(predictions * labels).sum(1), predictions.sum(1) + labels.sum(1)], axis=1)


def micro_f1(statistics, weights):
    hits, named = (weights @ statistics).T
    return np.divide(2 * hits, named, out=np.zeros_like(hits), where=named > 0)


MICRO_F1 = Metric("micro_f1", True, "multi-label", counts, micro_f1, counts=True)


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
    monkeypatch.setitem(KINDS, "multi-label", MultiLabel())
    monkeypatch.setitem(METRICS, "micro_f1", MICRO_F1)
    monkeypatch.setitem(TASKS, "moods", Moods())


def call(world, **more):
    own = {"task": "moods", "train": None, "test": None, "text_columns": None, "label_column": None, "k": 160, "baselines": None}
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
    assert "micro f1" in (tmp_path / "out" / "report.md").read_text()
    predictor = pelt_automl.load(tmp_path / "out")
    texts = [text for (text,) in Moods().read(None).train.texts]
    answers = predictor.predict(texts)
    assert {tuple(answer) for answer in answers} <= {(), ("good",), ("bad",), ("good", "bad")}
    assert len({tuple(answer) for answer in answers}) > 1
    chances = predictor.probabilities(texts)
    assert [[name for name, chance in zip(("good", "bad"), row, strict=True) if chance > 0.5] for row in chances] == answers


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
