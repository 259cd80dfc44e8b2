"""Contenders that train no backbone take part in every selection: before the search, in the finals, and in the verdict."""

import json
from dataclasses import replace

import numpy as np
import pytest

import pelt_automl
from pelt_automl.errors import SettingsError
from pelt_automl.log.events import (
    LACK_OF_TIME,
    CostMeasured,
    Decision,
    FinalistScored,
    Planned,
    ReportOpened,
    SelectionEnded,
    SelectionStarted,
    TrialEnded,
    VerdictReached,
    What,
)
from pelt_automl.log.history import History
from pelt_automl.methods import BASELINES, METHODS, STANDARD, standard
from pelt_automl.modifications import pack
from pelt_automl.predicting import predict_file
from pelt_automl.recorders.run_tree import run_tree
from pelt_automl.report import Recommendation, verdict_text
from pelt_automl.scheduling.finals import finalist_seeds
from pelt_automl.selection import Selection, baseline_phase, costs, search_phase, settings_from
from pelt_automl.selection.baseline_phase import fit, fit_baselines
from pelt_automl.selection.machine import costs_of
from pelt_automl.selection.question import Question
from tests.tiny_world import CLASSES, Killed, Watcher, counted, of, outputs_of, records_of, sentences, write_csv

pytestmark = pytest.mark.usefixtures("without_mlflow")

ALL = tuple(BASELINES)
FEW = {"baselines": ALL, "methods": ["lora", "head"], "trials": 1, "epochs": 5, "finalist_seeds": 2}


def run(world, folder, **options):
    return pelt_automl.select(output=folder, **world.options(**FEW | options)), records_of(folder)


def runs_of(events, method, stage):
    return [trial for trial in of(events, TrialEnded) if trial.method == method and trial.stage == stage]


@pytest.fixture(scope="module")
def whole(world, tmp_path_factory):
    """A selection with all baselines; never to be changed."""
    from pelt_automl.recorders import RECORDERS

    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(RECORDERS, "mlflow")
        folder = tmp_path_factory.mktemp("baselines") / "out"
        return (folder, *run(world, folder))


# ------------------------------------------------------------ who takes part


def test_they_take_part_unless_somebody_says_otherwise_and_the_head_alone_is_tuned_where_the_probe_is_not():
    assert settings_from(task="pydoc-topic").search.baselines == ALL == ("probe", "bag-of-words", "neighbors")
    assert settings_from(task="pydoc-topic", baselines="none").search.baselines == ()
    assert settings_from(task="pydoc-topic", baselines=["none"]).search.baselines == ()
    assert settings_from(task="pydoc-topic", baselines="neighbors, probe").search.baselines == ("neighbors", "probe")
    assert "head" not in STANDARD
    assert standard(ALL) == STANDARD == ("full", "bitfit", "lora", "adapter", "prefix", "mam", "unipelt-ap", "unipelt-apl")
    assert standard(("neighbors",)) == standard(()) == ("full", "head", *STANDARD[1:])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"baselines": "prob"}, r"unknown baseline 'prob' \(did you mean probe\?\); there are probe, bag-of-words, neighbors, or none"),
        ({"baselines": "none,probe"}, "'none' stands alone; baselines has none, probe"),
        ({"baselines": "probe,probe"}, "names one twice"),
        ({"baselines": "lora"}, "'lora' isn't a baseline but a method that is tuned: name it with --methods lora"),
        ({"methods": "lora,probe"}, "'probe' isn't a method that is tuned but a baseline: name it with --baselines probe"),
    ],
)
def test_a_name_that_is_none_is_refused_with_what_there_is(options, says):
    with pytest.raises(SettingsError, match=says):
        settings_from(task="pydoc-topic", **options)


def test_no_name_is_a_baseline_and_a_method():
    assert not set(BASELINES) & set(METHODS)


# ------------------------------------------------------------ before the search


def test_each_is_fitted_once_on_the_searchs_split_before_any_trial(whole):
    folder, _, events = whole
    search = [trial for trial in of(events, TrialEnded) if trial.stage == "search"]
    assert [trial.trial for trial in search[:3]] == ["probe-0000", "bag-of-words-0000", "neighbors-0000"]
    assert {trial.method for trial in search[3:]} == {"lora", "head"}
    (data_seed,) = {(trial.seeds.split, trial.seeds.initialization, trial.seeds.order) for trial in search}
    assert data_seed == (0, 0, 0)
    for trial in search[:3]:
        assert (trial.state, trial.steps, trial.hyper_parameters) == ("completed", 0, {})
        (point,) = trial.curve
        assert (point.step, point.train_loss, point.select_score) == (0, None, trial.select_score)
        assert trial.select_score > 0.7
        assert len(outputs_of(folder, trial)) == 18
        assert trial.seconds < 10
    kept = {trial.method: trial.parameters["kept"] for trial in search[:3]}
    assert kept["probe"] == 2 * (16 + 1) == next(t for t in search if t.method == "head").parameters["kept"]
    assert kept["neighbors"] == 42 * 16, "the features of the train examples"


@pytest.mark.slow
def test_nothing_of_select_has_a_part_in_what_they_predict(world, tmp_path):
    """Select is a file here, whose labels are turned around: no prediction changes, whatever its score."""
    rows = [(text, CLASSES[label]) for text, label in sentences(40, seed=9)]
    turned = [(text, CLASSES[1 - CLASSES.index(label)]) for text, label in rows]
    found = []
    for name, own in (("right", rows), ("turned", turned)):
        file = write_csv(tmp_path / f"{name}.csv", ["text", "label"], own)
        _, events = run(world, tmp_path / name, validation=file, methods=["head"], finalist_seeds=1)
        searched = {trial.method: trial for trial in of(events, TrialEnded) if trial.stage == "search" and trial.method in BASELINES}
        scored = {run.method: run.outputs for run in of(events, FinalistScored) if run.method in BASELINES}
        found.append((searched, scored))
    (right, on_report), (wrong, on_report_turned) = found
    assert set(on_report) == set(right) == set(ALL)
    assert on_report == on_report_turned
    for name in ALL:
        assert right[name].outputs == wrong[name].outputs
        assert right[name].select_score == pytest.approx(1 - wrong[name].select_score)


@pytest.mark.slow
def test_one_that_fails_is_a_failed_trial_with_its_cause_and_costs_nothing_else(world, tmp_path, monkeypatch):
    fit = baseline_phase.fit_baseline

    def failing(name, *others):
        if name == "neighbors":
            raise FloatingPointError("a matrix without an inverse")
        return fit(name, *others)

    monkeypatch.setattr(baseline_phase, "fit_baseline", failing)
    found, events = run(world, tmp_path / "out")
    (failed,) = [trial for trial in of(events, TrialEnded) if trial.state == "failed"]
    assert (failed.trial, failed.cause) == ("neighbors-0000", "FloatingPointError: a matrix without an inverse")
    assert "failing" in failed.traceback
    assert {row.method for row in found.leaderboard} == {"lora", "head", "probe", "bag-of-words"}
    assert "Not compared, because every training failed: neighbors (FloatingPointError)" in found.statement


def test_outputs_that_are_not_finite_are_a_failure(world, tmp_path, monkeypatch):
    with Selection.open(settings_from(**world.options(**FEW | {"baselines": ["probe"]})), tmp_path / "out") as selection:
        selection.prepare()
        fitted = baseline_phase.fit_baseline("probe", selection.question.data.split(0)[0], 2, selection.machine.encoder)
        monkeypatch.setattr(fitted, "outputs", lambda examples: np.full((len(examples), 2), np.nan))
        monkeypatch.setattr(baseline_phase, "fit_baseline", lambda *_: fitted)
        fit_baselines(selection.question, selection.machine, selection.log)
        (trial,) = selection.log.history.of_kind(TrialEnded)
    assert (trial.state, trial.cause, trial.select_score) == ("failed", "ValueError: outputs are not finite", None)


def test_what_is_over_a_limit_is_left_out_with_the_reason(world, tmp_path):
    options = world.options(**FEW | {"max_trainable": 40, "methods": ["head"]})
    with Selection.open(settings_from(**options), tmp_path / "out") as selection:
        selection.prepare()
        fit_baselines(selection.question, selection.machine, selection.log)
        fit_baselines(selection.question, selection.machine, selection.log)
        events = selection.log.history.events
    assert [trial.trial for trial in of(events, TrialEnded)] == ["probe-0000"]
    left_out = {decision.subject: decision.why for decision in of(events, Decision) if decision.what == What.METHOD_OVER}
    assert left_out["neighbors"] == "it has 672 trainable parameters, more than the 40 of --max-trainable"
    assert set(left_out) == {"neighbors", "bag-of-words"}


def limited(question, milliseconds):
    return replace(question, settings=replace(question.settings, search=replace(question.search, max_latency_ms=milliseconds)))


def test_a_limit_on_latency_is_measured_at_their_own_answers(world, tmp_path):
    with Selection.open(settings_from(**world.options(**FEW | {"methods": ["head"]})), tmp_path / "out") as selection:
        selection.prepare()
        fit_baselines(limited(selection.question, 1e-6), selection.machine, selection.log)
        assert not selection.log.history.of_kind(TrialEnded)
        left_out = [decision for decision in selection.log.history.of_kind(Decision) if decision.what == What.METHOD_OVER]
    assert [decision.subject for decision in left_out] == list(ALL)
    assert all("over the 1e-06 of --max-latency-ms" in decision.why for decision in left_out)


def test_a_limit_that_a_head_is_within_lets_the_probe_in(world, tmp_path, monkeypatch):
    monkeypatch.setattr(costs, "time_passes", lambda _, shapes, *__: {shape: [0.001] * 5 for shape in shapes})
    monkeypatch.setattr(costs, "answer_passes", lambda *_: [0.003] * 5)
    with Selection.open(settings_from(**world.options(**FEW | {"methods": ["head"]})), tmp_path / "out") as selection:
        selection.prepare()
        fit_baselines(limited(selection.question, 2.0), selection.machine, selection.log)
        events = selection.log.history.events
    assert [trial.method for trial in of(events, TrialEnded)] == ["probe"]
    assert {decision.subject for decision in of(events, Decision) if decision.what == What.METHOD_OVER} == {"bag-of-words", "neighbors"}


@pytest.mark.slow
def test_they_take_no_trials_and_change_nothing_of_what_the_search_does(world, tmp_path):
    options = {"trials": 3, "finalist_seeds": 1, "epochs": 3}
    searched = []
    for name, baselines in (("with", ALL), ("without", ())):
        _, events = run(world, tmp_path / name, **options, baselines=baselines)
        trials = [trial for trial in of(events, TrialEnded) if trial.stage == "search" and trial.method not in BASELINES]
        searched.append([(t.trial, t.state, t.hyper_parameters, t.select_score, t.steps) for t in trials])
    assert sorted(searched[0], key=str) == sorted(searched[1], key=str)


# ------------------------------------------------------------ finals


def test_they_are_fitted_on_each_fresh_split_and_scored_on_the_same_examples(whole):
    folder, found, events = whole
    (opened,) = of(events, ReportOpened)
    tuned = {trial.number: trial.seeds for trial in of(events, TrialEnded) if trial.stage == "finalist" and trial.method == "lora"}
    for name in ALL:
        runs = runs_of(events, name, "finalist")
        assert {run.number: run.seeds for run in runs} == tuned
        assert {run.trial for run in runs} == {f"final-{name}-0000-seed{index}" for index in tuned}
        scored = [event for event in of(events, FinalistScored) if event.method == name]
        assert len(scored) == len(tuned)
        for event in scored:
            assert event.report_score == np.mean(np.array(outputs_of(folder, event)) == np.array(outputs_of(folder, opened)))
    assert {row.candidate for row in found.leaderboard} >= {"probe-0000", "bag-of-words-0000", "neighbors-0000", "lora-0000", "head-0000"}
    assert not {d.subject for d in of(events, Decision) if d.what == "finalist"} & {f"{name}-0000" for name in ALL}


def test_what_they_cost_is_measured_and_no_memory_is_said(whole):
    _, found, events = whole
    costs = {event.method: event for event in of(events, CostMeasured) if event.method in BASELINES}
    assert set(costs) == set(ALL)
    assert all(event.memory_bytes is None and event.latency(1) > 0 and event.latency(32) > 0 for event in costs.values())
    assert costs["bag-of-words"].latency(1) < costs["probe"].latency(1), "it needs no pass of the model"
    rows = {row.method: row for row in found.leaderboard}
    assert rows["probe"].served_latency_ms == costs["probe"].latency(1)
    assert rows["probe"].memory_gb is None
    assert not costs["bag-of-words"].exportable
    assert not costs["neighbors"].exportable


def test_a_short_limit_bounds_the_examples_that_they_read(world, tmp_path, monkeypatch):
    monkeypatch.setattr(Question, "most_probed", 5)
    read, fit, predicted = [], baseline_phase.fit_baseline, baseline_phase._outputs
    monkeypatch.setattr(baseline_phase, "fit_baseline", lambda name, train, *others: read.append(len(train)) or fit(name, train, *others))
    monkeypatch.setattr(baseline_phase, "_outputs", lambda *given: read.append(len(given[-1])) or predicted(*given))
    with Selection.open(settings_from(**world.options(**FEW)), tmp_path / "out") as selection:
        selection.prepare()
        fit_baselines(selection.question, selection.machine, selection.log)
    assert read == [5, 5] * 3


def test_a_probe_that_is_a_head_is_as_fast_as_a_tuned_head(whole):
    _, _, events = whole
    measured = {event.method: event for event in of(events, CostMeasured) if event.candidate}
    assert [measured["probe"].latency(batch) for batch in (1, 32)] == [measured["head"].latency(batch) for batch in (1, 32)]


@pytest.mark.slow
def test_killed_anywhere_it_goes_on_and_fits_nothing_twice(world, tmp_path, whole):
    _, found, there = whole
    for _ in range(60):
        watcher = Watcher(kill=lambda seen: len(seen.events) >= 4)
        try:
            again = pelt_automl.select(output=tmp_path / "out", display=watcher, **world.options(**FEW))
            break
        except Killed:
            continue
    events = records_of(tmp_path / "out")
    assert len(of(events, SelectionStarted)) > 5
    assert counted([trial.trial for trial in of(events, TrialEnded)]) == {}
    assert counted([scored.trial for scored in of(events, FinalistScored)]) == {}
    ours, theirs = ({s.trial: s.outputs for s in of(e, FinalistScored) if s.method in BASELINES} for e in (events, there))
    assert ours == theirs
    assert {row.candidate for row in again.leaderboard} == {row.candidate for row in found.leaderboard}


@pytest.mark.slow
def test_without_time_for_any_training_they_are_the_answer(world, tmp_path, monkeypatch):
    """As if the clock had kept the search from its first trial."""
    monkeypatch.setattr(search_phase, "drive", lambda *_: None)
    found, events = run(world, tmp_path / "out", seconds=600)
    assert found.method in BASELINES
    assert {row.method for row in found.leaderboard} == set(ALL)
    assert all(len(row.seed_scores) == 2 for row in found.leaderboard)
    assert found.so_far
    assert found.statement.startswith(f"Best so far: {found.method}, ")
    assert "Never compared, for lack of time: lora and head" in found.statement
    assert "\n3 baselines; " in verdict_text(History.of(events))
    assert pelt_automl.load(tmp_path / "out").predict(["good word1"]) == ["positive"]
    assert len(of(events, SelectionEnded)) == 1


def test_time_is_kept_for_the_seeds_that_they_still_lack_and_for_no_other(world, tmp_path, monkeypatch):
    with Selection.open(settings_from(**world.options(**FEW | {"methods": ["head"]})), tmp_path / "out") as selection:
        selection.prepare()
        question, machine, log = selection.question, selection.machine, selection.log
        fit_baselines(question, machine, log)
        object.__setattr__(log.history.plan, "example_seconds", 0.0)  # fits alone
        once = sum(trial.seconds for trial in log.history.of_kind(TrialEnded))
        kept = [costs_of(question, machine, log.history).baselines(log.history)]
        for index in range(2):
            for name in ALL:
                log.append(fit(machine, log.history.outputs, name, finalist_seeds("question", index), question.most_probed, index))
            kept.append(costs_of(question, machine, log.history).baselines(log.history))
    assert kept == [pytest.approx(2 * once), pytest.approx(once), 0.0]


def test_where_the_time_is_over_they_have_one_seed(world, tmp_path, monkeypatch):
    monkeypatch.setattr(search_phase, "drive", lambda *_: None)
    with Selection.open(settings_from(**world.options(**FEW | {"seconds": 600, "baselines": ["probe"]})), tmp_path / "out") as selection:
        selection.prepare()
        selection.search()
        selection.clock = replace(selection.clock, limit=1e-3)
        selection.confirm()
        history = selection.log.history
    assert [scored.trial for scored in history.of_kind(FinalistScored)] == ["final-probe-0000-seed0"]
    assert [d.subject for d in history.of_kind(Decision) if d.what in LACK_OF_TIME] == ["seed 1"]


ORDERS = (("lora", "adapter"), ("adapter", "lora"))


@pytest.mark.slow
def test_where_every_training_fails_they_are_the_answer_and_the_failures_are_named(world, tmp_path, monkeypatch):
    def broken(modifications, *_):
        if modifications:
            raise ArithmeticError("made to fail")

    monkeypatch.setattr(pack, "check_supported", broken)
    found, events = run(world, tmp_path / "out", methods=["lora", "adapter"])
    trained = [trial for trial in of(events, TrialEnded) if trial.method not in BASELINES]
    assert {(trial.method, trial.state) for trial in trained} == {("lora", "failed"), ("adapter", "failed")}
    assert {row.method for row in found.leaderboard} == set(ALL)
    assert found.statement.startswith(f"Best so far: {found.method}, ")
    failed = found.statement.partition("Not compared, because every training failed: ")[2]
    assert failed.removesuffix(".").split(" and ") in ([f"{a} (ArithmeticError)", f"{b} (ArithmeticError)"] for a, b in ORDERS)
    assert "for lack of time" not in found.statement


# ------------------------------------------------------------ kinds of tasks, and the verdict


def recommended(world, folder, method, **options):
    """A selection that recommends it, since full fine-tuning has more parameters and 30 points more count as none."""
    found, events = run(world, folder, methods=["full"], baselines=[method], equivalence=30, **options)
    assert found.method == method
    return found, events


@pytest.mark.slow
@pytest.mark.parametrize("method", ALL)
def test_a_recommended_baseline_is_handed_over_like_any_winner(world, tmp_path, method):
    found, events = recommended(world, tmp_path / "out", method)
    best = max(runs_of(events, method, "finalist"), key=lambda trial: trial.select_score)
    (scored,) = [event for event in of(events, FinalistScored) if event.trial == best.trial]
    predictor = pelt_automl.load(tmp_path / "out")
    texts = [text for text, _ in sentences(180)[120:]]
    names = predictor.config.labels
    assert predictor.predict(texts) == [names[int(index)] for index in outputs_of(tmp_path / "out", scored)]
    assert predictor.probabilities(texts).sum(axis=1) == pytest.approx(1, abs=1e-5)
    predict_file(tmp_path / "out", world.test, tmp_path / "predicted.csv")
    assert f"Recommended: {method}, " in found.statement
    assert "It trains no backbone, and has accuracy" in found.statement
    assert found.statement.count("published default is enough") == 0
    assert found.hyper_parameters == {}
    tree = run_tree(History.of(events))
    assert tree.parent.tags["verdict.method"] == method
    assert tree.children[f"{method}-0000"].status == "FINISHED"


@pytest.mark.slow
def test_numbers_have_baselines_in_their_own_unit(world, tmp_path):
    random = np.random.default_rng(3)
    rows = [(text, round(1000 + 400 * label + float(random.normal()), 2)) for text, label in sentences(130, seed=3)]
    train = write_csv(tmp_path / "prices.csv", ["text", "price"], rows[:90])
    test = write_csv(tmp_path / "prices-test.csv", ["text", "price"], rows[90:])
    options = {"train": train, "test": test, "label_column": "price", "metric": "mae", "finalist_seeds": 1}
    found, events = recommended(world, tmp_path / "out", "probe", **options)
    assert found.report_score < 150, "the mean alone is 200 off"
    (scored,) = [event for event in of(events, FinalistScored) if event.method == "probe"]
    assert np.mean(outputs_of(tmp_path / "out", scored)) == pytest.approx(1200, abs=100)
    predicted = pelt_automl.load(tmp_path / "out").predict([text for text, _ in rows[90:]])
    assert predicted == pytest.approx(outputs_of(tmp_path / "out", scored), abs=0.01)


@pytest.mark.slow
def test_pairs_have_baselines(world, tmp_path):
    rows = [(text, f"word{i % 5} word{i % 7}", CLASSES[label]) for i, (text, label) in enumerate(sentences(130, seed=6))]
    train = write_csv(tmp_path / "pairs.csv", ["first", "second", "label"], rows[:90])
    test = write_csv(tmp_path / "pairs-test.csv", ["first", "second", "label"], rows[90:])
    options = {"train": train, "test": test, "text_columns": ["first", "second"], "finalist_seeds": 1, "methods": ["head"]}
    found, events = run(world, tmp_path / "out", **options)
    assert {row.method for row in found.leaderboard} == {*ALL, "head"}
    assert all(event.report_score > 0.6 for event in of(events, FinalistScored) if event.method in BASELINES)


def test_report_terminal_and_json_have_them(whole):
    folder, found, events = whole
    html, markdown = ((folder / name).read_text(encoding="utf-8") for name in ("report.html", "report.md"))
    for text in (html, markdown):
        assert ". Baselines (" in text
        assert "probe" in text
        assert "probe (default)" not in text
        assert "probe #0" not in text
    (verdict,) = of(events, VerdictReached)
    printed = verdict_text(History.of(events))
    assert "2 trials of 2 methods and 3 baselines" in printed
    assert Recommendation.from_json((folder / "recommendation.json").read_text(encoding="utf-8"), folder) == found
    assert {row["method"] for row in json.loads((folder / "recommendation.json").read_text())["leaderboard"]} >= set(ALL)
    assert {row.candidate for row in verdict.standings} == {row.candidate for row in found.leaderboard}
    (planned,) = of(events, Planned)
    assert planned.finalists == 3, "lora, head, and a fixed default: baselines take no one's place"
    tree = run_tree(History.of(events))
    assert tree.children["final-probe-0000-seed0"].tags["method"] == "probe"
    (ended,) = of(events, SelectionEnded)
    assert ended.bill["baselines"] > 0
