"""From the user's settings to a task that is ready to be trained on. Everything is checked here, before any model is loaded."""

import difflib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pelt_automl.errors import SettingsError, TaskError, all_problems
from pelt_automl.settings import SMALLEST_K, TaskSettings
from pelt_automl.tasks.columns import split_names
from pelt_automl.tasks.data import TaskData
from pelt_automl.tasks.examples import Examples, RawTask
from pelt_automl.tasks.hub import read_hub
from pelt_automl.tasks.kinds import KINDS
from pelt_automl.tasks.metrics import metric_for
from pelt_automl.tasks.own import read_own
from pelt_automl.tasks.positive import positive_class, with_positive
from pelt_automl.tasks.splits import REPORT_SHARE, SELECT_MOST, SELECT_SHARE, apart_from, carve, duplicates, sample

SMALLEST_SELECT = 5
"""Examples that select needs at least: what the strict protocol carves out of the smallest K."""
FEWEST_SELECT = 3
"""And what it has to have left where repeated texts or many classes allow less."""
SMALL_REPORT = 100
"""With fewer examples in report, the verdict's resolution is worth a note."""


def name_and_hash(settings: TaskSettings) -> tuple[str, str]:
    """The task's name, and SHA-256 (hex) of its labeled data: it changes when, and only when, texts, labels or classes do.

    Neither K, protocol nor seed matters. Raises what `load_task` raises for data that can't be read.
    """
    raw = _read(settings)
    return raw.name, raw.hash()


def load_task(settings: TaskSettings) -> TaskData:
    """The task with its report split put aside and its pool sampled.

    Raises:
        TaskError: the task isn't known, can't be reached, or its data can't be used; with everything that is wrong.
        SettingsError: the metric doesn't fit, or K is more than there is.
    """
    (data,) = load_nested(settings, [settings.k])
    return data


def load_nested(settings: TaskSettings, ks: Sequence[int | None]) -> list[TaskData]:
    """The task once for each K, read once; `settings.k` doesn't matter.

    Report is the same for all, and the examples of a smaller K are among those of a larger one.
    Raises what `load_task` raises; with everything that is wrong with any K at once.
    """
    raw, balanced = _read(settings), settings.class_weights == "balanced"
    if balanced and KINDS[raw.kind].class_weights(np.zeros(1), raw.labels) is None:
        raise SettingsError(
            f"class_weights is 'balanced', and {raw.name} is a {raw.kind} task, whose examples aren't of one class each; leave it out"
        )
    name, why = settings.metric or raw.metric, ""
    if name is None:
        name, why = KINDS[raw.kind].default_metric(raw.train.labels, raw.labels)
    metric = metric_for(name, raw.kind, len(raw.labels))
    positive, about = positive_class(settings, raw, metric)
    order = f"{name.replace('_', ' ')} takes the classes in this order: {', '.join(raw.labels)}" if metric.ordered else ""
    aside, report, notes = _put_report_aside(raw, settings)
    pool, validation, more = _without_leaks(aside, report)
    loss = "each class counts the same in the loss of trainings; baselines are fitted without such weights" if balanced else ""
    whole = TaskData(
        name=raw.name,
        kind=raw.kind,
        labels=raw.labels,
        metric=metric,
        text_columns=raw.text_columns,
        k=None,
        protocol=settings.protocol,
        report=report,
        notes=(*filter(None, (why, about, order, loss, _about_groups(raw))), *notes, *more),
        data_hash=raw.hash(),
        pool=pool,
        validation=validation,
        balanced=balanced,
    )
    removed = len(aside.train) - len(pool)
    repeat = f"share texts or {raw.group_column!r} with" if raw.group_column else "repeat texts of"
    left = f"{len(pool)} labeled training examples" + (f" ({removed} more {repeat} report or validation)" if removed else "")
    if raw.group_column and not len(report):
        raise TaskError(
            f"{raw.name}: the groups of {raw.group_column!r} are too few or too large to put some aside to report on and keep an example "
            "of each class; bring a test file (--test)"
        )
    if len(pool) < SMALLEST_K or not len(report):
        raise TaskError(f"{raw.name} has {left} and {len(report)} to report on; at least {SMALLEST_K} to train on are needed")
    gone = whole.task_kind.names_in(aside.train.labels) - whole.task_kind.names_in(pool.labels)
    if lost := [raw.labels[index] for index in sorted(gone)]:
        raise TaskError(f"{raw.name}: all training examples of {', '.join(map(repr, lost))} {repeat} report or validation")
    found, problems = list[TaskData](), list[str]()
    for k in ks:
        try:
            found.append(_with_k(whole, k, settings.seed, left))
        except SettingsError as error:
            problems.append(str(error))
    if problems:
        raise SettingsError(problems[0] if len(problems) == 1 else all_problems("the list of K", problems))
    return [with_positive(data, positive) for data in found]


def _with_k(whole: TaskData, k: int | None, seed: int, left: str) -> TaskData:
    """The task with K of its labeled examples; `left` says in words how many there are."""
    data = replace(whole, _splits={})
    if k is not None:
        spare = SMALLEST_SELECT if whole.protocol == "paper" else 0
        if k + spare > len(whole.pool):
            room = f", of which protocol 'paper' needs {spare} more than K to select on" if spare else ""
            most = len(whole.pool) - spare
            raise SettingsError(f"k is {k}, but {whole.name} has {left}{room}; set k to at most {most}, or to 'full'")
        if whole.task_kind.keeps_strata and k < len(whole.labels):
            raise SettingsError(f"k is {k}, but {whole.name} has {len(whole.labels)} classes; set k so that there is an example of each")
        # In the strict protocol the K examples are all that anything below sees.
        pool = whole.pool.take(sample(whole.pool, whole.kind, k, seed)) if whole.protocol == "strict" else whole.pool
        data = replace(data, k=k, pool=pool)
    train, select = data.indices(0)
    if len(select) < FEWEST_SELECT:
        why = (
            f"train needs one example of each of the {len(data.labels)} classes" if data.task_kind.keeps_strata else "examples are too few"
        )
        raise SettingsError(
            f"of {len(train) + len(select)} labeled examples {len(select)} are left to select on, at least {FEWEST_SELECT} are needed "
            f"({why}, and examples with the same texts{' or of one group' if data.pool.groups else ''} stay together); "
            "set k higher, or add examples"
        )
    return replace(data, notes=(*whole.notes, *_without_examples(data, whole), *_protocol_notes(data, len(whole.pool))))


def _without_examples(data: TaskData, whole: TaskData) -> list[str]:
    """A note on labels that no example of train has, where K doesn't have to hold one of each."""
    kind = whole.task_kind
    missing = set() if kind.keeps_strata else kind.names_in(whole.pool.labels) - kind.names_in(data.split(0)[0].labels)
    if not missing:
        return []
    named = ", ".join(repr(whole.labels[index]) for index in sorted(missing)[:10])
    return [f"no train example has {named}, so that it can't be learned; a higher k may bring one"]


def _read(settings: TaskSettings) -> RawTask:
    from pelt_automl.tasks import TASKS

    if len(settings.text_columns) > 2:
        raise SettingsError(f"{len(settings.text_columns)} text columns were named; a task has one or two")
    labels = split_names(settings.label_column) if settings.label_column else ()
    named = (*settings.text_columns, *labels, *filter(None, (settings.group_column,)))
    if twice := [name for name in dict.fromkeys(named) if named.count(name) > 1]:
        raise SettingsError(f"the column {twice[0]!r} is named twice; name two different columns")
    if settings.task is None:
        return read_own(settings)
    if settings.task.startswith("hf:"):
        return read_hub(settings)
    if settings.task not in TASKS:
        near = difflib.get_close_matches(settings.task.lower(), TASKS, n=3, cutoff=0.5)
        hint = f"; did you mean {' or '.join(near)}?" if near else "."
        raise TaskError(
            f"there is no task {settings.task!r}{hint} Known tasks: {', '.join(TASKS)}; any data set of the Hub as hf:owner/name; "
            "or your own files (--train FILE)"
        )
    return TASKS[settings.task].read(settings)


def _put_report_aside(raw: RawTask, settings: TaskSettings) -> tuple[RawTask, Examples, list[str]]:
    """The task without its report split, the report split, and where that comes from.

    In the paper's protocol a validation file has the part that GLUE's validation sets have there: it is reported on.
    """
    if settings.protocol == "paper" and raw.validation is not None:
        unused = "the validation file is not used: protocol 'paper' selects on training examples and reports on the test file"
        raw = (
            replace(raw, report=raw.validation, report_source="the user's validation file (protocol 'paper')", validation=None)
            if raw.report is None
            else replace(raw, validation=None, notes=(*raw.notes, unused))
        )
    if raw.report is not None:
        return raw, raw.report, [*raw.notes, f"report is {raw.report_source}: {len(raw.report)} examples"]
    size = max(1, round(REPORT_SHARE * len(raw.train)))
    rest, aside = carve(raw.train, raw.kind, size, settings.seed, "report")
    report = raw.train.take(aside)
    note = f"report is a stratified {REPORT_SHARE:.0%} of the training data, put aside first (seed {settings.seed}): {len(report)} examples"
    return replace(raw, train=raw.train.take(rest)), report, [*raw.notes, note]


def _without_leaks(raw: RawTask, report: Examples) -> tuple[Examples, Examples | None, list[str]]:
    """Pool and validation without the texts of report, the pool also without those of validation."""
    notes: list[str] = []
    validation, pool = raw.validation, raw.train
    same_group = f", or the same {raw.group_column!r}," if raw.group_column else ""
    if validation is not None:
        validation, gone = apart_from(validation, [report])
        if gone:
            notes.append(f"{gone} examples with the same texts{same_group} as one of report were removed from validation")
        if len(validation) < SMALLEST_SELECT:
            raise TaskError(f"the validation file has {len(validation)} examples that report hasn't; at least {SMALLEST_SELECT} are needed")
    pool, gone = apart_from(pool, [report] + ([validation] if validation is not None else []))
    if gone:
        other = f"one of report{' or validation' if validation else ''}"
        notes.append(f"{gone} training examples with the same texts{same_group} as {other} were removed")
    repeats, contradictory = duplicates(pool)
    if repeats:
        labels = f" ({contradictory} of these texts have contradictory labels)" if contradictory else ""
        notes.append(f"{repeats} training examples repeat the texts of another{labels}; such examples stay on one side of train and select")
    if len(report) < SMALL_REPORT:
        notes.append(f"report has only {len(report)} examples, so that scores on it are coarse")
    return pool, validation, notes


def _about_groups(raw: RawTask) -> str:
    """A note on how the examples are grouped. Raises `TaskError` where all are of one group."""
    if raw.group_column is None:
        return ""
    sizes = sorted(Counter(raw.train.units()).values())
    if len(sizes) == 1:
        raise TaskError(
            f"{raw.name}: all training examples have the same {raw.group_column!r}, or are joined by equal texts, so that none can be put "
            "aside to select or report on; name another column (--group-column), or leave it out"
        )
    return (
        f"examples with the same {raw.group_column!r} stay on one side of every split: {len(raw.train)} training examples in {len(sizes)} "
        f"groups, the largest of {sizes[-1]}; the sizes of splits are as near to the usual ones as whole groups allow"
    )


def _protocol_notes(data: TaskData, available: int) -> list[str]:
    train, select = data.indices(0)
    used = "all" if data.k is None else f"{data.k} of"
    if data.validation is not None:
        return [f"select is the user's validation file for every seed; train is {used} {available} training examples"]
    if data.protocol == "strict":
        return [f"select is a stratified {SELECT_SHARE:.0%} (at most {SELECT_MOST:,}) of the labeled examples: {used} {available}"]
    if data.k is None:
        return [f"protocol 'paper' with all data: select is {len(select)} training examples; the paper selected on the split it reported"]
    few = f"; there are {len(select)} only" if len(select) < SELECT_MOST else ""
    return [f"protocol 'paper': a seed shuffles {available} examples, trains on {len(train)}, selects on the next {SELECT_MOST:,}{few}"]
