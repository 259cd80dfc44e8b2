"""Every knob once: type, default, help, unit, bounds, choices, and the panel of the command line's help that it stands in.

The command line, the flows' parameters, task files, the types of `pelt_automl.select` and docs/options.md are made from `options`.
Impossible values are reported all at once as a `SettingsError` when the dataclass is made. No torch here.
"""

import inspect
import math
import numbers
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin

from pelt_automl.errors import SettingsError, all_problems
from pelt_automl.home import expanded

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

SMALLEST_K = 16
"""Fewer labeled examples than this can't be split into train and select."""

PAPER_LENGTH = 128
"""Tokens an example at most in UniPELT's experiments."""

LARGEST_SEED = 2**32 - 1
"""The largest that NumPy's and Optuna's random numbers all take. It is used as it is: other seeds come from hashes, none from a sum."""

ALL = "all"
"""In place of methods: every one that there is."""

DATA, TRAINING, SEARCH = "Task and data", "Model and training", "Search"
LIMITS, VERDICT, WORKERS = "Limits on configurations", "Verdict", "Workers"
PROTOCOL = "Protocol"
PANELS = (PROTOCOL, DATA, TRAINING, SEARCH, LIMITS, VERDICT, WORKERS)
"""Groups of options, in the order of help and docs."""


@dataclass(frozen=True, kw_only=True)
class Knob:
    """One option: all that is said of it, and what its values may be.

    `help` is a sentence or two: what it is, and what happens when it is left out. `low` and `high` are the smallest and the largest
    value (of a list, of each element), `above` and `below` the same without the bound itself; `unit` stands behind them. `names` says
    what a name is of (`pelt_automl.options.known_names`), `nothing` is the word for None or for an empty list, and with `several` a list
    of values means something else (a curve over K). With `joined` a list of texts means the text with commas between them. The rest is
    read off the field: see `knobs_of`.
    """

    help: str
    panel: str
    unit: str = ""
    low: float | None = None
    above: float | None = None
    high: float | None = None
    below: float | None = None
    names: str = ""
    nothing: str = ""
    several: bool = False
    joined: bool = False
    name: str = ""
    default: Any = None
    many: bool = False
    optional: bool = False
    choices: tuple[str, ...] = ()
    base: type = str

    @property
    def flag(self) -> str:
        """On the command line."""
        return "--" + self.name.replace("_", "-")

    def text(self, value: Any) -> str:
        """A value as it is typed."""
        if value is None or value == ():
            return self.nothing
        if isinstance(value, tuple):
            return ",".join(map(self.text, value))
        return f"{value:g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)

    def converted(self, value: Any) -> Any:
        """What came from outside as a value of its type: text, a list, NumPy's numbers. What can't be one is left for `problems`.

        Raises `SettingsError` for a path in the home of a user who isn't there.
        """
        if self.joined and isinstance(value, list | tuple):
            value = ",".join(map(str, value))
        if not self.many:
            return self._converted(value)
        parts = [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
        if not isinstance(parts, Iterable) or isinstance(parts, Mapping):
            return value
        found = tuple(str(part) if self.base is str else self._converted(part) for part in parts)
        return () if self.nothing and [str(one).lower() for one in found] == [self.nothing] else found

    def _converted(self, value: Any) -> Any:
        if self.optional and self.nothing and isinstance(value, str) and value.strip().lower() == self.nothing:
            return None
        if self.base is Path and isinstance(value, str | Path):
            return expanded(value).absolute()
        if self.base is str and isinstance(value, Path):
            return str(value)
        readable = (str, numbers.Integral, *((numbers.Real,) if self.base is float else ()))  # 60 and 60.0 are the same limit
        if self.base in (int, float) and isinstance(value, readable) and not isinstance(value, bool):
            with suppress(ValueError, OverflowError):
                return self.base(value)
        return value

    def problems(self, value: Any) -> list[str]:
        """What is wrong with a value; nothing where it is one of this knob's."""
        if not self.many:
            return [] if self._fits(value) else [f"{self.name} is {value!r}; it must be {self.expected(value)}"]
        if not isinstance(value, tuple | list):
            kind = "names" if self.base is str else "numbers"
            such = f" such as {self.text(self.default)}" if self.default else ""
            return [f"{self.name} is {value!r}; it must be a list of {kind}{such}" + (f", or {self.nothing!r}" if self.nothing else "")]
        found = [f"{self.name} has {one!r}; each must be {self.expected(one)}" for one in value if not self._fits(one)]
        if any(one in value[:index] for index, one in enumerate(value)):
            found.append(f"{self.name} {list(value)} names one twice")
        return found

    def expected(self, value: Any = None) -> str:
        """What a value must be, in words; the kind of number is left out for a value that is of it."""
        words = {str: "text", bool: "true or false", Path: "a path", int: "a whole number", float: "a finite number"}[self.base]
        if allowed := self.allowed():
            words = allowed if self.choices or self._is_number(value) else f"{words}{', ' if self.base is int else ' '}{allowed}"
        return words + (f", or {self.nothing!r}" if self.nothing and self.optional else "")

    def allowed(self) -> str:
        """``auto, bf16 or fp32``, ``from 1 to 1024 trials``, ``above 0``; empty where anything is."""
        if self.choices:
            return f"{', '.join(self.choices[:-1])} or {self.choices[-1]}"
        if self.low is not None and self.high is not None:
            words = [f"from {_number(self.low)} to {_number(self.high)}"]
        else:
            bounds = {"above": self.above, "at least": self.low, "below": self.below, "at most": self.high}
            words = [f"{what} {_number(bound)}" for what, bound in bounds.items() if bound is not None]
        unit = self.unit.removesuffix("s") if words[-1:] == ["at least 1"] else self.unit
        return " and ".join(words) + (f" {unit}" if words and unit else "")

    def _is_number(self, value: Any) -> bool:
        kinds = int if self.base is int else int | float
        return isinstance(value, kinds) and not isinstance(value, bool) and abs(value) < math.inf  # so NaN is none, either

    def _fits(self, value: Any) -> bool:
        if value is None and self.optional:
            return True
        if self.choices:
            return isinstance(value, str) and value in self.choices
        if self.base in (int, float):
            return self._is_number(value) and not (
                (self.low is not None and value < self.low)
                or (self.above is not None and value <= self.above)
                or (self.high is not None and value > self.high)
                or (self.below is not None and value >= self.below)
            )
        return isinstance(value, (str, Path) if self.base is Path else self.base)


def _number(bound: float) -> str:
    return str(bound) if isinstance(bound, int) else f"{bound:g}"


def knob(default: T, help: str, panel: str, **more: Any) -> T:  # noqa: A002  # as argparse and typer call it
    """A field of a dataclass that a user sets. `more`: see `Knob`."""
    return field(default=default, metadata={"knob": Knob(help=help, panel=panel, **more)})


@cache
def knobs_of(kind: Any) -> tuple[Knob, ...]:
    """The knobs among a dataclass's fields. A type is int, float, bool, str, Path or a Literal, perhaps in a tuple, perhaps or None."""
    found = []
    for item in (item for item in fields(kind) if "knob" in item.metadata):
        many = get_origin(item.type) is tuple
        each = get_args(item.type)[0] if many else item.type
        optional = NoneType in get_args(each)
        some: Any = next(one for one in get_args(each) if one is not NoneType) if optional else each
        choices = get_args(some) if get_origin(some) is Literal else ()
        shape = {"many": many, "optional": optional, "choices": choices, "base": str if choices else some}
        found.append(replace(item.metadata["knob"], name=item.name, default=item.default, **shape))
    return tuple(found)


def taking(parameters: Iterable[inspect.Parameter]) -> Callable[[F], F]:
    """A function gets these parameters in place of its ``**options``, for who makes a command or a schema from its signature."""

    def made(work: F) -> F:
        own = [each for each in inspect.signature(work).parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
        work.__signature__ = inspect.Signature([*parameters, *own])  # type: ignore[attr-defined]
        return work

    return made


Rule = tuple[bool, str]
"""Whether it holds, and what to say where it doesn't."""


class Checked:
    """A dataclass of knobs: each value is checked, then what has to go together. Raises `SettingsError` with everything that is wrong."""

    def __post_init__(self) -> None:
        kind: Any = type(self)
        problems = [problem for each in knobs_of(kind) for problem in each.problems(getattr(self, each.name))]
        problems += [message for holds, message in self.rules() if not holds]
        if problems:
            raise SettingsError(all_problems("the settings", problems), problems)

    def rules(self) -> tuple[Rule, ...]:
        """What has to hold between fields, whatever their values are."""
        return ()


def _in_order(low: str, least: Any, high: str, most: Any) -> Rule:
    """Whole numbers of which one can't be above the other; what isn't a whole number has a rule of its own."""
    are_whole = isinstance(least, int) and isinstance(most, int)
    return not are_whole or least <= most, f"{high} is {most}; it can't be below {low}, which is {least}"


def _seed() -> int:
    return knob(0, "Seed of the sample, the splits, the samplers and the trials.", SEARCH, low=0, high=LARGEST_SEED)


@dataclass(frozen=True)
class TaskSettings(Checked):
    """Which labeled text, and how it is split."""

    task: str | None = knob(
        None, "Name of a task (see: pelt-automl tasks), or hf:owner/name[:config]. Left out with files of your own.", DATA, names="tasks"
    )
    data_dir: Path | None = knob(
        None, "Folder with DIR/TASK/train.jsonl and so on. Used before the Hub. Default: $PELT_AUTOML_DATA_DIR.", DATA
    )
    train: Path | None = knob(None, "Your labeled file: CSV, TSV, JSON, JSONL or Parquet.", DATA)
    validation: Path | None = knob(None, "Your validation file (optional).", DATA)
    test: Path | None = knob(None, "Your labeled test file (optional). It becomes the report split.", DATA)
    text_columns: tuple[str, ...] = knob((), "One or two columns with text: a or a,b. Needed for files and hf: data sets.", DATA)
    label_column: str | None = knob(
        None,
        "Column with the label; or for several labels a column of 0 and 1 for each: a,b,c. Needed for files and hf: data sets.",
        DATA,
        joined=True,
    )
    label_separator: str | None = knob(
        None, "What stands between the labels of an example that has several, such as ; in a;b. Default: none, a text is one label.", DATA
    )
    group_column: str | None = knob(
        None,
        "Column of what examples share that must not stand on two sides of a split: a patient, an author, a document. Default: none.",
        DATA,
    )
    encoding: str | None = knob(None, "Encoding of the files, such as windows-1252. Default: detected, file by file.", DATA)
    delimiter: str | None = knob(
        None, "What separates the cells of CSV and TSV files: one character, or tab. Default: detected, file by file.", DATA
    )
    kind: Literal["classification", "regression", "multi-label", "question-answering"] | None = knob(
        None,
        "What the labels are. Default: multi-label when they are lists, regression when they are numbers with a fraction, "
        "question-answering when they are SQuAD's answers, else classification.",
        DATA,
    )
    metric: str | None = knob(
        None,
        "Metric to optimize. Default: the task's own; for files accuracy, macro-F1 when classes are imbalanced, Spearman for regression, "
        "micro-F1 for several labels, SQuAD's F1 for answers.",
        DATA,
        names="metrics",
    )
    positive_class: str | None = knob(
        None,
        "Class that f1, accuracy_f1 and average_precision are about. Default: the rarer one in train; the benchmark's for a named task.",
        DATA,
    )
    class_weights: Literal["none", "balanced"] = knob(
        "none",
        "Weights of the classes in the loss that methods are trained with: balanced lets each class count as much as any other, however "
        "rare it is.",
        DATA,
    )
    k: int | None = knob(
        None,
        "Number of labeled examples to use, or full. Several (50,100,200) give a curve over K. Default: all.",
        DATA,
        low=SMALLEST_K,
        nothing="full",
        several=True,
    )
    protocol: Literal["strict", "paper"] = knob(
        "strict", "strict: select is carved out of the K examples. paper: UniPELT's, with the next 1,000 to select on.", DATA
    )
    seed: int = _seed()

    def rules(self) -> tuple[Rule, ...]:
        """Of the places that data come from, and of columns."""
        own = self.train is not None
        by_columns = own or str(self.task).startswith("hf:")
        needs_columns = by_columns and self.kind != "question-answering"  # whose columns have usual names
        return (
            (own != (self.task is not None), "give either a task's name or a train file, not both and not neither"),
            (own or (self.validation is None and self.test is None), "a validation or test file needs a train file"),
            (
                own or self.data_dir is not None or (self.encoding is None and self.delimiter is None),
                "encoding and delimiter are for files: give a train file or a data folder, or leave them out",
            ),
            (not needs_columns or len(self.text_columns) in (1, 2), "name one or two text columns (--text-columns a,b)"),
            (not needs_columns or self.label_column is not None, "name the label column (--label-column)"),
            (by_columns or self.label_separator is None, "a label separator is for files and hf: data sets; leave it out"),
            (self.label_separator is None or self.label_separator != "", "label_separator is empty; give what stands between labels"),
            (
                self.label_separator is None or self.kind in (None, "multi-label"),
                f"kind is {self.kind!r}, but a label separator means several labels: leave one of them out",
            ),
        )


@dataclass(frozen=True)
class TrainingSettings(Checked):
    """What is the same for every trial (fixed hyper-parameters: caveats of every conclusion)."""

    batch_size: int = knob(16, "Batch size per trial, in examples.", TRAINING, unit="examples", low=1, high=65_536)
    max_length: int | None = knob(
        None,
        "Maximum tokens per example, special ones included; passages are read in windows of so many. Default: what 99 % of the texts to "
        "train on need, in steps of 32 and up to 512 (windows 384, the paper protocol 128). Never more than the model reads.",
        TRAINING,
        unit="tokens",
        low=8,
        high=1_000_000,
    )
    epochs: float = knob(
        20.0,
        "Length of a full training in passes over the train split. Shortened only when two of them don't fit into the time limit.",
        TRAINING,
        unit="passes",
        above=0,
        high=1_000_000,
    )
    min_steps: int = knob(40, "Optimizer steps that a full training is never shortened below.", TRAINING, unit="steps", low=1)
    max_steps: int = knob(2000, "Optimizer steps that a full training never exceeds.", TRAINING, unit="steps", low=1)
    warmup: float = knob(
        0.1,
        "Share of a full training's steps over which the learning rate rises linearly. Then it falls linearly to 0.",
        TRAINING,
        unit="of the training",
        low=0,
        below=1,
    )
    clip: float = knob(1.0, "Largest L2 norm of a trial's gradient.", TRAINING, above=0)
    weight_decay: float = knob(0.0, "AdamW's decoupled weight decay.", TRAINING, low=0, high=100)
    patience: int = knob(
        4,
        "Evaluations without a new best after which a trial stops, in the second half of its training.",
        TRAINING,
        unit="evaluations",
        low=1,
    )
    head_start: Literal["auto", "probe", "random"] = knob(
        "auto",
        "Where every head starts: probe (a regularized linear map of the frozen features), random, or auto: probe if it is above chance in "
        "a cross-validation inside train (random under the paper protocol).",
        TRAINING,
    )
    dropout: float = knob(
        0.0, "Dropout inside the frozen backbone. At 0 a trial ends the same whatever else trains in its pack.", TRAINING, low=0, below=1
    )
    precision: Literal["auto", "bf16", "fp32"] = knob("auto", "Number format of the training. auto measures which is faster.", TRAINING)
    pack_size: int | None = knob(
        None,
        "Maximum number of trials that train together. Default: what trained fastest on this machine before, up to 32 on a GPU and 8 on a "
        "processor; at first 16 and 4, as far as memory allows.",
        TRAINING,
        unit="trials",
        low=1,
        high=1024,
    )
    threads: int | None = knob(
        None,
        "Threads on a processor. Default: all cores or one, whichever is measured to be faster.",
        TRAINING,
        unit="threads",
        low=1,
        high=1024,
    )
    workers: int | None = knob(
        None,
        "Worker processes to start on this machine: a GPU each; on a processor they share the cores (docs/workers.md). In a flow: places "
        "of the work pool gpu, on any machine (docs/servers.md). Default: none, all is trained in the selection's own process.",
        WORKERS,
        unit="workers",
        low=1,
        high=256,
    )
    listen: str | None = knob(
        None,
        "Where workers on other machines find the selection: tls://HOST:8786, an address of this machine. They are started there with: "
        "pelt-automl worker tls://HOST:8786.",
        WORKERS,
    )
    certificates: Path | None = knob(
        None,
        "Folder with the certificates of the selection and of its workers on other machines; pelt-automl certificates DIR makes them. "
        "Default: $PELT_AUTOML_CERTIFICATES.",
        WORKERS,
    )

    def rules(self) -> tuple[Rule, ...]:
        """Of the shortest and the longest training."""
        return (_in_order("min_steps", self.min_steps, "max_steps", self.max_steps),)


@dataclass(frozen=True)
class SearchSettings(Checked):
    """How hard to look, and how to decide."""

    methods: tuple[str, ...] = knob((), "Methods to compare: lora,adapter,... or all. Default: the standard ones.", SEARCH, names="methods")
    baselines: tuple[str, ...] = knob(
        ("probe", "bag-of-words", "neighbors"),
        "Contenders that train no backbone, fitted in seconds; none for none.",
        SEARCH,
        names="baselines",
        nothing="none",
    )
    trials: int = knob(
        6, "Maximum configurations per method. The published default is one of them.", SEARCH, unit="trials", low=1, high=100_000
    )
    seconds: float | None = knob(
        None,
        "Time limit of the whole selection, finalists included, in seconds. Default: none.",
        SEARCH,
        unit="seconds",
        above=0,
        high=1_000_000_000,
    )
    finalist_seeds: int = knob(
        3, "Minimum number of fresh seed triples (split, initialization, order) per finalist.", VERDICT, unit="seeds", low=1, high=1000
    )
    most_seeds: int = knob(
        10,
        "Maximum number of fresh seeds per finalist, never fewer than the minimum. Only the best finalist and its closest challenger get "
        "more than the minimum, until the best mean is practically as good as any.",
        VERDICT,
        unit="seeds",
        low=1,
        high=1000,
    )
    finalist_share: float = knob(
        0.5,
        "Share of the time limit that is reserved for the finalists, their evaluation and the evidence.",
        VERDICT,
        unit="of the time limit",
        above=0,
        below=1,
    )
    rungs: tuple[float, ...] = knob(
        (0.25, 0.5),
        "Shares of a training after which only the better trials go on; none for none.",
        SEARCH,
        unit="of the training",
        above=0,
        below=1,
        nothing="none",
    )
    promoted: float = knob(
        0.34,
        "Share of a method's trials that go on from a rung, rounded; one at least. The published default always does.",
        SEARCH,
        unit="of the trials",
        above=0,
        high=1,
    )
    equivalence: float = knob(
        1.0, "Region of practical equivalence, in points of the metric (1 point = 0.01).", VERDICT, unit="points", low=0, high=100
    )
    prefer: Literal["params", "latency", "time", "score"] = knob(
        "params", "What decides among the tied: trainable parameters, latency of one text, training time, or the report score.", VERDICT
    )
    sampler: Literal["tpe", "gp", "cmaes", "random"] = knob(
        "tpe", "Optuna's sampler: multivariate TPE, Gaussian processes, CMA-ES, or random search.", SEARCH
    )
    portfolio: bool = knob(True, "Try first what is known to be good: learned from other data, or listed in a search space.", SEARCH)
    experience: bool = knob(
        True,
        "Learn what to try first also from your own finished selections of other data with the same model, as far as they lie in the "
        "program's home.",
        SEARCH,
    )
    race: bool = knob(True, "Drop methods that are clearly behind.", SEARCH)
    max_trainable: int | None = knob(
        None, "Maximum trainable parameters of a configuration: PELT, gates and head. Default: no limit.", LIMITS, unit="parameters", low=1
    )
    max_latency_ms: float | None = knob(
        None,
        "Maximum milliseconds for one text on this device, tokenization left out, folded into the backbone where export --merged can write "
        "it so. Default: no limit.",
        LIMITS,
        unit="milliseconds",
        above=0,
    )
    max_memory: float | None = knob(
        None,
        "Maximum gigabytes for training a configuration alone, the backbone included. Default: no limit.",
        LIMITS,
        unit="gigabytes",
        above=0,
    )
    seed: int = _seed()
    spaces: Path | None = knob(None, "Folder with search spaces of your own (METHOD.yaml). Default: those shipped.", SEARCH)

    def rules(self) -> tuple[Rule, ...]:
        """Of the seeds."""
        return (_in_order("finalist_seeds", self.finalist_seeds, "most_seeds", self.most_seeds),)


@dataclass(frozen=True)
class SelectionSettings(Checked):
    """One selection: a task, a pretrained model, and how to search."""

    task: TaskSettings
    model: str = knob("minilm", "A Hub name, a local folder, or minilm.", TRAINING)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    search: SearchSettings = field(default_factory=SearchSettings)


PARTS: dict[str, Any] = {"task": TaskSettings, "training": TrainingSettings, "search": SearchSettings}
"""The fields of `SelectionSettings` that are dataclasses of knobs."""


def options() -> dict[str, Knob]:
    """Every knob of a selection by its name, flat, panel by panel; the seed, which two parts have, is one."""
    found = {each.name: each for kind in (SelectionSettings, *PARTS.values()) for each in knobs_of(kind)}
    return dict(sorted(found.items(), key=lambda item: PANELS.index(item[1].panel)))


@dataclass(frozen=True)
class ProtocolSettings(Checked):
    """Which of UniPELT's experiments are run again."""

    tasks: tuple[Literal["sst2", "mrpc", "cola", "rte", "qnli", "stsb", "mnli", "qqp"], ...] = knob(
        ("sst2", "mrpc", "cola", "rte", "qnli", "stsb", "mnli", "qqp"), "Tasks of the paper's tables, in their order.", PROTOCOL
    )
    ks: tuple[int | None, ...] = knob(
        (100, 500, 1000, None), "Numbers of training examples, or full.", PROTOCOL, low=SMALLEST_K, nothing="full"
    )
    seeds: tuple[int, ...] = knob(
        (0, 1, 2, 3, 4),
        "Data seeds. Each shuffles the training data: the first K are trained on, the next 1,000 selected on.",
        PROTOCOL,
        low=0,
        high=LARGEST_SEED,
    )
    methods: tuple[str, ...] = knob(
        (), "Rows of its tables (lora,unipelt-apl,...), at every K. Default: each where it is printed.", PROTOCOL
    )
    evaluations: int | None = knob(
        None, "Number of evaluations on select in a training, equally far apart. Default: once an epoch.", PROTOCOL, low=1
    )
    select_most: int | None = knob(
        None, "Maximum examples to select on, of the 1,000 that follow the K. Default: all.", PROTOCOL, unit="examples", low=1
    )
    report_most: int | None = knob(
        None, "Maximum examples to report on, the same ones for all runs. Default: all.", PROTOCOL, unit="examples", low=1
    )

    def rules(self) -> tuple[Rule, ...]:
        """Of the lists that say which runs there are."""
        return tuple((bool(getattr(self, name)), f"name at least one of the {name}") for name in ("tasks", "ks", "seeds"))


PAPER_TRAINING = TrainingSettings(
    batch_size=16,
    max_length=PAPER_LENGTH,
    epochs=50,
    min_steps=1,
    max_steps=sys.maxsize,
    warmup=0.0,
    patience=10,
    head_start="random",
)
"""The training of UniPELT's experiments, without dropout in the backbone, so that a run ends the same in any pack."""


def reproduction_options() -> dict[str, Knob]:
    """Every knob of a reproduction by its name: of its protocol, and of the training, with the paper's defaults."""
    training = {each.name: replace(each, default=getattr(PAPER_TRAINING, each.name)) for each in knobs_of(TrainingSettings)}
    shown = ("epochs", "batch_size", "dropout", "pack_size", "precision", "threads", "workers")
    return {each.name: each for each in knobs_of(ProtocolSettings)} | {name: training[name] for name in shown}


def is_curve(k: Any) -> bool:
    """Whether a ``k`` (text, a number, a sequence) asks for several."""
    return len([part for part in k.split(",") if part.strip()] if isinstance(k, str) else k if isinstance(k, list | tuple) else ()) > 1
