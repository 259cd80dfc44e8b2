"""Sources of the table: their sides, their order, what is committed of them, and what stays sealed."""

import io
import json
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from pelt_automl.errors import TaskError
from pelt_automl.tasks import METRICS
from studies.sources import SOURCES, Places, open_sources, usual_places
from studies.sources import standing as recording
from studies.sources.__main__ import main
from studies.sources.fetching import Package, fetched, package_lists, run
from studies.sources.registry import CANDIDATES, Made, split_of
from studies.sources.rows import Row, sides
from studies.sources.standing import COMMITTED, KS, SEALED, SourceTask, Standing, check, committed, parts_of, sealable, to_seal

WORDS = ("amber", "birch", "cedar", "dove", "ember", "fern", "grove", "heron", "iris", "jade", "kelp", "larch", "moss", "north", "opal")


def made_up(n=600):
    """Two classes, told by the first word; three rows a group."""
    return [
        Row(f"{('warm', 'cold')[i % 2]} {WORDS[i % 15]} {WORDS[i // 15 % 15]} {i}", ("hot", "icy")[i % 2], f"g{i // 3}") for i in range(n)
    ]


@pytest.fixture
def places(tmp_path):
    return Places(tmp_path / "data", tmp_path / "cache")


@pytest.fixture
def task():
    return Made("made-up", "classification", "accuracy", split_of(lambda _: made_up()))


# ------------------------------------------------------------ sides


def test_no_group_is_on_both_sides_and_the_order_of_the_rows_does_not_matter():
    train, report = sides(made_up())
    assert {row.group for row in train} & {row.group for row in report} == set()
    assert len(train) + len(report) == 600
    assert 120 < len(report) < 280
    assert sides(reversed(made_up())) == (train, report)


def test_repeated_texts_are_kept_once_and_contradictory_ones_not_at_all():
    rows = [Row("a  knob", "x"), Row("A knob", "x"), Row("two", "x"), Row("two", "y"), Row("  ", "x"), Row("three", "y")]
    train, report = sides(rows)
    assert sorted((row.text, row.label) for row in train + report) == [("a knob", "x"), ("three", "y")]


def test_a_class_has_at_most_as_many_rows_as_it_may():
    train, report = sides(made_up(), most_of_class=50)
    assert sum(row.label == "hot" for row in train + report) == 50


# ------------------------------------------------------------ loading


def test_a_made_task_has_a_nested_pool_and_a_report_in_the_order_of_hashes(task, places):
    small, large = task.load(places, 100), task.load(places, 300)
    assert (small.name, small.k, len(small.pool), len(large.pool)) == ("made-up", 100, 100, 300)
    assert set(small.pool.texts) < set(large.pool.texts)
    assert small.report == large.report
    assert set(small.report.texts) & set(large.pool.texts) == set()
    assert list(small.report.texts) != sorted(small.report.texts)
    train, select = small.indices(0)
    assert sorted([*train, *select]) == list(range(100))


def test_a_made_task_is_made_once_and_then_read_from_the_cache(places):
    calls = []
    task = Made("made-up", "classification", "accuracy", lambda _: calls.append(1) or sides(made_up()))
    assert parts_of(task.load(places, 100)) == parts_of(task.load(places, 100))
    assert len(calls) == 1


def test_a_regression_keeps_its_numbers(places):
    rows = [replace(row, label=i / 300 - 1) for i, row in enumerate(made_up())]
    data = Made("numbers", "regression", "spearman", split_of(lambda _: rows)).load(places, 100)
    assert data.labels == ()
    assert set(data.pool.labels) <= {row.label for row in rows}


def test_report_has_the_same_first_examples_however_the_test_file_is_ordered(task, places):
    before = task.load(places, 100)
    file = places.cache / "made-up" / "test.jsonl"
    file.write_text("".join(reversed(file.read_text().splitlines(keepends=True))))
    assert task.load(places, 100).report == before.report


def test_without_the_shared_folder_its_tasks_are_one_clear_error(places):
    for name in ("sst2", "snips", "atis"):
        with pytest.raises(TaskError, match="PELT_AUTOML_DATA_DIR"):
            CANDIDATES[name].read(places, 100)


def test_the_usual_places_follow_the_programs_variables(tmp_path, monkeypatch):
    assert usual_places().data.parts[-2:] == ("shared", "data")
    monkeypatch.setenv("PELT_AUTOML_DATA_DIR", str(tmp_path / "d"))
    monkeypatch.setenv("PELT_AUTOML_HOME", str(tmp_path / "h"))
    assert usual_places() == Places(tmp_path / "d", tmp_path / "h" / "sources")


# ------------------------------------------------------------ what is committed


def entry_of(*loaded):
    return {"sha256": {part: value for data in loaded for part, value in parts_of(data).items()}}


def test_the_committed_hash_is_of_all_texts_labels_and_their_order(task, places):
    data = task.load(places, 100)
    check(data, entry_of(data))
    check(task.load(places, 200), entry_of(data))
    for changed in (
        replace(data, data_hash="0" * 64),
        replace(data, report=data.report.take(reversed(range(len(data.report))))),
        replace(data, pool=data.pool.exchanged()),
    ):
        with pytest.raises(TaskError, match="made-up: its data isn't what the table was recorded on"):
            check(changed, entry_of(data))


def test_a_source_that_has_changed_is_not_loaded(task, places):
    entry = entry_of(task.load(places, 100))
    source = SourceTask("made", "made-up", "classification", "accuracy", "", task.load, True, entry=entry)
    assert len(source.load(places).pool) == 100
    file = places.cache / "made-up" / "train.jsonl"
    file.write_text(file.read_text().replace("cold", "cool"))
    with pytest.raises(TaskError, match="move the folder made-up out of the cache folder"):
        source.load(places, k=100)


def test_every_candidate_has_committed_figures_that_fit_it():
    standing = committed()
    assert set(standing.tasks) == set(CANDIDATES)
    for name, entry in standing.tasks.items():
        item = CANDIDATES[name]
        assert (entry["source"], entry["kind"], entry["metric"]) == (item.source, item.kind, item.metric)
        assert METRICS[item.metric].fits(item.kind, len(entry["classes"]))
        assert {"data", "report", *(f"k-{k}" for k in KS)} == set(entry["sha256"])
        assert item.origin.endswith(".")


def test_at_least_twelve_sources_stand_and_no_task_that_a_probe_does_not_learn():
    standing = committed()
    assert len({task.source for task in SOURCES.values()}) >= 12
    assert set(SOURCES) == {name for name in CANDIDATES if standing.learnable(name)}


def test_learnable_is_more_than_one_standard_error_above_the_constant():
    def standing(score):
        return Standing((), {"t": {"probe": {"100": {"score": score, "constant": 0.5, "error": 0.05}}}})

    assert standing(0.56).learnable("t")
    assert not standing(0.54).learnable("t")


# ------------------------------------------------------------ sealed


def test_the_sealed_sources_are_those_of_the_rule():
    standing = committed()
    assert standing.sealed == to_seal(sealable(standing))
    assert len(standing.sealed) == SEALED
    assert not any(CANDIDATES[name].seen for name, task in SOURCES.items() if task.sealed)


def test_sources_are_sealed_once_and_later_ones_change_nothing(tmp_path, monkeypatch):
    def entry(task, places, backbone):
        return {"probe": {"100": {"score": 0.9, "constant": 0.5, "error": 0.1}}, "sha256": {"data": task}}

    monkeypatch.setattr(recording, "entry_of", entry)
    unseen = [name for name, item in CANDIDATES.items() if not item.seen]
    first = recording.record(unseen[:7], Standing((), {}), "here", "minilm", tmp_path / "s.json")
    assert first.sealed == to_seal({CANDIDATES[name].source for name in unseen[:7]})
    later = recording.record(list(CANDIDATES), first, "there", "minilm", tmp_path / "s.json")
    assert later.sealed == first.sealed != to_seal(sealable(later))
    assert committed(tmp_path / "s.json") == later
    assert list(later.tasks) == list(CANDIDATES)


def test_measuring_again_does_not_replace_the_data_that_trainings_were_recorded_on(tmp_path, monkeypatch):
    monkeypatch.setattr(recording, "entry_of", lambda task, places, backbone: {"sha256": {"data": places}})
    with pytest.raises(TaskError, match=r"the data of sst2 isn't what is committed.*nothing was written"):
        recording.record(["sst2"], Standing(("a",), {"sst2": {"sha256": {"data": "before"}}}), "now", "minilm", tmp_path / "s.json")
    assert list(tmp_path.iterdir()) == []
    assert recording.record(["sst2"], Standing(("a",), {}), "now", "minilm", tmp_path / "s.json").tasks == {
        "sst2": {"sha256": {"data": "now"}}
    }


def test_the_rule_to_seal_looks_at_names_only():
    names = ["e", "d", "c", "b", "a", "f"]
    assert to_seal(names) == to_seal(reversed([*names, "a"])) == ("b", "c", "d", "f")  # ca97, 3e23, 2e7d, 18ac, 3f79, 252f


def test_sealed_sources_are_left_out_unless_they_are_asked_for():
    shown = open_sources()
    assert {task.source for task in shown.values()} & set(committed().sealed) == set()
    assert open_sources(include_sealed=True) == SOURCES
    assert {task.source for task in SOURCES.values()} - {task.source for task in shown.values()} == set(committed().sealed)


# ------------------------------------------------------------ fetching


def packed(folder, name, content):
    """What a client leaves in the folder: a wheel, or an archive of npm's."""
    if name.endswith(".whl"):
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.writestr("inside/file.txt", content)
    else:
        with tarfile.open(folder / name, "w:gz") as archive:
            info = tarfile.TarInfo("package/file.txt")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content.encode()))


@pytest.mark.parametrize(("kind", "name"), [("pypi", "knobs-1.0-py3-none-any.whl"), ("npm", "scope-knobs-1.0.tgz")])
def test_a_package_is_fetched_once_in_its_exact_version_and_unpacked(tmp_path, kind, name):
    commands = []

    def runner(command, folder):
        commands.append(command)
        packed(folder, name, "a knob")
        return ""

    package = Package(kind, "@scope/knobs", "1.0")
    folder = fetched(package, tmp_path, runner)
    assert fetched(package, tmp_path, runner) == folder
    assert [path.read_text() for path in folder.rglob("*.txt")] == ["a knob"]
    assert len(commands) == 1
    assert commands[0][-1] == {"pypi": "@scope/knobs==1.0", "npm": "@scope/knobs@1.0"}[kind]
    assert kind == "npm" or "--only-binary=:all:" in commands[0], "pip would run the setup of a source distribution"
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_debians_lists_are_updated_when_they_are_empty(tmp_path):
    commands = []

    def runner(command, folder):
        commands.append(command[:2])
        if command[1] == "download" and len(commands) == 1:
            raise TaskError("no such version")
        if command[1] == "download":
            (folder / "knobs.deb").write_text("archive")
        if command[0] == "dpkg-deb":
            (Path(command[-1]) / "knob").write_text("unpacked")
        return ""

    folder = fetched(Package("debian", "knobs", "1:1.0"), tmp_path, runner)
    assert commands == [["apt-get", "download"], ["apt-get", "update"], ["apt-get", "download"], ["dpkg-deb", "--extract"]]
    assert (folder / "knob").read_text() == "unpacked"


def test_a_package_that_cannot_be_fetched_leaves_nothing_behind(tmp_path):
    def runner(command, folder):
        (folder / "half").write_text("")
        raise TaskError("no registry")

    with pytest.raises(TaskError, match="no registry"):
        fetched(Package("npm", "knobs", "1.0"), tmp_path, runner)
    assert list((tmp_path / "fetched").iterdir()) == []


@pytest.mark.parametrize("name", ["../../out.txt", "/out.txt"])
def test_an_archive_that_leads_out_of_its_folder_is_refused(tmp_path, name):
    def runner(command, folder):
        with tarfile.open(folder / "knobs.tgz", "w:gz") as archive:
            archive.addfile(tarfile.TarInfo(name))
        return ""

    with pytest.raises(TaskError, match=r"can't be unpacked \(.*out.txt leads out of its folder"):
        fetched(Package("npm", "knobs", "1.0"), tmp_path, runner)


def test_a_link_in_an_archive_is_not_made_and_not_written_through(tmp_path):
    (tmp_path / "elsewhere").mkdir()

    def runner(command, folder):
        with tarfile.open(folder / "knobs.tgz", "w:gz") as archive:
            link = tarfile.TarInfo("package")
            link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "elsewhere")
            archive.addfile(link)
            archive.addfile(tarfile.TarInfo("package/file.txt"))
        return ""

    folder = fetched(Package("npm", "knobs", "1.0"), tmp_path, runner)
    assert (folder / "package" / "file.txt").is_file()
    assert not (folder / "package").is_symlink()
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_apts_list_of_packages_is_kept_as_it_was(tmp_path):
    answers = ["", "", "Package: a\nSection: games\n", "changed"]
    assert package_lists(tmp_path, lambda command, folder: answers.pop(0)) == "Package: a\nSection: games\n"
    assert package_lists(tmp_path, lambda command, folder: answers.pop(0)) == "Package: a\nSection: games\n"


def test_a_client_that_is_missing_or_fails_is_one_clear_error(tmp_path):
    with pytest.raises(TaskError, match="isn't installed"):
        run(["no-such-program-of-ours"], tmp_path)
    with pytest.raises(TaskError, match=r"failed \(cat: .*no-such-file"):
        run(["cat", "no-such-file"], tmp_path)


# ------------------------------------------------------------ command line


def test_the_list_names_every_task_with_its_figures_and_says_what_is_sealed(capsys):
    assert main([]) == 0
    printed = capsys.readouterr().out
    lines = {line.split()[0]: line for line in printed.splitlines() if line.strip()}
    assert set(CANDIDATES) <= set(lines)
    standing = committed()
    for name in CANDIDATES:
        sealed = CANDIDATES[name].source in standing.sealed
        assert ("sealed" in lines[name]) == sealed
        assert ("left out" in lines[name]) == (not standing.learnable(name) and not sealed)
    assert f"{len({task.source for task in SOURCES.values()})} sources" in printed


def test_the_check_says_what_is_wrong_and_ends_with_code_2(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("PELT_AUTOML_DATA_DIR", str(tmp_path))
    assert main(["--check", "sst2"]) == 2
    assert "sst2: there is no folder" in capsys.readouterr().err
    assert main(["--check", "sts2"]) == 2
    assert "there is no task sts2; the tasks are pydoc-topic" in capsys.readouterr().err


def test_no_text_of_a_source_is_committed():
    content = json.loads(COMMITTED.read_text())
    assert set(content) == {"sealed", "tasks"}
    assert all(set(entry) == {"source", "kind", "metric", "classes", "sizes", "sha256", "probe"} for entry in content["tasks"].values())
