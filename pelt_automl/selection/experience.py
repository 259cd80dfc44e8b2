"""What a user's own finished selections of other data have shown: read from the program's home, never changed."""

import hashlib
import logging
import math
import os
import re
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
from pelt_automl.tasks import METRICS, Examples, TaskData
from pelt_automl.verdict.statistics import point

log = logging.getLogger(__name__)

TEXTS = "texts"
"""Folder of the hashes of a selection's texts, inside the selection's."""
MOST_SELECTIONS = 30
"""The user's own that are learned from at most: those with the greatest weight."""
LARGEST_RECORDS = 200_000_000
"""Bytes of records; what is larger isn't read."""
PROBE, LORA = "probe", "lora"
_NEEDED = {kind.__name__ for kind in (SelectionStarted, DataDescribed, Identified, Planned, TrialEnded, ReportOpened, SelectionEnded)}
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


@dataclass(frozen=True)
class Asking:
    """Whose prior it is to join: what must be the same, and what must not."""

    data_hash: str
    weights: str
    """SHA-256 of the pretrained model's."""
    texts: Hashes
    features: Features


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
    if METRICS[metric].in_label_unit and not opened:
        return None
    found = point(metric, history.outputs.get(opened.outputs) if opened else [])
    return found if found > 0 else None


def gather(asking: Asking, folder: Path) -> list[Experience]:
    """The user's finished selections in the program's home that may be learned from, those that say most first, at most `MOST_SELECTIONS`.

    Of the same pretrained weights and of other data: neither the data nor any text of it is the same. `folder`: of the selection that asks.
    What can't be read, hasn't ended, or can't be shown to be of other data is left out, which the log says.
    """
    found, seen = list[Experience](), {folder.resolve()}
    for name, path in _folders():
        try:
            place = path.resolve()
            if place in seen:
                continue
            seen.add(place)
            found.append(_experience(name, path, asking))
        except (OSError, ValueError, SelectionError, RuntimeError) as error:  # a loop of links is a RuntimeError
            log.info("nothing is learned from %s: %s", name, error)
    found.sort(key=lambda own: -weight(asking.features, own.source.features))
    if beyond := found[MOST_SELECTIONS:]:
        log.info("nothing is learned from %d more selections, whose data is less like this: %d are enough", len(beyond), MOST_SELECTIONS)
    return found[:MOST_SELECTIONS]


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
            case TrialEnded() if not history.of_kind(Identified):
                raise ValueError("there are no hashes of its texts, by which they could be told from those at hand")
            case _:
                pass
    if history.end is None:
        raise ValueError("it hasn't ended")
    return _learned(name, history)


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
    described, size = history.data, _point(history)
    ended = {own.trial: own for own in history.ended(Stage.SEARCH) if own.select_score is not None and math.isfinite(own.select_score)}
    probe = next((own.select_score for own in ended.values() if own.method == PROBE), None)
    if probe is None or size is None:
        raise ValueError("there is no score of the probe, above which its trainings could be")
    whole = [own for own in ended.values() if own.state == State.COMPLETED and own.method in METHODS and own.seconds > 0]
    unit = next((own.seconds for own in whole if own.method == LORA and own.is_default), None)
    unit = unit or (history.plan.seconds_a_training if history.plan else 0.0)
    if not whole or not 0 < unit < math.inf:
        raise ValueError("no training of it has come to its end")
    observations = [
        Observation(name, own.method, own.hyper_parameters, described.sign * ((own.select_score or 0.0) - probe) / size, own.seconds / unit)
        for own in whole
    ]
    best: dict[str, Observation] = {}
    for own in observations:
        if own.method not in best or own.gain > best[own.method].gain:
            best[own.method] = own
    source = Source(name, described.hashes["data"], features_of(history), described.hashes["data"])
    return Experience(source, tuple(observations), tuple(Configuration(own.method, dict(own.hyper_parameters)) for own in best.values()))
