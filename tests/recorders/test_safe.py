import logging
import threading
import time

from pelt_automl.recorders import RECORDERS, BackgroundRecorder, SafeRecorder
from pelt_automl.records import Decision, Planned, Progress, SelectionStarted

EVENT = Decision("promoted", "lora-0001", "better")


class Listing:
    """Keeps what it gets; fails as long as `error` is set; takes `seconds` an event."""

    def __init__(self, error=None, seconds=0.0):
        self.calls, self.error, self.seconds = [], error, seconds

    def _take(self, call):
        time.sleep(self.seconds)
        self.calls.append(call)
        if self.error:
            raise self.error

    def record(self, event):
        self._take(getattr(event, "subject", type(event).__name__))

    def publish(self, folder):
        self._take("publish")

    def close(self):
        self._take("close")


def decision(subject):
    return Decision("promoted", subject, "better")


def test_a_failure_is_reported_once_and_never_raised(caplog, tmp_path):
    listing = Listing(ConnectionError("no route to http://anna:secret@host/api\nand a long trace"))
    recorder = SafeRecorder("MLflow", lambda: listing, pause=0.0)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            recorder.record(EVENT)
        recorder.publish(tmp_path)
        recorder.close()
    assert recorder.problems == ["MLflow failed: ConnectionError: no route to http://host/api"]
    assert len(caplog.records) == 1
    assert len(listing.calls) == 5


def test_after_a_failure_there_is_a_pause_that_publish_ignores(tmp_path):
    listing = Listing(ConnectionError("away"))
    recorder = SafeRecorder("MLflow", lambda: listing, pause=3600.0)
    recorder.record(decision("one"))
    listing.error = None
    recorder.record(decision("two"))
    recorder.publish(tmp_path)
    assert listing.calls == ["one", "publish"]


def test_recording_goes_on_after_the_pause():
    listing = Listing(ConnectionError("away"))
    recorder = SafeRecorder("MLflow", lambda: listing, pause=0.01)
    recorder.record(decision("one"))
    listing.error = None
    time.sleep(0.02)
    recorder.record(decision("two"))
    assert listing.calls == ["one", "two"]


def test_a_recorder_that_cannot_even_start_is_tried_again(tmp_path):
    listing, attempts = Listing(), []

    def start():
        attempts.append(1)
        if len(attempts) == 1:
            raise ImportError("no module named mlflow")
        return listing

    recorder = SafeRecorder("MLflow", start)
    recorder.close()
    recorder.record(EVENT)
    recorder.publish(tmp_path)
    assert listing.calls == ["publish"]
    assert recorder.problems == ["MLflow failed: ImportError: no module named mlflow"]


def test_a_slow_recorder_in_the_background_costs_no_time_until_publish_waits_for_all_in_order(tmp_path):
    listing = Listing(seconds=0.05)
    recorder = BackgroundRecorder(SafeRecorder("slow", lambda: listing))
    started = time.monotonic()
    for number in range(6):
        recorder.record(decision(str(number)))
        recorder.record(Progress("search", number, 6))
    assert time.monotonic() - started < 0.1
    recorder.publish(tmp_path)
    assert listing.calls == ["0", "1", "2", "3", "4", "5", "publish"]
    recorder.close()
    recorder.close()
    assert listing.calls[-1] == "close"
    assert "pelt-automl-recorder" not in [thread.name for thread in threading.enumerate()]


def test_a_recorder_in_the_background_begins_with_the_event_it_is_told_to(tmp_path):
    listing = Listing()
    recorder = BackgroundRecorder(SafeRecorder("late", lambda: listing), begins_with=(Planned,))
    recorder.record(decision("0"))
    assert "pelt-automl-recorder" not in [thread.name for thread in threading.enumerate()]
    recorder.record(Planned(10, 5, 2, 1.0))
    assert "pelt-automl-recorder" in [thread.name for thread in threading.enumerate()]
    recorder.publish(tmp_path)
    assert listing.calls == ["0", "Planned", "publish"]
    recorder.close()


def test_mlflow_does_not_begin_before_the_speed_is_measured(tmp_path):
    recorder = RECORDERS["mlflow"](tmp_path)
    recorder.record(SelectionStarted("s", "k", "t", "m", [], {}, {}))
    assert "pelt-automl-recorder" not in [thread.name for thread in threading.enumerate()]


def test_a_recorder_that_never_began_gets_what_was_queued_when_it_is_closed():
    listing = Listing()
    recorder = BackgroundRecorder(SafeRecorder("late", lambda: listing), begins_with=(Planned,))
    recorder.record(decision("0"))
    recorder.close()
    assert listing.calls == ["0", "close"]


def test_a_recorder_that_hangs_is_given_up_after_the_patience(caplog, tmp_path):
    hanging = threading.Event()
    listing = Listing()
    listing.record = lambda event: hanging.wait(30)
    recorder = BackgroundRecorder(SafeRecorder("hanging", lambda: listing), patience=0.1)
    recorder.record(EVENT)
    started = time.monotonic()
    with caplog.at_level(logging.WARNING):
        recorder.publish(tmp_path)
        recorder.close()
    assert time.monotonic() - started < 1.0
    assert len(recorder.problems) == 1
    assert "given up" in recorder.problems[0]
    hanging.set()


def test_closing_a_recorder_that_never_got_an_event_starts_nothing():
    recorder = BackgroundRecorder(SafeRecorder("unused", lambda: 1 / 0))
    recorder.close()
    assert recorder.problems == []
