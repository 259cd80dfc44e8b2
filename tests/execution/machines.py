"""A selection of recorded trainings in a process of its own, with its log and its states on disk: what its machine does to it is real.

``python -m tests.execution.machines FOLDER [--workers N] [--listen ADDRESS --certificates DIR] ...``: each of the crew's trainings by
workers, in two segments, taken up from the log where there is one. Exit code 0 when all have ended; 1 with one line for what the system has
refused.
"""

import argparse
import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from pelt_automl.durable import full_disk
from pelt_automl.errors import PeltError
from pelt_automl.execution.certificates import Certificates
from pelt_automl.execution.workers import STALLED, Workers
from pelt_automl.log.codec import read
from pelt_automl.log.events import Because, SegmentEnded, TrialEnded
from pelt_automl.log.files import put
from pelt_automl.log.folder import RECORDS, JsonlRecorder
from pelt_automl.log.log import Log
from pelt_automl.log.outputs import Outputs
from pelt_automl.scheduling.actions import Budget, Train
from pelt_automl.scheduling.drive import drive
from pelt_automl.scheduling.grid import Grid
from tests.execution.crew import POOL, QUICK, SEGMENTS, STEPS, Make, RecordedBench, Replayed, cluster, one_kind

SIZE = 200_000
"""Bytes of a state."""


class Saving(Replayed):
    """Each of its segments ends with a state on disk."""

    states = None

    def wait(self, expired):
        return [
            replace(event, state=put(self.states, lambda path, event=event: path.write_bytes(_content(event)), ".safetensors"))
            if isinstance(event, SegmentEnded)
            else event
            for event in super().wait(expired)
        ]


def _content(event):
    return f"{event.trial} {event.reached}".encode().ljust(SIZE)


@dataclass(frozen=True)
class MakeSaving(Make):
    def __call__(self, folder):
        bench = super().__call__(folder)
        saving = Saving(self.pool, bench.history, self.at_once, kind=one_kind)
        saving.pace, saving.states = self.pace, bench.states
        return RecordedBench(bench.history, saving, bench.states, bench.kept, bench.facts)


@dataclass(frozen=True)
class Halves(Grid):
    """Each training in two segments."""

    def actions(self, history, room, budget):
        on = [Train(replace(own.segment, start=own.reached, end=STEPS), Because.QUOTA) for own in history.trials.values() if own.undecided]
        return on or super().actions(history, room, budget)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--listen")
    parser.add_argument("--certificates", type=Path)
    parser.add_argument("--pace", type=float, default=0.05)
    parser.add_argument("--stalled", type=float, default=STALLED)
    asked = parser.parse_args()
    records = asked.folder / RECORDS
    certificates = Certificates.of(asked.certificates) if asked.certificates else None
    try:
        asked.folder.mkdir(parents=True, exist_ok=True)
        log = Log(read(records) if records.exists() else [], [JsonlRecorder(records)], outputs=Outputs(asked.folder / "outputs"))
        made = MakeSaving(POOL, pace=asked.pace)
        with Workers(
            asked.folder / "workers", made, {"data": "d1"}, [{}] * asked.workers, asked.listen, certificates, QUICK, asked.stalled
        ) as workers:
            scheduler = Halves([replace(own, end=STEPS // 2) for own in SEGMENTS])
            drive(scheduler, cluster(workers, log.history, POOL, asked.folder), log, Budget)
            for event in workers.leaving():
                log.append(event)
    except (PeltError, OSError) as error:
        sys.exit(f"error: {full_disk(error) or error}")


def nothing_lost_or_twice(folder):
    """All trainings have ended, once; no segment has ended twice under the same attempt, and none before its release."""
    events = list(read(folder / RECORDS))
    ends = Counter(event.trial for event in events if isinstance(event, TrialEnded))
    segments = Counter((event.trial, event.attempt, event.reached) for event in events if isinstance(event, SegmentEnded))
    return ends == dict.fromkeys([own.trial for own in SEGMENTS], 1) and set(segments.values()) <= {1}


if __name__ == "__main__":
    main()
