"""A selection's records as the runs that MLflow shows: one for the selection, one for each training. Pure; no MLflow here."""

import hashlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pelt_automl.errors import SelectionError
from pelt_automl.log.events import (
    Calibrated,
    ContributionMeasured,
    CostMeasured,
    DataDescribed,
    Event,
    FinalistScored,
    GateMeasured,
    KnockedOut,
    Planned,
    ReportOpened,
    SelectionEnded,
    SelectionStarted,
    Stage,
    TrialEnded,
    VerdictReached,
)  # fmt: skip
from pelt_automl.log.history import History
from pelt_automl.printable import without_secrets

STATUS = {"completed": "FINISHED", "stopped": "FINISHED", "failed": "FAILED"}
"""MLflow's status of a trial's run; the tag ``state`` tells completed from stopped."""
LONGEST_VALUE = 5000
"""Characters of a tag or parameter that are kept (MLflow's limits are 8,000 and 6,000)."""

Values = Mapping[str, float | None]


@dataclass(frozen=True)
class Point:
    """A metric's value at a moment, in seconds since the epoch, and at a step."""

    name: str
    value: float
    time: float
    step: int = 0


@dataclass
class RunContent:
    """What a run holds."""

    name: str
    started: float
    """Seconds since the epoch, as `ended`."""
    ended: float
    status: str
    """MLflow's: ``FINISHED``, ``FAILED``, or ``KILLED`` for a selection that hasn't ended."""
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    points: list[Point] = field(default_factory=list)

    def add(self, time: float, values: Values, step: int = 0) -> None:
        """Add metrics of one moment. Values that are missing or not finite are left out."""
        self.points += [
            Point(metric_name(name), float(value), time, step)
            for name, value in values.items()
            if value is not None and math.isfinite(value)
        ]

    @property
    def digest(self) -> str:
        """The same for the same content: 16 hex digits."""
        return hashlib.sha256(repr(asdict(self)).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class RunTree:
    """A selection and its runs."""

    history: History
    parent: RunContent
    children: dict[str, RunContent]
    """By trial."""

    @property
    def starts(self) -> list[SelectionStarted]:
        """The first and each resumption."""
        return self.history.of_kind(SelectionStarted)

    @property
    def selection(self) -> SelectionStarted:
        """Its first start."""
        return self.starts[0]

    @property
    def data(self) -> DataDescribed | None:
        """None where it was killed before they were described."""
        return next(reversed(self.history.of_kind(DataDescribed)), None)


def run_tree(history: History) -> RunTree:
    """The runs of a selection with these records. Raises `SelectionError` when they don't say which selection it is."""
    starts = history.of_kind(SelectionStarted)
    if not starts:
        raise SelectionError("the records don't say which selection it is; is this a selection's folder?")
    return RunTree(history, _parent(history, starts[0]), _children(history, starts[0]))


# ---------------------------------------------------------------- the selection's run


def _parent(history: History, selection: SelectionStarted) -> RunContent:
    last = max((event.time for event in history.events if isinstance(event, TrialEnded | SelectionEnded)), default=selection.time)
    run = RunContent(selection.selection, selection.time, last, "FINISHED" if history.end else "KILLED")
    run.params = texts(flat(selection.settings))
    run.tags = texts(flat(selection.environment, "environment.") | selection_tags(selection) | {"stage": "selection"})
    for event in history.events:
        match event:
            case DataDescribed():
                run.add(event.time, {f"examples/{name}": size for name, size in event.sizes.items()})
                tags: dict[str, object] = {"kind": event.kind, "metric": event.metric, "k": k_text(event.k), "protocol": event.protocol}
                tags["positive_class"] = event.positive_class or None
                hashes = {f"hash.{name}": value for name, value in event.hashes.items()}
                notes = {f"note.{index}": note for index, note in enumerate(event.notes)}
                run.tags |= texts(tags | hashes | notes)
            case Planned():
                final = event.final_steps or event.steps
                run.add(event.time, {"plan/steps": event.steps, "plan/rung_steps": event.rung_steps, "plan/final_steps": final})
                run.tags |= texts({"plan": event.message})
            case ReportOpened():
                run.add(event.time, {"report_openings": event.openings, "report_examples": event.examples})
            case Calibrated():
                errors = {"calibration_error/before": event.error_before, "calibration_error/after": event.error_after}
                run.add(event.time, {"temperature": event.temperature} | errors)
            case VerdictReached():
                _add_verdict(run, event, history.ended())
            case SelectionEnded():
                run.add(event.time, {"seconds": event.seconds} | {f"bill/{phase}": seconds for phase, seconds in event.bill.items()})
                run.add(event.time, {f"bill/{name.partition(' ')[0]}": seconds for name, seconds in event.devices.items()})
                run.tags |= texts({"ended": event.reason})
            case _:
                pass
    return run


def selection_tags(selection: SelectionStarted) -> dict[str, object]:
    """What a selection's run and its winner's version are found by."""
    settings = selection.settings
    return {
        "task": selection.task,
        "model": selection.model,
        "methods": ", ".join(selection.methods),
        "k": k_text((settings.get("task") or {}).get("k")),
        "protocol": (settings.get("task") or {}).get("protocol"),
        "seed": (settings.get("search") or {}).get("seed"),
        "question": selection.question or None,
        "effort": selection.effort or None,
    }


def _add_verdict(run: RunContent, event: VerdictReached, trials: Sequence[TrialEnded]) -> None:
    """The winner's score, and its method and hyper-parameters under the names that they have in the trainings' runs."""
    run.add(event.time, {"report_score": event.report_score, "p_best": event.p_best})
    run.add(event.time, {f"margin/{candidate}": margin for candidate, margin in event.margins.items()})
    winner = next((trial for trial in trials if trial.candidate == event.candidate), None)
    if winner:
        run.params |= texts({"method": event.method} | winner.hyper_parameters)
        run.add(event.time, {"best_select_score": winner.select_score})
        run.add(event.time, {f"parameters/{name}": number for name, number in winner.parameters.items()})
    tied = ", ".join(standing.candidate for standing in event.standings if standing.tied)
    run.tags |= texts({"outcome": event.outcome, "verdict.method": event.method})
    run.tags |= texts({"verdict.candidate": event.candidate, "verdict.tied": tied})
    run.tags |= texts({f"warning.{index}": warning for index, warning in enumerate(event.warnings)})
    # MLflow shows this tag as the run's description.
    run.tags |= texts({"report_metric": event.report_metric, "mlflow.note.content": event.statement})


# ---------------------------------------------------------------- the trainings' runs


def _children(history: History, selection: SelectionStarted) -> dict[str, RunContent]:
    """A training that went on after it had been stopped is the one that it became."""
    shared = {key: value for key, value in selection_tags(selection).items() if key != "methods"}
    for data in history.of_kind(DataDescribed):
        shared |= {"k": k_text(data.k), "protocol": data.protocol}
    rungs = (history.plan.rungs or [history.plan.rung_steps]) if history.plan else None
    runs = {event.trial: _training(event, shared, rungs) for event in history.ended()}
    for event in history.events:
        for trial, values, step in _evidence(event):
            if trial in runs:
                runs[trial].add(event.time, values, step)
    return runs


def _training(event: TrialEnded, shared: Mapping[str, object], rungs: Sequence[int] | None) -> RunContent:
    started = event.time - event.seconds
    run = RunContent(event.trial, started, event.time, STATUS[event.state])
    # Only parameters and metrics can be axes of MLflow's compare view.
    run.params = texts({"method": event.method} | event.hyper_parameters)
    # Tags are copied to each child, or filters on them would drop the children.
    run.tags = texts(shared) | texts(
        {
            "method": event.method,
            "stage": event.stage,
            "rung": sum(event.steps > rung for rung in rungs) if rungs is not None and event.stage == Stage.SEARCH else None,
            "seed": f"{event.seeds.split}-{event.seeds.initialization}-{event.seeds.order}",
            "candidate": event.candidate,
            "number": event.number,
            "state": event.state,
            "is_default": str(event.is_default).lower(),
            "constant_predictions": str(event.constant_predictions).lower(),
            "cause": event.cause or None,
        }
    )
    for point in event.curve:
        values = {"train_loss": point.train_loss, "select_score": point.select_score, "learning_rate": point.learning_rate}
        run.add(started + point.seconds, values, point.step)
    run.add(event.time, {"best_select_score": event.select_score, "seconds": event.seconds, "steps": event.steps})
    run.add(event.time, {f"parameters/{name}": number for name, number in event.parameters.items()})
    return run


def _evidence(event: Event) -> Iterator[tuple[str, Values, int]]:
    """What an event adds to a training's run: the training, metrics, and their step. A layer takes the step's place, so that MLflow draws
    the gates over the layers.
    """
    match event:
        case FinalistScored():
            yield event.trial, {"report_score": event.report_score}, 0
        case GateMeasured():
            name, drift = f"{event.submodule}.{event.site}", event.mean - event.start
            values = {f"gate_mean/{name}": event.mean, f"gate_drift/{name}": drift, f"gate_spread/{name}": event.spread}
            yield event.trial, values, event.layer
        case ContributionMeasured():
            yield event.trial, {f"contribution/{event.submodule}.{event.site}": event.mean}, event.layer
        case KnockedOut():
            yield event.trial, {"select_score_all": event.score, f"select_score_without/{event.submodule}": event.score_without}, 0
        case CostMeasured():
            latencies = {f"{'merged_' if own.merged else ''}latency_ms_{own.batch}": own.ms for own in event.latencies}
            for trial in event.trials:
                yield trial, latencies | {"memory_gb": event.memory_gb}, 0
        case _:
            pass


# ---------------------------------------------------------------- names and texts


def k_text(k: int | None) -> str:
    """As tags have it: ``100``, or ``full``."""
    return "full" if k is None else str(k)


def metric_name(key: str) -> str:
    """`key` with the characters that MLflow allows."""
    return re.sub(r"[^\w./ -]", "_", key)[:250]


def texts(values: Mapping[str, Any]) -> dict[str, str]:
    """As MLflow takes them: short enough, without passwords and tokens, without what is None."""
    return {metric_name(key): without_secrets(str(value))[:LONGEST_VALUE] for key, value in values.items() if value is not None}


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, with dots in the names."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        result |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return result
