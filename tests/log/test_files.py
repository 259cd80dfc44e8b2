"""Files that other processes have made: what lies under a name is what the name says, or nothing."""

import hashlib

import pytest

from pelt_automl.errors import SelectionError
from pelt_automl.log.files import adopt

CONTENT = b"a state"
NAME = f"{hashlib.sha256(CONTENT).hexdigest()}.safetensors"


def a_file(folder, content):
    path = folder / "theirs"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("source", [lambda _: CONTENT, lambda folder: a_file(folder, CONTENT)], ids=["bytes", "file"])
def test_what_another_process_has_made_is_stored_in_place_of_a_damaged_file(tmp_path, source):
    states = tmp_path / "states"
    for damage in (None, b"torn"):
        if damage:
            (states / NAME).unlink()
            (states / NAME).write_bytes(damage)
        assert adopt(states, NAME, source(tmp_path)).read_bytes() == CONTENT
    assert [path.name for path in states.iterdir()] == [NAME]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (lambda _: b"a sta", "is damaged"),
        (lambda folder: a_file(folder, b"a sta"), "theirs is damaged"),
        (lambda folder: folder / "none", "none can't be read: No such file"),
    ],
)
def test_what_is_damaged_or_missing_is_refused_and_nothing_comes_to_lie_under_its_name(tmp_path, source, said):
    with pytest.raises(SelectionError, match=said):
        adopt(tmp_path / "states", NAME, source(tmp_path))
    assert list((tmp_path / "states").iterdir()) == []
