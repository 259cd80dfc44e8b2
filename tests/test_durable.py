"""A file that is replaced is the old one or the new one, whole, on disk, and nobody else's."""

import errno
import os
import stat
import threading
from pathlib import Path

import pytest

from pelt_automl import durable
from pelt_automl.durable import creating, filling, full_disk, is_draft, replacing, write_text


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_new_content_takes_the_place_of_the_old_and_nothing_else_is_left(tmp_path):
    write_text(tmp_path / "deep" / "a.txt", "old")
    write_text(tmp_path / "deep" / "a.txt", "new é")
    assert (tmp_path / "deep" / "a.txt").read_text(encoding="utf-8") == "new é"
    assert names(tmp_path / "deep") == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, error):
    write_text(tmp_path / "a.txt", "old")

    def fails():
        with replacing(tmp_path / "a.txt") as draft:
            draft.write_text("half")
            raise error

    with pytest.raises(error):
        fails()
    assert (tmp_path / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_the_file_is_on_disk_before_it_is_renamed_and_its_name_after(tmp_path, monkeypatch):
    done, fsync, replace = [], os.fsync, Path.replace

    def synced(handle):
        done.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        fsync(handle)

    monkeypatch.setattr(durable.os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", lambda self, to: done.append("renamed") or replace(self, to))
    write_text(tmp_path / "a.txt", "new")
    assert done == ["file", "renamed", "folder"]


def test_writers_at_once_never_see_each_others_drafts(tmp_path):
    texts = [str(number) * 50_000 for number in range(8)]
    read = []

    def work(text):
        for _ in range(5):
            write_text(tmp_path / "a.txt", text)
            read.append((tmp_path / "a.txt").read_text())

    threads = [threading.Thread(target=work, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read) == 40
    assert set(read) <= set(texts)
    assert names(tmp_path) == ["a.txt"]


def test_a_draft_has_the_ending_of_its_file_and_can_be_told_from_other_files(tmp_path):
    with replacing(tmp_path / "plot.png") as draft:
        assert draft.suffix == ".png"
        assert draft.parent == tmp_path
        assert is_draft(draft.name)
    assert not any(map(is_draft, ("plot.png", ".env", ".draft", "a.draft.png", ".gitignore", ".plot.0123.draft.png")))


def test_a_name_as_long_as_names_may_be_is_no_hindrance(tmp_path):
    name = "é" * 120 + ".txt"
    write_text(tmp_path / name, "new")
    assert names(tmp_path) == [name]


def test_a_link_stays_and_what_it_points_to_is_replaced(tmp_path):
    write_text(tmp_path / "there" / "real.txt", "old")
    (tmp_path / "link.txt").symlink_to(tmp_path / "there" / "real.txt")
    write_text(tmp_path / "link.txt", "new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "there" / "real.txt").read_text() == "new"
    assert names(tmp_path / "there") == ["real.txt"]


def test_permissions_stay_and_a_new_file_has_those_of_any_new_file(tmp_path):
    write_text(tmp_path / "a.txt", "old")
    (tmp_path / "plain.txt").write_text("made without us")
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "plain.txt").stat().st_mode
    (tmp_path / "a.txt").chmod(0o640)
    write_text(tmp_path / "a.txt", "new")
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o640


def test_a_write_protected_file_is_not_replaced(tmp_path, monkeypatch):
    write_text(tmp_path / "a.txt", "old")
    (tmp_path / "a.txt").chmod(0o440)
    monkeypatch.setattr(durable.os, "access", lambda path, mode: False)  # the tests may run as root
    with pytest.raises(PermissionError, match="write-protected"):
        write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_what_is_created_is_created_once(tmp_path):
    with creating(tmp_path / "a.txt") as draft:
        draft.write_text("first")
    with pytest.raises(FileExistsError), creating(tmp_path / "a.txt") as draft:
        draft.write_text("second")
    assert (tmp_path / "a.txt").read_text() == "first"
    assert names(tmp_path) == ["a.txt"]


def test_a_folder_is_filled_file_by_file_and_what_else_is_in_it_stays(tmp_path):
    write_text(tmp_path / "out" / "mine.txt", "mine")
    write_text(tmp_path / "out" / "a.txt", "old")
    with filling(tmp_path / "out") as draft:
        (draft / "inside").mkdir()
        (draft / "inside" / "b.txt").write_text("b")
        (draft / "a.txt").write_text("new")
    assert names(tmp_path / "out") == ["a.txt", "inside", "mine.txt"]
    assert (tmp_path / "out" / "a.txt").read_text() == "new"
    assert (tmp_path / "out" / "inside" / "b.txt").read_text() == "b"

    def fails():
        with filling(tmp_path / "out") as draft:
            (draft / "a.txt").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fails()
    assert names(tmp_path / "out") == ["a.txt", "inside", "mine.txt"]
    assert (tmp_path / "out" / "a.txt").read_text() == "new"


@pytest.mark.parametrize("writer", [replacing, creating, filling])
@pytest.mark.parametrize(("said", "number"), [("No space left on device (os error 28)", errno.ENOSPC), ("x (os error 122)", errno.EDQUOT)])
def test_a_full_disk_that_a_writer_in_rust_tells_of_is_an_os_error(tmp_path, writer, said, number):
    """The tokenizers' errors are plain exceptions."""
    with pytest.raises(OSError, match=str(tmp_path / "x")) as found, writer(tmp_path / "x"):
        raise Exception(said)  # noqa: TRY002
    assert found.value.errno == number
    assert full_disk(found.value) == f"the disk is full ({tmp_path / 'x'}); free some space, then run the same command again"


def test_other_errors_are_no_full_disk(tmp_path):
    assert full_disk(PermissionError(errno.EACCES, "no")) is None
    assert full_disk(ValueError("No space left on device (os error 28)")) is None
    with pytest.raises(ValueError, match="os error 2"), replacing(tmp_path / "x"):
        raise ValueError("not found (os error 2)")
