"""What a user sets. Each knob is explained once, here, with its unit; no default is written anywhere else.

Impossible values are reported all at once as a `SettingsError` when the dataclass is made. No torch here.
"""

import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pelt_automl.errors import SettingsError, all_problems

SMALLEST_K = 16
"""Fewer labeled examples than this can't be split into train and select."""

BEHAVIOUR = 3
"""Version of what the program decides and how it trains. Raise it with every change of an algorithm: records of another version are
not continued, and their answers don't count as up to date. `tests/golden` fails when decisions change and this number doesn't."""

PAPER_LENGTH = 128
"""Tokens an example at most in UniPELT's experiments."""

PREFERENCES = ("params", "latency", "time", "score")
HEAD_STARTS = ("auto", "probe", "random")
SAMPLERS = ("tpe", "gp", "cmaes", "random")


def expanded(path: str | Path) -> Path:
    """The path with ``~`` or ``~user`` at its beginning replaced by that home folder.

    Raises `SettingsError` when there is no such user, or nobody knows where the home is.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        user = Path(path).parts[0].removeprefix("~")
        what = f"there is no user {user!r}; a folder that is called so is ./{path}" if user else "there is no home folder; set HOME"
        raise SettingsError(f"{path}: {what}") from error


def home() -> Path:
    """The one folder for state that isn't given a path of its own: ``$PELT_AUTOML_HOME``, else ``./pelt-home``."""
    return expanded(os.environ.get("PELT_AUTOML_HOME", "pelt-home")).absolute()


LARGEST_SEED = 2**32 - 1
"""The largest that NumPy's and Optuna's random numbers all take. It is used as it is: other seeds come from hashes, none from a sum."""

Rule = tuple[bool, str]
"""Whether it holds, and what to say where it doesn't."""


def _check(what: str, *rules: Rule) -> None:
    if problems := [message for holds, message in rules if not holds]:
        raise SettingsError(all_problems(what, problems))


def _whole(name: str, value: Any, low: int, high: int | None = None, unit: str = "", *, optional: bool = False) -> Rule:
    """A whole number from `low` to `high`, both included; `optional`: or None."""
    words = f"at least {low}{unit}" if high is None else f"from {low} to {high}{unit}"
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    expected = f"it must be {words}" if is_whole else f"it must be a whole number, {words}"
    inside = is_whole and low <= value and (high is None or value <= high)
    return (optional and value is None) or inside, f"{name} is {value!r}; {expected}"


def _number(name: str, value: Any, low: float, high: float = math.inf, *, open_low: bool = False, open_high: bool = False,
            unit: str = "", optional: bool = False) -> Rule:  # fmt: skip
    """A finite number between `low` and `high`; `open_low`, `open_high`: without that bound itself. `optional`: or None."""
    words = f"above {low:g}" if open_low else f"at least {low:g}"
    if math.isfinite(high):
        words += f" and {'below' if open_high else 'at most'} {high:g}"
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf  # so NaN is none, either
    expected = f"it must be {words}{unit}" if is_number else f"it must be a finite number {words}{unit}"
    inside = is_number and (low < value if open_low else low <= value) and (value < high if open_high else value <= high)
    return (optional and value is None) or inside, f"{name} is {value!r}; {expected}"


def _in_order(low: str, least: Any, high: str, most: Any) -> Rule:
    """Whole numbers of which one can't be above the other; what isn't a whole number has a rule of its own."""
    are_whole = isinstance(least, int) and isinstance(most, int)
    return not are_whole or least <= most, f"{high} is {most}; it can't be below {low}, which is {least}"


def _truth(name: str, value: Any) -> Rule:
    return isinstance(value, bool), f"{name} is {value!r}; it must be true or false"


def _one_of(name: str, value: Any, allowed: tuple[str, ...]) -> Rule:
    words = f"{', '.join(allowed[:-1])} or {allowed[-1]}"
    return isinstance(value, str) and value in allowed, f"{name} is {value!r}; it must be {words}"


@dataclass(frozen=True)
class TaskSettings:
    """Which labeled text, and how it is split."""

    task: str | None = None
    """Name of an embedded task, of a GLUE or SuperGLUE task, or ``hf:owner/name[:config]``; None with files of one's own."""
    data_dir: Path | None = None
    """Folder with one folder a task (the layout ``DIR/qnli/train.jsonl``), used before the Hub. None: ``$PELT_AUTOML_DATA_DIR``."""
    train: Path | None = None
    """The user's own labeled file: CSV, TSV, JSON, JSONL or Parquet."""
    validation: Path | None = None
    """The user's own validation file (optional)."""
    test: Path | None = None
    """The user's own labeled test file (optional); it becomes the report split."""
    text_columns: tuple[str, ...] = ()
    """One or two columns with text. Needed for files and ``hf:`` data sets."""
    label_column: str | None = None
    """Column with the label. Needed for files and ``hf:`` data sets."""
    encoding: str | None = None
    """Encoding of the files, such as ``windows-1252``; None: found out, file by file."""
    delimiter: str | None = None
    """What stands between the cells of CSV and TSV files: one character, or ``tab``; None: found out, file by file."""
    kind: Literal["classification", "regression"] | None = None
    """None: regression when the labels are numbers with a fraction, else classification."""
    metric: str | None = None
    """None: the task's own; for files accuracy, macro-F1 when classes are imbalanced, Spearman for regression."""
    positive_class: str | None = None
    """The class that f1 and accuracy_f1 are about; None: the rarer one in train, for a named task the one that its benchmark means."""
    k: int | None = None
    """Number of labeled examples that may be used; None for all there are."""
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
            (
                own or self.data_dir is not None or (self.encoding is None and self.delimiter is None),
                "encoding and delimiter are for files: give a train file or a data folder, or leave them out",
            ),
            (
                self.encoding is None or isinstance(self.encoding, str),
                f"encoding is {self.encoding!r}; a name such as 'windows-1252' is meant",
            ),
            (self.delimiter is None or isinstance(self.delimiter, str), f"delimiter is {self.delimiter!r}; it must be text, such as ';'"),
            (
                self.positive_class is None or isinstance(self.positive_class, str),
                f"positive_class is {self.positive_class!r}; it must be a class's name, as text",
            ),
            (not needs_columns or len(self.text_columns) in (1, 2), "name one or two text columns (--text-columns a,b)"),
            (not needs_columns or self.label_column is not None, "name the label column (--label-column)"),
            (_whole("k", self.k, SMALLEST_K, optional=True)[0], f"k is {self.k!r}; it must be at least {SMALLEST_K}, or 'full'"),
            _one_of("protocol", self.protocol, ("strict", "paper")),
            _one_of("kind", "classification" if self.kind is None else self.kind, ("classification", "regression")),
            _whole("seed", self.seed, 0, LARGEST_SEED),
        )


@dataclass(frozen=True)
class TrainingSettings:
    """What is the same for every trial (fixed hyper-parameters: caveats of every conclusion)."""

    batch_size: int = 16
    """Examples a step and trial."""
    max_length: int | None = None
    """Tokens an example at most, special tokens included; never more than the model reads. None: what 99 % of the texts to train on need,
    rounded up to a multiple of 32, at most 512; under the ``paper`` protocol 128, as in UniPELT's experiments."""
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
    head_start: Literal["auto", "probe", "random"] = "auto"
    """Where the heads of all trainings start: at a regularized linear map of the frozen features (``probe``), or at ``random``. ``auto``:
    the probe, if it is above chance in a cross-validation inside train; ``random`` under the ``paper`` protocol."""
    dropout: float = 0.0
    """Dropout inside the frozen backbone. At 0 a trial ends the same whatever else trains in its pack."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """``auto``: the faster of bf16 and fp32 for this model on this machine, as measured."""
    pack_size: int | None = None
    """Trials trained in one forward and backward pass at most; None: as many as pay and fit, by a few steps at the start, up to 32 on a
    GPU, 8 on a processor."""
    threads: int | None = None
    """Threads for torch on a CPU; None: all cores or one, whichever is the faster, measured again when the load changes for long."""

    def __post_init__(self) -> None:
        _check(
            "the training's settings",
            _whole("batch_size", self.batch_size, 1, 65_536, " examples"),
            _whole("max_length", self.max_length, 8, 1_000_000, " tokens", optional=True),
            _number("epochs", self.epochs, 0, 1e6, open_low=True),
            _whole("min_steps", self.min_steps, 1),
            _whole("max_steps", self.max_steps, 1),
            _in_order("min_steps", self.min_steps, "max_steps", self.max_steps),
            _number("warmup", self.warmup, 0, 1, open_high=True, unit=" (a share of the training)"),
            _number("clip", self.clip, 0, open_low=True),
            _number("weight_decay", self.weight_decay, 0, 100),
            _whole("patience", self.patience, 1, unit=" evaluation"),
            _one_of("head_start", self.head_start, HEAD_STARTS),
            _number("dropout", self.dropout, 0, 1, open_high=True, unit=" (a probability)"),
            _one_of("precision", self.precision, ("auto", "bf16", "fp32")),
            _whole("pack_size", self.pack_size, 1, 1024, " trials", optional=True),
            _whole("threads", self.threads, 1, 1024, " threads", optional=True),
        )


@dataclass(frozen=True)
class SearchSettings:
    """How hard to look, and how to decide."""

    methods: tuple[str, ...] = ()
    """PELT methods to compare; empty for the standard ones; ``("all",)`` for all that there are."""
    baselines: tuple[str, ...] = ("probe", "bag-of-words", "neighbors")
    """Contenders that train no backbone and take part as well, fitted in seconds; empty for none."""
    trials: int = 6
    """Configurations tried a method at most; the first is the published default."""
    seconds: float | None = None
    """Limit on the whole selection, finalists included, in seconds of wall time; None for no limit."""
    finalist_seeds: int = 3
    """Fresh seed triples (split, initialization, order) on which each finalist is trained again, at least."""
    most_seeds: int = 10
    """... and at most: more than `finalist_seeds` as long as they may change the verdict and there is time. Never fewer than those."""
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
            _whole("trials", self.trials, 1, 100_000),
            _number("seconds", self.seconds, 0, 1e9, open_low=True, optional=True),
            _whole("finalist_seeds", self.finalist_seeds, 1, 1000),
            _whole("most_seeds", self.most_seeds, 1, 1000),
            _in_order("finalist_seeds", self.finalist_seeds, "most_seeds", self.most_seeds),
            _number("finalist_share", self.finalist_share, 0, 1, open_low=True, open_high=True),
            *(_number("a rung", rung, 0, 1, open_low=True, open_high=True, unit=" (a share of the training)") for rung in self.rungs),
            _number("promoted", self.promoted, 0, 1, open_low=True),
            _number("equivalence", self.equivalence, 0, 100, unit=" points"),
            _one_of("prefer", self.prefer, PREFERENCES),
            _one_of("sampler", self.sampler, SAMPLERS),
            _truth("portfolio", self.portfolio),
            _truth("race", self.race),
            _whole("max_trainable", self.max_trainable, 1, optional=True, unit=" parameter"),
            _number("max_latency_ms", self.max_latency_ms, 0, open_low=True, unit=" milliseconds", optional=True),
            _number("max_memory", self.max_memory, 0, open_low=True, unit=" gigabytes", optional=True),
            _whole("seed", self.seed, 0, LARGEST_SEED),
            (len(set(self.methods)) == len(self.methods), f"methods {list(self.methods)} names one twice"),
            (len(set(self.baselines)) == len(self.baselines), f"baselines {list(self.baselines)} names one twice"),
        )


@dataclass(frozen=True)
class SelectionSettings:
    """One selection: a task, a pretrained model, and how to search."""

    task: TaskSettings
    model: str = "minilm"
    """A Hub name, a local folder, or the alias ``minilm``."""
    training: TrainingSettings = field(default_factory=TrainingSettings)
    search: SearchSettings = field(default_factory=SearchSettings)
