"""A selection's folder: nothing of a user's is written over or deleted in it, and a kill at the very end is made up for."""

import json
import os
from pathlib import Path

import pytest
import torch

import pelt_automl
from pelt_automl.errors import SelectionError
from pelt_automl.log.events import Published, SelectionStarted, VerdictReached
from pelt_automl.log.folder import MARKER, exclusive, make_work_folder
from pelt_automl.recorders import RECORDERS
from pelt_automl.selection import Selection, settings_from
from pelt_automl.training.checkpoints import save_tensors
from tests.tiny_world import Killed, Watcher, of, records_of

pytestmark = pytest.mark.usefixtures("without_mlflow")


def everything(folder):
    return sorted((str(path.relative_to(folder)), path.read_bytes() if path.is_file() else None) for path in folder.rglob("*"))


def refused(folder, world):
    with pytest.raises(SelectionError) as error:
        pelt_automl.select(output=folder, **world.options())
    return str(error.value)


@pytest.mark.parametrize("name", ["checkpoints/a.txt", "finalists/a.txt", "searched/a.txt", "work/a.txt", "src/main.py", ".git/config"])
def test_a_folder_of_the_users_is_refused_before_anything_is_written(world, tmp_path, name):
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).write_text("mine")
    before = everything(tmp_path)
    assert f"isn't empty and doesn't hold a selection (it has {name.partition('/')[0]}); nothing was written" in refused(tmp_path, world)
    assert everything(tmp_path) == before


def test_the_current_folder_of_a_project_is_refused(world, tmp_path, monkeypatch):
    (tmp_path / "train.csv").write_text("mine")
    monkeypatch.chdir(tmp_path)
    assert "isn't empty" in refused(Path("."), world)  # noqa: PTH201 as it is typed
    assert everything(tmp_path) == [("train.csv", b"mine")]


def test_the_folder_is_looked_at_before_the_data_is(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SelectionError, match="isn't empty"):
        pelt_automl.select(output=tmp_path, task="hf:nobody/nothing", text_columns=["a"], label_column="b")


def test_a_folder_that_cant_be_written_is_one_message(world, tmp_path, monkeypatch):
    opened = os.open

    def read_only(path, flags, *others, **more):
        if flags & (os.O_WRONLY | os.O_RDWR) and tmp_path in Path(path).parents:
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, flags, *others, **more)

    monkeypatch.setattr(os, "open", read_only)
    assert (
        refused(tmp_path / "out", world) == f"the folder {tmp_path / 'out'} can't be written (Permission denied); choose another --output"
    )


def without(folder, kind):
    """Take the events of a kind out of the records."""
    lines = (folder / "records.jsonl").read_text().splitlines(keepends=True)
    (folder / "records.jsonl").write_text("".join(line for line in lines if json.loads(line)["event"] != kind))


@pytest.fixture
def recorder(monkeypatch):
    """A recorder that keeps what it was told, and is killed while it publishes as often as `kills` says."""

    class Kept:
        kills = 0
        published = 0
        closed = 0
        events = 0

        def record(self, event):
            Kept.events += 1

        def publish(self, folder):
            if Kept.kills:
                Kept.kills -= 1
                raise Killed
            assert (folder / "report.html").is_file()
            Kept.published += 1

        def close(self):
            Kept.closed += 1

    monkeypatch.setitem(RECORDERS, "kept", lambda folder: Kept())
    return Kept


@pytest.mark.slow
def test_a_kill_between_the_recommendation_and_the_publishing_is_made_up_for(finished, tmp_path, recorder):
    """recommendation.json is there already then: it is no sign that all was done."""
    folder = finished.copy(tmp_path / "out")
    without(folder, "Published")
    (folder / "work" / "finalists").mkdir(parents=True)
    (folder / "work" / MARKER).write_text("")
    recorder.kills = 1
    with pytest.raises(Killed):
        pelt_automl.select(output=folder, **finished.world.options())
    assert not of(records_of(folder), Published)
    found = pelt_automl.select(output=folder, **finished.world.options())
    assert recorder.published == 1
    assert len(of(records_of(folder), Published)) == 1
    assert not (folder / "work").exists()
    assert found.candidate == finished.recommendation.candidate
    pelt_automl.select(output=folder, **finished.world.options())
    assert len(of(records_of(folder), Published)) == 1, "recorders are asked again, which send only what is missing; no more than that"


def test_the_record_that_all_was_published_comes_last(finished):
    assert isinstance(records_of(finished.folder)[-1], Published)
    assert len(of(records_of(finished.folder), Published)) == 1
    assert not (finished.folder / "work").exists()


@pytest.mark.slow
def test_what_a_user_puts_into_the_folder_while_it_works_is_there_at_the_end(finished, tmp_path):
    folder = finished.copy(tmp_path / "out")
    lines = (folder / "records.jsonl").read_text().splitlines(keepends=True)
    ended = next(place for place, line in enumerate(lines) if '"VerdictReached"' in line)
    (folder / "records.jsonl").write_text("".join(lines[:ended]))
    weights = (folder / "winner" / "weights.safetensors").read_bytes()
    (folder / "work" / "finalists").mkdir(parents=True)
    (folder / "work" / MARKER).write_text("")
    for seed in range(3):
        (folder / "work" / "finalists" / f"final-{finished.recommendation.candidate}-seed{seed}.safetensors").write_bytes(weights)
    mine = ("checkpoints/a.txt", "finalists/a.txt", "searched/a.txt", "notes.txt", "work/notes.txt")
    for name in mine:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("mine")
    pelt_automl.select(output=folder, **finished.world.options())
    assert of(records_of(folder), VerdictReached)
    assert [(folder / name).read_text() for name in mine] == ["mine"] * len(mine)
    assert not (folder / "work" / "finalists").exists()


def test_an_error_at_the_start_holds_neither_the_lock_nor_a_recorder(world, tmp_path, recorder):
    def fails(seen):
        return any(isinstance(event, SelectionStarted) for event in seen.events)

    with pytest.raises(Killed) as error:
        Selection.open(settings_from(**world.options()), tmp_path / "out", Watcher(kill=fails))
    assert recorder.closed == 1
    with exclusive(tmp_path / "out" / "selection.lock") as free:
        assert free
    del error


def test_a_recorder_that_cant_begin_closes_those_before_it(world, tmp_path, recorder, monkeypatch):
    def fails(folder):
        raise OSError("no")

    monkeypatch.setitem(RECORDERS, "last", fails)
    with pytest.raises(OSError, match="no"):
        Selection.open(settings_from(**world.options()), tmp_path / "out")
    assert recorder.closed == 1
    monkeypatch.delitem(RECORDERS, "last")
    with Selection.open(settings_from(**world.options()), tmp_path / "out") as selection:
        assert selection.folder == tmp_path / "out"


@pytest.mark.parametrize("how", ["away", "empty", "another's"])
def test_weights_of_a_finalist_that_are_spoilt_are_one_error(finished, tmp_path, how):
    folder = finished.copy(tmp_path / "out")
    lines = (folder / "records.jsonl").read_text().splitlines(keepends=True)
    scored = next(place for place, line in enumerate(lines) if '"FinalistScored"' in line)
    (folder / "records.jsonl").write_text("".join(lines[:scored]))
    make_work_folder(folder)
    for line in lines[:scored]:
        event = json.loads(line)
        if event["event"] == "TrialEnded" and event["stage"] == "finalist":
            save_tensors(folder / "work" / "finalists" / f"{event['trial']}.safetensors", {"head.weight": torch.ones(2)})
    for path in (folder / "work" / "finalists").iterdir():
        if how == "away":
            path.unlink()
        elif how == "empty":
            path.write_bytes(b"")
    with pytest.raises(SelectionError, match=r"finalists/final-.*\.safetensors.*|the weights of final-.* can't be used"):
        pelt_automl.select(output=folder, **finished.world.options())
