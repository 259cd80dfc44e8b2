"""Where heads start is decided once a selection, on train alone, and is the same for all of its trainings."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from pelt_automl.baselines import probed_at_most
from pelt_automl.log.events import Decision, TrialEnded
from pelt_automl.selection import Selection, settings_from
from pelt_automl.selection.splits import Splits
from pelt_automl.tasks import Examples, TaskData
from tests.tiny_world import Killed, Watcher, of, records_of, write_csv

pytestmark = pytest.mark.usefixtures("without_mlflow")


def prepared(world, folder, **options):
    with Selection.open(settings_from(**world.options(**options)), folder) as opened:
        opened.prepare()
        return opened


def head_start(events):
    decisions = [decision for decision in of(events, Decision) if decision.what == "head start"]
    assert len(decisions) == 1
    return decisions[0]


@pytest.mark.slow
def test_every_training_starts_where_the_selection_decided(world, tmp_path):
    for wanted in ("probe", "random"):
        with Selection.open(settings_from(**world.options(head_start=wanted, trials=2)), tmp_path / wanted) as opened:
            opened.run()
        events = records_of(tmp_path / wanted)
        assert head_start(events).subject == wanted
        trained = [trial for trial in of(events, TrialEnded) if trial.tokens.get("computed")]
        assert {trial.stage for trial in trained} == {"search", "finalist"}
        assert all((trial.curve[0].step == 0) == (wanted == "probe") for trial in trained)


def test_the_program_takes_the_probe_where_it_learns_something_and_not_from_noise(world, tmp_path):
    decision = head_start(prepared(world, tmp_path / "words").log.history.events)
    assert decision.subject == "probe"
    assert decision.numbers["loss"] < decision.numbers["chance"]
    with world.train.open(encoding="utf-8", newline="") as file:
        rows = [row["text"] for row in csv.DictReader(file)]
    labels = np.random.default_rng(0).integers(2, size=len(rows))
    noise = write_csv(tmp_path / "noise.csv", ["text", "label"], [(text, "ab"[label]) for text, label in zip(rows, labels, strict=True)])
    decision = head_start(prepared(world, tmp_path / "noise", train=noise, test=None).log.history.events)
    assert decision.subject == "random"
    assert "isn't above chance" in decision.why


def test_the_papers_protocol_starts_at_random_unless_it_is_told_otherwise(world, tmp_path):
    options = {"protocol": "paper", "k": 30}
    assert head_start(prepared(world, tmp_path / "paper", **options).log.history.events).subject == "random"
    assert head_start(prepared(world, tmp_path / "told", head_start="probe", **options).log.history.events).subject == "probe"


def test_flipping_the_labels_of_select_changes_neither_decision_nor_start(world, tmp_path, monkeypatch):
    as_it_is = prepared(world, tmp_path / "as it is")
    data = as_it_is.question.data
    train, select = data.indices(0)
    labels = [1 - label if i in set(select.tolist()) else label for i, label in enumerate(data.pool.labels)]
    assert sum(a != b for a, b in zip(labels, data.pool.labels, strict=True)) == len(select) > 5
    flipped = replace(data, pool=Examples(data.pool.texts, tuple(labels)))
    with Selection.open(settings_from(**world.options()), tmp_path / "flipped") as opened:
        opened.question = replace(opened.question, data=flipped)
        opened.splits = Splits(opened.question)
        monkeypatch.setattr(TaskData, "indices", lambda *_: (train, select))  # splits are stratified by labels: keep this one
        opened.prepare()
        assert head_start(opened.log.history.events).numbers == head_start(as_it_is.log.history.events).numbers
        one, other = (own.machine.heads.of(0, 0, own.splits.of(0)[0]) for own in (as_it_is, opened))
        np.testing.assert_array_equal(one["weight"].numpy(), other["weight"].numpy())


@pytest.mark.slow
def test_a_selection_that_is_taken_up_again_keeps_its_start(world, tmp_path):
    def kill(watcher):
        return any(trial.stage == "search" for trial in of(watcher.events, TrialEnded))

    options = world.options(head_start="probe", trials=2)
    with pytest.raises(Killed), Selection.open(settings_from(**options), tmp_path / "killed", Watcher(kill=kill)) as opened:
        opened.run()
    with Selection.open(settings_from(**options), tmp_path / "killed") as opened:
        opened.run()
    events = records_of(tmp_path / "killed")
    assert head_start(events).subject == "probe"
    assert all(trial.curve[0].step == 0 for trial in of(events, TrialEnded) if trial.tokens.get("computed"))


def test_a_short_limit_isnt_spent_on_the_probe():
    assert [probed_at_most(limit) for limit in (None, 10, 60, 10_000)] == [5000, 300, 600, 5000]
