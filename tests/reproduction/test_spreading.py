"""A reproduction with workers: real processes on a tiny model, and what is handed out to them."""

import contextlib
import json
import os
import signal

import pytest

from pelt_automl.log.events import WorkerJoined
from pelt_automl.reproduction import running
from pelt_automl.reproduction.spreading import CellBench
from tests.reproduction.tiny_glue import opened, write_glue

CELLS = {"tasks": "cola,rte", "seeds": "0,1"}


@pytest.fixture(scope="module")
def glue(tmp_path_factory):
    return write_glue(tmp_path_factory.mktemp("glue"))


def results(folder):
    """What came out of each run; seconds and its worker's threads aside."""
    runs = [json.loads(line) for path in sorted((folder / "runs").glob("*.jsonl")) for line in path.read_text().splitlines()]
    return {(run["task"], run["seed"], run["method"]): (run["state"], run["report_score"], run["steps"]) for run in runs}, len(runs)


@pytest.mark.slow  # two or three processes that load torch
def test_two_workers_of_which_one_is_killed_train_what_one_process_does_and_each_run_once(world, glue, tmp_path, monkeypatch):
    opened(world, glue, tmp_path / "alone", **CELLS).run()
    said, joined, killed = [], [], []
    tell = running.Reproduction._tell

    def watched(own, events):
        events = list(events)
        joined.extend(event for event in events if isinstance(event, WorkerJoined))
        if len(joined) == 2 and not killed:
            killed.append(joined[0].environment["process"])
            os.kill(killed[0], signal.SIGKILL)
        tell(own, events)

    monkeypatch.setattr(running.Reproduction, "_tell", watched)
    table = opened(world, glue, tmp_path / "two", workers=2, say=said.append, **CELLS).run()
    assert killed
    assert (table.finished, table.wanted) == (8, 8)
    assert results(tmp_path / "two") == results(tmp_path / "alone")
    assert [line for line in said if line.startswith("worker left: worker-") and "SIGKILL" in line]
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == ["locks", "protocol.json", "runs", "table.json", "table.md"]
    again = []
    opened(world, glue, tmp_path / "two", say=again.append, **CELLS).run()
    assert again == [], "with or without workers it is the same protocol, and nothing is left to do"


class Here:
    """`Workers`, evaluating in this process; each job of `lost` is handed out twice."""

    count = 0
    """How many were asked for."""

    def __init__(self, bench, lost=()):
        self.bench, self.lost, self.jobs = bench, lost, []

    def ready(self):
        return ["worker-1"]

    def leaving(self):
        return []

    def gather(self, jobs, told, progress, here, came):
        for number, job in enumerate(jobs):
            for _ in range(1 + (number in self.lost)):
                self.jobs.append(job(True))
            came(number, self.bench.score(self.jobs[-1]))
            told([])


@pytest.fixture
def spread(world, glue, tmp_path, monkeypatch):
    """Runs a reproduction with such workers; they, and what was said."""

    def started(lost=(), **more):
        said = []
        reproduction = opened(world, glue, tmp_path / "out", say=said.append, workers=2, **more)
        own = Here(CellBench.make(reproduction.protocol, reproduction.model, 1, tmp_path / "worker"), lost)

        @contextlib.contextmanager
        def crew(training, *_):
            own.count = training.workers
            yield own

        monkeypatch.setattr(running, "crew", crew)
        return reproduction, own, said

    return started


def test_a_cell_that_another_process_trains_is_left_to_it_and_one_that_is_lost_is_handed_out_again(spread, tmp_path):
    reproduction, own, _ = spread(lost={1}, tasks="cola,rte")
    with reproduction.folder.claim(next(iter(reproduction.protocol.cells()))) as mine:
        assert mine
        table = reproduction.run()
    assert (table.finished, table.wanted) == (2, 4)
    assert {key[0] for key in results(tmp_path / "out")[0]} == {"rte"}
    assert results(tmp_path / "out")[1] == 2
    assert own.count == 2, "no more workers than cells"
    assert [job.methods for job in own.jobs if job.cell.task == "cola"] == [[], []], "asked for again, since other processes may die"
    assert own.jobs[1].in_words == "trains rte, K=16, seed 0: lora, unipelt-ap"


def test_when_the_time_is_up_nothing_more_is_handed_out(spread):
    reproduction, own, _ = spread(tasks="cola,rte", seconds=1000.0)
    score = own.bench.score

    def last(job):
        reproduction.deadline = 0.0
        return score(job)

    own.bench.score = last
    table = reproduction.run()
    assert [len(job.methods) for job in own.jobs] == [2, 0]
    assert table.finished == 2


def test_workers_that_are_all_gone_when_the_time_is_up_are_not_waited_for(spread):
    reproduction, own, _ = spread(seconds=1000.0)

    def gather(jobs, told, progress, here, came):
        own.ready = list
        reproduction.deadline = 0.0
        told([])
        pytest.fail("it waits")

    own.gather = gather
    assert reproduction.run().finished == 0
