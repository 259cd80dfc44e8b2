"""The vocabulary that the rest writes and reads: what happened in a selection, one frozen dataclass a kind of event.

A selection's JSON lines file is a list of these and complete enough to rebuild its report alone. Scores are in the metric's own
unit (accuracy 0 to 1); seconds are wall time; `time` is seconds since the epoch (UTC). Events derived from `Ephemeral` are for
displays and are not kept. No torch here.
"""

import time as clock
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

E = TypeVar("E", bound="Event")


class Outcome(StrEnum):
    """How far an answer carries, by its lead over a constant prediction (the most frequent class, or the mean)."""

    RECOMMENDED = "recommended"
    """The 95 % interval of the lead is above 0."""
    TENTATIVE = "tentative"
    """It holds 0, or nothing was confirmed on the report split."""
    NOTHING_LEARNED = "nothing-learned"
    """Its upper end is below the region of practical equivalence."""


class Phase(StrEnum):
    """Of a selection, as its progress and its bill name it."""

    DATA = "data"
    MODEL = "model"
    BASELINES = "baselines"
    SEARCH = "search"
    FINALISTS = "finalists"
    EVIDENCE = "evidence"
    COSTS = "costs"


class Stage(StrEnum):
    """What a training is for."""

    SEARCH = "search"
    FINALIST = "finalist"


class State(StrEnum):
    """How a training has ended."""

    COMPLETED = "completed"
    STOPPED = "stopped"
    """Before the end of its schedule, with a score: see `TrialEnded.cause`."""
    FAILED = "failed"


class Reason(StrEnum):
    """Why a selection has come to its end."""

    DONE = "done"
    TIME = "time limit"
    """A longer limit would have allowed more."""


Prediction = float | str | tuple[float, ...]
"""What is said of one example: a class index, a number, a text, or several numbers (labels that are there or not, a span)."""


def sign_of(greater_is_better: bool) -> int:
    """What a metric's value is multiplied by, so that more is better."""
    return 1 if greater_is_better else -1


HyperParameters = Mapping[str, Any]
"""A method's hyper-parameters by name: numbers, strings, booleans."""


@dataclass(frozen=True)
class Event:
    """Something that happened."""

    time: float = field(default_factory=clock.time, kw_only=True)


@dataclass(frozen=True)
class Ephemeral(Event):
    """Something that only a display is interested in."""


@dataclass(frozen=True)
class Progress(Ephemeral):
    """How far a phase has come."""

    phase: Phase
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
    """Hash of question and effort: the same command gives the same key."""
    task: str
    model: str
    methods: list[str]
    settings: dict[str, Any]
    environment: dict[str, Any]
    """Versions, processor, threads, precision, git commit and dirty flag."""
    resumed: bool = False
    question: str = ""
    """Hash of what is asked (see `pelt_automl.selection.environment.question_of`); empty in old records."""
    effort: str = ""
    """Hash of how hard the selection looks for the answer (see `effort_of` there); empty in old records."""
    behaviour: int = 1
    """`pelt_automl.BEHAVIOUR` of the program that wrote it."""
    seconds_before: float = 0.0
    """Wall time of this start before its record: reading the data, mostly. 0 in old records."""


@dataclass(frozen=True)
class DataDescribed(Event):
    """The data and its splits."""

    task: str
    kind: str
    """Of task: a name in `pelt_automl.tasks.kinds.KINDS`."""
    metric: str
    greater_is_better: bool
    labels: list[str]
    """Class names in the order of their indices; empty where there are none."""
    k: int | None
    protocol: str
    sizes: dict[str, int]
    """Examples in ``train``, ``select`` and ``report``."""
    hashes: dict[str, str]
    """SHA-256 of the data (``data``) and of each split."""
    notes: list[str] = field(default_factory=list)
    """What a reader has to know: imbalance, duplicates removed, the report split's origin, ..."""
    positive_class: str | None = None
    """The class that f1 is about, which has the index 1; None for a metric that treats classes alike."""
    guess_on_select: float | None = None
    """What always predicting the most frequent class (or the mean) of train scores on select; None in old records."""
    text_length: dict[str, int] = field(default_factory=dict)
    """Where texts are cut (see `pelt_automl.selection.text_length.TextLength`): ``most``, ``needed``, ``model`` and ``prompt`` in tokens,
    ``unknown`` in per cent."""
    cut: dict[str, dict[str, int]] = field(default_factory=dict)
    """What that cuts of ``train`` and ``select``: ``texts``, of these ``cut``; ``tokens``, of these ``lost``."""

    @property
    def sign(self) -> int:
        """1 where a greater score is better, else -1."""
        return sign_of(self.greater_is_better)


@dataclass(frozen=True)
class Planned(Event):
    """What the time limit allows, by what is known of the machine's speed at the start."""

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
    """What is known of the machine, for people: ``pack_seconds_N``, a step of a pack of N trials; ``pack_bytes``, the memory of a pack of
    `pack_size`; ``pack_bytes_free``, what it may take, where the system tells; ``layers_bf16`` and ``layers_fp32``, seconds by which the
    precision was chosen; ``threads``; ``layers_threads_N``, seconds by which their number was."""
    rungs: list[int] = field(default_factory=list)
    """Optimizer steps to each rung; empty in old records, which had the one of `rung_steps`."""
    final_steps: int = 0
    """Optimizer steps of a finalist's training; 0 in old records, where they had as many as the search's."""
    step_seconds: float = 1.0
    """A trial's step, its share of its pack's."""
    example_seconds: float = 0.01
    """Evaluating one example."""
    finalists: int = 0
    """That there is time for."""
    seconds_enough: float | None = None
    """The time limit that would have allowed every method a full training, and three finalists two full ones each; None in old records."""
    pack_size: int = 0
    """Trials in a pack at most; 0 in old records."""
    precision: Literal["bf16", "fp32", ""] = ""
    """``bf16`` or ``fp32``: a selection that is taken up again goes on in it; empty in old records."""
    figures: Literal["measured", "remembered", "estimated", ""] = ""
    """Where seconds and memory come from: a pack that was measured for this plan, earlier trainings on this machine, or sizes alone; empty
    in old records, whose were measured."""
    fresh: bool = True
    """Whether there is time to train finalists on fresh seeds; if not, trainings of the search are scored as they are."""


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
    """Optimizer steps taken; 0: before the first, where the head starts from the probe."""
    train_loss: float | None
    """Mean since the point before; None at step 0."""
    select_score: float
    learning_rate: float
    seconds: float
    """Since the trial's start, its share of the pack's time."""


@dataclass(frozen=True)
class Identified(Event):
    """What later selections need to decide whether they may learn from this one: the same weights, and none of the texts."""

    weights: str
    """SHA-256 of the pretrained model's."""
    texts: str
    """Reference of the hashes of all its texts, in the folder ``texts`` (see `pelt_automl.selection.experience`)."""


@dataclass(frozen=True)
class Configuration:
    """A method with its hyper-parameters."""

    method: str
    hyper_parameters: dict[str, Any]


@dataclass(frozen=True)
class PortfolioLearned(Event):
    """In which order configurations are tried, before any is drawn: decided once, before the search. Without it there is no such order."""

    order: list[Configuration]
    """Their hyper-parameters are those that are searched."""
    hash: str
    """Of all that it was learned from: configurations, what they gained, and the weights of data sets. 16 hex digits."""
    sources: int
    """Data sets that it was learned from."""
    own: int = 0
    """Of these the user's own."""
    experience: list[str] = field(default_factory=list)
    """The selections that these are from: 12 hex digits of the SHA-256 of each one's folder in the program's home, which may tell whose
    data it is."""
    model: str = ""
    """The one on which those that aren't the user's own were tried; empty in old records."""
    useful: int = 0
    """So many of the first of the order would have lowered the regret on a data set; they are tried before all others."""


class Because(StrEnum):
    """Why a segment was released, or a trial stopped."""

    FIRST = "first"
    """A trial's first segment."""
    DEFAULT = "default"
    """The published default is trained in full."""
    LEARNED = "learned"
    """It is of use in the order that was learned: it is trained in full."""
    QUOTA = "quota"
    """It is among the share of its method that goes on from the rung."""
    REPEATED = "repeated"
    """The state that it went on from is lost or damaged: it starts over under a new attempt."""
    LOST = "its worker was lost"
    """It goes on from the end of its last segment under a new attempt, wherever there is a place."""
    MOVED = "a faster worker was free"
    """The same, there: others would have to wait for it."""
    NOT_PROMOTED = "not promoted from its rung"
    NEAR_END = "near its end when the time is up"
    """Its rest takes next to nothing: it is trained to its end without another look."""
    METHOD_OUT = "its method has left the race"
    TIME = "time limit"


@dataclass(frozen=True)
class Segment:
    """A part of one training: a configuration on one seed triple, from step `start` to step `end` of its schedule."""

    trial: str
    """Unique in the selection: ``lora-0003``, ``final-lora-0003-seed1``."""
    candidate: str
    """The configuration's name; see `TrialEnded.candidate`."""
    method: str
    hyper_parameters: dict[str, Any]
    stage: Stage
    number: int
    """The trial's number in its method's study; for a finalist's run the index of its seed triple."""
    is_default: bool
    seeds: Seeds
    steps: int
    """Of the whole schedule."""
    start: int
    end: int
    attempt: int = 0
    """Counts the times that the trial was released again; results of an older attempt are refused."""


@dataclass(frozen=True)
class Released(Event):
    """A segment is to be trained: decided once, and never again when the log is replayed."""

    segment: Segment
    because: Because
    numbers: dict[str, float] = field(default_factory=dict)
    """What the decision rests on: ``score`` at the rung, ``places`` and ``compared`` for a quota, ``seconds_left``, ..."""


@dataclass(frozen=True)
class Stopped(Event):
    """A trial is to end where it is: decided once. `TrialEnded` follows when that is done."""

    trial: str
    because: Because
    numbers: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class SegmentEnded(Event):
    """A trial has come to the end of a segment, and its schedule goes on."""

    trial: str
    attempt: int
    reached: int
    """Optimizer steps taken since the trial's start."""
    points: list[CurvePoint]
    """Evaluations since the segment before."""
    seconds: float
    """Since the trial's start, its share of its packs' wall time."""
    state: str
    """Reference of the file (see `pelt_automl.log.files`) from which the next segment can go on."""
    device: str = ""
    """``cpu`` or ``cuda``; of a worker, its name."""
    holder: str = ""
    """The worker that alone has the state, which is too large to travel; empty where it lies in the selection's folder."""


@dataclass(frozen=True)
class SegmentLost(Event):
    """The worker that trained a segment is gone, or couldn't carry it out: it is released again under a new attempt."""

    trial: str
    attempt: int
    """The one that is lost; the next has the next number."""
    worker: str
    cause: str
    moved_to: str = ""
    """The faster worker that trains it instead, while the first still could: that isn't held against the training."""


@dataclass(frozen=True)
class Listening(Event):
    """Workers that are started on other machines can join."""

    address: str
    """``tls://192.0.2.7:8786``"""
    command: str
    """What starts one there."""


@dataclass(frozen=True)
class WorkerJoined(Event):
    """A worker process is ready to train: see docs/workers.md."""

    worker: str
    """Its name, unique among those of one start."""
    device: str
    """``cpu, 1 thread``, or the GPU's name."""
    host: str
    environment: dict[str, Any]
    """As in `SelectionStarted`, of the worker."""


@dataclass(frozen=True)
class WorkerLeft(Event):
    """A worker is gone, or is sent away because it wasn't needed any more."""

    worker: str
    device: str
    why: str
    """For people; empty at the end of the work."""
    seconds: float
    """That it was at work: training, evaluating and scoring."""


@dataclass(frozen=True)
class WorkersAwaited(Event):
    """The first worker is ready, after a wait in which nothing could be trained."""

    seconds: float
    """That the time limit doesn't count."""


@dataclass(frozen=True)
class StateLost(Event):
    """A trial can't go on: the state of its last ended segment is missing or damaged. It is released again from its start."""

    trial: str
    attempt: int
    """The one that can't be gone on with; the next has the next number."""
    cause: str


@dataclass(frozen=True)
class TrialEnded(Event):
    """One training has ended: a trial of the search, or a finalist's run on one fresh seed triple."""

    trial: str
    """Unique in the selection: ``lora-0003``, ``final-lora-0003-seed1``."""
    candidate: str
    """The configuration that was trained; a finalist's runs share the name of the trial that it comes from: ``lora-0003``."""
    method: str
    stage: Stage
    number: int
    """The trial's number in its method's study; for a finalist's run the index of its seed triple."""
    state: State
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
    """Why it stopped early, a `Because`; or why it failed: exception type and text, ``loss is not finite``, ..."""
    traceback: str = ""
    """Of the exception that it failed with, as text; empty where none was raised, and in old records."""
    outputs: str = ""
    """Reference (see `pelt_automl.log.outputs`) of what it predicts on select, which `select_score` is the score of; empty but for trials
    of the search that were trained in full."""
    tokens: dict[str, int] = field(default_factory=dict)
    """Tokens in its training's batches: ``computed`` (padding included) and ``text``; empty in old records."""
    threshold: float = 0.5
    """The probability from which on it predicts a label, where an example has several, or an answer: chosen on select, and kept."""

    @property
    def out_of_time(self) -> bool:
        """Whether the clock cut it off."""
        return self.cause == Because.TIME


class What(StrEnum):
    """What was decided."""

    HEAD_START = "head start"
    """Where the heads of all trainings start; its subject is ``probe`` or ``random``."""
    THREADS = "threads"
    METHOD_IMPOSSIBLE = "method left out"
    """It isn't possible on the model."""
    METHOD_OVER = "method over a limit"
    """Nothing of a method, or of a baseline, is within the user's limits."""
    DEFAULT_OVER = "default over a limit"
    """A method's published default isn't within the user's limits; the method is searched without it."""
    INHERITED = "inherited"
    """Configurations that another selection found are tried."""
    RESUMED = "resumed"
    STARTED_OVER = "started over"
    """A training's checkpoint can't be read."""
    PROMOTED = "promoted"
    STOPPED = "stopped"
    """In old records: not promoted."""
    EXHAUSTED = "nothing left to try"
    LEFT_RACE = "left the race"
    """A method."""
    SEARCH_ENDED = "search ended"
    """Its share of the time is used."""
    NOT_BEGUN = "not begun"
    """A method, for lack of time."""
    FINALIST = "finalist"
    NO_TIME_FOR_FINALIST = "no time for a finalist"
    NO_TIME_FOR_SEED = "no time for a seed"
    ENOUGH_SEEDS = "enough seeds"
    LEFT_FINALS = "left the finals"
    """A finalist that gets no further seeds."""
    NO_TIME_FOR_EVIDENCE = "no time for evidence"
    SAME_CONFIGURATION = "same configuration"
    """A smaller union that is a finalist already."""
    NO_TIME_FOR_COSTS = "no time for costs"
    NO_TIME_FOR_CALIBRATION = "no time for calibration"


LACK_OF_TIME = frozenset(
    (
        What.SEARCH_ENDED, What.NOT_BEGUN, What.NO_TIME_FOR_FINALIST, What.NO_TIME_FOR_SEED, What.NO_TIME_FOR_EVIDENCE,
        What.NO_TIME_FOR_COSTS,
    )
)  # fmt: skip
"""Decisions whose reason is the time limit."""


@dataclass(frozen=True)
class Decision(Event):
    """Something that the program decided, why, and on which numbers."""

    what: What
    subject: str
    """The trial, method or candidate that it is about."""
    why: str
    """For people: nothing is decided by it."""
    numbers: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ReportOpened(Event):
    """The report split was opened: once, after the search has ended; again after a restart, and where there is time for more examples."""

    openings: int
    """How often, this one included."""
    examples: int
    """Examples scored."""
    of: int
    """Examples that the report split has."""
    outputs: str
    """Reference of the true labels of the examples scored (a class index, a number, or a list of such), in the order of all predictions."""
    cut: dict[str, int] = field(default_factory=dict)
    """What of the examples scored is cut, as in `DataDescribed`."""


@dataclass(frozen=True)
class FinalistScored(Event):
    """A finalist's run on the report split."""

    trial: str
    candidate: str
    method: str
    seed_index: int
    report_score: float
    outputs: str
    """Reference of what it predicts of each example scored."""
    seconds: float = 0.0
    """What scoring it took; of a run that was scored with others, what passed since the one before."""


@dataclass(frozen=True)
class OutputsLost(Event):
    """A file that `ReportOpened` or `FinalistScored` refers to is missing or damaged: what it held is scored again."""

    outputs: str
    """The reference."""


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


@dataclass(frozen=True)
class ContributionMeasured(Event):
    """What share of the hidden states the change of one submodule at one site and layer is, on the select split, in one finalist's run."""

    trial: str
    candidate: str
    seed_index: int
    submodule: str
    site: str
    layer: int
    mean: float
    """Over examples and tokens of ``|gate x change| / |hidden state|``; for a prefix of the attention's output against that without it."""
    spread: float
    """Standard deviation over examples."""


@dataclass(frozen=True)
class KnockedOut(Event):
    """The select score of a finalist's run with one submodule truly switched off."""

    trial: str
    candidate: str
    seed_index: int
    submodule: str
    score: float
    score_without: float


@dataclass(frozen=True)
class UnionPruned(Event):
    """A smaller union, without the submodules whose knock-out cost next to nothing: it is trained again and becomes a finalist."""

    candidate: str
    """``unipelt-apl-0003-without-prefix``"""
    of: str
    """The finalist that it comes from."""
    method: str
    hyper_parameters: dict[str, Any]
    removed: dict[str, float]
    """By submodule: what its knock-out cost on select, mean over seeds in the metric's unit; positive is worse."""
    region: float
    """Of practical equivalence, in the same unit: all of them cost less."""


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one forward pass, from tokenized texts to the outputs of the head, on the selection's device."""

    batch: int
    """Texts in the pass."""
    merged: bool
    """Whether what was trained is folded into the backbone's weights, or runs beside them as it was trained."""
    ms: float
    """Median over the repeats, after a warm-up."""
    spread_ms: float
    """Interquartile range over the repeats."""
    repeats: int
    tokens: float
    """Of a text of the pass, on average; they are as long as the median text of train and select, or nearly."""


@dataclass(frozen=True)
class CostMeasured(Event):
    """What a configuration costs on the selection's device, measured on it alone."""

    method: str
    hyper_parameters: dict[str, Any]
    latencies: list[Latency]
    memory_bytes: float | None
    """At most, in steps of its training alone on the longest batch, the backbone included; None where it wasn't measured."""
    device: str
    """``cpu, 2 threads``, or the GPU's name."""
    candidate: str = ""
    """The finalist; empty where a configuration was measured before its first training, because there is a limit."""
    trials: list[str] = field(default_factory=list)
    """The finalist's runs."""
    exportable: bool = False
    """Whether `pelt-automl export --merged` can write it, so that it can be served merged."""

    def latency(self, batch: int, *, merged: bool = False) -> float | None:
        """Milliseconds; None where they weren't measured."""
        return next((own.ms for own in self.latencies if (own.batch, own.merged) == (batch, merged)), None)

    @property
    def memory_gb(self) -> float | None:
        """`memory_bytes` in gigabytes."""
        return None if self.memory_bytes is None else self.memory_bytes / 1e9

    @property
    def served(self) -> float | None:
        """Milliseconds of one text as the winner can be handed over: merged where it can be exported so, else as it was trained."""
        merged = self.latency(1, merged=True) if self.exportable else None
        return self.latency(1) if merged is None else merged


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
    """Mean over seeds, adjusted where finalists have different ones (see `pelt_automl.verdict.unequal_seeds`)."""
    report_interval: tuple[float, float]
    """95 % bootstrap interval of the mean, over seeds and examples."""
    seed_scores: list[float]
    """Of each of its own runs; their plain mean is the report score only where all have the same seeds."""
    select_score: float
    """Mean over its finalist runs."""
    p_best: float
    """Probability of being the best of the finalists; 0 for one that has left the finals, clearly behind."""
    difference: float
    """From the best mean; 0 for the best, else worse by this much (positive, in the metric's unit)."""
    difference_interval: tuple[float, float]
    """95 % for the differences of all finalists at once (in older records: for this one by itself)."""
    tied: bool
    """Within the region of practical equivalence of the best."""
    distinguishable: bool
    """Whether the interval of the difference leaves 0 out."""
    latency_ms: float | None = None
    """Of one text, as it was trained. This and the next five are None where they weren't measured."""
    latency_ms_32: float | None = None
    """Of 32 texts together."""
    merged_latency_ms: float | None = None
    """Of one text, folded into the backbone's weights; None also for what can't be folded."""
    merged_latency_ms_32: float | None = None
    served_latency_ms: float | None = None
    """Of one text: merged where `pelt-automl export --merged` can write it, else as it was trained. What limits and preferences mean."""
    memory_gb: float | None = None
    """Gigabytes that its training alone takes at most, the backbone included."""
    pareto: bool = False
    """Whether no other finalist is as good in score, parameters and latency, and better in one of them."""
    worst_seed: float | None = None
    """The worst report score of its runs; None in old records."""
    trainings: int = 0
    """Of its method, in the search and the finals; 0 in old records. What the time limit kept from beginning isn't among them."""
    failed: int = 0
    """Of `trainings`: those that ended in an error, or with a loss or predictions that aren't finite."""
    constant: int = 0
    """Of `trainings`: those that didn't fail but predict one class (or value) throughout."""


@dataclass(frozen=True)
class Against:
    """The recommended configuration against another finalist."""

    candidate: str
    method: str
    role: Literal["default", "runner-up"]
    """``default``: a fixed published default, what one would have got without a selection; ``runner-up``: the best of the others."""
    is_default: bool
    score: float
    """The other's report score."""
    lead: float
    """Of the recommended configuration over it, in the metric's unit; positive is better."""
    lead_interval: tuple[float, float]
    """95 % for the differences of all finalists at once."""
    distinguishable: bool
    """Whether the interval leaves 0 out."""
    better: float | None
    """Bayesian signed-rank test over the shared seeds: probability that it is better by more than the region of practical equivalence;
    None with too few seeds."""
    equivalent: float | None
    worse: float | None


@dataclass(frozen=True)
class Calibrated(Event):
    """The temperature of the winner's probabilities, fitted on select; see `pelt_automl.tasks.calibration`."""

    trial: str
    """Whose weights the winner has."""
    temperature: float
    select: int
    """Examples that it was fitted on."""
    report: int
    """Examples of report that the errors are of; 0 where what it says of them isn't known any more."""
    error_before: float | None
    """Expected calibration error on report, from 0 to 1, without the temperature."""
    error_after: float | None


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
    against: list[Against] = field(default_factory=list)
    """The recommended configuration against each fixed default, in their order, and against the runner-up if that is none of them."""
    outcome: Outcome = Outcome.RECOMMENDED
    """How far the answer carries; see `Outcome`."""
    so_far: bool = False
    """Whether it rests on one seed, or for lack of time on a single tuned finalist or none: the best so far."""


@dataclass(frozen=True)
class SelectionEnded(Event):
    """The end, with the bill."""

    reason: Reason
    seconds: float
    """Wall time of the whole selection, earlier starts included."""
    bill: dict[str, float]
    """Seconds by phase: ``data``, ``model``, ``baselines``, ``search``, ``finalists``, ``evidence``, ``costs``, ``other``."""
    devices: dict[str, float] = field(default_factory=dict)
    """Seconds that each worker was at work, by its name and device; empty without workers."""


@dataclass(frozen=True)
class Published(Event):
    """The last event: the report is written, every recorder has had the selection's folder, and what only the work needed is cleared."""


KINDS: dict[str, type[Event]] = {
    kind.__name__: kind
    for kind in (
        SelectionStarted, DataDescribed, Planned, Identified, PortfolioLearned, Released, Stopped, SegmentEnded, SegmentLost, StateLost,
        TrialEnded, Listening, WorkerJoined, WorkerLeft, WorkersAwaited, Decision, ReportOpened, FinalistScored, OutputsLost, GateMeasured,
        ContributionMeasured, KnockedOut, UnionPruned, CostMeasured, Calibrated, VerdictReached, SelectionEnded, Published,
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


def of_kind(events: Iterable[Event], kind: type[E]) -> list[E]:
    """The events of one kind, in their order."""
    return [event for event in events if isinstance(event, kind)]
