"""``recommendation.json``: the answer for programs. Its schema is written out in ``docs/recommendation.schema.json``."""

import json
import re
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from pelt_automl.errors import SelectionError, all_problems
from pelt_automl.log.codec import checked
from pelt_automl.log.events import Against, Calibrated, DataDescribed, Outcome, SelectionStarted, Standing
from pelt_automl.log.folder import RECOMMENDATION, RECORDS, WINNER
from pelt_automl.log.history import History

SCHEMA_VERSION = 1

UNFINISHED = "the selection in {folder} isn't finished; run the same command again to take it up where it stands"

LATER = ("folder", "against", "outcome", "so_far", "question", "effort", "positive_class", "calibration")
"""Fields that aren't in the file, or weren't in those of the first version."""


@dataclass(frozen=True)
class Calibration:
    """How far probabilities can be taken at their word."""

    temperature: float
    """What logits are divided by; fitted on select."""
    select_examples: int
    report_examples: int
    """That the errors are of; 0 where they weren't measured."""
    error_before: float | None
    """Expected calibration error on report, in 15 bins, from 0 to 1, without the temperature."""
    error_after: float | None
    """With it."""


@dataclass(frozen=True)
class Recommendation:
    """A recommended configuration with the evidence for it. Scores are in the metric's own unit (accuracy 0 to 1)."""

    folder: Path
    """The selection's folder, absolute. Not in the JSON, so that a folder can be moved."""
    method: str
    candidate: str
    """Name of the configuration in the records: ``lora-0003``."""
    hyper_parameters: dict[str, Any]
    report_metric: str
    greater_is_better: bool
    report_score: float | None
    """Mean over the finals' seeds on the report split; None when no finalist was scored in time."""
    report_interval: tuple[float, float] | None
    """95 %, over seeds and examples."""
    p_best: float | None
    """Probability of being the best of the finalists."""
    tied: list[str]
    """Candidates within the region of practical equivalence of the best, the recommended one included."""
    statement: str
    task: str
    model: str
    k: int | None
    """Labelled examples that were used; None for all."""
    protocol: str
    parameters: int
    """Trainable parameters kept: PELT, gates and head."""
    selection: str
    """Name of the selection."""
    data_hash: str
    seconds: float
    """Wall time of the whole selection."""
    margins: dict[str, float] = field(default_factory=dict)
    """Lead over each fixed default, by candidate, in the metric's unit; positive is better."""
    warnings: list[str] = field(default_factory=list)
    leaderboard: list[Standing] = field(default_factory=list)
    """The finalists, best first."""
    against: list[Against] = field(default_factory=list)
    """The recommended configuration against the fixed defaults, which one would have got without it, and the runner-up."""
    outcome: Outcome = Outcome.RECOMMENDED
    """``recommended``, ``tentative`` or ``nothing-learned``."""
    so_far: bool = False
    """Whether it rests on one seed, or for lack of time on a single tuned finalist or none: the best so far."""
    question: str = ""
    """Hash of what was asked: data, model, metric, K, protocol, training settings, seed and the program's behavior."""
    effort: str = ""
    """Hash of how hard the selection looked: methods, trials, seconds, seeds."""
    positive_class: str | None = None
    """The class that the metric is about; None for a metric that treats classes alike."""
    calibration: Calibration | None = None
    """Of the winner's probabilities; None for a task without classes, or where there was no time for it."""
    winner: str = WINNER
    """Folder with the trained weights, relative to `folder`."""
    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> str:
        """The file's text."""
        data = asdict(self)
        del data["folder"]
        return json.dumps(data, ensure_ascii=False, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, folder: Path) -> "Recommendation":
        """The inverse of `to_json`; `folder` is where the file lies. Fields that a later version may have added are left out.

        Raises `SelectionError` when the text isn't a recommendation.
        """
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise SelectionError(f"{folder / RECOMMENDATION} isn't JSON ({error}); rebuild it with: pelt-automl report {folder}") from error
        if problems := _problems(data):
            raise SelectionError(all_problems(f"{folder / RECOMMENDATION}", problems))
        try:
            return checked(cls, data | {"folder": folder.absolute()})
        except ValueError as error:
            raise SelectionError(f"{folder / RECOMMENDATION} is damaged ({error}); rebuild it with: pelt-automl report {folder}") from error


def _problems(data: Any) -> list[str]:
    if not isinstance(data, dict):
        return [f"a JSON object is expected, not {type(data).__name__}"]
    expected = [f.name for f in fields(Recommendation) if f.name not in LATER]
    if missing := [name for name in expected if name not in data]:
        return [f"these fields are missing: {', '.join(missing)}"]
    problems = []
    if data["schema_version"] != SCHEMA_VERSION:
        problems.append(f"schema_version is {data['schema_version']!r}; this program reads {SCHEMA_VERSION}")
    if not re.fullmatch(r"[A-Za-z0-9_-]+", str(data["winner"])):
        problems.append(f"winner is {data['winner']!r}; a folder inside the selection is expected")
    for name, rows, kind in (("leaderboard", data["leaderboard"], Standing), ("against", data.get("against", []), Against)):
        needed = {f.name for f in fields(kind) if f.default is MISSING}  # earlier versions didn't write all of them
        if not isinstance(rows, list) or not all(isinstance(row, dict) and needed <= set(row) for row in rows):
            problems.append(f"{name}: a list of objects, each with the fields of a {kind.__name__}, is expected")
    return problems


def recommendation_from(history: History, folder: Path) -> Recommendation:
    """The recommendation that a selection's records lead to.

    Raises `SelectionError` when the records hold no verdict yet, or contradict themselves.
    """
    started, answer = history.started, history.verdict
    if started is None or answer is None or not history.of_kind(DataDescribed):
        raise SelectionError(UNFINISHED.format(folder=folder))
    data, began = history.data, history.of_kind(SelectionStarted)[0].time
    trial = next((trial for trial in history.ended() if trial.candidate == answer.candidate), None)
    if trial is None:
        raise SelectionError(f"the records in {folder} lack the training of {answer.candidate}, which they recommend")
    winner = next((row for row in answer.standings if row.candidate == answer.candidate), None)
    return Recommendation(
        folder=folder.absolute(),
        method=answer.method,
        candidate=answer.candidate,
        hyper_parameters=winner.hyper_parameters if winner else trial.hyper_parameters,
        report_metric=answer.report_metric,
        greater_is_better=data.greater_is_better,
        report_score=answer.report_score,
        report_interval=winner.report_interval if winner else None,
        p_best=answer.p_best,
        tied=[row.candidate for row in answer.standings if row.tied],
        statement=answer.statement,
        task=started.task,
        model=started.model,
        k=data.k,
        protocol=data.protocol,
        parameters=winner.parameters if winner else trial.parameters["kept"],
        selection=started.selection,
        data_hash=data.hashes.get("data", ""),
        seconds=history.end.seconds if history.end else answer.time - began,
        margins=answer.margins,
        warnings=answer.warnings,
        leaderboard=answer.standings,
        against=answer.against,
        outcome=answer.outcome,
        so_far=answer.so_far,
        question=started.question,
        effort=started.effort,
        positive_class=data.positive_class,
        calibration=_calibration(history, answer.candidate),
    )


def _calibration(history: History, candidate: str) -> Calibration | None:
    trials = {trial.trial for trial in history.ended() if trial.candidate == candidate}
    found = next((event for event in reversed(history.of_kind(Calibrated)) if event.trial in trials), None)
    return Calibration(found.temperature, found.select, found.report, found.error_before, found.error_after) if found else None


def load_recommendation(folder: Path) -> Recommendation:
    """The recommendation of a finished selection.

    Raises `SelectionError` when `folder` isn't a selection's folder, or the selection isn't finished.
    """
    path = folder / RECOMMENDATION
    if path.is_file():
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SelectionError(f"{path} can't be read ({error}); rebuild it with: pelt-automl report {folder}") from error
        return Recommendation.from_json(text, folder)
    if (folder / RECORDS).is_file():
        raise SelectionError(UNFINISHED.format(folder=folder))
    if inside := sorted(str(found.parent) for found in folder.glob(f"*/{RECOMMENDATION}")):
        raise SelectionError(f"{folder} holds several selections, as a curve over K does; name one of them: {', '.join(inside)}")
    raise SelectionError(f"{folder} isn't a selection: a folder with {RECOMMENDATION} is expected, as `pelt-automl select` writes it")
