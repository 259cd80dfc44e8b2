"""Which folders the program writes to, what it deletes in them, and who may work in one."""

import errno
import fcntl
import json

import pytest

from pelt_automl.errors import SelectionError
from pelt_automl.log import folder as folders
from pelt_automl.log.folder import MARKER, check_output, clear_work_folder, exclusive, held_by, make_output, make_work_folder

STARTED = json.dumps({"event": "SelectionStarted", "selection": "x"}) + "\n"
EVERY_KIND = pytest.mark.parametrize("kind", ["selection", "curve", "reproduction"])


def everything(folder):
    return sorted((str(path.relative_to(folder)), path.read_bytes() if path.is_file() else None) for path in folder.rglob("*"))


def a(kind, folder):
    """The folder of something of this kind, as little as there can be."""
    folder.mkdir(parents=True)
    match kind:
        case "selection":
            (folder / "records.jsonl").write_text(STARTED)
        case "curve":
            (folder / "k-20").mkdir()
            (folder / "k-20" / "records.jsonl").write_text(STARTED)
        case _:
            (folder / "protocol.json").write_text('{"model": "minilm", "training": {}}')
    return folder


@EVERY_KIND
def test_a_new_folder_and_an_empty_one_may_be_written_to(kind, tmp_path):
    check_output(tmp_path, kind)
    check_output(tmp_path / "new" / "deep", kind)
    assert everything(tmp_path) == []  # looked at, not made
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    (tmp_path / "empty").mkdir()
    check_output(tmp_path / "link", kind)
    assert not any((tmp_path / "empty").iterdir())


@EVERY_KIND
@pytest.mark.parametrize(
    "names",
    [
        ["a.txt"], [".hidden"], ["checkpoints/a.txt"], ["work/a.txt"], ["finalists/x.safetensors"], ["winner/weights.safetensors"],
        ["k-20/a.txt"], ["k-curve.json"], ["protocol.json"], ["runs/a.jsonl"], ["selection.lock", "a.txt"],
    ],
)  # fmt: skip
def test_a_folder_of_the_users_is_refused_and_left_as_it_is(kind, names, tmp_path):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    before = everything(tmp_path)
    with pytest.raises(SelectionError, match=r"isn't empty and doesn't hold .*; nothing was written\. Choose a new or empty folder"):
        check_output(tmp_path, kind)
    assert everything(tmp_path) == before


@pytest.mark.parametrize(
    "content", ["mine\n", "mine", '{"event": "TrialEnded"}\n', "[1]\n", "\n", '{"a": 1}\n', "\0\0\0\n", '{"event": "Sel']
)
def test_records_of_something_else_are_refused(content, tmp_path):
    (tmp_path / "records.jsonl").write_text(content)
    with pytest.raises(SelectionError, match=r"records\.jsonl doesn't begin as a selection's records do"):
        check_output(tmp_path, "selection")


@pytest.mark.parametrize("content", ["", '{"event": "Sel', '{"event": "SelectionStarted", "selection": "revie', STARTED, STARTED + '{"ev'])
def test_a_selection_that_was_killed_at_once_may_go_on(content, tmp_path):
    (tmp_path / "selection.lock").touch()
    (tmp_path / "records.jsonl").write_text(content)
    check_output(tmp_path, "selection")
    (tmp_path / "notes.txt").write_text("a user's notes on it")
    before = everything(tmp_path)
    check_output(tmp_path, "selection")
    assert everything(tmp_path) == before


def test_a_lock_or_a_draft_alone_is_what_a_kill_at_once_leaves(tmp_path):
    (tmp_path / "selection.lock").touch()
    (tmp_path / ".protocol.0123456789abcdef.draft.json").touch()
    before = everything(tmp_path)
    check_output(tmp_path, "selection")
    check_output(tmp_path, "reproduction")
    assert everything(tmp_path) == before


@EVERY_KIND
@pytest.mark.parametrize("other", ["selection", "curve", "reproduction"])
def test_a_folder_with_another_kind_of_result_is_refused_by_its_name(kind, other, tmp_path):
    folder = a(other, tmp_path / "out")
    assert held_by(folder) == other
    if kind == other:
        check_output(folder, kind)
    else:
        with pytest.raises(SelectionError, match=f"holds {folders.IN_WORDS[other]}; choose another folder with --output"):
            check_output(folder, kind)


def test_a_file_and_a_link_to_nothing_are_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(SelectionError, match="is a file; choose a folder"):
        check_output(tmp_path / "file", "selection")
    with pytest.raises(SelectionError, match=r"is a link to .*nowhere, which isn't there"):
        check_output(tmp_path / "link", "selection")
    with pytest.raises(SelectionError, match=r"can't be made \(Not a directory\)"):
        make_output(tmp_path / "file" / "deeper")


def test_a_folder_that_cant_be_read_is_refused(tmp_path, monkeypatch):
    def shut(folder):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(folders, "held_by", shut)
    with pytest.raises(SelectionError, match=r"can't be read \(Permission denied\); choose another --output"):
        check_output(tmp_path, "selection")


# ---------------------------------------------------------------- the work folder


def test_only_what_this_program_made_is_deleted(tmp_path):
    make_work_folder(tmp_path)
    make_work_folder(tmp_path)  # taken up again
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "a.txt").write_text("mine")
    before = everything(tmp_path)[:]
    (tmp_path / "work" / "checkpoints").mkdir()
    (tmp_path / "work" / "checkpoints" / "a.safetensors").write_text("ours")
    clear_work_folder(tmp_path, ("checkpoints", "finalists"))
    assert everything(tmp_path) == [entry for entry in before if not entry[0].startswith("work")]


def test_a_file_that_a_user_put_into_the_work_folder_stays(tmp_path):
    make_work_folder(tmp_path)
    (tmp_path / "work" / "notes.txt").write_text("mine")
    (tmp_path / "work" / "checkpoints").mkdir()
    clear_work_folder(tmp_path, ("checkpoints",))
    assert sorted(path.name for path in (tmp_path / "work").iterdir()) == [MARKER, "notes.txt"]


def test_a_work_folder_without_the_mark_is_never_deleted_or_written_to(tmp_path):
    (tmp_path / "work" / "checkpoints").mkdir(parents=True)
    (tmp_path / "work" / "checkpoints" / "a.txt").write_text("mine")
    before = everything(tmp_path)
    clear_work_folder(tmp_path, ("checkpoints",))
    with pytest.raises(SelectionError, match=r"work isn't a folder that this program made .* move it away"):
        make_work_folder(tmp_path)
    assert everything(tmp_path) == before


def test_links_are_not_followed_when_something_is_deleted(tmp_path):
    for name in ("theirs", "out"):
        (tmp_path / name).mkdir()
    (tmp_path / "theirs" / MARKER).write_text("copied")
    (tmp_path / "theirs" / "checkpoints").mkdir()
    (tmp_path / "out" / "work").symlink_to(tmp_path / "theirs")
    clear_work_folder(tmp_path / "out", ("checkpoints",))
    with pytest.raises(SelectionError, match="isn't a folder that this program made"):
        make_work_folder(tmp_path / "out")
    (tmp_path / "out" / "work").unlink()
    make_work_folder(tmp_path / "out")
    (tmp_path / "out" / "work" / "checkpoints").symlink_to(tmp_path / "theirs" / "checkpoints")
    clear_work_folder(tmp_path / "out", ("checkpoints",))
    assert (tmp_path / "theirs" / "checkpoints").is_dir()


def test_a_kill_while_it_is_made_leaves_none_without_the_mark(tmp_path, monkeypatch):
    def killed(path, text):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(folders, "write_text", killed)
        with pytest.raises(KeyboardInterrupt):
            make_work_folder(tmp_path)
    assert not (tmp_path / "work").exists()
    make_work_folder(tmp_path)
    assert (tmp_path / "work" / MARKER).is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["work"]


# ---------------------------------------------------------------- the lock


def test_only_a_lock_that_is_held_means_another_process(tmp_path, monkeypatch):
    with exclusive(tmp_path / "a.lock") as first, exclusive(tmp_path / "a.lock") as second:
        assert (first, second) == (True, False)
    with exclusive(tmp_path / "a.lock") as again:
        assert again

    def no_locks(file, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with (
        pytest.raises(SelectionError, match=r"can't be locked \(No locks available\), as on some network folders"),
        exclusive(tmp_path / "a.lock"),
    ):
        pass


def test_a_folder_that_cant_be_written_is_named_as_such(tmp_path):
    (tmp_path / "a.lock").mkdir()
    with (
        pytest.raises(SelectionError, match=r"can't be written \(Is a directory\); choose another --output"),
        exclusive(tmp_path / "a.lock"),
    ):
        pass
