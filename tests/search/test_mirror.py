"""The Optuna storage that is written for optuna-dashboard."""

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from pelt_automl.errors import SelectionError
from pelt_automl.log.codec import to_json
from pelt_automl.log.events import TrialEnded
from pelt_automl.search.mirror import mirror
from tests.recorded.reading import FOLDER, SchedulerCalled, read
from tests.tiny_world import of


def test_it_shows_every_trial_of_the_search_with_its_curve_and_can_be_written_again(tmp_path):
    records, target = tmp_path / "records.jsonl", tmp_path / "optuna.journal"
    events = [event for event in read(FOLDER / "curve-k-20.jsonl.gz") if not isinstance(event, SchedulerCalled)]
    records.write_text("".join(f"{to_json(event)}\n" for event in events), encoding="utf-8")
    ended = [trial for trial in of(events, TrialEnded) if trial.stage == "search" and trial.method in ("head", "lora")]
    for _ in range(2):
        assert len(mirror(records, target)) == 2
        storage = JournalStorage(JournalFileBackend(str(target)))
        studies = optuna.get_all_study_summaries(storage)
        assert {study.study_name.partition("-v")[0] for study in studies} == {"head", "lora"}
        found = {
            trial.user_attrs["trial"]: trial
            for study in studies
            for trial in optuna.load_study(study_name=study.study_name, storage=storage).trials
        }
        assert set(found) == {trial.trial for trial in ended}
        for trial in ended:
            shown = found[trial.trial]
            assert shown.intermediate_values == {point.step: point.select_score for point in trial.curve}
            assert (shown.state.name, shown.value if trial.state == "completed" else None) == (
                {"completed": "COMPLETE", "stopped": "PRUNED", "failed": "FAIL"}[trial.state],
                trial.select_score if trial.state == "completed" else None,
            )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["optuna.journal", "records.jsonl"]


def test_a_selection_that_has_not_begun_has_nothing_to_show(tmp_path):
    (tmp_path / "records.jsonl").write_text("")
    with pytest.raises(SelectionError, match="hasn't begun to search"):
        mirror(tmp_path / "records.jsonl", tmp_path / "optuna.journal")
