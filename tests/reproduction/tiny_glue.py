"""A folder like GLUE's, small enough to be learned in a second: CoLA (one sentence), RTE (two), STS-B (a number)."""

import json
from pathlib import Path
from typing import Any

from pelt_automl.reproduction import Reproduction, protocol_from
from tests.tiny_world import sentences

TRAIN, VALIDATION = 60, 24

QUICK = {"ks": "16", "seeds": "0", "methods": "lora,unipelt-ap", "epochs": 2, "evaluations": 2, "threads": 1, "precision": "fp32"}
"""Options of a reproduction that takes a second."""


def write_glue(folder: Path) -> Path:
    rows = sentences(TRAIN + VALIDATION)
    _write(folder / "cola", [{"sentence": text, "label": label} for text, label in rows])
    _write(folder / "rte", [{"sentence1": text, "sentence2": "word1 word2", "label": label} for text, label in rows])
    _write(
        folder / "stsb",
        [{"sentence1": text, "sentence2": "word1", "label": 4.5 * label + i % 5 / 10} for i, (text, label) in enumerate(rows)],
    )
    return folder


def _write(folder: Path, rows: list[dict[str, Any]]) -> None:
    folder.mkdir(parents=True)
    for name, part in (("train", rows[:TRAIN]), ("validation", rows[TRAIN:])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))


def opened(world: Any, glue: Path, output: Path, *, tasks: str = "cola", **more: Any) -> Reproduction:
    """A quick reproduction on the tiny world's model. `more`: options of the protocol, or of `Reproduction.open`."""
    whole = {name: more.pop(name) for name in ("seconds", "say", "retry_failed") if name in more}
    return Reproduction.open(protocol_from(**QUICK | {"tasks": tasks} | more), str(world.model), data_dir=glue, output=output, **whole)
