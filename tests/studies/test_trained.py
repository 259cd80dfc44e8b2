"""Trainings that are asked for one by one, and kept."""

import pytest

from pelt_automl.errors import SelectionError
from pelt_automl.log.folder import exclusive
from studies import trained
from studies.table_costs import seconds_of
from studies.table_grid import Configuration, Training
from studies.trained import Trained
from tests.studies.table_world import QUICK, MadeUp
from tests.studies.test_simulate import COSTS


def test_a_training_that_is_asked_for_is_a_row_of_the_table_and_kept(world, tmp_path, monkeypatch):
    monkeypatch.setattr(trained, "SOURCES", {"reviews": MadeUp(world.folder)})
    monkeypatch.setattr(trained, "usual_places", lambda: None)
    monkeypatch.setattr(trained, "SETTINGS", QUICK)
    own, values = (
        Trained("reviews", 60, "probe", str(world.folder / "model"), "fp32", tmp_path / "kept"),
        {"learning_rate": 1e-3, "rank": 2},
    )
    row = own.row("lora", values, 3)
    assert (row["method"], row["hyper_parameters"], row["seed"], row["failure"]) == ("lora", values, 3, "")
    assert (row["steps"], len(row["report"]), row["report_score"] is None) == (24, 60, False)
    assert seconds_of(row, COSTS) == pytest.approx(24 * 10 / 96, rel=0.01)
    monkeypatch.setattr(own.trainings, "record", lambda _: pytest.fail("trained twice"))
    again = own.row("lora", values, 3)
    assert again["report"].tolist() == row["report"].tolist()
    other = Training("reviews", 60, Configuration("lora", "drawn", values), "probe", 4, "drawn").key("model")
    with exclusive(tmp_path / "kept" / "locks" / f"{other}.lock"), pytest.raises(SelectionError, match="give each process its own tasks"):
        own.row("lora", values, 4)
