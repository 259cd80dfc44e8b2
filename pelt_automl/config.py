"""What a user sets. Each knob is explained once, here, with its unit; no default is written anywhere else.

Impossible values are reported all at once as a `SettingsError` when the dataclass is made. No torch here.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pelt_automl.errors import SettingsError, all_problems

SMALLEST_K = 16
"""Fewer labelled examples than this can't be split into train and select."""

PREFERENCES = ("params", "latency", "time", "score")
SAMPLERS = ("tpe", "gp", "cmaes", "random")


def home() -> Path:
    """The one folder for state that isn't given a path of its own: ``$PELT_AUTOML_HOME``, else ``./pelt-home``."""
    return Path(os.environ.get("PELT_AUTOML_HOME", "pelt-home")).expanduser().absolute()


def _check(what: str, *rules: tuple[bool, str]) -> None:
    if problems := [message for holds, message in rules if not holds]:
        raise SettingsError(all_problems(what, problems))


@dataclass(frozen=True)
class TaskSettings:
    """Which labelled text, and how it is split."""

    task: str | None = None
    """Name of an embedded task, of a GLUE or SuperGLUE task, or ``hf:owner/name[:config]``; None with files of one's own."""
    data_dir: Path | None = None
    """Folder with one folder a task (the layout ``DIR/qnli/train.jsonl``); comes before the Hub. None: ``$PELT_AUTOML_DATA_DIR``."""
    train: Path | None = None
    """The user's own labelled file: CSV, TSV, JSONL or Parquet."""
    validation: Path | None = None
    """The user's own validation file (optional)."""
    test: Path | None = None
    """The user's own labelled test file (optional); it becomes the report split."""
    text_columns: tuple[str, ...] = ()
    """One or two columns with text. Needed for files and ``hf:`` data sets."""
    label_column: str | None = None
    """Column with the label. Needed for files and ``hf:`` data sets."""
    kind: Literal["classification", "regression"] | None = None
    """None: regression when the labels are numbers with a fraction, else classification."""
    metric: str | None = None
    """None: the task's own; for files accuracy, macro-F1 when classes are imbalanced, Spearman for regression."""
    k: int | None = None
    """Number of labelled examples that may be used; None for all there are."""
    protocol: Literal["strict", "paper"] = "strict"
    """``strict``: select is carved out of the K examples. ``paper`` (UniPELT): K to train on, the next 1,000 to select on."""
    seed: int = 0
    """Seed of the sample of K examples and of the splits."""

    def __post_init__(self) -> None:
        own = self.train is not None
        needs_columns = own or (self.task or "").startswith("hf:")
        _check(
            "the task's settings",
            (own != (self.task is not None), "give either a task's name or a train file, not both and not neither"),
            (own or (self.validation is None and self.test is None), "a validation or test file needs a train file"),
            (not needs_columns or len(self.text_columns) in (1, 2), "name one or two text columns (--text-columns a,b)"),
            (not needs_columns or self.label_column is not None, "name the label column (--label-column)"),
            (self.k is None or self.k >= SMALLEST_K, f"k is {self.k}; it must be at least {SMALLEST_K}, or 'full'"),
            (self.protocol in ("strict", "paper"), f"protocol is {self.protocol!r}; it must be 'strict' or 'paper'"),
            (self.kind in (None, "classification", "regression"), f"kind is {self.kind!r}; it must be 'classification' or 'regression'"),
        )


@dataclass(frozen=True)
class TrainingSettings:
    """What is the same for every trial (fixed hyper-parameters: caveats of every conclusion)."""

    batch_size: int = 16
    """Examples a step and trial."""
    max_length: int = 128
    """Tokens an example at most."""
    epochs: float = 20.0
    """Length of a full training in passes over the train split; shortened when the time limit asks for it."""
    min_steps: int = 40
    """A full training is never shortened below this many optimizer steps."""
    max_steps: int = 2000
    """Nor is it ever longer than this many optimizer steps."""
    warmup: float = 0.1
    """Share of a full training's steps over which the learning rate rises linearly; then it falls linearly to 0."""
    clip: float = 1.0
    """Largest L2 norm of a trial's gradient."""
    weight_decay: float = 0.0
    """AdamW's decoupled weight decay."""
    patience: int = 4
    """Evaluations on select without a new best after which a trial stops, in the second half of its training."""
    dropout: float = 0.0
    """Dropout inside the frozen backbone. At 0 a trial ends the same whatever else trains in its pack."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """``auto``: bf16 where the processor has bf16 arithmetic, else fp32."""
    pack_size: int | None = None
    """Trials trained in one forward and backward pass at most; None: as many as pay and fit, by a few steps at the start, up to 32 on a
    GPU, 8 on a processor."""
    threads: int | None = None
    """Threads for torch on a CPU; None: the number of cores."""

    def __post_init__(self) -> None:
        _check(
            "the training's settings",
            (self.batch_size >= 1, f"batch_size is {self.batch_size}; it must be at least 1 example"),
            (self.max_length >= 8, f"max_length is {self.max_length}; it must be at least 8 tokens"),
            (self.epochs > 0, f"epochs is {self.epochs}; it must be above 0"),
            (1 <= self.min_steps <= self.max_steps, f"min_steps {self.min_steps} must lie between 1 and max_steps {self.max_steps}"),
            (0 <= self.warmup < 1, f"warmup is {self.warmup}; it must be a share from 0 to below 1"),
            (self.clip > 0, f"clip is {self.clip}; it must be above 0"),
            (self.patience >= 1, f"patience is {self.patience}; it must be at least 1 evaluation"),
            (0 <= self.dropout < 1, f"dropout is {self.dropout}; it must be a probability below 1"),
            (self.precision in ("auto", "bf16", "fp32"), f"precision is {self.precision!r}; it must be auto, bf16 or fp32"),
            (self.pack_size is None or self.pack_size >= 1, f"pack_size is {self.pack_size}; it must be at least 1 trial"),
        )


@dataclass(frozen=True)
class SearchSettings:
    """How hard to look, and how to decide."""

    methods: tuple[str, ...] = ()
    """PELT methods to compare; empty for all."""
    trials: int = 6
    """Configurations tried a method at most; the first is the published default."""
    seconds: float | None = None
    """Limit on the whole selection, finalists included, in seconds of wall time; None for no limit."""
    finalist_seeds: int = 3
    """Fresh seed triples (split, initialization, order) on which each finalist is trained anew, at least."""
    most_seeds: int = 10
    """... and at most: more than `finalist_seeds` as long as they may change the verdict and there is time."""
    finalist_share: float = 0.5
    """Share of `seconds` kept back for the finalists, their evaluation and the evidence."""
    rungs: tuple[float, ...] = (0.25, 0.5)
    """Shares of a full training after each of which the better trials go on."""
    promoted: float = 0.34
    """Share of a method's trials that go on from a rung; the published default always does."""
    equivalence: float = 1.0
    """Region of practical equivalence in points of the metric (1 point = 0.01)."""
    prefer: Literal["params", "latency", "time", "score"] = "params"
    """What decides among the tied: trainable parameters, latency (of one text), training time, or the report score itself."""
    sampler: Literal["tpe", "gp", "cmaes", "random"] = "tpe"
    """Optuna's sampler: multivariate TPE, Gaussian processes, CMA-ES, or random search."""
    portfolio: bool = True
    """Whether a method with few trials tries configurations that are known to be good, in place of the sampler's."""
    race: bool = True
    """Whether methods that are clearly behind leave the search."""
    max_trainable: int | None = None
    """Trainable parameters that a configuration may keep at most: PELT, gates and head; None for no limit."""
    max_latency_ms: float | None = None
    """Milliseconds that a configuration may take for one text on this device, at most: folded into the backbone's weights where
    `pelt-automl export --merged` can write it so, else as it is trained, tokenization left out. None for no limit."""
    max_memory: float | None = None
    """Gigabytes that training a configuration alone may take at most, the backbone included; None for no limit."""
    seed: int = 0
    """Seed of the samplers and of the trials' seed triples."""
    spaces: Path | None = None
    """Folder with search-space files; None for those shipped."""

    def __post_init__(self) -> None:
        _check(
            "the search's settings",
            (self.trials >= 1, f"trials is {self.trials}; it must be at least 1"),
            (self.seconds is None or self.seconds > 0, f"seconds is {self.seconds}; it must be above 0"),
            (self.finalist_seeds >= 1, f"finalist_seeds is {self.finalist_seeds}; it must be at least 1"),
            (self.most_seeds >= 1, f"most_seeds is {self.most_seeds}; it must be at least 1"),
            (0 < self.finalist_share < 1, f"finalist_share is {self.finalist_share}; it must be between 0 and 1"),
            (all(0 < rung < 1 for rung in self.rungs), f"rungs are {list(self.rungs)}; each must be between 0 and 1"),
            (0 < self.promoted <= 1, f"promoted is {self.promoted}; it must be above 0 and at most 1"),
            (self.equivalence >= 0, f"equivalence is {self.equivalence}; it can't be negative"),
            (self.prefer in PREFERENCES, f"prefer is {self.prefer!r}; it must be one of {', '.join(PREFERENCES)}"),
            (self.sampler in SAMPLERS, f"sampler is {self.sampler!r}; it must be one of {', '.join(SAMPLERS)}"),
            (self.max_trainable is None or self.max_trainable >= 1, f"max_trainable is {self.max_trainable}; it must be at least 1"),
            (self.max_latency_ms is None or self.max_latency_ms > 0, f"max_latency_ms is {self.max_latency_ms}; it must be above 0"),
            (self.max_memory is None or self.max_memory > 0, f"max_memory is {self.max_memory}; it must be above 0 (gigabytes)"),
            (len(set(self.methods)) == len(self.methods), f"methods {list(self.methods)} names one twice"),
        )


@dataclass(frozen=True)
class SelectionSettings:
    """One selection: a task, a pretrained model, and how to search."""

    task: TaskSettings
    model: str = "minilm"
    """A Hub name, a local folder, or the alias ``minilm``."""
    training: TrainingSettings = field(default_factory=TrainingSettings)
    search: SearchSettings = field(default_factory=SearchSettings)
