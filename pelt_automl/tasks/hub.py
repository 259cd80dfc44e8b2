"""Data sets from the Hugging Face Hub, or from its cache when the Hub is away. Code of a data set is never run.

`datasets` alone tries an unreachable Hub for half a minute; here one quick question decides whether to look at the cache only.
"""

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from pelt_automl.errors import TaskError
from pelt_automl.hub import endpoint, is_reachable
from pelt_automl.printable import printable_uri, without_secrets
from pelt_automl.settings import TaskSettings
from pelt_automl.tasks.checks import check_tables
from pelt_automl.tasks.columns import Columns, columns_of
from pelt_automl.tasks.examples import Kind, RawTask
from pelt_automl.tasks.tables import Table

_PART = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?"
_NAME = re.compile(rf"hf:(?P<repo>{_PART}/{_PART})(?::(?P<config>[A-Za-z0-9][A-Za-z0-9_.-]{{0,94}}))?")


@dataclass(frozen=True)
class HubName:
    """A data set on the Hub."""

    repo: str
    """``owner/name``"""
    config: str | None = None

    def __str__(self) -> str:
        return f"{self.repo}:{self.config}" if self.config else self.repo


def parse_name(task: str) -> HubName:
    """The data set that ``hf:owner/name[:config]`` means. Paths and URLs are not names.

    Raises `TaskError`.
    """
    match = _NAME.fullmatch(task)
    if match is None or ".." in task or "--" in match["repo"]:
        raise TaskError(f"{task!r} is not the name of a Hub data set; write hf:owner/name or hf:owner/name:config")
    return HubName(match["repo"], match["config"])


def read_hub(settings: TaskSettings) -> RawTask:
    """A data set of the user's choice; the report split is its labeled test split, else its validation split.

    Raises `TaskError` when it can't be reached or used.
    """
    task = settings.task or ""
    columns = columns_of(settings)
    tables = load_tables(parse_name(task), label_column=columns.label)
    if "train" not in tables:
        raise TaskError(f"{task} has no split 'train'; its splits are: {', '.join(tables)}")
    return checked_task(task, tables, columns, settings.kind, sources={s: f"the {s} split of {task}" for s in ("test", "validation")})


def checked_task(
    name: str,
    tables: Mapping[str, Table],
    columns: Columns,
    kind: Kind | None,
    *,
    sources: Mapping[str, str],
    labels: tuple[str, ...] = (),
    metric: str | None = None,
) -> RawTask:
    """A public task from its splits, of which ``train`` is one; rows without text or label are left out, since nobody here can mend them.

    `sources`: what to call each split that it may be reported on, the first with labels. `kind` and `labels`: as `check_tables` takes them.
    """
    source = next((split for split in sources if split in tables and _is_labeled(tables[split], columns)), None)
    used = {"train": tables["train"]} | ({"report": tables[source]} if source else {})
    checked = check_tables(name, used, columns, kind, labels, leave_out=True)
    return replace(checked, metric=metric, report_source=sources[source] if source else "")


def _is_labeled(table: Table, columns: Columns) -> bool:
    """GLUE's test sets carry -1 throughout. Without a name for the column it counts as labeled, so that the checks say so."""
    labels = columns.labels_in(table)
    if not set(labels) <= set(table.columns):
        return not columns.label
    return any(row.get(label) not in (None, "", -1, "-1", -1.0) for row in table.rows for label in labels)


def load_tables(name: HubName, label_column: str) -> dict[str, Table]:
    """All splits of a data set; labels that are class indices become class names, and -1 no label.

    Raises `TaskError` when the Hub can't be reached and the cache hasn't got it, or when there is no such data set.
    """
    try:
        import datasets
    except ImportError as error:
        raise TaskError(f"{name} needs the package 'datasets', which is not installed; install it, or use --data-dir") from error
    online = is_reachable()
    with _settled(datasets, online=online):
        try:
            # The prefix keeps a local folder that happens to have this name from being loaded instead.
            data = datasets.load_dataset(f"hf://datasets/{name.repo}", name.config)
        except Exception as error:  # the library raises a dozen kinds
            if online or (data := _from_snapshot(datasets, name)) is None:
                where, first = printable_uri(endpoint()), without_secrets(str(error).strip().partition("\n")[0])[:300]
                raise TaskError(
                    f"the Hub's data set {name} can't be loaded: {type(error).__name__}: {first}"
                    if online
                    else f"{name} is not in the cache, and the Hub ({where}) can't be reached; set --data-dir (or PELT_AUTOML_DATA_DIR) "
                    "to a folder with the data, HF_HUB_CACHE (or HF_HOME) to a cache that has it, or HF_ENDPOINT to a mirror"
                ) from error
    if not isinstance(data, Mapping):
        raise TaskError(f"{name} has no splits")
    return {split: _table(f"{name} {split}", part, label_column) for split, part in data.items()}


def _table(name: str, part: Any, label_column: str) -> Table:
    values: dict[str, list[Any]] = {column: list(part[column]) for column in part.column_names}
    if names := getattr(part.features.get(label_column), "names", None):
        values[label_column] = [names[i] if i is not None and i >= 0 else None for i in values[label_column]]
    elif names := getattr(getattr(part.features.get(label_column), "feature", None), "names", None):  # a list of them
        values[label_column] = [None if own is None else [names[i] for i in own] for own in values[label_column]]
    rows = [dict(zip(values, cells, strict=True)) for cells in zip(*values.values(), strict=True)]
    return Table(name, tuple(values), rows, range(1, len(rows) + 1), unit="row")


def _from_snapshot(datasets: Any, name: HubName) -> Any | None:
    """The data set from files in the Hub's own cache (``HF_HUB_CACHE``); None when they aren't there."""
    import huggingface_hub

    try:
        folder = huggingface_hub.snapshot_download(name.repo, repo_type="dataset", local_files_only=True)
        return datasets.load_dataset(folder, name.config)
    except Exception:  # noqa: BLE001  # whatever is wrong with the cache, the Hub being away is the news
        return None


@contextmanager
def _settled(datasets: Any, *, online: bool) -> Iterator[None]:
    """Without progress bars and warnings of `datasets`, since a display of our own may be running; not `online`, it looks at its cache at
    once. It reads its variables only at import, hence the attributes.
    """
    from huggingface_hub import constants

    logger = logging.getLogger("datasets")
    level, bars, before = logger.level, datasets.is_progress_bar_enabled(), (datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE)
    logger.setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    if not online:
        datasets.config.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE = before
        logger.setLevel(level)
        if bars:
            datasets.enable_progress_bars()
