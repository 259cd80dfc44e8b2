import os
import signal
import subprocess
import sys

import pytest

from pelt_automl.errors import SelectionError
from pelt_automl.log.codec import read
from pelt_automl.log.events import Decision, Progress
from pelt_automl.log.folder import JsonlRecorder


def decisions(path):
    return [event.subject for event in read(path)]


def test_every_kept_event_is_on_disk_before_record_returns_and_ephemeral_ones_never_are(tmp_path):
    recorder = JsonlRecorder(tmp_path / "deep" / "records.jsonl")
    recorder.record(Decision("promoted", "lora-0001", "better"))
    recorder.record(Progress("search", 1, 2))
    assert decisions(tmp_path / "deep" / "records.jsonl") == ["lora-0001"]
    recorder.close()
    recorder.close()


def test_opening_again_appends(tmp_path):
    path = tmp_path / "records.jsonl"
    for subject in ("first", "second"):
        recorder = JsonlRecorder(path)
        recorder.record(Decision("promoted", subject, "better"))
        recorder.close()
    assert decisions(path) == ["first", "second"]


@pytest.mark.parametrize("rest", ['{"event": "Decis', "x" * 200_000])
def test_a_line_that_a_kill_cut_off_is_cut_away_at_the_next_opening(tmp_path, rest):
    path = tmp_path / "records.jsonl"
    recorder = JsonlRecorder(path)
    recorder.record(Decision("promoted", "first", "ünïcödé"))
    recorder.close()
    with path.open("a") as file:
        file.write(rest)
    recorder = JsonlRecorder(path)
    recorder.record(Decision("promoted", "second", "better"))
    recorder.close()
    assert decisions(path) == ["first", "second"]


def test_a_file_that_holds_only_a_partial_line_becomes_empty(tmp_path):
    path = tmp_path / "records.jsonl"
    path.write_text('{"event"')
    JsonlRecorder(path).close()
    assert path.read_bytes() == b""


def test_a_process_that_kills_itself_leaves_every_recorded_event(tmp_path):
    path = tmp_path / "records.jsonl"
    program = f"""
import os, signal
from pathlib import Path
from pelt_automl.log.folder import JsonlRecorder
from pelt_automl.log.events import (Decision)
recorder = JsonlRecorder(Path({str(path)!r}))
for number in range(50):
    recorder.record(Decision("promoted", str(number), "better"))
os.kill(os.getpid(), signal.SIGKILL)
"""
    ended = subprocess.run([sys.executable, "-c", program], env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)), check=False)
    assert ended.returncode == -signal.SIGKILL
    assert decisions(path) == [str(number) for number in range(50)]


def test_a_path_that_cannot_be_written_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SelectionError, match=r"can't write the selection's records to .*choose another --output"):
        JsonlRecorder(tmp_path / "file" / "records.jsonl")
