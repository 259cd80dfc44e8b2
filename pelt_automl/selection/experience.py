"""What a user's own finished selections of other data have shown: read from the program's home, never changed."""

import hashlib
import logging
import math
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pelt_automl.errors import SelectionError
from pelt_automl.home import home
from pelt_automl.log.codec import from_json
from pelt_automl.log.events import (
    Configuration,
    DataDescribed,
    Event,
    Identified,
    Planned,
    ReportOpened,
    SelectionEnded,
    SelectionStarted,
    Stage,
    State,
    TrialEnded,
)
from pelt_automl.log.folder import OUTPUTS, RECORDS
from pelt_automl.log.history import History
from pelt_automl.log.outputs import Outputs
from pelt_automl.methods import METHODS
from pelt_automl.search.portfolio import Features, Observation, Source, weight
from pelt_automl.search.shipped import problems_of
from pelt_automl.tasks import METRICS, Examples, TaskData
from pelt_automl.verdict.statistics import point

log = logging.getLogger(__name__)

TEXTS = "texts"
"""Folder of the hashes of a selection's texts, inside the selection's."""
MOST_SELECTIONS = 30
"""The user's own that are learned from at most: those with the greatest weight."""
LARGEST_RECORDS = 200_000_000
"""Bytes of records; what is larger isn't read."""
UNLIMITED_SECONDS = 10.0
"""Spent on reading at most where the selection has no time limit."""
LIMIT_SHARE = 0.02
"""Of a time limit, spent on reading at most."""
TRUSTED_SELECT = 300
"""Examples in select from which on a selection's own scores count in full."""
TAIL = 1_000_000
"""Bytes at the end of the records in which the selection's end stands."""
PROBE, LORA = "probe", "lora"
UNUSABLE = (OSError, ValueError, LookupError, TypeError, ArithmeticError, SelectionError, RuntimeError)
"""What a folder that can't be used may raise; a loop of links is a RuntimeError."""
_NEEDED = {kind.__name__ for kind in (SelectionStarted, DataDescribed, Identified, Planned, TrialEnded, ReportOpened, SelectionEnded)}
NOT_ENDED = "it hasn't ended"
_NAME = re.compile(rb'\{"event": "(\w+)"')

Hashes = NDArray[np.uint64]
"""Sorted, each once."""


@dataclass(frozen=True)
class Experience:
    """What one finished selection has shown."""

    source: Source
    observations: tuple[Observation, ...]
    best: tuple[Configuration, ...]
    """Of each method the one that gained most."""
    trust: float = 1.0
    """From 0 to 1: less where its select split is too small to tell configurations apart."""


@dataclass(frozen=True)
class Asking:
    """Whose prior it is to join: what must be the same, and what must not."""

    data_hash: str
    weights: str
    """SHA-256 of the pretrained model's."""
    texts: Hashes
    features: Features
    seconds: float = UNLIMITED_SECONDS
    """Spent on reading at most."""


def hashes_of(data: TaskData) -> Hashes:
    """64 bits of the SHA-256 of every text of a selection's data, as texts are compared everywhere: without white space at their ends."""
    parts: list[Examples] = [data.pool, data.report, *([data.validation] if data.validation is not None else [])]
    texts = {text for part in parts for example in part.texts for text in example if text}
    digests = b"".join(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8] for text in texts)
    return np.unique(np.frombuffer(digests, "<u8").astype(np.uint64))


def features_of(history: History) -> Features:
    """Of the data that a selection describes."""
    described = history.data
    probe = next((own.select_score for own in history.ended(Stage.SEARCH) if own.method == PROBE), None)
    above, size = None, _point(history)
    if probe is not None and described.guess_on_select is not None and size:
        found = described.sign * (probe - described.guess_on_select) / size
        above = found if math.isfinite(found) else None
    examples = described.sizes.get("train", 0) + described.sizes.get("select", 0)
    return Features(len(described.labels), max(1, examples), max(1, described.text_length.get("most", 1)), above)


def _point(history: History) -> float | None:
    """One point of its metric; None where that depends on labels that aren't known, or all are the same."""
    metric, opened = history.data.metric, history.opened
    if metric not in METRICS:
        raise ValueError(f"there is no metric {metric!r}")
    if not METRICS[metric].in_label_unit:
        return point(metric, [])
    found = point(metric, history.outputs.get(opened.outputs)) if opened else 0.0
    return found if found > 0 else None


def gather(asking: Asking, folder: Path) -> list[Experience]:
    """The user's finished selections in the program's home that may be learned from, those that say most first, at most `MOST_SELECTIONS`.

    Of the same pretrained weights and of other data: neither the data nor any text of it is the same. `folder`: of the selection that asks.
    What can't be read, hasn't ended, or can't be shown to be of other data is left out, which the log says. The newest are read first, and
    none any more when the time for it is used.
    """
    found, seen, begun = list[tuple[float, Experience]](), {folder.resolve()}, time.monotonic()
    folders = sorted(_folders(), key=_age)
    for number, (name, path) in enumerate(folders):
        if time.monotonic() - begun > asking.seconds:
            log.info("nothing is learned from older selections (%d): the time for it is used", len(folders) - number)
            break
        try:
            place = path.resolve()
            if place in seen:
                continue
            seen.add(place)
            own = _experience(name, path, asking)
            found.append((weight(asking.features, own.source.features), own))
        except UNUSABLE as error:
            log.info("nothing is learned from %s: %s", name, error)
    found.sort(key=lambda pair: (-pair[0], pair[1].source.name))
    if beyond := found[MOST_SELECTIONS:]:
        log.info("nothing is learned from %d more selections, whose data is less like this: %d are enough", len(beyond), MOST_SELECTIONS)
    return [own for _, own in found[:MOST_SELECTIONS]]


def _age(folder: tuple[str, Path]) -> tuple[float, str]:
    """By which the newest comes first, and of equals the first by its name."""
    name, path = folder
    try:
        return -(path / RECORDS).stat().st_mtime, name
    except OSError:
        return 0.0, name


def _folders() -> Iterator[tuple[str, Path]]:
    """Whatever in the home may be a selection, those inside of a curve over K too, by its path in the home, in plain characters."""
    root = home() / "selections"
    try:
        tops = sorted(path for path in root.iterdir() if path.is_dir())
    except OSError as error:
        log.info("there are no selections to learn from: %s", error)
        return
    for top in tops:
        try:
            inside = [] if (top / RECORDS).is_file() else sorted(path for path in top.glob("k-*") if path.is_dir())
        except OSError as error:
            log.info("nothing is learned from %s: %s", _plain(f"{root.name}/{top.name}"), error)
            continue
        for path in inside or [top]:
            yield _plain(str(path.relative_to(root.parent))), path


def _plain(name: str) -> str:
    """A file's name as text that every log and terminal takes."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def _experience(name: str, folder: Path, asking: Asking) -> Experience:
    """Of one folder. Raises `ValueError` and others with the reason where nothing may be learned from it, as soon as that is clear."""
    history = History(outputs=Outputs(folder / OUTPUTS))
    for event in _events(folder / RECORDS):
        history.apply(event)
        match event:
            case DataDescribed(hashes=hashes) if hashes.get("data") == asking.data_hash:
                raise ValueError("it is of the same data")
            case Identified(weights=weights) if not weights or weights != asking.weights:
                raise ValueError("its pretrained model has other weights")
            case Identified(texts=reference):
                _check_texts(folder, reference, asking.texts)
                _check_end(folder / RECORDS)
            case TrialEnded() if not history.of_kind(Identified):
                raise ValueError("there are no hashes of its texts, by which they could be told from those at hand")
            case _:
                pass
    if history.end is None:
        raise ValueError(NOT_ENDED)
    return _learned(name, history)


def _check_end(path: Path) -> None:
    """Raises `ValueError` where the last lines don't hold the selection's end, before the many lines of its trainings are read."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL))
        if b'{"event": "SelectionEnded"' not in file.read():
            raise ValueError(NOT_ENDED)


def _events(path: Path) -> Iterator[Event]:
    """Of a selection's records those that are needed, without anybody's finals."""
    if not path.is_file():
        raise ValueError("there are no records of a selection")
    if path.stat().st_size > LARGEST_RECORDS:
        raise ValueError(f"its records are larger than {LARGEST_RECORDS:,} bytes")
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return  # a kill cut it off
            kind = _NAME.match(line)
            if kind is None or (number == 1 and kind[1] != b"SelectionStarted"):
                raise ValueError(f"{RECORDS}, line {number}: it isn't an event of a selection")
            if kind[1].decode() in _NEEDED and not (kind[1] == b"TrialEnded" and b'"stage": "finalist"' in line):
                yield from_json(line)


def _check_texts(folder: Path, reference: str, own: Hashes) -> None:
    """Raises `ValueError` where any text is the same, or nobody can tell."""
    if not (folder / TEXTS / reference).is_file():
        raise ValueError("the hashes of its texts aren't there")
    theirs: Any = Outputs(folder / TEXTS).get(reference)
    if not isinstance(theirs, np.ndarray) or theirs.dtype != np.uint64 or theirs.ndim != 1:
        raise ValueError("the hashes of its texts aren't numbers of 64 bits")
    if np.isin(own, theirs).any():
        raise ValueError("it has texts of the data at hand")


def _learned(name: str, history: History) -> Experience:
    """Raises `ValueError` and others where there is nothing to learn from it."""
    described, size, steps = history.data, _point(history), history.plan.steps if history.plan else 0
    data_hash = described.hashes.get("data")
    if not data_hash:
        raise ValueError("there is no hash of its data")
    ended = history.ended(Stage.SEARCH)
    probe = next((own.select_score for own in ended if own.method == PROBE), None)
    if probe is None or size is None:
        raise ValueError("there is no score of the probe, above which its trainings could be")
    costs = {own.trial: cost for own in ended if own.method in METHODS and 0 < (cost := _seconds(own, steps)) < math.inf}
    whole = [own for own in ended if own.trial in costs and own.state == State.COMPLETED]
    unit = next((costs[own.trial] for own in whole if own.method == LORA and own.is_default), None)
    unit = unit or (history.plan.seconds_a_training if history.plan else 0.0)
    if not whole or not 0 < unit < math.inf:
        raise ValueError("no training of it has come to its end")
    observations = [
        Observation(name, own.method, own.hyper_parameters, described.sign * (score - probe) / size, costs[own.trial] / unit)
        for own in ended
        if own.trial in costs and (score := _last_score(own)) is not None
    ]
    observations = [own for own in observations if not problems_of(own, [name])]
    if not observations:
        raise ValueError("no training of it has a score and a configuration that can be tried")
    best: dict[str, Observation] = {}
    for own in observations:
        if own.method not in best or own.gain > best[own.method].gain:
            best[own.method] = own
    source = Source(name, data_hash, features_of(history), data_hash)
    trust = min(1.0, max(1, described.sizes.get("select", 0)) / TRUSTED_SELECT)
    found = tuple(Configuration(own.method, dict(own.hyper_parameters)) for own in best.values())
    return Experience(source, tuple(observations), found, trust)


def _seconds(trial: TrialEnded, steps: int) -> float:
    """Of a training of so many steps, at the speed of this one, unless it failed or the clock stopped it: then 0."""
    if trial.state == State.COMPLETED:
        return trial.seconds
    judged = trial.state == State.STOPPED and not trial.out_of_time and trial.steps > 0
    return trial.seconds * steps / trial.steps if judged else 0.0


def _last_score(trial: TrialEnded) -> float | None:
    """On select after its last step: the best of its curve may be its start, where the head is the probe's, and would hide any harm."""
    return next((own.select_score for own in reversed(trial.curve) if own.step > 0), None)
