"""Flow "select-pelt": one text task from its name to its recommendation.

prefect deployment run select-pelt/default --param task=qnli --watch
"""

from typing import Any, Literal

from prefect import flow, tags

from flows.clear_failures import step
from flows.conduct import concluded, conducted, run_log
from flows.flow_parameters import checked_settings
from flows.k_curve import select_at_each_k
from flows.run_display import LogDisplay
from flows.run_page import leave_artifacts, run_tags, select_name, tag_this_run, task_name, where
from pelt_automl.recommendation import Recommendation, verdict_text
from pelt_automl.records import read
from pelt_automl.selection import Selection
from pelt_automl.settings import SearchSettings, SelectionSettings, TaskSettings, TrainingSettings


@step
def prepare(selection: Selection) -> None:
    """Data and splits, the pretrained model, its speed on this machine, and the plan for the time limit."""
    selection.prepare()


@step
def search(selection: Selection) -> None:
    """Trials of all methods, packed."""
    selection.search()


@step
def confirm(selection: Selection) -> None:
    """Finalists trained again on fresh seeds, then scored on the report split."""
    selection.confirm()


@step
def explain(selection: Selection) -> None:
    """Gates, and submodules switched off."""
    selection.explain()


@step
def recommend(selection: Selection) -> Recommendation:
    """The verdict, the report and the winner's weights."""
    return selection.recommend()


@flow(name="select-pelt", flow_run_name=select_name)
@conducted
def select_pelt(
    task: str | None = None,
    data_dir: str | None = None,
    train: str | None = None,
    validation: str | None = None,
    test: str | None = None,
    text_columns: list[str] | None = None,
    label_column: str | None = None,
    encoding: str | None = None,
    delimiter: str | None = None,
    kind: Literal["classification", "regression"] | None = None,
    metric: str | None = None,
    positive_class: str | None = None,
    k: int | Literal["full"] | list[int | Literal["full"]] | None = None,
    protocol: Literal["strict", "paper"] = TaskSettings.protocol,
    model: str = SelectionSettings.model,
    head_start: Literal["auto", "probe", "random"] = TrainingSettings.head_start,
    methods: list[str] | None = None,
    baselines: list[str] | None = None,
    trials: int = SearchSettings.trials,
    seconds: float | None = None,
    seed: int = SearchSettings.seed,
    equivalence: float = SearchSettings.equivalence,
    prefer: Literal["params", "latency", "time", "score"] = SearchSettings.prefer,
    max_trainable: int | None = None,
    max_latency_ms: float | None = None,
    max_memory: float | None = None,
) -> Any:  # a dictionary, or a state that has it
    """Which parameter-efficient tuning method to use for a text task, with its trained weights.

    Args:
        task: Name of an embedded, GLUE or SuperGLUE task, or ``hf:owner/name[:config]``; none with files of your own.
        data_dir: Folder with one folder a task, inside the worker's data folders.
        train: Your own labeled file (CSV, TSV, JSON, JSONL or Parquet), inside the worker's data folders.
        validation: Your own validation file.
        test: Your own labeled test file.
        text_columns: One or two columns with text, for files and ``hf:`` data sets.
        label_column: Column with the label, for files and ``hf:`` data sets.
        encoding: Encoding of the files; found out when it isn't given.
        delimiter: What separates cells in CSV and TSV files; found out when it isn't given.
        kind: What the labels are; found out when it isn't given.
        metric: The task's own when it isn't given.
        positive_class: The class that f1 is about; the rarer one of your own data when it isn't given.
        k: Number of labeled examples that may be used; all when it isn't given. Several for a curve over K.
        protocol: ``strict`` carves the select split out of the K examples, ``paper`` does as UniPELT's authors did.
        model: Hub name of a pretrained encoder, a folder inside the worker's data folders, or ``minilm``.
        head_start: Where the heads of all trainings start: at the probe, at random, or ``auto``: at the probe if it is above chance.
        methods: PELT methods to compare; the standard ones when none is given; ``all`` for all that there are.
        baselines: Contenders that train no backbone (probe, bag-of-words, neighbors); all when none is given, ``none`` for none.
        trials: Configurations tried a method at most.
        seconds: Limit on the whole selection, or curve.
        seed: Seed of samples, splits and samplers.
        equivalence: Region of practical equivalence, in points of the metric.
        prefer: What decides among the tied methods.
        max_trainable: Trainable parameters that a configuration may keep at most.
        max_latency_ms: Milliseconds that it may take for one text on the worker's device at most.
        max_memory: Gigabytes that its training alone may take at most.

    Returns:
        Outcome (``recommended``, ``tentative``, ``nothing-learned``), method, report score and metric, statement, and the folder with
        everything; of a curve task, statement and folder.
    """
    if isinstance(k, list):
        return select_at_each_k(**locals())
    settings = checked_settings(**locals())
    tag_this_run(run_tags(settings))
    with tags(*run_tags(settings)), Selection.open(settings, display=LogDisplay(run_log())) as selection:
        prepare(selection)
        search(selection)
        confirm(selection)
        explain(selection)
        recommendation = recommend(selection)
    leave_artifacts(recommendation.folder, task_name(settings.task))
    verdict = verdict_text(list(read(recommendation.folder / "records.jsonl")))
    verdict += f"\n\n{where(recommendation.folder, 'report.html')}"
    return concluded(verdict, recommendation.statement, summary(recommendation))


def summary(recommendation: Recommendation) -> dict[str, Any]:
    """What a caller of the flow gets: plain values, so that they travel."""
    fields = ("outcome", "method", "report_score", "report_metric", "statement")
    return {name: getattr(recommendation, name) for name in fields} | {"folder": str(recommendation.folder)}
