"""A selection in MLflow: one experiment a text task, one parent run a selection, one child run a trial and a finalist's run."""

import time as clock
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pelt_automl.errors import SelectionError
from pelt_automl.recorders.mlflow_publishing import register_winner, upload
from pelt_automl.recorders.mlflow_runs import KEY, RECORDED, STARTED, Runs, flat, metrics_at
from pelt_automl.recorders.mlflow_server import artifact_location, default_tracking_uri, make_client
from pelt_automl.records import (
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
    TrialEnded,
    VerdictReached,
    read,
)

STATUS = {"completed": "FINISHED", "stopped": "FINISHED", "failed": "FAILED"}
"""MLflow's status of a trial's run; the tag ``state`` tells completed from stopped."""


class MlflowRecorder:
    """Sends events to an MLflow server or SQLite file as they happen, and may raise when it is away (see `SafeRecorder`).

    Every run carries its own key and every metric its event's time, so that sending an event again changes nothing: a selection
    that is taken up again goes on in its old runs, and `publish` sends whatever the server missed.
    """

    def __init__(self, tracking_uri: str | None = None) -> None:
        """`tracking_uri` None: ``$MLFLOW_TRACKING_URI``, else a SQLite file in the program's home."""
        self.uri = tracking_uri or default_tracking_uri()
        self._client = make_client(self.uri)
        self._selection: SelectionStarted | None = None
        self._forget_runs()
        self._handlers: dict[type[Event], Callable[[Any], None]] = {
            SelectionStarted: self._selection_started,
            DataDescribed: self._data_described,
            Planned: self._planned,
            TrialEnded: self._trial_ended,
            ReportOpened: self._report_opened,
            FinalistScored: self._finalist_scored,
            GateMeasured: self._gate_measured,
            ContributionMeasured: self._contribution_measured,
            KnockedOut: self._knocked_out,
            CostMeasured: self._cost_measured,
            VerdictReached: self._verdict_reached,
            SelectionEnded: self._selection_ended,
        }

    def _forget_runs(self) -> None:
        self._known_runs: Runs | None = None
        self._parent_id: str | None = None
        self._children: dict[str, str] = {}
        self._recorded: dict[str, float] = {}
        self._data: DataDescribed | None = None
        self._plan: Planned | None = None
        self._rungs: list[int] = []
        self._ended = False

    def record(self, event: Event) -> None:
        """Send one event; those that MLflow has no place for (decisions, progress) are left out."""
        if handler := self._handlers.get(type(event)):
            handler(event)

    def publish(self, folder: Path) -> None:
        """Send what is missing from ``folder/records.jsonl``, then report, records and winner, then register the winner's weights."""
        events = list(read(folder / "records.jsonl"))
        self._replay(events)
        if self._selection is None:
            raise SelectionError(f"{folder / 'records.jsonl'} doesn't say which selection it is; is this a selection's folder?")
        upload(self._client, self._parent(), folder)
        verdicts = [event for event in events if isinstance(event, VerdictReached)]
        if verdicts and (folder / "winner").is_dir():
            register_winner(self._client, self._parent(), self._selection, verdicts[-1])

    def close(self) -> None:
        """A selection that hasn't ended is marked as killed, until it is taken up again."""
        if self._parent_id and not self._ended:
            self._runs().end(self._parent_id, "KILLED", clock.time())

    # ---------------------------------------------------------------- runs

    def _replay(self, events: list[Event]) -> None:
        starts = [event for event in events if isinstance(event, SelectionStarted)]
        if not starts:
            return
        self._forget_runs()
        self._selection = starts[0]
        self._adopt({repr(start.time) for start in starts})
        for event in events:
            if not isinstance(event, SelectionStarted):
                self.record(event)

    def _runs(self) -> Runs:
        if self._selection is None:
            raise SelectionError("an event came before SelectionStarted, so that its selection isn't known")
        if self._known_runs is None:
            task = self._selection.task
            self._known_runs = Runs(self._client, task, artifact_location(self.uri, task))
        return self._known_runs

    def _parent(self) -> str:
        if self._parent_id is None:
            self._adopt(set())
        assert self._parent_id is not None
        return self._parent_id

    def _adopt(self, starts: set[str]) -> None:
        """Find the selection's run by its key and start, or make it.

        A selection that is taken up again doesn't know its first start while it runs: then it is the newest run of its key.
        """
        runs, selection = self._runs(), self._selection
        assert selection is not None
        starts = starts | {repr(selection.time)}
        for run in runs.find_parents(selection.key):
            if selection.resumed or run.data.tags.get(STARTED) in starts:
                self._parent_id = run.info.run_id
                self._adopt_children(run.info.run_id)
                break
        else:
            tags = {KEY: selection.key, STARTED: repr(selection.time), "mlflow.source.name": "pelt-automl"}
            self._parent_id = runs.create(selection.selection, tags, selection.time)
        runs.log(self._parent_id, params=flat(selection.settings), tags=_selection_tags(selection))

    def _adopt_children(self, parent_id: str) -> None:
        for run in self._runs().children(parent_id):
            trial = run.data.tags.get(KEY, "").partition("/")[2]
            self._children[trial] = run.info.run_id
            self._recorded[trial] = float(run.data.tags.get(RECORDED, 0.0))

    def _child(self, trial: str, started: float) -> str:
        parent_id, selection = self._parent(), self._selection
        if trial not in self._children:
            assert selection is not None
            tags = {KEY: f"{selection.key}/{trial}", "mlflow.parentRunId": parent_id, "mlflow.source.name": "pelt-automl"}
            self._children[trial] = self._runs().create(trial, tags, started)
        return self._children[trial]

    def _log_on_parent(self, time: float, metrics: Mapping[str, float | None], tags: Mapping[str, object]) -> None:
        self._runs().log(self._parent(), metrics_at(time, metrics), tags=tags)

    # ---------------------------------------------------------------- one handler a kind of event

    def _selection_started(self, event: SelectionStarted) -> None:
        self._forget_runs()
        self._selection = event
        self._runs().reopen(self._parent())

    def _data_described(self, event: DataDescribed) -> None:
        self._data = event
        tags: dict[str, object] = {"kind": event.kind, "metric": event.metric, "k": _k_text(event.k), "protocol": event.protocol}
        hashes = {f"hash.{name}": value for name, value in event.hashes.items()}
        notes = {f"note.{index}": note for index, note in enumerate(event.notes)}
        self._log_on_parent(event.time, {f"examples/{name}": size for name, size in event.sizes.items()}, tags | hashes | notes)

    def _planned(self, event: Planned) -> None:
        self._plan = event
        self._rungs = event.rungs or [event.rung_steps]
        steps = {"plan/steps": event.steps, "plan/rung_steps": event.rung_steps, "plan/final_steps": event.final_steps or event.steps}
        self._log_on_parent(event.time, steps, {"plan": event.message})

    def _trial_ended(self, event: TrialEnded) -> None:
        started = event.time - event.seconds
        run_id = self._child(event.trial, started)
        if self._recorded.get(event.trial, 0.0) >= event.time:
            return
        curve = [
            metric
            for point in event.curve
            for metric in metrics_at(
                started + point.seconds,
                {"train_loss": point.train_loss, "select_score": point.select_score, "learning_rate": point.learning_rate},
                point.step,
            )
        ]
        totals: dict[str, float | None] = {"best_select_score": event.select_score, "seconds": event.seconds, "steps": event.steps}
        totals |= {f"parameters/{name}": number for name, number in event.parameters.items()}
        runs = self._runs()
        runs.log(run_id, curve + metrics_at(event.time, totals), dict(event.hyper_parameters), self._child_tags(event))
        runs.end(run_id, STATUS[event.state], event.time)
        runs.log(run_id, tags={RECORDED: repr(event.time)})
        self._recorded[event.trial] = event.time

    def _child_tags(self, event: TrialEnded) -> dict[str, object]:
        """Tags are copied to each child, or filters on them would drop the children."""
        selection, seeds = self._selection, event.seeds
        assert selection is not None
        k = self._data.k if self._data else (selection.settings.get("task") or {}).get("k")
        return {
            "task": selection.task,
            "model": selection.model,
            "k": _k_text(k),
            "protocol": self._data.protocol if self._data else None,
            "method": event.method,
            "stage": event.stage,
            "rung": sum(event.steps > rung for rung in self._rungs) if self._plan and event.stage == "search" else None,
            "seed": f"{seeds.split}-{seeds.initialization}-{seeds.order}",
            "candidate": event.candidate,
            "number": event.number,
            "state": event.state,
            "is_default": str(event.is_default).lower(),
            "constant_predictions": str(event.constant_predictions).lower(),
            "cause": event.cause or None,
        }

    def _report_opened(self, event: ReportOpened) -> None:
        self._log_on_parent(event.time, {"report_openings": event.openings, "report_examples": event.examples}, {})

    def _finalist_scored(self, event: FinalistScored) -> None:
        self._runs().log(self._child(event.trial, event.time), metrics_at(event.time, {"report_score": event.report_score}))

    def _gate_measured(self, event: GateMeasured) -> None:
        name = f"{event.submodule}.{event.site}"
        values = {f"gate_mean/{name}": event.mean, f"gate_drift/{name}": event.mean - event.start, f"gate_spread/{name}": event.spread}
        # The layer takes the step's place, so that MLflow draws the gates over the layers.
        self._runs().log(self._child(event.trial, event.time), metrics_at(event.time, values, step=event.layer))

    def _contribution_measured(self, event: ContributionMeasured) -> None:
        values = {f"contribution/{event.submodule}.{event.site}": event.mean}
        self._runs().log(self._child(event.trial, event.time), metrics_at(event.time, values, step=event.layer))

    def _knocked_out(self, event: KnockedOut) -> None:
        values = {"select_score_all": event.score, f"select_score_without/{event.submodule}": event.score_without}
        self._runs().log(self._child(event.trial, event.time), metrics_at(event.time, values))

    def _cost_measured(self, event: CostMeasured) -> None:
        values = {f"{'merged_' if own.merged else ''}latency_ms_{own.batch}": own.ms for own in event.latencies}
        for trial in event.trials:
            self._runs().log(self._child(trial, event.time), metrics_at(event.time, values | {"memory_gb": event.memory_gb}))

    def _verdict_reached(self, event: VerdictReached) -> None:
        metrics = {"report_score": event.report_score, "p_best": event.p_best}
        metrics |= {f"margin/{candidate}": margin for candidate, margin in event.margins.items()}
        tied = ", ".join(standing.candidate for standing in event.standings if standing.tied)
        tags: dict[str, object] = {"verdict.method": event.method, "verdict.candidate": event.candidate, "verdict.tied": tied}
        tags |= {f"warning.{index}": warning for index, warning in enumerate(event.warnings)}
        # MLflow shows this tag as the run's description.
        self._log_on_parent(event.time, metrics, tags | {"report_metric": event.report_metric, "mlflow.note.content": event.statement})

    def _selection_ended(self, event: SelectionEnded) -> None:
        bill = {f"bill/{phase}": seconds for phase, seconds in event.bill.items()}
        self._log_on_parent(event.time, {"seconds": event.seconds} | bill, {"ended": event.reason})
        self._runs().end(self._parent(), "FINISHED", event.time)
        self._ended = True


def _k_text(k: int | None) -> str:
    return "full" if k is None else str(k)


def _selection_tags(selection: SelectionStarted) -> dict[str, object]:
    environment = flat(selection.environment, "environment.")
    return environment | {"task": selection.task, "model": selection.model, "methods": ", ".join(selection.methods), "stage": "selection"}
