# Made by scripts/options.py from pelt_automl/settings.py.
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypedDict

class CurveOptions(TypedDict, total=False):
    task: str | None
    """Name of a task (see: pelt-automl tasks), or hf:owner/name[:config]. Left out with files of your own."""
    data_dir: str | Path | None
    """Folder with DIR/TASK/train.jsonl and so on. Used before the Hub. Default: $PELT_AUTOML_DATA_DIR."""
    train: str | Path | None
    """Your labeled file: CSV, TSV, JSON, JSONL or Parquet."""
    validation: str | Path | None
    """Your validation file (optional)."""
    test: str | Path | None
    """Your labeled test file (optional). It becomes the report split."""
    text_columns: Sequence[str] | None
    """One or two columns with text: a or a,b. Needed for files and hf: data sets."""
    label_column: str | Sequence[str] | None
    """Column with the label; or for several labels a column of 0 and 1 for each: a,b,c. Needed for files and hf: data sets."""
    label_separator: str | None
    """What stands between the labels of an example that has several, such as ; in a;b. Default: none, a text is one label."""
    group_column: str | None
    """Column of what examples share that must not stand on two sides of a split: a patient, an author, a document. Default: none."""
    encoding: str | None
    """Encoding of the files, such as windows-1252. Default: detected, file by file."""
    delimiter: str | None
    """What separates the cells of CSV and TSV files: one character, or tab. Default: detected, file by file."""
    kind: Literal["classification", "regression", "multi-label", "question-answering"] | None
    """What the labels are. Default: multi-label when they are lists, regression when they are numbers with a fraction, question-answering when they are SQuAD's answers, else classification."""
    metric: str | None
    """Metric to optimize. Default: the task's own; for files accuracy, macro-F1 when classes are imbalanced, Spearman for regression, micro-F1 for several labels, SQuAD's F1 for answers."""
    positive_class: str | None
    """Class that f1, accuracy_f1 and average_precision are about. Default: the rarer one in train; the benchmark's for a named task."""
    class_weights: Literal["none", "balanced"] | None
    """Weights of the classes in the loss that methods are trained with: balanced lets each class count as much as any other, however rare it is."""
    protocol: Literal["strict", "paper"] | None
    """strict: select is carved out of the K examples. paper: UniPELT's, with the next 1,000 to select on."""
    model: str | None
    """A Hub name, a local folder, or minilm."""
    batch_size: int | None
    """Batch size per trial, in examples."""
    max_length: int | None
    """Maximum tokens per example, special ones included; passages are read in windows of so many. Default: what 99 % of the texts to train on need, in steps of 32 and up to 512 (windows 384, the paper protocol 128). Never more than the model reads."""
    epochs: float | None
    """Length of a full training in passes over the train split. Shortened only when two of them don't fit into the time limit."""
    min_steps: int | None
    """Optimizer steps that a full training is never shortened below."""
    max_steps: int | None
    """Optimizer steps that a full training never exceeds."""
    warmup: float | None
    """Share of a full training's steps over which the learning rate rises linearly. Then it falls linearly to 0."""
    clip: float | None
    """Largest L2 norm of a trial's gradient."""
    weight_decay: float | None
    """AdamW's decoupled weight decay."""
    patience: int | None
    """Evaluations without a new best after which a trial stops, in the second half of its training."""
    head_start: Literal["auto", "probe", "random"] | None
    """Where every head starts: probe (a regularized linear map of the frozen features), random, or auto: probe if it is above chance in a cross-validation inside train (random under the paper protocol)."""
    dropout: float | None
    """Dropout inside the frozen backbone. At 0 a trial ends the same whatever else trains in its pack."""
    precision: Literal["auto", "bf16", "fp32"] | None
    """Number format of the training. auto measures which is faster."""
    pack_size: int | None
    """Maximum number of trials that train together. Default: what trained fastest on this machine before, up to 32 on a GPU and 8 on a processor; at first 16 and 4, as far as memory allows."""
    threads: int | None
    """Threads on a processor. Default: all cores or one, whichever is measured to be faster."""
    seed: int | None
    """Seed of the sample, the splits, the samplers and the trials."""
    methods: Sequence[str] | None
    """Methods to compare: lora,adapter,... or all. Default: the standard ones."""
    baselines: Sequence[str] | None
    """Contenders that train no backbone, fitted in seconds; none for none."""
    trials: int | None
    """Maximum configurations per method. The published default is one of them."""
    seconds: float | None
    """Time limit of the whole selection, finalists included, in seconds. Default: none."""
    rungs: Sequence[float] | str | None
    """Shares of a training after which only the better trials go on; none for none."""
    promoted: float | None
    """Share of a method's trials that go on from a rung, rounded; one at least. The published default always does."""
    sampler: Literal["tpe", "gp", "cmaes", "random"] | None
    """Optuna's sampler: multivariate TPE, Gaussian processes, CMA-ES, or random search."""
    portfolio: bool | None
    """Try first what is known to be good: learned from other data, or listed in a search space."""
    experience: bool | None
    """Learn what to try first also from your own finished selections of other data with the same model, as far as they lie in the program's home."""
    race: bool | None
    """Drop methods that are clearly behind."""
    spaces: str | Path | None
    """Folder with search spaces of your own (METHOD.yaml). Default: those shipped."""
    max_trainable: int | None
    """Maximum trainable parameters of a configuration: PELT, gates and head. Default: no limit."""
    max_latency_ms: float | None
    """Maximum milliseconds for one text on this device, tokenization left out, folded into the backbone where export --merged can write it so. Default: no limit."""
    max_memory: float | None
    """Maximum gigabytes for training a configuration alone, the backbone included. Default: no limit."""
    finalist_seeds: int | None
    """Minimum number of fresh seed triples (split, initialization, order) per finalist."""
    most_seeds: int | None
    """Maximum number of fresh seeds per finalist, never fewer than the minimum. Only the best finalist and its closest challenger get more than the minimum, until the best mean is practically as good as any."""
    finalist_share: float | None
    """Share of the time limit that is reserved for the finalists, their evaluation and the evidence."""
    equivalence: float | None
    """Region of practical equivalence, in points of the metric (1 point = 0.01)."""
    prefer: Literal["params", "latency", "time", "score"] | None
    """What decides among the tied: trainable parameters, latency of one text, training time, or the report score."""
    workers: int | None
    """Worker processes to start on this machine: a GPU each; on a processor they share the cores (docs/workers.md). In a flow: places of the work pool gpu, on any machine (docs/servers.md). Default: none, all is trained in the selection's own process."""
    listen: str | None
    """Where workers on other machines find the selection: tls://HOST:8786, an address of this machine. They are started there with: pelt-automl worker tls://HOST:8786."""
    certificates: str | Path | None
    """Folder with the certificates of the selection and of its workers on other machines; pelt-automl certificates DIR makes them. Default: $PELT_AUTOML_CERTIFICATES."""

class Options(CurveOptions, total=False):
    k: int | Literal["full"] | None
    """Number of labeled examples to use, or full. Several (50,100,200) give a curve over K. Default: all."""
