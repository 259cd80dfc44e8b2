"""The vocabulary that the rest writes and reads: what happened in a selection, one frozen dataclass a kind of event.

A selection's JSON lines file is a list of these and complete enough to rebuild its report alone. Scores are in the metric's own
unit (accuracy 0 to 1); seconds are wall time; `time` is seconds since the epoch (UTC). Events derived from `Ephemeral` are for
displays and are not kept. No torch here.
"""

import json
import time as clock
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

E = TypeVar("E", bound="Event")

HyperParameters = Mapping[str, Any]
"""A method's hyper-parameters by name: numbers, strings, booleans."""


@dataclass(frozen=True)
class Event:
    """Something that happened at `time`."""


@dataclass(frozen=True)
class Ephemeral(Event):
    """Something that only a display is interested in."""


@dataclass(frozen=True)
class Progress(Ephemeral):
    """How far a phase has come."""

    phase: str
    """``data``, ``search``, ``finalists``, ``evidence``."""
    done: float
    total: float
    """In the same unit as `done`."""
    message: str = ""


@dataclass(frozen=True)
class SelectionStarted(Event):
    """Also written when a selection is taken up again after it was killed (`resumed`)."""

    selection: str
    """Name of the selection's folder: task and key."""
    key: str
    """Hash of task, data, settings, search spaces and program version: the same command gives the same key."""
    task: str
    model: str
    methods: list[str]
    settings: dict[str, Any]
    environment: dict[str, Any]
    """Versions, processor, threads, precision, git commit and dirty flag."""
    resumed: bool = False
    time: float = field(default_factory=clock.time)


@dataclass(frozen=True)
class DataDescribed(Event):
    """The data and its splits."""

    task: str
    kind: Literal["classification", "regression"]
    metric: str
    greater_is_better: bool
    labels: list[str]
    """Class names in the order of their indices; empty for regression."""
    k: int | None
    protocol: str
    sizes: dict[str, int]
    """Examples in ``train``, ``select`` and ``report``."""
    hashes: dict[str, str]
    """SHA-256 of the data (``data``) and of each split."""
    notes: list[str] = field(default_factory=list)
    """What a reader has to know: imbalance, duplicates removed, the report split's origin, ..."""
    time: float = field(default_factory=clock.time)


@dataclass(frozen=True)
class Planned(Event):
    """What the time limit allows, from the speed measured at the start."""

    steps: int
    """Optimizer steps of a full training."""
    rung_steps: int
    """Optimizer steps to the first rung."""
    evaluations: int
    """Evaluations on select in a full training."""
    seconds_a_training: float
    """Predicted for a full training in a pack."""
    message: str = ""
    numbers: dict[str, float] = field(default_factory=dict)
    """What it was planned from and for: ``step_seconds`` (a trial's step), ``example_seconds``, ``finalists``, and ``pack_...`` (see
    `pelt_automl.selection.probe.Packs`)."""
    rungs: list[int] = field(default_factory=list)
    """Optimizer steps to each rung; empty in old records, which had the one of `rung_steps`."""
    time: float = field(default_factory=clock.time)


@dataclass(frozen=True)
class Seeds:
    """A seed triple: each source of randomness on its own."""

    split: int
    initialization: int
    order: int


@dataclass(frozen=True)
class CurvePoint:
    """One evaluation during a training."""

    step: int
    train_loss: float
    select_score: float
    learning_rate: float
    seconds: float
    """Since the trial's start, its share of the pack's time."""


@dataclass(frozen=True)
class TrialEnded(Event):
    """One training has ended: a trial of the search, or a finalist's run on one fresh seed triple."""

    trial: str
    """Unique in the selection: ``lora-0003``, ``final-lora-0003-seed1``."""
    candidate: str
    """The configuration that was trained; a finalist's runs share the name of the trial that it comes from: ``lora-0003``."""
    method: str
    stage: Literal["search", "finalist"]
    number: int
    """The trial's number in its method's study; for a finalist's run the index of its seed triple."""
    state: Literal["completed", "stopped", "failed"]
    """``stopped``: not promoted from its rung."""
    is_default: bool
    hyper_parameters: dict[str, Any]
    seeds: Seeds
    parameters: dict[str, int]
    """Trainable parameters: ``pelt``, ``gates``, ``head``, ``kept`` (their sum), ``training_only``."""
    curve: list[CurvePoint]
    select_score: float | None
    """The best on the curve; None when it failed before the first evaluation."""
    steps: int
    seconds: float
    """Its share of its packs' wall time."""
    constant_predictions: bool = False
    """Whether its best evaluation predicted one class (or one value) throughout."""
    cause: str = ""
    """Why it failed or stopped early: exception type and text, ``loss is not finite``, ..."""
    select_predictions: list[float] = field(default_factory=list)
    """Those on select that `select_score` is the score of, for trials of the search that were trained in full."""
    tokens: dict[str, int] = field(default_factory=dict)
    """Tokens in its training's batches: ``computed`` (padding included) and ``text``; empty in old records."""
    time: float = field(default_factory=clock.time)


@dataclass(frozen=True)
class Decision(Event):
    """Something that the program decided, why, and on which numbers."""

    what: str
    """``promoted``, ``stopped``, ``finalist``, ``left out``, ``shortened``, ``resumed``, ..."""
    subject: str
    """The trial, method or candidate that it is about."""
    why: str
    numbers: dict[str, float] = field(default_factory=dict)
    time: float = field(default_factory=clock.time)


@dataclass(frozen=True)
class ReportOpened(Event):
    """The report split was opened: once, after the search has ended."""

    openings: int
    """How often, this one included."""
    examples: int
    """Examples scored."""
    of: int
    """Examples that the report split has."""
    labels: list[float]
    """The true labels of the examples scored (class index, or the number), in the order of all predictions."""
    time: float = field(default_factory=clock.time)


@dataclass(frozen=True)
class FinalistScored(Event):
    """A finalist's run on the report split."""

    trial: str
    candidate: str
    method: str
    seed_index: int
    report_score: float
    predictions: list[float]
    """Class index or number for each example scored."""
    time: float = field(default_factory=clock.time)


@dataclass(frozen=True)
class GateMeasured(Event):
    """A gate on the select split: one layer and submodule of one finalist's run."""

    trial: str
    candidate: str
    seed_index: int
    submodule: str
    """``adapter``, ``prefix``, ``lora``"""
    site: str
    layer: int
    mean: float
    spread: float
    """Standard deviation over examples."""
    start: float
    """Mean of the same gate before training (about 0.5); the drift is ``mean - start``."""
    time: float = field(default_factory=clock.time)


@dataclass(frozen=True)
class KnockedOut(Event):
    """The select score of a finalist's run with one submodule truly switched off."""

    trial: str
    candidate: str
    seed_index: int
    submodule: str
    score: float
    score_without: float
    time: float = field(default_factory=clock.time)


@dataclass(frozen=True)
class Standing:
    """One finalist in the verdict."""

    candidate: str
    method: str
    is_default: bool
    hyper_parameters: dict[str, Any]
    parameters: int
    """Trainable parameters kept: PELT, gates and head."""
    training_seconds: float
    """Mean over its finalist runs."""
    report_score: float
    """Mean over seeds."""
    report_interval: tuple[float, float]
    """95 % bootstrap interval of the mean, over seeds and examples."""
    seed_scores: list[float]
    select_score: float
    """Mean over its finalist runs."""
    p_best: float
    """Probability of being the best of the finalists."""
    difference: float
    """From the best mean; 0 for the best, else worse by this much (positive, in the metric's unit)."""
    difference_interval: tuple[float, float]
    tied: bool
    """Within the region of practical equivalence of the best."""
    distinguishable: bool
    """Whether the interval of the difference leaves 0 out."""


@dataclass(frozen=True)
class VerdictReached(Event):
    """The answer."""

    method: str
    candidate: str
    """The recommended configuration: the cheapest of the tied."""
    standings: list[Standing]
    """Best report score first."""
    report_metric: str
    report_score: float | None
    """The recommended configuration's; None when the time did not allow a single finalist."""
    p_best: float | None
    statement: str
    """The verdict in words, one paragraph."""
    margins: dict[str, float]
    """The recommended configuration's lead over each fixed default, by candidate, in the metric's unit; positive is better."""
    warnings: list[str] = field(default_factory=list)
    time: float = field(default_factory=clock.time)


@dataclass(frozen=True)
class SelectionEnded(Event):
    """The end, with the bill."""

    reason: str
    """``done``, ``time limit reached during the search``, ..."""
    seconds: float
    """Wall time of the whole selection, earlier starts included."""
    bill: dict[str, float]
    """Seconds by phase: ``data``, ``model``, ``search``, ``finalists``, ``evidence``, ``other``."""
    time: float = field(default_factory=clock.time)


KINDS: dict[str, type[Event]] = {
    kind.__name__: kind
    for kind in (
        SelectionStarted, DataDescribed, Planned, TrialEnded, Decision, ReportOpened, FinalistScored, GateMeasured, KnockedOut,
        VerdictReached, SelectionEnded,
    )
}  # fmt: skip
"""Every kind of event that is kept, by the name that stands in its line."""


class Recorder(Protocol):
    """Takes events as they happen. It must not raise: a recorder never stops a search."""

    def record(self, event: Event) -> None:
        """Take one event."""

    def publish(self, folder: Path) -> None:
        """The selection has ended and its output folder is complete."""

    def close(self) -> None:
        """Write whatever is still held back."""


def to_json(event: Event) -> str:
    """The event as one line of JSON."""
    return json.dumps({"event": type(event).__name__} | asdict(event), ensure_ascii=False)


def standing_from(data: Mapping[str, Any]) -> Standing:
    """A standing from its JSON object. Fields that a later version may have added are left out."""
    known = {f.name for f in fields(Standing)}
    values: dict[str, Any] = {key: tuple(value) if key.endswith("interval") else value for key, value in data.items() if key in known}
    return Standing(**values)


def _nested(kind: type[Event], data: dict[str, Any]) -> dict[str, Any]:
    if "curve" in data:
        data = data | {"curve": [CurvePoint(**point) for point in data["curve"]]}
    if kind is TrialEnded:
        return data | {"seeds": Seeds(**data["seeds"])}
    if kind is VerdictReached:
        return data | {"standings": [standing_from(standing) for standing in data["standings"]]}
    return data


def from_json(line: str, kinds: Mapping[str, type[Event]] = KINDS) -> Event:
    """The inverse of `to_json`. Fields that a later version may have added are left out. `kinds`: those that may stand there, by name.

    Raises `ValueError` when the line isn't an event.
    """
    data = json.loads(line)
    kind = kinds.get(data.pop("event", None)) if isinstance(data, dict) else None
    if kind is None:
        raise ValueError(f"not an event of a selection: {line[:80]!r}")
    known = {f.name for f in fields(kind)}
    return kind(**_nested(kind, {key: value for key, value in data.items() if key in known}))


def read(path: Path, kinds: Mapping[str, type[Event]] = KINDS) -> Iterator[Event]:
    """The events of a JSON lines file, oldest first. A last line that a kill cut off is left out. `kinds`: see `from_json`."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.endswith("\n"):
                yield from_json(line, kinds)


def of_kind(events: Iterable[Event], kind: type[E]) -> list[E]:
    """The events of one kind, in their order."""
    return [event for event in events if isinstance(event, kind)]
