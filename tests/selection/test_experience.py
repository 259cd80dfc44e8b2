"""What is learned from the user's own selections: of which folders, what of them, and that nothing in the home is changed."""

import logging
import os
from pathlib import Path

import numpy as np
import pytest

from pelt_automl.log.codec import to_json
from pelt_automl.log.events import (
    CurvePoint,
    DataDescribed,
    Decision,
    Identified,
    Planned,
    ReportOpened,
    Seeds,
    SelectionEnded,
    SelectionStarted,
    TrialEnded,
)
from pelt_automl.log.outputs import Outputs
from pelt_automl.search.portfolio import Features, Observation
from pelt_automl.selection import experience
from pelt_automl.selection.experience import Asking, gather, hashes_of
from pelt_automl.tasks import METRICS, Examples, TaskData

TEXTS = np.array([3, 5, 8], dtype=np.uint64)
ASKING = Asking("own-data", "weights", TEXTS, Features(2, 100, 64, 10.0))
RATE = 0.001
DEFAULT = {"learning_rate": 0.0005, "rank": 8, "alpha": 16.0, "targets": "query-value"}


def trial(method, number=0, score=0.8, state="completed", stage="search", seconds=2.0, values=None, start=0.1, steps=10, cause=""):
    name, values = f"{method}-{number:04d}", {"learning_rate": RATE} if values is None else values
    points = [] if score is None else [CurvePoint(0, None, start, RATE, 0.0), CurvePoint(steps, 0.5, score, RATE, 1.0)]
    best = None if score is None else max(start, score)
    return TrialEnded(
        name, name, method, stage, number, state, number == 0, values, Seeds(0, 0, 0), {}, points, best, steps, seconds,
        cause=cause, time=0.0,
    )  # fmt: skip


PROBE = trial("probe", score=0.7, seconds=0.1, values={})


def events(texts="", data_hash="other-data", weights="weights", metric="accuracy", trials=None, **described):
    """Of a finished selection, in the order of its records."""
    given = {"sizes": {"train": 70, "select": 30, "report": 9}, "text_length": {"most": 64}, "guess_on_select": 0.5} | described
    head = [
        SelectionStarted("s", "k", "task", "model", ["lora"], {}, {}, time=0.0),
        DataDescribed(
            "task", "classification", metric, metric != "rmse", ["a", "b"], 100, "strict", hashes={"data": data_hash}, time=0.0, **given
        ),
        Decision("head start", "probe", "as told", time=0.0),
        Planned(10, 5, 2, 4.0, time=0.0),
        Identified(weights, texts, time=0.0),
    ]
    own = [PROBE, trial("lora", values=DEFAULT), trial("lora", 1, 0.9, seconds=4.0)] if trials is None else trials
    return [*head, *own, SelectionEnded("done", 10.0, {}, time=0.0)]


def write(home, name="one", *, texts=(100, 200), what=None, **more):
    folder = home / "selections" / name
    folder.mkdir(parents=True)
    reference = Outputs(folder / "texts").put(np.array(texts, dtype=np.uint64))
    lines = [to_json(event) + "\n" for event in (what or events)(reference, **more)]
    (folder / "records.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("PELT_AUTOML_HOME", str(tmp_path))
    return tmp_path


def found(home, **asking):
    return [own.source.name for own in gather(Asking(**vars(ASKING) | asking), home / "elsewhere")]


def test_what_a_selection_has_shown_is_its_trainings_above_the_probe_by_select_scores(home):
    stopped, failed = trial("lora", 2, 0.99, "stopped", cause="time limit"), trial("lora", 3, None, "failed")
    finalist = trial("head", 0, 0.99, stage="finalist")
    write(home, trials=[PROBE, trial("lora", values=DEFAULT), trial("lora", 1, 0.9, seconds=4.0), stopped, failed, trial("head", 0, 0.65),
                        trial("bag-of-words", score=0.95, values={}), finalist])  # fmt: skip
    (own,) = gather(ASKING, home / "elsewhere")
    name = "selections/one"
    assert own.source.features == Features(2, 100, 64, pytest.approx(20.0))
    assert (own.source.name, own.source.group, own.source.data_hash) == (name, "other-data", "other-data")
    assert own.observations == (
        Observation(name, "lora", DEFAULT, pytest.approx(10.0), 1.0),
        Observation(name, "lora", {"learning_rate": RATE}, pytest.approx(20.0), 2.0),
        Observation(name, "head", {"learning_rate": RATE}, pytest.approx(-5.0), 1.0),
    )
    assert [(one.method, one.hyper_parameters) for one in own.best] == [
        ("lora", {"learning_rate": RATE}),
        ("head", {"learning_rate": RATE}),
    ]


def test_harm_shows_and_a_training_that_was_stopped_for_being_bad_counts_with_its_last_score(home):
    """The best point of a curve may be its start, where the head is the probe's."""
    harmed = trial("lora", 1, 0.6, start=0.7)
    stopped = trial("lora", 2, 0.65, "stopped", steps=5, seconds=1.5, start=0.7, values={"learning_rate": 0.01}, cause="not promoted")
    write(home, trials=[PROBE, trial("lora", values=DEFAULT), harmed, stopped])
    ((_, first, second),) = [own.observations for own in gather(ASKING, home / "elsewhere")]
    assert (first.gain, first.cost) == (pytest.approx(-10.0), 1.0)
    assert (second.gain, second.cost) == (pytest.approx(-5.0), 1.5), "3 s for all 10 steps"


@pytest.mark.parametrize(("select", "trust"), [(30, 0.1), (300, 1.0), (1000, 1.0)])
def test_scores_on_few_examples_say_less(select, trust, home):
    write(home, sizes={"train": 70, "select": select})
    assert [own.trust for own in gather(ASKING, home / "elsewhere")] == [pytest.approx(trust)]


def test_the_reports_labels_are_not_read_where_a_point_does_not_depend_on_them(home):
    folder = write(home, what=lambda texts, **_: [])
    own = events(Outputs(folder / "texts").put(np.array([1], dtype=np.uint64)))
    opened = ReportOpened(1, 2, 2, "nowhere", time=0.0)
    (folder / "records.jsonl").write_text("".join(to_json(event) + "\n" for event in [*own[:-1], opened, own[-1]]))
    assert found(home) == ["selections/one"]


def test_the_newest_are_read_first_until_the_time_is_used(home, monkeypatch, caplog):
    for age, name in enumerate(("b", "c", "a")):
        os.utime(write(home, name) / "records.jsonl", (1000 - age, 1000 - age))
    clock = iter(range(100))
    monkeypatch.setattr(experience.time, "monotonic", lambda: next(clock))
    with caplog.at_level(logging.INFO, "pelt_automl"):
        assert found(home, seconds=2) == ["selections/b", "selections/c"]
    assert caplog.messages == ["nothing is learned from older selections (1): the time for it is used"]


def test_of_one_that_has_not_ended_no_training_is_read(home, monkeypatch):
    write(home, what=lambda texts, **_: events(texts)[:-1])
    read = []
    own = experience.from_json
    monkeypatch.setattr(experience, "from_json", lambda line: read.append(line) or own(line))
    assert found(home) == []
    assert read
    assert not [line for line in read if b"TrialEnded" in line]


def test_without_loras_default_a_cost_is_over_what_a_training_was_planned_to_take(home):
    write(home, trials=[PROBE, trial("head", 0, 0.8, seconds=1.0)])
    ((observation,),) = [own.observations for own in gather(ASKING, home / "elsewhere")]
    assert observation.cost == 0.25


def test_of_errors_a_point_is_by_the_spread_of_the_labels_and_less_is_better(home):
    folder = write(home, what=lambda texts, **_: [])
    reference = Outputs(folder / "outputs").put([0.0, 4.0])  # a standard deviation of 2: a point is 0.02
    opened = ReportOpened(1, 2, 2, reference, time=0.0)
    own = events(Outputs(folder / "texts").put(np.array([1], dtype=np.uint64)), metric="rmse", guess_on_select=2.0)
    (folder / "records.jsonl").write_text("".join(to_json(event) + "\n" for event in [*own[:-1], opened, own[-1]]))
    ((first, second),) = [own.observations for own in gather(ASKING, home / "elsewhere")]
    assert (first.gain, second.gain) == (pytest.approx(-5.0), pytest.approx(-10.0))


LEFT_OUT = {
    "it is of the same data": {"data_hash": "own-data"},
    "its pretrained model has other weights": {"weights": "others"},
    "it has texts of the data at hand": {"texts": (1, 5, 9)},
    "there are no hashes of its texts": {"what": lambda texts, **_: [own for own in events(texts) if not isinstance(own, Identified)]},
    "it hasn't ended": {"what": lambda texts, **_: events(texts)[:-1]},
    "there is no score of the probe": {"trials": [trial("lora")]},
    "no training of it has come to its end": {"trials": [PROBE, trial("lora", 1, 0.7, "stopped")]},
    "there is no metric 'accurracy'": {"metric": "accurracy"},
    "there is no hash of its data": {"data_hash": ""},
    "math domain error": {"sizes": {"train": 10**399}},
    "configuration that can be tried": {"trials": [PROBE, trial("lora", values={"ranks": 3})]},
    "there are no records of a selection": {"what": lambda texts, **_: [], "records": None},
    "it isn't an event of a selection": {"what": lambda texts, **_: [], "records": b'{"hello": 1}\n'},
    "records.jsonl, line 1": {"what": lambda texts, **_: [], "records": b'{"event": "TrialEnded"}\n'},
    "line 3: it isn't an event": {"what": lambda texts, **_: events(texts)[:2], "records": b"\x00\xff damaged\n"},
    "TrialEnded: curve": {"records": b'{"event": "TrialEnded", "curve": 3}\n'},
    "the hashes of its texts aren't there": {"lose": True},
    "damaged: its content isn't what was written": {"damage": True},
}


@pytest.mark.parametrize("reason", LEFT_OUT)
def test_what_cannot_be_learned_from_is_left_out_with_the_reason(reason, home, caplog):
    more = dict(LEFT_OUT[reason])
    extra = {name: more.pop(name, b"") for name in ("records", "lose", "damage")}
    folder = write(home, **more)
    records, (hashes,) = folder / "records.jsonl", (folder / "texts").iterdir()
    if extra["records"] is None:
        records.unlink()
    elif extra["records"]:
        records.write_bytes(records.read_bytes() + extra["records"])
    if extra["lose"]:
        hashes.unlink()
    if extra["damage"]:
        hashes.write_bytes(hashes.read_bytes()[:-8])
    write(home, "whole")
    with caplog.at_level(logging.INFO, "pelt_automl"):
        assert found(home) == ["selections/whole"]
    (message,) = caplog.messages
    assert message.startswith("nothing is learned from selections/one: ")
    assert reason in message


def test_a_last_line_that_a_kill_cut_off_is_left_out(home):
    folder = write(home)
    whole = (folder / "records.jsonl").read_bytes()
    (folder / "records.jsonl").write_bytes(whole + b'{"event": "Publ')
    assert found(home) == ["selections/one"]
    (folder / "records.jsonl").write_bytes(whole[:-1])
    assert found(home) == [], "its end was cut off"


def test_selections_of_a_curve_count_and_its_own_folder_does_not(home):
    write(home, "curve/k-50", data_hash="a")
    write(home, "curve/k-100", data_hash="a")
    (home / "selections" / "curve" / "k-curve.json").write_text("{}")
    own = write(home, "mine")
    assert [each.source.name for each in gather(ASKING, own)] == ["selections/curve/k-100", "selections/curve/k-50"]


def test_links_are_followed_and_a_folder_counts_once(home, tmp_path_factory):
    aside = tmp_path_factory.mktemp("aside")
    folder = write(aside, "far")
    selections = home / "selections"
    selections.mkdir()
    (selections / "a").symlink_to(folder)
    (selections / "b").symlink_to(folder)
    (selections / "loop").symlink_to(selections / "loop")
    (selections / "nowhere").symlink_to(home / "nothing")
    (selections / "file").write_text("not a folder")
    assert found(home) == ["selections/a"]


@pytest.mark.parametrize("name", ["a b", "ä", "line\nbreak", "\udcff", "-rf", "'; drop", "k-100"])
def test_names_may_have_any_characters_and_are_written_in_plain_ones(name, home):
    write(home, name)
    (shown,) = found(home)
    assert shown.encode().decode().isprintable()
    assert shown.startswith("selections/")


def test_a_pipe_in_place_of_the_records_holds_nobody_up(home, caplog):
    folder = write(home)
    (folder / "records.jsonl").unlink()
    os.mkfifo(folder / "records.jsonl")
    assert found(home) == []


def test_records_without_an_end_of_a_line_are_not_read_into_memory(home, monkeypatch):
    write(home)
    monkeypatch.setattr(experience, "LARGEST_RECORDS", 100)
    assert found(home) == []


def test_a_home_that_is_not_there_or_cannot_be_read_teaches_nothing(home, monkeypatch):
    assert found(home) == []
    write(home)

    def refused(*_):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "iterdir", refused)
        assert found(home) == []
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refused)
        assert found(home) == []
    assert found(home) == ["selections/one"]


def test_nothing_is_changed_and_read_only_folders_can_be_read(home):
    folder = write(home)
    paths = sorted([home, *home.rglob("*")])
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = [(path, path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"") for path in paths]
    assert found(home) == ["selections/one"]
    assert before == [
        (path, path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"") for path in sorted([home, *home.rglob("*")])
    ]
    for path in paths:
        path.chmod(0o755)
    assert folder.is_dir()


def test_of_many_those_that_are_most_like_the_data_at_hand_count(home, monkeypatch):
    monkeypatch.setattr(experience, "MOST_SELECTIONS", 2)
    for name, most in (("a", 512), ("b", 64), ("c", 4), ("d", 128)):
        write(home, name, text_length={"most": most})
    assert found(home) == ["selections/b", "selections/d"]


def test_of_those_that_may_not_be_learned_from_no_training_is_read(home, monkeypatch):
    for number in range(20):
        write(home, f"{number:02}", weights="others")
    read = []
    own = experience.from_json
    monkeypatch.setattr(experience, "from_json", lambda line: read.append(line) or own(line))
    assert found(home) == []
    assert not [line for line in read if b"TrialEnded" in line]


def data(pool, report, validation=None):
    parts = [Examples(tuple(texts), tuple(0 for _ in texts)) for texts in (pool, report)]
    own = None if validation is None else Examples(tuple(validation), tuple(0 for _ in validation))
    return TaskData("t", "classification", ("a", "b"), METRICS["accuracy"], ("x", "y"), None, "strict", parts[1], (), "h", parts[0], own)


def test_every_text_of_every_split_is_hashed_once_and_sorted_and_no_text_can_be_read():
    hashes = hashes_of(data([("a", "b"), ("a", "")], [("c", "a")], [("d", "e")]))
    assert hashes.dtype == np.uint64
    assert len(hashes) == 5
    assert sorted(hashes.tolist()) == hashes.tolist()
    # the first 8 bytes of SHA-256, little-endian, of "a" to "e", as sha256sum gives them
    digests = ["ca978112ca1bbdca", "3e23e8160039594a", "2e7d2c03a9507ae2", "18ac3e7343f01689", "3f79bb7b435b0532"]
    assert set(hashes.tolist()) == {int.from_bytes(bytes.fromhex(own), "little") for own in digests}


def test_one_text_in_common_is_enough_whichever_column_it_stands_in():
    one, other = hashes_of(data([("a", "b")], [("c", "d")])), hashes_of(data([("x", "c")], [("y", "z")]))
    assert np.isin(one, other).any()
    assert not np.isin(one, hashes_of(data([("A", "b.")], [("c ", "d ")]))).any(), "texts are compared as they are"
