"""The table in the repository: a Parquet file a source, which any later recording adds to.

Outputs and labels are bytes of int8 (class indices) or float16 (numbers), so that equal ones are stored once. No text is in the files.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from pelt_automl.durable import replacing
from pelt_automl.errors import SelectionError

TABLE = Path(__file__).with_name("table")
VERSION = 1
"""Of the schema; in the files' metadata."""
_VERSION, _SEALED = b"table_version", b"sealed"

CURVE = ("score", "train_loss", "accuracy", "macro_f1", "log_loss", "spearman", "pearson", "rmse")
OUTPUTS = ("select_rung_1", "select_rung_2", "select_end", "select_best", "report", "select_labels", "report_labels")
"""Columns of outputs and labels."""

_WORDS = ("key", "model", "backbone", "source", "task", "kind", "metric", "method", "configuration", "chosen", "hyper_parameters",
          "head_start", "data_hash", "precision", "failure", "machine", "device", "versions", "commit", "recorded")  # fmt: skip
_COUNTS = ("classes", "k", "seed", "train_size", "select_size", "report_size", "max_length", "steps", "best_step", "behaviour")
_LARGE = ("parameters", "parameters_trained", "state_bytes", "tokens_computed", "tokens_of_text")
_SECONDS = ("processor_seconds", "report_processor_seconds", "wall_seconds")

SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in _WORDS),
        *((name, pa.int32()) for name in _COUNTS),
        *((name, pa.int64()) for name in _LARGE),
        *((name, pa.float32()) for name in _SECONDS),
        ("above_chance", pa.bool_()),
        ("select_score", pa.float64()),
        ("report_score", pa.float64()),
        ("rungs", pa.list_(pa.int32())),
        ("curve_step", pa.list_(pa.int32())),
        *((f"curve_{name}", pa.list_(pa.float32())) for name in CURVE),
        *((name, pa.binary()) for name in OUTPUTS),
    ]
)
ORDER = ("model", "task", "k", "method", "configuration", "head_start", "seed", "key")
"""Rows are sorted by these columns."""


def row_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record of the working folder as a row of the table."""
    row = {name: record.get(name) for name in SCHEMA.names}
    row["hyper_parameters"] = json.dumps(record["hyper_parameters"], sort_keys=True)
    row["curve_step"] = record["curve"]["step"]
    row |= {f"curve_{name}": record["curve"].get(name) for name in CURVE}
    steps = [*record["rungs"], record["steps"]] if record["rungs"] else []
    by_step = dict(zip(("select_rung_1", "select_rung_2", "select_end"), map(str, steps), strict=False))
    outputs = {name: record["select"].get(step) for name, step in by_step.items()}
    outputs |= {name: record[name] for name in OUTPUTS if name in record}
    return row | {name: None if values is None else as_bytes(values, record["kind"]) for name, values in outputs.items()}


def as_bytes(values: Sequence[float], kind: str) -> bytes:
    """int8, or for numbers float16, little-endian. Raises `SelectionError` for more classes than that."""
    try:
        return np.asarray(values, _dtype(kind)).tobytes()
    except OverflowError as error:
        raise SelectionError(f"the table holds tasks of up to 128 classes, here is class {max(values):g}; leave the task out") from error


def from_bytes(content: bytes, kind: str) -> np.ndarray[Any, Any]:
    """The inverse of `as_bytes`."""
    return np.frombuffer(content, _dtype(kind))


def _dtype(kind: str) -> str:
    return "i1" if kind == "classification" else "<f2"


# -------------------------------------------------------------------- writing


def write_table(records: Iterable[Mapping[str, Any]], sealed: Collection[str], folder: Path = TABLE) -> dict[str, int]:
    """Add records to the files of their sources; how many rows are new, by source.

    A training that is in its file already stays as it is there. The same rows make the same bytes. Raises `SelectionError` for files of
    another version.
    """
    by_source: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        by_source.setdefault(record["source"], []).append(row_of(record))
    return {source: _add(folder / f"{source}.parquet", rows, source in sealed) for source, rows in sorted(by_source.items())}


def _add(path: Path, rows: Sequence[Mapping[str, Any]], sealed: bool) -> int:
    before = _read(path).cast(SCHEMA) if path.is_file() else SCHEMA.empty_table()  # without the fields' numbers in the file
    known = set(before["key"].to_pylist())
    new = [row for row in rows if row["key"] not in known]
    if not new:
        return 0
    table = pa.concat_tables([before, pa.Table.from_pylist(new, SCHEMA)]).combine_chunks()
    table = table.sort_by([(name, "ascending") for name in ORDER])
    table = table.replace_schema_metadata({_VERSION: str(VERSION), _SEALED: str(sealed).lower()})
    with replacing(path) as draft:
        pq.write_table(table, draft, compression="zstd", compression_level=15, row_group_size=1_000_000, data_page_size=2**24,
                       dictionary_pagesize_limit=2**24)  # fmt: skip
    return len(new)


# -------------------------------------------------------------------- reading


def done_keys(folder: Path = TABLE) -> set[str]:
    """Of all trainings in the files, those of sealed sources included."""
    return {key for path in sorted(folder.glob("*.parquet")) for key in _read(path, ["key"])["key"].to_pylist()}


def seconds_seen(folder: Path = TABLE) -> list[dict[str, Any]]:
    """Of every training in the files its ``key``, ``task``, ``k``, ``method`` and seconds; no scores, so that sealed sources may be in."""
    return [row for path in sorted(folder.glob("*.parquet")) for row in _read(path, ["key", "task", "k", "method", *_SECONDS]).to_pylist()]


def load_table(
    *, include_sealed: bool = False, model: str = "minilm", folder: Path = TABLE, sealed: Collection[str] | None = None
) -> pd.DataFrame:
    """A row a training, with outputs as arrays and hyper-parameters as dicts; those of sealed sources only on demand.

    `sealed`: names of sources; None: the committed ones. The file of a sealed source isn't opened. Raises `SelectionError` for files of
    another version.
    """
    if sealed is None:
        from studies.sources.standing import committed

        sealed = committed().sealed
    paths = [path for path in sorted(folder.glob("*.parquet")) if include_sealed or path.stem not in sealed]
    tables = [
        table
        for path in paths
        if (table := _read(path)).num_rows and (include_sealed or (table.schema.metadata or {}).get(_SEALED) != b"true")
    ]
    table = pa.concat_tables([SCHEMA.empty_table(), *(own.replace_schema_metadata(None) for own in tables)])
    return frame_of(table.filter(pc.equal(table["model"], model)))


def frame_of(table: pa.Table) -> pd.DataFrame:
    """A row a training, with outputs as arrays and hyper-parameters as dicts."""
    frame: pd.DataFrame = table.to_pandas()
    for name in OUTPUTS:
        pairs = zip(frame[name], frame["kind"], strict=True)
        frame[name] = pd.Series([None if own is None else from_bytes(own, kind) for own, kind in pairs], index=frame.index, dtype=object)
    frame["hyper_parameters"] = frame["hyper_parameters"].map(json.loads)
    return frame


def _read(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    try:
        table = pq.read_table(path, columns=list(columns) if columns else None)
    except (OSError, pa.ArrowException) as error:
        raise SelectionError(f"{path} can't be read: {error}") from error
    found = (table.schema.metadata or {}).get(_VERSION, b"none").decode()
    if found != str(VERSION):
        raise SelectionError(f"{path} has the version {found} of the table; this program reads {VERSION}")
    return table
