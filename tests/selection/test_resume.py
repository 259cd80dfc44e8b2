"""A selection that is killed goes on where it stood: nothing lost, nothing done twice."""

import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from mlflow import MlflowClient

import pelt_automl
from pelt_automl import BEHAVIOUR
from pelt_automl.errors import SelectionError
from pelt_automl.log.events import (
    ContributionMeasured,
    Decision,
    FinalistScored,
    GateMeasured,
    KnockedOut,
    Planned,
    Released,
    ReportOpened,
    SegmentEnded,
    SelectionEnded,
    SelectionStarted,
    TrialEnded,
    UnionPruned,
    VerdictReached,
    What,
)
from pelt_automl.log.folder import make_work_folder
from pelt_automl.methods import BASELINES
from pelt_automl.report import load_recommendation, write_report
from pelt_automl.training.pack_training import PackTraining
from tests.tiny_world import Killed, Watcher, counted, losses, of, records_of

ROOT = Path(__file__).resolve().parents[2]


def assert_each_thing_was_done_once(events, methods, trials, seeds, baselines=()):
    """What holds of the records of a finished selection however often it was killed."""
    trainings = of(events, TrialEnded)
    assert counted([trial.trial for trial in trainings]) == {}
    search = Counter(trial.method for trial in trainings if trial.stage == "search")
    assert search == dict.fromkeys(methods, trials) | dict.fromkeys(baselines, 1)
    chosen = [decision.subject for decision in of(events, Decision) if decision.what == "finalist"]
    chosen += [union.candidate for union in of(events, UnionPruned)]
    assert counted(chosen) == {}
    chosen += [f"{name}-0000" for name in baselines]
    finalists = {trial.trial for trial in trainings if trial.stage == "finalist"}
    assert finalists == {f"final-{name}-seed{index}" for name in chosen for index in range(seeds)}
    assert sorted(event.trial for event in of(events, FinalistScored)) == sorted(finalists)
    assert [event.openings for event in of(events, ReportOpened)] == list(range(1, len(of(events, ReportOpened)) + 1))
    assert len({(event.examples, event.outputs) for event in of(events, ReportOpened)}) == 1
    assert counted([(e.trial, e.submodule, e.site, e.layer) for e in of(events, GateMeasured)]) == {}
    assert counted([(e.trial, e.submodule, e.site, e.layer) for e in of(events, ContributionMeasured)]) == {}
    assert counted([(e.trial, e.submodule) for e in of(events, KnockedOut)]) == {}
    assert len(of(events, Planned)) == 1
    assert of(events, VerdictReached)
    assert len(of(events, SelectionEnded)) == 1


@pytest.mark.slow
@pytest.mark.usefixtures("without_mlflow")
def test_killed_every_few_records_it_ends_with_what_an_uninterrupted_selection_finds(finished, tmp_path):
    """Kills fall between any two records: in the search, between the finalists' choices, their scores, the gates, the verdict."""
    luck, starts = random.Random(1), 0
    while True:
        starts += 1
        assert starts < 60
        lives = luck.randint(2, 16)
        watcher = Watcher(kill=lambda seen, lives=lives: len(seen.events) >= lives)
        try:
            found = pelt_automl.select(output=tmp_path / "out", display=watcher, **finished.world.options())
            break
        except Killed:
            continue
    assert starts > 8
    ours, theirs = records_of(tmp_path / "out"), records_of(finished.folder)
    assert [event.resumed for event in of(ours, SelectionStarted)] == [False] + [True] * (len(of(ours, SelectionStarted)) - 1)
    assert_each_thing_was_done_once(ours, ("lora", "unipelt-apl", "head"), trials=3, seeds=3)
    without_break = {trial.trial: trial for trial in of(theirs, TrialEnded)}
    for trial in of(ours, TrialEnded):
        other = without_break[trial.trial]
        assert (trial.trial, trial.hyper_parameters) == (other.trial, other.hyper_parameters)
        assert trial.seeds == other.seeds
        assert trial.select_score == pytest.approx(other.select_score, abs=0.06)  # one of 18 examples
    assert {trial.trial for trial in of(ours, TrialEnded)} == set(without_break)
    assert len(of(ours, GateMeasured)) == len(of(theirs, GateMeasured))
    assert len(of(ours, KnockedOut)) == len(of(theirs, KnockedOut))
    assert found.candidate == finished.recommendation.candidate
    assert found.report_score == pytest.approx(finished.recommendation.report_score, abs=0.02)
    assert pelt_automl.load(tmp_path / "out").predict(["good word1"]) == pelt_automl.load(finished.folder).predict(["good word1"])


@pytest.mark.whole
@pytest.mark.usefixtures("without_mlflow")
def test_a_trial_that_is_killed_after_its_rung_goes_on_from_its_own_weights(world, tmp_path):
    options = world.options(methods=["lora"], trials=1, finalist_seeds=1, epochs=8)
    pelt_automl.select(output=tmp_path / "through", **options)
    (plan,) = of(records_of(tmp_path / "through"), Planned)
    assert plan.rung_steps + 5 < plan.steps

    def after_the_rung(seen):
        return any(step.phase == "search" and step.done >= plan.rung_steps + 5 for step in seen.progress)

    with pytest.raises(Killed):
        pelt_automl.select(output=tmp_path / "killed", display=Watcher(kill=after_the_rung), **options)
    assert len(list((tmp_path / "killed" / "work" / "checkpoints").iterdir())) == 1
    again = Watcher()
    pelt_automl.select(output=tmp_path / "killed", display=again, **options)
    steps = [step.done for step in again.progress if step.phase == "search"]
    ours, theirs = (
        next(trial for trial in of(records_of(tmp_path / name), TrialEnded) if trial.stage == "search") for name in ("killed", "through")
    )
    assert [point.step for point in ours.curve] == [point.step for point in theirs.curve]
    assert losses(ours) == pytest.approx(losses(theirs), rel=1e-3)
    assert (ours.steps, ours.state) == (theirs.steps, theirs.state)
    assert max(steps) == ours.steps - plan.rung_steps, "only the steps after the rung are done again"
    (said,) = [decision for decision in of(again.events, Decision) if decision.what == What.RESUMED]
    assert (said.subject, said.why, said.numbers) == ("lora-0000", f"goes on at step {plan.rung_steps}", {"step": plan.rung_steps})
    assert not (tmp_path / "killed" / "work").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("without_mlflow")
@pytest.mark.usefixtures("nothing_learned")
def test_a_trial_that_waits_at_its_rung_still_waits_there_after_a_kill(world, tmp_path):
    options = world.options(methods=["lora"], trials=3, finalist_seeds=1, pack_size=1, patience=100)
    pelt_automl.select(output=tmp_path / "through", **options)
    (plan,) = of(records_of(tmp_path / "through"), Planned)

    def in_the_middle_of_the_third(seen):
        return any(step.phase == "search" and step.done >= plan.steps + plan.rung_steps + 2 for step in seen.progress)

    with pytest.raises(Killed):
        pelt_automl.select(output=tmp_path / "killed", display=Watcher(kill=in_the_middle_of_the_third), **options)
    (state,) = [event.state for event in of(records_of(tmp_path / "killed"), SegmentEnded) if event.trial == "lora-0001"]
    assert (tmp_path / "killed" / "work" / "checkpoints" / state).is_file()
    again = Watcher()
    pelt_automl.select(output=tmp_path / "killed", display=again, **options)
    steps = [step.done for step in again.progress if step.phase == "search"]
    assert max(steps) == plan.steps, "the third trial to its rung, and the better of the two from there"
    ours, theirs = (
        {trial.trial: (trial.steps, trial.state) for trial in of(records_of(tmp_path / name), TrialEnded) if trial.stage == "search"}
        for name in ("killed", "through")
    )
    assert ours == theirs
    assert sorted(steps for steps, _ in ours.values()) == [plan.rung_steps, plan.steps, plan.steps]
    assert not (tmp_path / "killed" / "work").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("without_mlflow")
def test_records_of_a_version_without_segments_are_gone_on_with(world, tmp_path):
    options = world.options(methods=["lora", "head"], trials=3, finalist_seeds=1, pack_size=1, patience=100)

    def three_have_ended(seen):
        return len([event for event in seen.events if isinstance(event, TrialEnded)]) >= 3

    with pytest.raises(Killed):
        pelt_automl.select(output=tmp_path / "out", display=Watcher(kill=three_have_ended), **options)
    path = tmp_path / "out" / "records.jsonl"
    newer = ('"Released"', '"SegmentEnded"', '"Stopped"')
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not any(f'"event": {name}' in line for name in newer)))
    before = [trial.trial for trial in of(records_of(tmp_path / "out"), TrialEnded)]
    pelt_automl.select(output=tmp_path / "out", **options)
    events = records_of(tmp_path / "out")
    assert_each_thing_was_done_once(events, ("lora", "head"), trials=3, seeds=1)
    assert not set(before) & {event.segment.trial for event in of(events, Released)}, "what had ended isn't begun again"


@pytest.mark.usefixtures("without_mlflow")
def test_a_kill_between_the_record_and_the_report_is_made_up_for(finished, tmp_path):
    folder = finished.copy(tmp_path / "out")
    for name in ("recommendation.json", "report.md", "report.html"):
        (folder / name).unlink()
    found = pelt_automl.select(output=folder, **finished.world.options())
    assert (found.candidate, found.report_score) == (finished.recommendation.candidate, finished.recommendation.report_score)
    assert (folder / "report.html").is_file()
    assert records_of(folder) == records_of(finished.folder)


@pytest.mark.slow
@pytest.mark.usefixtures("without_mlflow")
def test_a_record_that_was_cut_off_in_the_middle_is_done_again(finished, tmp_path):
    folder = finished.copy(tmp_path / "out")
    lines = (folder / "records.jsonl").read_text().splitlines(keepends=True)
    ended = next(place for place, line in enumerate(lines) if '"SelectionEnded"' in line)
    (folder / "records.jsonl").write_text("".join([*lines[:ended], lines[ended][:40]]))
    make_work_folder(folder)
    (folder / "work" / "finalists").mkdir()
    weights = (folder / "winner" / "weights.safetensors").read_bytes()
    for trial in of(records_of(folder), TrialEnded):
        if trial.stage == "finalist" and trial.candidate == finished.recommendation.candidate:
            (folder / "work" / "finalists" / f"{trial.trial}.safetensors").write_bytes(weights)
    steps = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PackTraining, "_one_step", steps.append)
        pelt_automl.select(output=folder, **finished.world.options())
    assert steps == []
    assert len(of(records_of(folder), SelectionEnded)) == 1
    assert not (folder / "work").exists()


class Process:
    """The command in a process of its own."""

    def __init__(self, world, folder, home):
        self.records = folder / "records.jsonl"
        self.log = home / "log.txt"
        self.starts_before = self.starts()
        home.mkdir(exist_ok=True)
        options = ["--train", str(world.train), "--test", str(world.test), "--text-columns", "text", "--label-column", "label"]
        options += ["--model", str(world.model), "--k", "60", "--methods", "lora,unipelt-apl,head", "--trials", "4", "--epochs", "25"]
        options += ["--most-seeds", "3"]
        options += ["--batch-size", "8", "--precision", "fp32", "--output", str(folder)]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PELT_", "MLFLOW_", "PREFECT_"))}
        environment = inherited | {"PELT_AUTOML_HOME": str(home), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "COLUMNS": "200"}
        with self.log.open("a") as log:
            command = [sys.executable, "-m", "pelt_automl.cli", "select", *options]
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)

    def lines(self, what):
        if not self.records.is_file():
            return 0
        return sum(what in line for line in self.records.read_text().splitlines())

    def starts(self):
        return self.lines('"SelectionStarted"')

    def kill_when(self, stage, count, delay):
        """Wait until it has taken the selection up and so many trainings of a stage are recorded, and a moment more, then kill -9."""
        deadline = time.monotonic() + 150
        while self.starts() == self.starts_before or self.lines(f'"stage": "{stage}"') < count:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.01)
        time.sleep(delay)
        assert self.process.poll() is None, "it ended before it could be killed"
        self.process.kill()
        assert self.process.wait() == -9


@pytest.mark.long  # `chaos` kills smaller ones in `make test-all`
def test_killed_three_times_with_kill_9_it_ends_as_if_nothing_had_happened(world, tmp_path):
    luck, folder, home = random.Random(7), tmp_path / "out", tmp_path / "home"
    Process(world, folder, home).kill_when("search", 1, delay=luck.uniform(0, 0.3))
    Process(world, folder, home).kill_when("search", luck.randint(5, 9), delay=luck.uniform(0, 0.3))
    Process(world, folder, home).kill_when("finalist", 1, delay=luck.uniform(0, 0.2))
    before = [line for line in (folder / "records.jsonl").read_text().splitlines() if '"TrialEnded"' in line]
    last = Process(world, folder, home)
    assert last.process.wait(timeout=150) == 0, last.log.read_text()
    assert [line for line in (folder / "records.jsonl").read_text().splitlines() if '"TrialEnded"' in line][: len(before)] == before
    events = records_of(folder)
    assert_each_thing_was_done_once(events, ("lora", "unipelt-apl", "head"), trials=4, seeds=3, baselines=BASELINES)
    assert len(of(events, SelectionStarted)) == 4
    assert len(of(events, ReportOpened)) in (1, 2), "2 when the last kill fell into the scoring"
    assert load_recommendation(folder).report_score > 0.7
    assert "Traceback" not in last.log.read_text()
    client = MlflowClient(f"sqlite:///{home / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("reviews").experiment_id])
    expected = [trial.trial for trial in of(events, TrialEnded)] + [of(events, SelectionStarted)[0].selection]
    assert sorted(run.info.run_name for run in runs) == sorted(expected)


@pytest.mark.usefixtures("without_mlflow")
def test_a_selection_of_another_behavior_is_not_continued_and_still_reports(world, tmp_path, finished):
    folder = finished.copy(tmp_path / "old")
    records = folder / "records.jsonl"
    text = records.read_text(encoding="utf-8")
    assert f'"behaviour": {BEHAVIOUR}' in text
    records.write_text(text.replace(f'"behaviour": {BEHAVIOUR}', '"behaviour": 1'), encoding="utf-8")
    says = rf"another version of this program \(behavior 1; this one has {BEHAVIOUR}\).*choose another --output"
    with pytest.raises(SelectionError, match=says):
        pelt_automl.select(output=folder, **finished.world.options())
    assert write_report(folder)
