"""Proves from what lies on disk, in MLflow and in Prefect that a selection has lost, doubled and left open nothing.

    python -m chaos.checker FOLDER [--unfinished] [--mlflow URI] [--prefect URL]

It knows the program by its files alone: nothing of it is imported, so that a defect of the program can't hide itself here. Exit code 0 with
a count of what was checked; 1 with what is wrong, a line each; 2 where nothing can be said.
"""

import argparse
import fcntl
import hashlib
import json
import math
import os
import re
import sys
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Event = dict[str, Any]

REFERENCE = re.compile(r"([0-9a-f]{64})(\.[a-z]+)?")
"""A file by the SHA-256 of its content."""
IDENTITY = ("candidate", "method", "hyper_parameters", "stage", "number", "is_default", "seeds")
"""What a training keeps for its whole life."""
OLDEST = 8
"""The first `pelt_automl.BEHAVIOUR` whose logs have all that is looked at here."""
ONCE = ("DataDescribed", "Planned", "PortfolioLearned", "SelectionEnded", "Published")
"""Written once in the life of a selection, however often it is started."""
DECIDED_ONCE = ("finalist", "left the race", "left the finals", "enough seeds", "method left out", "default over a limit")
"""Decisions that are made once about each subject."""
EVIDENCE = ("GateMeasured", "ContributionMeasured", "KnockedOut")
"""Measured once for each submodule, site and layer of a finalist's run."""
STATUS = {"completed": "FINISHED", "stopped": "FINISHED", "failed": "FAILED"}
"""MLflow's, by a training's state."""
UNDER_WAY = ("PENDING", "RUNNING", "CANCELLING")
"""Prefect's states of a run that somebody seems to work on."""
TAKEN_OVER = ("candidate", "method", "seeds", "hyper_parameters", "curve", "steps", "select_score", "outputs")
"""What a finalist's run has of a training of the search that stands for it."""
WORKING = ("checkpoints", "finalists", "searched", "workers", "logits")
"""Folders in ``work`` that only a selection under way needs."""


class NotCheckableError(Exception):
    """Why nothing can be said."""


@dataclass
class Trial:
    """A training, as far as the log has told by now."""

    segment: Event
    """The one that was released last."""
    reached: int = 0
    """Steps taken at the end of this attempt's last ended segment."""
    points: list[Event] = field(default_factory=list)
    """This attempt's evaluations."""
    state: str = ""
    """Reference of the file from which it can go on."""
    holder: str = ""
    """The worker that alone has that file, which is too large to travel."""
    open: bool = True
    """Whether its segment has no outcome yet."""
    lost: str = ""
    """Why this attempt can't go on: ``StateLost``, or ``SegmentLost`` with its worker."""
    stopped: bool = False
    ended: Event | None = None


@dataclass
class Report:
    """What the log has told of the report split by now."""

    openings: list[Event] = field(default_factory=list)
    open: bool = False
    """In this start."""
    more: int = 0
    """Line since which more examples are scored."""
    lost: list[tuple[int, str]] = field(default_factory=list)
    """Lines, and outputs that these say are lost."""
    scored: dict[str, tuple[int, Event]] = field(default_factory=dict)
    """Lines and scores, by training."""


@dataclass
class Check:
    """What has been looked at, and what is wrong."""

    folder: Path
    events: list[tuple[int, Event]] = field(default_factory=list)
    """With the numbers of their lines."""
    trials: dict[str, Trial] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    report: Report = field(default_factory=Report)
    workers: set[str] = field(default_factory=set)
    """That have joined in this start and haven't left."""
    line: int = 0
    """That is looked at; 0 for what no one line shows."""

    def of(self, *kinds: str) -> list[Event]:
        """The events of these kinds, oldest first."""
        return [event for _, event in self.events if event["event"] in kinds]

    def expect(self, fine: object, otherwise: str) -> None:
        """A rule, and what is said where it doesn't hold."""
        if not fine:
            self.problems.append(f"line {self.line}: {otherwise}" if self.line else otherwise)

    @property
    def ended(self) -> bool:
        """Whether the log says that the selection has come to its end."""
        return bool(self.of("SelectionEnded"))


def checked(folder: Path, mlflow: str | None = None, prefect: str | None = None, *, unfinished: bool = False) -> Check:
    """Everything about the selection in `folder`.

    `mlflow`: tracking URI; `prefect`: address of the API; `unfinished`: it need not have ended. Raises `NotCheckableError`.
    """
    try:
        with (folder / "selection.lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        raise NotCheckableError(f"a process works on the selection in {folder}; wait until it has ended") from None
    except OSError:
        pass  # a copy without its lock, or a disk that can't lock
    check = read_log(folder)
    if (behaviour := check.events[0][1].get("behaviour", 1)) < OLDEST:
        raise NotCheckableError(f"{folder} is of behavior {behaviour} of the program; selections of {OLDEST} and later can be checked")
    try:
        check_starts(check)
        check_events(check)
        check_once(check)
        check_verdict(check)
        check_files(check)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        check.expect(False, f"an event isn't whole ({type(error).__name__}: {error}); what comes after isn't checked")
    check.line = 0
    check.expect(unfinished or check.ended, "the selection hasn't come to its end")
    check.expect(not check.ended or unfinished or check.of("Published"), "the selection has ended, and its results aren't handed on yet")
    if mlflow:
        check_mlflow(check, mlflow)
    if prefect:
        check_prefect(check, prefect)
    return check


# -------------------------------------------------------------------- the log


def read_log(folder: Path) -> Check:
    """The log's lines. A last one that a kill has cut off is none, unless it comes after the end."""
    path, check = folder / "records.jsonl", Check(folder)
    try:
        *lines, torn = path.read_bytes().split(b"\n")
    except OSError as error:
        raise NotCheckableError(f"{path} can't be read ({error.strerror}); name the folder of a selection") from error
    for number, line in enumerate(lines, 1):
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            event = None
        if isinstance(event, dict) and isinstance(event.get("event"), str):
            check.events.append((number, event))
        else:
            check.expect(False, f"line {number} of the log is no event: {line[:60]!r}")
    if not check.events or check.events[0][1]["event"] != "SelectionStarted":
        raise NotCheckableError(f"{path} doesn't begin as a selection's log does; name the folder of a selection")
    check.expect(not (torn and check.of("Published")), "half a line follows the log's last event")
    check.counts["events"] = len(check.events)
    return check


def check_starts(check: Check) -> None:
    """Each start but the first resumes the same selection; nothing comes after the end."""
    first, *later = check.of("SelectionStarted")
    check.counts["starts"] = 1 + len(later)
    check.expect(not first["resumed"], "the first start says that it resumes another: the log's beginning is lost")
    for start in later:
        check.expect(start["resumed"], "a later start doesn't say that it resumes: two selections share the log")
        for name in ("key", "question", "effort", "behaviour"):
            check.expect(start[name] == first[name], f"a later start has another {name}: {start[name]}, not {first[name]}")
    kinds = [event["event"] for _, event in check.events]
    for kind in kinds[kinds.index("SelectionEnded") + 1 :] if check.ended else ():
        check.expect(kind in ("SelectionEnded", "Published"), f"{kind} comes after the selection's end")


def check_events(check: Check) -> None:
    """Each event of a training, and of the report split, against all before it."""
    report = check.report
    for line, event in check.events:
        check.line = line
        if handler := HANDLERS.get(event["event"]):
            handler(check, event)
        stage = event.get("segment", event).get("stage") if event["event"] in ("Released", "TrialEnded") else ""
        check.expect(not (report.openings and stage == "search"), "the search goes on after the report split was opened")
    check.line = 0
    check.counts["scored"] = len(report.scored)
    check.expect(not (check.ended and check.workers), f"workers never left, though the selection has ended: {sorted(check.workers)}")
    for name, one in check.trials.items():
        check.expect(one.ended or not check.ended, f"{name} was released and has never ended, though the selection has")


def check_once(check: Check) -> None:
    """What is there once at most; no two trainings are the same."""
    seen: Counter[tuple[Any, ...]] = Counter((event["event"],) for event in check.of(*ONCE))
    for event in check.of("Decision"):
        if event["what"] in DECIDED_ONCE:
            seen["the decision", event["what"], event["subject"]] += 1
    for event in check.of(*EVIDENCE):
        seen[event["event"], *(event[part] for part in ("trial", "submodule", "site", "layer") if part in event)] += 1
    for one in check.trials.values():
        seen["training", *(one.segment[part] for part in ("stage", "candidate", "number"))] += 1
    for what, times in seen.items():
        check.expect(times == 1, f"{' '.join(map(str, what))} is there {times} times")


# -------------------------------------------------------------------- trainings


def released(check: Check, event: Event) -> None:
    """A segment begins where the one before has ended; another attempt only after the log has said that the last one is lost."""
    segment = event["segment"]
    name, start, end, attempt = segment["trial"], segment["start"], segment["end"], segment["attempt"]
    check.counts["releases"] += 1
    check.expect(start < end <= segment["steps"], f"{name} is to be trained from step {start} to step {end} of {segment['steps']}")
    one = check.trials.get(name)
    if one is None:
        check.expect(start == attempt == 0, f"{name} is first released at step {start} in attempt {attempt}: what came before is lost")
        check.trials[name] = Trial(segment)
        return
    last = one.segment["attempt"]
    check.expect(not one.ended, f"{name} had ended and is released again")
    check.expect(not one.stopped, f"{name} had been stopped and is released again")
    same_training(check, one, segment, (*IDENTITY, "steps"))
    if attempt == last:
        check.expect(not one.open, f"{name} is released twice in attempt {attempt}: nothing came of the first time")
        check.expect(not one.lost, f"{name} goes on in attempt {attempt}, which is lost")
        check.expect(start == one.reached, f"{name} had come to step {one.reached} and goes on at step {start}")
    else:
        lost = attempt == last + 1 and one.lost
        check.expect(lost, f"{name} is released in attempt {attempt}, and the log doesn't say that attempt {last} is lost")
        fine = start == (one.reached if one.lost == "SegmentLost" else 0)
        check.expect(fine, f"{name} had come to step {one.reached} and begins attempt {attempt} at step {start}")
    if start == 0:
        one.points, one.reached, one.state, one.holder = [], 0, "", ""
    one.segment, one.open, one.lost = segment, True, ""


def same_training(check: Check, one: Trial, now: Event, parts: Sequence[str]) -> None:
    """It doesn't become another one on its way."""
    changed = [part for part in parts if now[part] != one.segment[part]]
    check.expect(not changed, f"{now['trial']} goes on as another training: another {', '.join(changed)}")


def waiting(check: Check, event: Event) -> Trial | None:
    """The training of an outcome, if its segment waits for one in this attempt."""
    name, attempt, one = event["trial"], event["attempt"], check.trials.get(event["trial"])
    told = f"{event['event']} of {name} in attempt {attempt}"
    check.expect(one, f"{told}, which was never released")
    if one is None:
        return None
    current = one.segment["attempt"]
    check.expect(not one.ended, f"{told}, which had ended")
    check.expect(attempt == current, f"{told}, while attempt {current} is under way")
    check.expect(one.open or one.ended or attempt != current, f"{told}: a second outcome of its segment to step {one.segment['end']}")
    return one if one.open and attempt == current else None


def segment_ended(check: Check, event: Event) -> None:
    """It has come to where it was to come; its points join those before."""
    check.counts["segments"] += 1
    if (one := waiting(check, event)) is None:
        return
    name, end, reached = event["trial"], one.segment["end"], event["reached"]
    check.expect(reached == end, f"{name} was to come to step {end} and came to step {reached}: its steps have a gap")
    check_points(check, name, event["points"], one.reached if one.reached else -1, reached)
    one.points, one.reached, one.open = [*one.points, *event["points"]], reached, False
    one.state, one.holder = event["state"], event.get("holder", "")


def lost(check: Check, event: Event) -> None:
    """An attempt comes to its end, and nothing came of its segment."""
    if one := waiting(check, event):
        one.open, one.lost = False, event["event"]
        check.counts["attempts lost"] += 1


def stopped(check: Check, event: Event) -> None:
    """Decided once."""
    name, one = event["trial"], check.trials.get(event["trial"])
    check.expect(one and not one.ended and not one.stopped, f"{name} is stopped, and isn't under way or had been stopped before")
    if one:
        one.stopped = True


def check_points(check: Check, name: str, points: list[Event], after: int, most: int) -> None:
    """Each at a later step than the one before, none after the end."""
    for point in points:
        check.expect(after < point["step"] <= most, f"{name} has a point at step {point['step']}, after step {after} and up to step {most}")
        after = point["step"]


def trial_ended(check: Check, event: Event) -> None:
    """Once, in its segment, with the curve that its segments have."""
    name, steps, state, one = event["trial"], event["steps"], event["state"], check.trials.get(event["trial"])
    check.counts["trainings"] += 1
    if one is None:  # a baseline, which has no steps to release, or a training of the search that stands for a finalist's
        own = check.trials.get(event["candidate"])
        same = own and own.ended and event["stage"] == "finalist" and all(event[part] == own.ended[part] for part in TAKEN_OVER)
        check.expect(steps == 0 or same, f"{name} has ended after {steps} steps and was never released")
        check.trials[name] = Trial({part: event[part] for part in (*IDENTITY, "trial")}, open=False, ended=event)
        return
    check.expect(not one.ended, f"{name} has ended twice")
    same_training(check, one, event, IDENTITY)
    check.expect(one.open or one.stopped, f"{name} has ended, and no segment of it was under way")
    fine = state == "failed" or one.stopped == (state == "stopped")
    check.expect(fine, f"{name} has ended as {state}, and the log has {'a' if one.stopped else 'no'} decision to stop it")
    most = one.segment["end"] if one.open else one.reached
    check.expect(one.reached <= steps <= most, f"{name} has ended at step {steps}; its segment is from step {one.reached} to step {most}")
    last = state != "completed" or steps < one.segment["end"] or steps == one.segment["steps"]
    check.expect(last, f"{name} has completed at step {steps} of {one.segment['steps']}, at the end of a segment that isn't its last")
    check_points(check, name, event["curve"], -1, steps)
    same = written(event["curve"][: len(one.points)]) == written(one.points)
    check.expect(same, f"{name} has ended with another curve than its segments have: points are lost or changed")
    one.ended, one.open = event, False


def written(value: Any) -> str:
    """For comparing: what is not a number equals itself there."""
    return json.dumps(value, sort_keys=True)


# -------------------------------------------------------------------- the report split and the verdict


def opened(check: Check, event: Event) -> None:
    """Once a start, each time for as many examples; once in a selection for more."""
    report, examples = check.report, event["examples"]
    sizes = [earlier["examples"] for earlier in report.openings]
    report.openings.append(event)
    count, more = len(report.openings), len(set(sizes)) == 1 and examples > sizes[-1]
    check.expect(event["openings"] == count, f"the report split's opening {event['openings']} is the {count}. in the log")
    check.expect(not report.open or more, "the report split is opened twice in one start")
    check.expect(not sizes or more or examples == sizes[-1], f"{examples} examples of the report split are scored after {sizes}")
    report.open, report.more = True, check.line if more else report.more


def scored(check: Check, event: Event) -> None:
    """A finalist's run that has ended well, once; again only where the log says that its outputs, or the labels, are lost."""
    name, report, one = event["trial"], check.report, check.trials.get(event["trial"])
    ended = one.ended if one else None
    check.expect(report.open, f"{name} is scored on the report split, which this start hasn't opened")
    well = ended and ended["stage"] == "finalist" and ended["state"] != "failed"
    check.expect(well, f"{name} is scored on the report split, and isn't a finalist's run that has ended well")
    said, was = (event["candidate"], event["method"], event["seed_index"]), ended and (ended["candidate"], ended["method"], ended["number"])
    check.expect(said == was, f"{name} is scored as {said} and was trained as {was}")
    if name in report.scored:
        before, earlier = report.scored[name]
        excused = {earlier["outputs"], *(opening["outputs"] for opening in report.openings)}
        again = any(line > before and outputs in excused for line, outputs in report.lost)
        check.expect(again or report.more > before, f"{name} is scored on the report split twice, and nothing of it was lost")
    report.scored[name] = check.line, event


def started(check: Check, _event: Event) -> None:
    """Each start opens the report split for itself, and has workers of its own."""
    check.report.open = False
    check.workers.clear()


def joined(check: Check, event: Event) -> None:
    """Each worker of a start has a name of its own."""
    check.expect(event["worker"] not in check.workers, f"{event['worker']} joins and is there already")
    check.workers.add(event["worker"])
    check.counts["workers"] += 1


def left(check: Check, event: Event) -> None:
    """Gone; one that is refused has never joined."""
    check.workers.discard(event["worker"])


def outputs_lost(check: Check, event: Event) -> None:
    """What they held may be scored again."""
    check.report.lost.append((check.line, event["outputs"]))


HANDLERS: dict[str, Callable[[Check, Event], None]] = {
    "SelectionStarted": started,
    "Released": released,
    "SegmentEnded": segment_ended,
    "StateLost": lost,
    "SegmentLost": lost,
    "WorkerJoined": joined,
    "WorkerLeft": left,
    "Stopped": stopped,
    "TrialEnded": trial_ended,
    "ReportOpened": opened,
    "OutputsLost": outputs_lost,
    "FinalistScored": scored,
}


def check_verdict(check: Check) -> None:
    """The verdict's finalists are those that were scored, with the log's scores; what was handed on is that verdict."""
    verdicts = check.of("VerdictReached")
    check.expect(verdicts or not check.ended, "the selection has ended without a verdict")
    if not verdicts:
        return
    verdict, scores = verdicts[-1], defaultdict[str, list[float]](list)
    told = {name: [other[name] for other in verdicts] for name in ("candidate", "method", "report_score")}
    for name, values in told.items():  # a kill right after a verdict has the same one written again
        check.expect(all(value == values[0] for value in values), f"the selection's verdicts differ in their {name}: {values}")
    for event in {event["trial"]: event for event in check.of("FinalistScored")}.values():
        if math.isfinite(event["report_score"]):
            scores[event["candidate"]].append(event["report_score"])
    standings = {row["candidate"]: row["seed_scores"] for row in verdict["standings"]}
    check.counts["finalists"] = len(standings)
    check.expect(standings.keys() == scores.keys(), f"the verdict's finalists are {sorted(standings)}; scored were {sorted(scores)}")
    for name in standings.keys() & scores.keys():
        same = sorted(standings[name]) == sorted(scores[name])
        check.expect(same, f"the verdict's scores of {name} are {standings[name]}; the log has {scores[name]}")
    candidate, method = verdict["candidate"], verdict["method"]
    own = [one.ended for one in check.trials.values() if one.ended and one.ended["candidate"] == candidate]
    check.expect(own and (not standings or candidate in standings), f"the verdict is {candidate}, which is no finalist of this log")
    check.expect({one["method"] for one in own} <= {method}, f"the verdict calls {candidate} {method}; it was trained as another method")
    if check.of("Published"):
        check_handed_on(check, verdict, [one["hyper_parameters"] for one in own])


def check_handed_on(check: Check, verdict: Event, configurations: list[Event]) -> None:
    """``recommendation.json`` and ``winner`` are the verdict's."""
    start, answer, winner = (
        check.of("SelectionStarted")[0],
        *(read_json(check, name) for name in ("recommendation.json", "winner/pelt_config.json")),
    )
    expected = {name: verdict[name] for name in ("candidate", "method", "report_score", "p_best", "statement", "outcome")}
    expected |= {name: start[name] for name in ("selection", "task", "question", "effort")}
    for name, value in expected.items() if answer else ():
        check.expect(answer.get(name) == value, f"recommendation.json has another {name} than the log: {answer.get(name)!r}, not {value!r}")
    if answer:
        board, standings = ([row["candidate"] for row in rows] for rows in (answer["leaderboard"], verdict["standings"]))
        check.expect(board == standings, f"recommendation.json has other finalists than the log: {board}, not {standings}")
    if winner:
        method, own = winner.get("method"), winner.get("hyper_parameters")
        check.expect(method == verdict["method"], f"winner/ has the weights of {method}; the verdict is {verdict['method']}")
        fine = own in configurations or {} in configurations  # a baseline has none
        check.expect(fine, f"winner/ has the weights of another configuration than {verdict['candidate']}: {own}")


def read_json(check: Check, name: str) -> Event:
    """A file that a selection leaves; empty where it is missing or damaged, which is wrong."""
    try:
        found = json.loads((check.folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        check.expect(False, f"{name} can't be read ({error})")
        return {}
    return found if isinstance(found, dict) else {}


# -------------------------------------------------------------------- files


def check_files(check: Check) -> None:
    """Each file that the log refers to, by its hash. May be gone: what the log says is lost, and states that no training needs."""
    gone: set[str] = set()
    for event in check.of("OutputsLost", "ReportOpened", "FinalistScored"):
        (gone.add if event["event"] == "OutputsLost" else gone.discard)(event["outputs"])
    referred = {event["outputs"] for event in check.of("TrialEnded", "ReportOpened", "FinalistScored")} - gone
    here = {path.name for path in (check.folder / "outputs").glob("*") if REFERENCE.fullmatch(path.name)}  # a kill may leave one unreferred
    for reference in sorted(own for own in referred | (here - gone) if own and not own.startswith("[")):
        check_file(check, "outputs", reference)
    for event in check.of("Identified"):
        check_file(check, "texts", event["texts"])
    for one in check.trials.values():
        if REFERENCE.fullmatch(one.state) and not (one.ended or one.holder or one.lost == "StateLost"):  # a recorded training has no file
            check_file(check, "work/checkpoints", one.state)
    for part in WORKING if check.of("Published") else ():
        check.expect(not (check.folder / "work" / part).exists(), f"work/{part} is left over; only a selection under way needs it")


def check_file(check: Check, folder: str, reference: str) -> None:
    """Its content has the hash that is its name."""
    check.counts["files"] += 1
    found = REFERENCE.fullmatch(reference)
    try:
        with (check.folder / folder / reference).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        check.expect(False, f"{folder}/{reference}, which the log refers to, can't be read: {error.strerror}")
        return
    check.expect(found and digest == found[1], f"{folder}/{reference} is damaged: its content has another hash")


# -------------------------------------------------------------------- MLflow and Prefect


def check_mlflow(check: Check, uri: str) -> None:
    """One run for the selection and one for each training that has ended: none twice, none running, each with the log's scores."""
    for name, value in {"MAX_RETRIES": "1", "TIMEOUT": "20"}.items():  # a server that is away costs seconds
        os.environ.setdefault(f"MLFLOW_HTTP_REQUEST_{name}", value)
    from mlflow.exceptions import MlflowException

    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).is_file():  # MLflow would make an empty one
        raise NotCheckableError(f"MLflow at {uri}: there is no such file")
    try:
        parents, children, versions = ask_mlflow(check, uri)
    except MlflowException as error:
        raise NotCheckableError(f"MLflow at {uri} can't be asked: {error.message.splitlines()[0]}") from error
    check.counts["MLflow runs"] = len(parents) + len(children)
    needed = 1 if check.of("Published") else 0
    check.expect(needed <= len(parents) <= 1, f"MLflow has {len(parents)} runs of this selection, and should have one")
    check.expect(needed <= len(versions) <= 1, f"MLflow has {len(versions)} versions of this selection's winner, and should have one")
    score = (check.of("VerdictReached") or [{}])[-1].get("report_score")
    for run in parents:
        check_run(check, run, "the selection's run", "FINISHED" if check.ended else "KILLED", {"report_score": score})
    by_trial = defaultdict[str, list[Any]](list)
    for run in children:
        by_trial[run.data.tags.get("pelt.key", "").partition("/")[2] or run.info.run_name].append(run)
    scores = {event["trial"]: event["report_score"] for event in check.of("FinalistScored")}
    for name, one in check.trials.items():
        if one.ended:
            runs, values = by_trial.pop(name, []), {"best_select_score": one.ended["select_score"], "report_score": scores.get(name)}
            check.expect(needed <= len(runs) <= 1, f"MLflow has {len(runs)} runs of {name}, and should have one")
            for run in runs:
                check_run(check, run, f"the run of {name}", STATUS[one.ended["state"]], values | {"steps": one.ended["steps"]})
    for name, runs in by_trial.items():
        killed = all(run.info.status == "KILLED" for run in runs)
        check.expect(killed, f"MLflow has a run of {name} ({runs[0].info.status}), which hasn't ended in the log")


def ask_mlflow(check: Check, uri: str) -> tuple[list[Any], list[Any], list[Any]]:
    """The selection's runs, its trainings', and the versions of its winner."""
    from mlflow import MlflowClient

    client, starts = MlflowClient(tracking_uri=uri, registry_uri=uri), check.of("SelectionStarted")

    def search(condition: str) -> list[Any]:
        runs, token = list[Any](), ""
        while True:
            page = client.search_runs(experiments, condition, max_results=1000, page_token=token or None)
            runs += page
            if not (token := page.token):
                return runs

    experiments, times = [one.experiment_id for one in client.search_experiments(max_results=1000)], {repr(one["time"]) for one in starts}
    parents = [run for run in search(f"tags.`pelt.key` = '{starts[0]['key']}'") if run.data.tags.get("pelt.started") in times]
    ids = [run.info.run_id for run in parents]
    children = [run for own in ids for run in search(f"tags.`mlflow.parentRunId` = '{own}'")]
    return parents, children, [version for own in ids for version in client.search_model_versions(f"run_id = '{own}'")]


def check_run(check: Check, run: Any, what: str, status: str, values: dict[str, float | None]) -> None:
    """Its status, and its metrics against the log's."""
    check.expect(run.info.status == status, f"in MLflow {what} is {run.info.status}, and should be {status}")
    for name, value in values.items():
        if value is not None and math.isfinite(value):
            found = run.data.metrics.get(name, math.nan)
            check.expect(math.isclose(found, value, rel_tol=1e-9), f"in MLflow {what} has the {name} {found}; the log has {value}")


def check_prefect(check: Check, url: str) -> None:
    """Nobody seems to work on a selection that has ended: no flow run of it, and no step of one, is pending, running or cancelling."""
    tag = f"selection:{check.of('SelectionStarted')[0]['key']}"

    def ask(path: str) -> list[Event]:
        found, page = list[Event](), [Event()]
        while page:
            body = json.dumps({"flow_runs": {"tags": {"all_": [tag]}}, "limit": 200, "offset": len(found)}).encode()
            request = urllib.request.Request(f"{url.rstrip('/')}/{path}/filter", body, {"Content-Type": "application/json"})
            with urllib.request.urlopen(request, timeout=30) as response:
                page = json.load(response)
            found += page
        return found

    try:
        runs, steps = ask("flow_runs"), ask("task_runs")
    except (OSError, ValueError) as error:
        raise NotCheckableError(f"Prefect at {url} can't be asked ({error}); name its API, such as http://127.0.0.1:4200/api") from error
    if not runs:
        raise NotCheckableError(f"Prefect at {url} has no flow run with the tag {tag}: the selection wasn't started there")
    check.counts["Prefect runs"] = len(runs) + len(steps)
    for run in [*runs, *steps] if check.ended else ():
        over = run["state_type"] not in UNDER_WAY
        check.expect(over, f"in Prefect {run['name']} is still {run['state_name']}, though the selection has ended")


# -------------------------------------------------------------------- the program


def options() -> argparse.ArgumentParser:
    """What can be asked for."""
    parser = argparse.ArgumentParser(prog="python -m chaos.checker", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="a selection's folder")
    parser.add_argument("--unfinished", action="store_true", help="it need not have ended")
    parser.add_argument("--mlflow", metavar="URI", help="tracking URI of the MLflow that has it")
    parser.add_argument("--prefect", metavar="URL", help="address of the API of the Prefect server that has run it")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Says what was found; returns the exit code."""
    asked = options().parse_args(arguments)
    try:
        check = checked(asked.folder, asked.mlflow, asked.prefect, unfinished=asked.unfinished)
    except NotCheckableError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for problem in check.problems:
        print(problem)
    counted = ", ".join(f"{number} {what}" for what, number in check.counts.items())
    print(
        f"{len(check.problems)} wrong in {asked.folder}" if check.problems else "Nothing is lost, doubled or left open",
        end=f": {counted}\n",
    )
    return 1 if check.problems else 0


if __name__ == "__main__":
    sys.exit(main())
