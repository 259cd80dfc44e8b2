"""One whole selection on a tiny encoder: what it leaves behind, and what it never does."""

import json
import time

import numpy as np
import pytest
from mlflow import MlflowClient

import pelt_automl
from pelt_automl.errors import SelectionError
from pelt_automl.log.events import (
    Because,
    ContributionMeasured,
    DataDescribed,
    Decision,
    FinalistScored,
    GateMeasured,
    KnockedOut,
    Released,
    ReportOpened,
    SelectionEnded,
    SelectionStarted,
    Stopped,
    TrialEnded,
    UnionPruned,
    VerdictReached,
)
from pelt_automl.report import load_recommendation
from pelt_automl.selection import Selection, settings_from
from pelt_automl.tasks import load_task
from pelt_automl.tasks.files import read_table
from pelt_automl.timing.clock import seconds_used
from tests.tiny_world import CLASSES, Watcher, counted, of, outputs_of, records_of

METHODS = ("lora", "unipelt-apl", "head")


@pytest.fixture(scope="module")
def events(finished):
    return records_of(finished.folder)


def trials(events, stage):
    return [trial for trial in of(events, TrialEnded) if trial.stage == stage]


def best_step(trial):
    """Of equal evaluations the latest is kept."""
    return max((point.select_score, point.step) for point in trial.curve)[1]


def pruned_names(events):
    return {union.candidate for union in of(events, UnionPruned)}


def test_the_recommendation_names_a_method_that_beats_chance_by_far(finished, events):
    found = finished.recommendation
    assert found.method in METHODS
    assert found.report_metric == "accuracy"
    assert found.report_score > 0.8
    assert 0 < found.p_best <= 1
    assert (found.k, found.protocol, found.task) == (60, "strict", "reviews")
    assert found.candidate in found.tied
    assert found.hyper_parameters["learning_rate"] > 0
    assert {row.method for row in found.leaderboard} == {*METHODS, "unipelt"}, "and the union without what it can do without"
    assert found.parameters == min(row.parameters for row in found.leaderboard if row.tied)
    (verdict,) = of(events, VerdictReached)
    assert (verdict.method, verdict.candidate, verdict.report_score) == (found.method, found.candidate, found.report_score)


def test_the_output_folder_has_what_was_promised_and_nothing_half_done(finished):
    top = {path.name for path in finished.folder.iterdir()}
    assert {"recommendation.json", "report.md", "report.html", "records.jsonl", "winner"} <= top
    assert top.isdisjoint({"checkpoints", "finalists", "searched"})
    winner = {path.name for path in (finished.folder / "winner").iterdir()}
    assert winner == {"pelt_config.json", "weights.safetensors", "tokenizer"}
    assert not [path for path in finished.folder.rglob("*") if path.suffix in (".part", ".unfinished", ".pkl", ".bin", ".pt")]
    answer = json.loads((finished.folder / "recommendation.json").read_text())
    assert {"method", "report_metric", "report_score"} <= answer.keys()
    assert answer["report_score"] == finished.recommendation.report_score
    html = (finished.folder / "report.html").read_text()
    assert finished.recommendation.method in html
    assert "<svg" in html


def test_every_trial_asked_for_is_one_record_with_its_curve(events):
    assert sorted(trial.trial for trial in trials(events, "search")) == sorted(
        f"{method}-{number:04d}" for method in METHODS for number in range(3)
    )
    for trial in trials(events, "search"):
        assert trial.state in ("completed", "stopped")
        assert trial.curve
        assert trial.select_score == max(point.select_score for point in trial.curve)
        assert trial.steps == max(point.step for point in trial.curve)
        assert trial.seconds > 0
        assert trial.parameters["kept"] == trial.parameters["pelt"] + trial.parameters["gates"] + trial.parameters["head"]
    assert sorted(trial.method for trial in trials(events, "search") if trial.is_default) == sorted(METHODS), "one default of each"


def test_finalists_share_three_seed_triples_that_no_trial_of_the_search_has(events):
    by_candidate = {}
    for trial in trials(events, "finalist"):
        by_candidate.setdefault(trial.candidate, []).append((trial.seeds.split, trial.seeds.initialization, trial.seeds.order))
    assert {method for method in METHODS if any(name.startswith(method) for name in by_candidate)} == set(METHODS)
    assert {"lora-0000", "unipelt-apl-0000"} <= by_candidate.keys(), "the fixed defaults are among them"
    first, *others = ({*triples} for triples in by_candidate.values())
    assert len(first) == 3
    assert all(triples == first for triples in others)
    assert 0 not in {seed for triple in first for seed in triple}
    seeds = [trial.seeds for trial in trials(events, "search")]
    assert {seed.split for seed in seeds} | {seed.initialization for seed in seeds} | {seed.order for seed in seeds} == {0}


def test_the_report_split_is_opened_once_after_all_trainings_and_read_by_nobody_before(finished, events):
    (opened,) = of(events, ReportOpened)
    assert (opened.openings, opened.examples, opened.of) == (1, 60, 60)
    chosen = [place for place, event in enumerate(events) if isinstance(event, TrialEnded) and event.candidate not in pruned_names(events)]
    last_training = max(chosen)  # smaller unions come later, chosen on select alone
    assert events.index(opened) > last_training
    report = {row["text"] for row in read_table(finished.world.test).rows}
    read_at = [happened for texts, happened in finished.tokenized if texts & report]
    assert read_at == [last_training + 1], "read once, after the last training was recorded and before anything else"


def test_every_finalists_run_is_scored_on_the_same_examples(finished, events):
    (opened,) = of(events, ReportOpened)
    scored = of(events, FinalistScored)
    assert sorted(event.trial for event in scored) == sorted(trial.trial for trial in trials(events, "finalist"))
    for event in scored:
        predictions, labels = (outputs_of(finished.folder, one) for one in (event, opened))
        assert len(predictions) == len(labels)
        right = np.mean(np.array(predictions) == np.array(labels))
        assert event.report_score == pytest.approx(right)


def test_gates_contributions_and_knock_outs_are_recorded_for_each_run_of_every_finalist_union(events):
    gates, shares, without = of(events, GateMeasured), of(events, ContributionMeasured), of(events, KnockedOut)
    gates, shares, without = ([e for e in found if e.candidate not in pruned_names(events)] for found in (gates, shares, without))
    unions = {trial.trial for trial in trials(events, "finalist") if trial.method == "unipelt-apl"}
    # 2 layers; the adapter after the feed-forward block, the prefix, LoRA at query and value
    sites = {("adapter", "ffn"), ("prefix", "heads"), ("lora", "attention.query"), ("lora", "attention.value")}
    expected = {(run, *site, layer) for run in unions for site in sites for layer in range(2)}
    for found in (gates, shares):
        assert {(event.trial, event.submodule, event.site, event.layer) for event in found} == expected
        assert len(found) == len(expected)
    assert all(0 <= event.mean < 10 and 0 <= event.spread < 10 for event in shares)
    moved = {run.trial for run in trials(events, "finalist") if best_step(run) > 0}  # the start, which changes nothing, may be the best
    assert moved & unions
    assert all(event.mean > 0 for event in shares if event.trial in moved)
    assert all(0 < event.mean < 1 and 0 <= event.spread < 0.5 for event in gates)
    assert all(event.start == pytest.approx(0.5, abs=0.1) for event in gates)
    assert any(abs(event.mean - event.start) > 1e-4 for event in gates)
    assert {(event.trial, event.submodule) for event in without} == {
        (run, name) for run in unions for name in ("adapter", "prefix", "lora")
    }
    runs = {trial.trial: trial for trial in trials(events, "finalist")}
    assert all(event.score == pytest.approx(runs[event.trial].select_score) for event in without)


def test_a_union_without_what_it_can_do_without_is_confirmed_like_any_finalist(finished, events):
    assert of(events, UnionPruned)
    for pruned in of(events, UnionPruned):
        losses = {}
        for event in of(events, KnockedOut):
            if event.candidate == pruned.of:
                losses.setdefault(event.submodule, []).append(event.score - event.score_without)
        means = {name: np.mean(values) for name, values in losses.items()}
        cheap = {name for name, loss in means.items() if loss < 0.01}
        assert set(pruned.removed) == (cheap if len(cheap) < 3 else cheap - {max(sorted(means), key=lambda name: means[name])})
        assert pruned.removed == pytest.approx({name: means[name] for name in pruned.removed})
        assert pruned.candidate == pruned.of + "".join(f"-without-{name}" for name in sorted(pruned.removed))
        runs, whole = ([trial for trial in trials(events, "finalist") if trial.candidate == name] for name in (pruned.candidate, pruned.of))
        assert {trial.number: trial.seeds for trial in runs} == {trial.number: trial.seeds for trial in whole}
        assert {trial.method for trial in runs} == {"unipelt"}
        assert runs[0].hyper_parameters == pruned.hyper_parameters
        assert runs[0].hyper_parameters["learning_rate"] == whole[0].hyper_parameters["learning_rate"]
        assert runs[0].parameters["kept"] < whole[0].parameters["kept"]
        assert {(event.trial, event.submodule) for event in of(events, KnockedOut) if event.candidate == pruned.candidate} == {
            (trial.trial, name) for trial in runs for name in {"adapter", "prefix", "lora"} - set(pruned.removed)
        }
        (row,) = [row for row in finished.recommendation.leaderboard if row.candidate == pruned.candidate]
        assert ("trained again without" in finished.recommendation.statement) is row.tied
        assert "each lost less than 1.0 when switched off" in (finished.folder / "report.md").read_text()


@pytest.mark.usefixtures("without_mlflow")
def test_reading_and_downloading_the_data_is_on_the_bill(world, tmp_path, monkeypatch):
    def slow(settings):
        time.sleep(0.3)
        return load_task(settings)

    monkeypatch.setattr("pelt_automl.selection.selection.load_task", slow)
    with Selection.open(settings_from(**world.options(methods=["head"])), tmp_path / "out") as selection:
        assert 0.3 <= selection.bill["data"] < 5
        (started,) = selection.log.history.of_kind(SelectionStarted)
        assert 0.3 <= started.seconds_before < 5
        assert seconds_used(selection.log.history.events) >= 0.3, "a resume counts it, too"


def test_the_bill_adds_up_to_the_selections_seconds(events):
    (ended,) = of(events, SelectionEnded)
    assert ended.reason == "done"
    assert {"data", "model", "search", "finalists", "evidence", "other"} <= ended.bill.keys()
    assert sum(ended.bill.values()) == pytest.approx(ended.seconds, abs=0.1)


def test_mlflow_has_one_parent_and_one_child_a_training(finished, events):
    client = MlflowClient(f"sqlite:///{finished.home / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("reviews")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    (started,) = of(events, SelectionStarted)
    parent = runs.pop(started.selection)
    assert set(runs) == {trial.trial for trial in of(events, TrialEnded)}
    assert {run.data.tags["mlflow.parentRunId"] for run in runs.values()} == {parent.info.run_id}
    assert parent.info.status == "FINISHED"
    champion = client.get_model_version_by_alias("pelt-reviews", "champion")
    assert champion.run_id == parent.info.run_id


def test_the_loaded_winner_predicts_what_it_predicted_on_the_report_split(finished, events):
    first, second = pelt_automl.load(finished.folder), pelt_automl.load(finished.folder / "winner")
    texts = [row["text"] for row in read_table(finished.world.test).rows]
    runs = [trial for trial in trials(events, "finalist") if trial.candidate == finished.recommendation.candidate]
    best = max(runs, key=lambda trial: trial.select_score)
    (scored,) = [event for event in of(events, FinalistScored) if event.trial == best.trial]
    labels = first.config.labels
    assert sorted(labels) == sorted(CLASSES[:2])
    assert first.predict(texts) == [labels[int(index)] for index in outputs_of(finished.folder, scored)]
    np.testing.assert_array_equal(first.logits(texts), second.logits(texts))
    assert first.probabilities(texts).sum(axis=1) == pytest.approx(np.ones(len(texts)))


def test_the_same_call_again_answers_at_once_and_trains_nothing(finished, without_mlflow):
    before = (finished.folder / "records.jsonl").read_bytes()
    watcher = Watcher()
    again = pelt_automl.select(output=finished.folder, display=watcher, **finished.world.options())
    assert again == finished.recommendation == load_recommendation(finished.folder)
    assert watcher.events == []
    assert (finished.folder / "records.jsonl").read_bytes() == before


@pytest.mark.parametrize("other", [{"seed": 1}, {"trials": 4}, {"methods": ["head"]}, {"k": 50}, {"epochs": 11}])
def test_another_setting_in_the_same_folder_is_refused(finished, other, without_mlflow):
    before = (finished.folder / "records.jsonl").read_bytes()
    with pytest.raises(SelectionError, match=r"holds another selection .*choose another folder with --output"):
        pelt_automl.select(output=finished.folder, **finished.world.options(**other))
    assert (finished.folder / "records.jsonl").read_bytes() == before


def test_other_data_in_the_same_folder_are_refused_and_the_same_data_elsewhere_are_not(finished, tmp_path, without_mlflow):
    text = finished.world.train.read_text()
    (tmp_path / "reviews.csv").write_text(text)
    moved = pelt_automl.select(output=finished.folder, **finished.world.options(train=tmp_path / "reviews.csv"))
    assert moved == finished.recommendation
    (tmp_path / "reviews.csv").write_text(text.replace("word1 ", "word2 "))
    (before,) = [event.hashes["data"] for event in records_of(finished.folder) if isinstance(event, DataDescribed)]
    with pytest.raises(SelectionError, match=rf"its data had the hash {before}, the data now has (?!{before})[0-9a-f]{{{len(before)}}}\. "):
        pelt_automl.select(output=finished.folder, **finished.world.options(train=tmp_path / "reviews.csv"))


def test_decisions_are_recorded_with_their_reasons(events):
    decisions = of(events, Decision)
    went_on = [event for event in of(events, Released) if event.segment.start]
    assert counted([(event.segment.trial, event.segment.start) for event in went_on]) == {}
    assert {event.segment.trial for event in went_on if event.because == Because.DEFAULT} == {
        trial.trial for trial in trials(events, "search") if trial.is_default
    }
    assert all(event.numbers["rung"] == event.segment.start for event in went_on)
    stopped = {trial.trial: trial.cause for trial in trials(events, "search") if trial.state == "stopped"}
    assert {event.trial: event.because for event in of(events, Stopped)} == stopped
    assert {decision.subject for decision in decisions if decision.what == "finalist"} == {
        trial.candidate for trial in trials(events, "finalist")
    } - pruned_names(events)
