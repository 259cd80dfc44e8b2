"""Predictions and labels as files that the records refer to: what is lost is scored again, and old records that hold them are read."""

import hashlib
import json
from itertools import chain

import pytest

import pelt_automl
from pelt_automl.errors import SelectionError
from pelt_automl.log.events import FinalistScored, ReportOpened, TrialEnded, VerdictReached
from pelt_automl.log.folder import history_of
from pelt_automl.verdict.decision import decide
from tests.tiny_world import Killed, Watcher, of, outputs_of, records_of

FIELDS = {"FinalistScored": "predictions", "ReportOpened": "labels", "TrialEnded": "select_predictions"}
OPTIONS = {"methods": ["lora", "head"], "baselines": ["probe"], "trials": 2, "finalist_seeds": 2, "most_seeds": 2}


def as_before(folder):
    """The records as version 0.1.0 wrote them, with all outputs in their lines; of what isn't known there is nothing."""
    lines = []
    for event, line in zip(records_of(folder), (folder / "records.jsonl").read_text().splitlines(), strict=True):
        data = json.loads(line)
        if name := FIELDS.get(data["event"]):
            reference = data.pop("outputs")
            data[name] = outputs_of(folder, event) if reference else []
        lines.append(json.dumps(data))
    (folder / "records.jsonl").write_text("\n".join(lines) + "\n")
    for path in (folder / "outputs").iterdir():
        path.unlink()
    (folder / "outputs").rmdir()


def without_time(verdict):
    return {name: value for name, value in vars(verdict).items() if name != "time"}


def test_the_records_hold_references_and_each_file_is_named_by_its_content(finished):
    events = records_of(finished.folder)
    refer = [*of(events, ReportOpened), *of(events, FinalistScored), *(t for t in of(events, TrialEnded) if t.outputs)]
    assert {path.name for path in (finished.folder / "outputs").iterdir()} == {event.outputs for event in refer}
    for path in (finished.folder / "outputs").iterdir():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.stem
    full = {trial.trial for trial in of(events, TrialEnded) if (trial.stage, trial.state) == ("search", "completed")}
    assert {trial.trial for trial in of(events, TrialEnded) if trial.outputs} == full
    text = (finished.folder / "records.jsonl").read_text()
    assert not [name for name in FIELDS.values() if f'"{name}": [' in text.replace('"labels": ["', "")]


def test_old_records_give_the_same_verdict(finished, tmp_path):
    folder = finished.copy(tmp_path / "out")
    as_before(folder)
    search = finished.world.options()
    (verdict,) = of(records_of(folder), VerdictReached)
    again = decide(history_of(folder), search.get("equivalence", 1.0), search.get("prefer", "params"))
    assert without_time(again) == without_time(decide(history_of(finished.folder), 1.0, "params"))
    assert (again.candidate, again.report_score) == (verdict.candidate, verdict.report_score)


@pytest.mark.parametrize("kind", [ReportOpened, FinalistScored])
@pytest.mark.parametrize("damage", ["missing", "damaged"])
def test_a_verdict_on_what_is_lost_is_one_clear_error(finished, tmp_path, kind, damage):
    folder = finished.copy(tmp_path / "out")
    path = folder / "outputs" / of(records_of(folder), kind)[0].outputs
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(SelectionError, match="can't be read" if damage == "missing" else "is damaged") as raised:
        decide(history_of(folder), 1.0, "params")
    assert str(path) in str(raised.value)


@pytest.fixture(scope="module")
def killed_while_scoring(world, tmp_path_factory):
    """A selection that was killed after some of its finalists were scored, and the verdict of one that wasn't; never to be changed."""
    from pelt_automl.recorders import RECORDERS

    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(RECORDERS, "mlflow")
        patch.setenv("PELT_AUTOML_HOME", str(tmp_path_factory.mktemp("home")))
        folder = tmp_path_factory.mktemp("outputs")
        found = pelt_automl.select(output=folder / "whole", **world.options(**OPTIONS))
        watcher = Watcher(kill=lambda seen: len(of(seen.events, FinalistScored)) == 3)
        with pytest.raises(Killed):
            pelt_automl.select(output=folder / "killed", display=watcher, **world.options(**OPTIONS))
    return folder / "killed", found


@pytest.mark.usefixtures("without_mlflow")
@pytest.mark.parametrize("how", ["missing", "damaged", "old"])
def test_a_resumed_selection_scores_again_what_is_lost(world, killed_while_scoring, tmp_path, how):
    import shutil

    there, whole = killed_while_scoring
    folder = shutil.copytree(there, tmp_path / "out")
    lost = [event.outputs for event in chain(of(records_of(folder), FinalistScored), of(records_of(folder), ReportOpened))]
    if how == "old":
        as_before(folder)
    for reference in lost if how != "old" else ():
        path = folder / "outputs" / reference
        if how == "missing":
            path.unlink(missing_ok=True)
        else:
            path.write_bytes(b"spoilt")
    found = pelt_automl.select(output=folder, **world.options(**OPTIONS))
    assert (found.candidate, found.report_score, found.outcome) == (whole.candidate, whole.report_score, whole.outcome)
    history = history_of(folder)
    assert [event.trial for event in history.scored if not history.outputs.holds(event.outputs)] == []
    scored = [event.trial for event in of(history.events, FinalistScored)]
    assert len(scored) - len(set(scored)) == (0 if how == "old" else 3), "what is there isn't scored again"
