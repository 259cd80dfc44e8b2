"""Curves on a tiny encoder: nested examples, shared model and configurations, one limit, kills."""

import itertools

import pytest

import pelt_automl
from pelt_automl.curve import CurveRun, curve_settings
from pelt_automl.curve.warm_start import best_configurations
from pelt_automl.errors import NoTrialCompletedError, SelectionError, SettingsError
from pelt_automl.log.events import DataDescribed, Decision, SelectionEnded, SelectionStarted, TrialEnded, VerdictReached
from pelt_automl.log.history import History
from pelt_automl.selection import Selection, settings_from
from pelt_automl.selection import selection as selection_module
from pelt_automl.selection.inherited import Inherited
from tests.tiny_world import Killed, Watcher, of, records_of

pytestmark = pytest.mark.usefixtures("without_mlflow")
QUICK = {"methods": ["lora", "head"], "trials": 2, "finalist_seeds": 2, "most_seeds": 2, "epochs": 3}


def options(world, **more):
    return {name: value for name, value in world.options().items() if name != "k"} | QUICK | more


@pytest.fixture(scope="module")
def curve(world, tmp_path_factory):
    """A whole one, and how often the model was loaded for it."""
    from pelt_automl.recorders import RECORDERS

    loads, load = [], selection_module.load_backbone
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(RECORDERS, "mlflow")
        patch.setattr(selection_module, "load_backbone", lambda *args, **more: loads.append(1) or load(*args, **more))
        found = pelt_automl.k_curve(k=[40, 20], output=tmp_path_factory.mktemp("curve") / "out", **options(world))
    return found, len(loads)


def at(curve, k):
    return records_of(curve.folder / f"k-{k}")


@pytest.mark.whole
def test_a_curve_is_a_selection_in_a_folder_for_each_k_and_a_report(curve):
    found, loads = curve
    assert loads == 1, "the model is loaded once"
    assert {path.name for path in found.folder.iterdir()} == {"k-20", "k-40", "k-curve.html", "k-curve.json", "k-curve.md", "k-curve.svg"}
    assert [(point.k, point.method in QUICK["methods"]) for point in found.points] == [(20, True), (40, True)]
    assert found.missing == {}
    for k in (20, 40):
        assert pelt_automl.load(found.folder / f"k-{k}").predict(["good word1"])
        (described,) = of(at(found, k), DataDescribed)
        assert described.k == k
    reports = {of(at(found, k), DataDescribed)[0].hashes["report"] for k in (20, 40)}
    assert len(reports) == 1, "all are scored on the same report split"


def inherited(events):
    return {decision.subject: decision.why for decision in of(events, Decision) if decision.what == "inherited"}


def test_each_k_takes_over_the_best_configurations_of_the_smaller_one(curve):
    found, _ = curve
    expected = best_configurations(History.of(at(found, 20)))
    assert inherited(at(found, 20)) == {}
    assert inherited(at(found, 40)).keys() == expected.keys()
    for trial in of(at(found, 40), TrialEnded):
        if (trial.stage, trial.number) == ("search", 1) and trial.method in expected:
            assert [trial.hyper_parameters] == expected[trial.method]


def test_what_is_inherited_is_tried_after_the_default_beside_the_usual_trials(world, tmp_path):
    configuration = {"learning_rate": 0.004, "rank": 2, "alpha": 8.0, "targets": "query-value"}
    handed_on = Inherited(first={"lora": [configuration]}, source="the best at K = 20")
    with Selection.open(settings_from(**options(world, k=40)), tmp_path / "out", inherited=handed_on) as selection:
        selection.prepare()
        selection.search()
    events = records_of(tmp_path / "out")
    why = "the best at K = 20, tried right after its default: learning rate 0.004, rank 2, alpha 8, targets query-value"
    assert inherited(events) == {"lora": why}
    trials = {trial.trial: trial for trial in of(events, TrialEnded)}
    assert sorted(trials) == [f"{method}-000{number}" for method in ("head", "lora") for number in range(3)], "one more, for all alike"
    assert [trials[f"lora-000{number}"].is_default for number in range(3)] == [True, False, False]
    assert trials["lora-0001"].hyper_parameters == configuration
    assert trials["lora-0002"].hyper_parameters != configuration


@pytest.mark.slow
def test_a_killed_curve_goes_on_where_it_stood_and_a_finished_one_does_nothing_again(curve, world, tmp_path):
    whole, _ = curve
    for starts in itertools.count(1):
        assert starts < 30
        watcher = Watcher(kill=lambda seen: len(seen.events) >= 9)
        try:
            found = pelt_automl.k_curve(k="20,40", output=tmp_path / "out", display=watcher, **options(world))
            break
        except Killed:
            continue
    assert starts > 3
    for k in (20, 40):
        ours, theirs = at(found, k), at(whole, k)
        assert sorted(trial.trial for trial in of(ours, TrialEnded)) == sorted(trial.trial for trial in of(theirs, TrialEnded))
        without_break = {trial.trial: trial.hyper_parameters for trial in of(theirs, TrialEnded)}
        assert {trial.trial: trial.hyper_parameters for trial in of(ours, TrialEnded)} == without_break
        assert len(of(ours, SelectionEnded)) == 1
    again = Watcher()
    run = CurveRun.open(curve_settings("20,40", **options(world)), tmp_path / "out", again)
    assert run.finished
    assert run.run().statement == found.statement
    assert again.events == []


@pytest.mark.slow
def test_one_limit_is_shared_out_and_a_selection_keeps_its_share_when_it_is_taken_up(world, tmp_path):
    settings = curve_settings("20,60", **options(world, seconds=100))
    run = CurveRun.open(settings, tmp_path / "out")
    first, both = run.seconds_at(20), run.clock.left
    assert 0 < first < both / 2, "the smaller K gets less"
    with run.at(20) as selection:
        selection.prepare()
    (started,) = of(at_folder(tmp_path, 20), SelectionStarted)
    assert started.settings["search"]["seconds"] == pytest.approx(first, abs=2)
    again = CurveRun.open(settings, tmp_path / "out")
    assert again.seconds_at(20) == started.settings["search"]["seconds"]
    with again.at(20) as selection:
        selection.run()
    assert again.seconds_at(60) == pytest.approx(again.clock.left, abs=0.2), "the last one gets what is left"
    assert again.result().missing == {"60": "not run yet"}


def at_folder(folder, k):
    return records_of(folder / "out" / f"k-{k}")


@pytest.mark.slow
def test_a_k_at_which_nothing_completed_is_named_and_the_others_go_on(world, tmp_path, monkeypatch):
    run = CurveRun.open(curve_settings("20,40", **options(world)), tmp_path / "out")
    with run.at(20):
        raise NoTrialCompletedError("no trial got as far as its first evaluation")
    with pytest.raises(NoTrialCompletedError, match=r"no selection of the curve came to a verdict \(K = 20: no trial got as far"):
        run.result()
    with run.at(40) as selection:
        selection.run()
    found = run.result()
    assert [point.k for point in found.points] == [40]
    assert found.missing == {"20": "no trial got as far as its first evaluation"}
    assert of(records_of(found.folder / "k-40"), VerdictReached)


def test_what_is_wrong_with_any_k_is_said_before_anything_is_made(world, tmp_path):
    with pytest.raises(SettingsError) as found:
        pelt_automl.k_curve(k=[20, 121, 500], output=tmp_path / "out", **options(world))
    assert [line[:13] for line in str(found.value).splitlines()] == ["the list of K", "  - k is 121,", "  - k is 500,"]
    assert not (tmp_path / "out").exists()


def test_the_folder_of_a_single_selection_is_refused(world, tmp_path):
    with Selection.open(settings_from(**options(world, k=40)), tmp_path / "out"):
        pass
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SelectionError, match="holds a selection; choose another folder"):
        pelt_automl.k_curve(k=[20, 40], output=tmp_path / "out", **options(world))
    assert sorted(tmp_path.rglob("*")) == before


def test_a_curves_folder_is_refused_for_a_selection(curve, world):
    found, _ = curve
    before = sorted(found.folder.rglob("*"))
    with pytest.raises(SelectionError, match="holds a curve over K; choose another folder"):
        pelt_automl.select(output=found.folder, **options(world, k=40))
    assert sorted(found.folder.rglob("*")) == before


def test_a_folder_of_the_users_is_refused_for_a_curve_before_anything_is_written(world, tmp_path):
    (tmp_path / "k-20").mkdir()
    (tmp_path / "k-20" / "mine.txt").write_text("mine")
    with pytest.raises(SelectionError, match=r"isn't empty and doesn't hold a curve over K \(it has k-20\); nothing was written"):
        pelt_automl.k_curve(k=[20, 40], output=tmp_path, **options(world))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["k-20", "mine.txt"]


@pytest.mark.slow
def test_baselines_are_contenders_at_each_k(world, tmp_path):
    few = {"methods": ["full"], "baselines": ["probe"], "trials": 1, "finalist_seeds": 2, "equivalence": 30}
    found = pelt_automl.k_curve(k=[40, 20], output=tmp_path / "out", **options(world, **few))
    for point in found.points:
        assert {row.method for row in point.methods} == {"full", "probe"}
        assert point.finalist == "probe"
    assert inherited(at(found, 40)) == {}
