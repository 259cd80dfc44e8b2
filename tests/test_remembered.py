"""What this machine has shown before is read with care."""

import json
import logging
import threading
from dataclasses import dataclass

import pytest

from pelt_automl.home import home
from pelt_automl.remembered import recall, remember


@dataclass(frozen=True)
class Shown:
    steps: dict[int, float]
    example: float

    def __post_init__(self):
        if self.example <= 0:
            raise ValueError("no machine is that fast")


OF = {"model": {"layers": 2}, "threads": 1}
ONE, OTHER = Shown({1: 0.5, 4: 1.5}, 0.25), Shown({2: 0.7}, 0.125)


def test_the_newest_counts_and_what_depends_on_something_else_is_another_thing():
    assert recall("packs", OF, Shown) is None
    remember("packs", OF, OTHER)
    remember("packs", OF, ONE)
    assert recall("packs", OF, Shown) == ONE
    assert recall("packs", dict(reversed(OF.items())), Shown) == ONE, "in whatever order it is given"
    for of in ({**OF, "threads": 2}, {**OF, "model": {"layers": 3}}, {**OF, "batch": 8}):
        assert recall("packs", of, Shown) is None
    assert recall("precision", OF, Shown) is None


def the_file():
    (path,) = (home() / "cache").glob("packs-*.json")
    return path


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: "{",
        lambda text: "null",
        lambda text: "[]",
        lambda text: "\x00" * 40,
        lambda text: text[:-20],
        lambda text: text.replace("1.5", '"fast"'),
        lambda text: text.replace("0.25", "0.0"),
        lambda text: text.replace('"shown"', '"said"'),
        lambda text: text.replace('"example"', '"examples"'),
        lambda text: text.replace('"threads": 1', '"threads": 2'),
    ],
)
def test_what_is_damaged_is_said_once_ignored_left_there_and_written_again(damage, caplog):
    remember("packs", OF, ONE)
    path = the_file()
    path.write_text(damage(path.read_text()))
    with caplog.at_level(logging.INFO, "pelt_automl.remembered"):
        assert recall("packs", OF, Shown) is None
    assert len(caplog.records) == 1
    assert str(path) in caplog.text
    assert path.is_file()
    remember("packs", OF, ONE)
    assert recall("packs", OF, Shown) == ONE


def test_a_file_says_in_plain_words_what_it_is_about():
    remember("packs", OF, ONE)
    assert json.loads(the_file().read_text()) == {"shown": {"steps": {"1": 0.5, "4": 1.5}, "example": 0.25}, "of": OF}


def test_a_home_that_can_not_be_written_to_or_read_is_done_without(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PELT_AUTOML_HOME", str(tmp_path / "file"))
    remember("packs", OF, ONE)
    assert recall("packs", OF, Shown) is None


def test_many_that_write_at_once_lose_nothing_of_each_other():
    def write(thread):
        for turn in range(20):
            remember("packs", {"thread": thread}, Shown({1: turn + 1.0}, 1.0))
            remember("packs", OF, ONE)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [recall("packs", {"thread": number}, Shown) for number in range(4)] == [Shown({1: 20.0}, 1.0)] * 4
    assert recall("packs", OF, Shown) == ONE
    assert not list((home() / "cache").glob(".*")), "no drafts are left"
