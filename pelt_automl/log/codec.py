"""Events as lines of JSON and back, what an earlier version wrote included; and other values of JSON as what they should be."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pelt_automl.errors import SelectionError
from pelt_automl.log.events import KINDS, Event, Prediction, Reason, What
from pelt_automl.log.outputs import Outputs

T = TypeVar("T")


def checked(kind: type[T], data: Any) -> T:
    """Plain values, as JSON gives them, as a `kind`: a dataclass, or a list of one. Fields that it doesn't have are left out.

    Raises `ValueError` that says what is missing or has another type, and where: ``curve[0].step: expected `int`, got `str```.
    """
    import msgspec  # the training core and its studies run without it

    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        what, _, place = str(error).partition(" - at `$")
        lacks = re.fullmatch(r"Object missing required field `(\w+)`", what)
        where = (place.rstrip("`") + (f".{lacks[1]}" if lacks else "")).lstrip(".")
        raise ValueError(f"{where or 'as a whole'}: {'it is missing' if lacks else what[:1].lower() + what[1:]}") from None


def to_json(event: Event) -> str:
    """The event as one line of JSON."""
    import msgspec

    return json.dumps({"event": type(event).__name__} | msgspec.to_builtins(event), ensure_ascii=False)


def from_json(line: str | bytes, kinds: Mapping[str, type[Event]] = KINDS) -> Event:
    """The inverse of `to_json`. Fields that a later version may have added are left out. `kinds`: those that may stand there, by name.

    Raises `ValueError` when the line isn't an event, or lacks something of it.
    """
    data = json.loads(line)  # not msgspec's decoder: a loss may be NaN
    name = data.get("event") if isinstance(data, dict) else None
    kind = kinds.get(name) if isinstance(name, str) else None
    if kind is None:
        raise ValueError(f"not an event of a selection: {line[:80]!r}")
    try:
        return checked(kind, upgraded(data))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def read(path: Path, kinds: Mapping[str, type[Event]] = KINDS) -> Iterator[Event]:
    """The events of a JSON lines file, oldest first. A last line that a kill cut off is left out. `kinds`: see `from_json`.

    Raises `SelectionError` for a file that can't be read, and for a line that isn't an event, with its number.
    """
    try:
        *lines, _ = path.read_bytes().split(b"\n")
    except OSError as error:
        raise SelectionError(f"{path} can't be read: {error.strerror}") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield _event_at(path, number, line, kinds)


def _event_at(path: Path, number: int, line: bytes, kinds: Mapping[str, type[Event]]) -> Event:
    try:
        return from_json(line, kinds)
    except (ValueError, RecursionError) as error:
        raise SelectionError(
            f"{path} is damaged, or was written by another version: line {number} can't be read ({error}). "
            "Put back a copy of it, or begin again in another folder"
        ) from error


_OUTPUTS = {"ReportOpened": "labels", "FinalistScored": "predictions", "TrialEnded": "select_predictions"}
"""The lists that stood where the reference ``outputs`` stands now."""

_MOVED = ("step_seconds", "example_seconds", "finalists", "seconds_enough", "pack_size")


def upgraded(data: dict[str, Any]) -> dict[str, Any]:
    """A line as this version writes it, whichever has written it.

    Version 0.1.0 kept a plan's figures in `Planned.numbers`, and outputs as lists, and said what it decided in words.
    """
    if (field := _OUTPUTS.get(data["event"], "")) in data:
        try:
            listed = checked(list[Prediction], data[field])
        except ValueError as error:
            raise ValueError(f"{field}: {error}") from None
        return data | {"outputs": Outputs().put(listed) if listed or field != "select_predictions" else ""}
    match data:
        case {"event": "Planned", "numbers": dict(numbers)} if "step_seconds" in numbers or "precision_bits" in numbers:
            moved = {name: numbers[name] for name in _MOVED if name in numbers}
            moved |= {name: int(moved[name]) for name in ("finalists", "pack_size") if name in moved}
            if bits := numbers.get("precision_bits"):
                moved["precision"] = "bf16" if bits == 16 else "fp32"
            rest = {name: value for name, value in numbers.items() if name not in (*_MOVED, "precision_bits")}
            return data | moved | {"numbers": rest}
        case {"event": "Decision", "what": "left out"}:
            return data | {"what": _left_out(data)}
        case {"event": "Decision", "what": "started anew"}:
            return data | {"what": What.STARTED_OVER}
        case {"event": "SelectionEnded", "reason": str(reason)} if reason.startswith(Reason.TIME):
            return data | {"reason": Reason.TIME}
    return data


def _left_out(data: Mapping[str, Any]) -> What:
    """One of the eight things that the words "left out" meant."""
    subject, why = str(data.get("subject")), str(data.get("why"))
    if subject.startswith("gate evidence"):
        return What.NO_TIME_FOR_EVIDENCE
    if why.startswith("the time left was too short to measure it"):
        return What.NO_TIME_FOR_COSTS
    if why == "the time left is too short for another seed":
        return What.NO_TIME_FOR_SEED
    if why.endswith("but no time for it") or why == "the time left is too short to train it on the finalists' seeds":
        return What.NO_TIME_FOR_FINALIST
    if why.endswith(" is the same configuration"):
        return What.SAME_CONFIGURATION
    return What.METHOD_IMPOSSIBLE if why.startswith("not possible on ") else What.METHOD_OVER
