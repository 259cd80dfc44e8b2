"""What a worker works with: the selection's model, loaded here, its texts, and packs. The other side of `pelt_automl.selection.hiring`."""

import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pelt_automl.backbones.loading import best_device, load_backbone
from pelt_automl.errors import SelectionError
from pelt_automl.execution.worker import beat
from pelt_automl.log.events import Event, Phase, Planned, TrialEnded
from pelt_automl.log.history import History
from pelt_automl.log.log import Log
from pelt_automl.scheduling.actions import Executor
from pelt_automl.selection.costs import device_name
from pelt_automl.selection.environment import environment
from pelt_automl.selection.machine import Machine
from pelt_automl.selection.measuring import workload
from pelt_automl.selection.question import Question
from pelt_automl.selection.splits import Splits
from pelt_automl.selection.spreading import Job
from pelt_automl.selection.threads import Threads, choose_threads
from pelt_automl.selection.working_folders import kept_at, working
from pelt_automl.training.checkpoints import save_tensors
from pelt_automl.training.memory import usable_bytes


@dataclass
class PackBench:
    """See `pelt_automl.execution.worker.Bench`."""

    machine: Machine
    history: History
    executor: Executor
    states: Path
    kept: Path
    facts: Mapping[str, str]
    device: str
    environment: Mapping[str, Any]

    @staticmethod
    def make(question: Question, events: Sequence[Event], threads: int | None, folder: Path) -> "PackBench":
        """Load the model, in the selection's precision.

        `events`: what the selection has decided so far; `threads`: torch's on a processor, None: as many as are fastest.
        Raises `SelectionError` where another worker has the device, and what `load_backbone` raises.
        """
        claim(best_device())
        log, splits = Log(events), Splits(question)
        plan, work = log.history.plan, workload(question, splits)
        precision, dropout = plan.precision if plan else "", question.settings.training.dropout
        backbone = load_backbone(
            question.settings.model,
            precision=precision or "auto",
            dropout=dropout,
            tokenizer=question.tokenizer,
            work=work,
            tokens=question.data.task_kind.reads_tokens,
        )
        backbone.layers()[0].module.register_forward_hook(beat)  # copies of the model have it, too
        chosen = Threads(lambda: {threads: 0.0}) if threads and backbone.device.type == "cpu" else None
        if chosen:
            chosen.choose()
        machine, kept = Machine.of(question, splits, backbone, chosen or choose_threads(backbone, work), folder), folder / "kept"

        def keep(event: TrialEnded, weights: Mapping[str, Tensor]) -> None:
            save_tensors(kept / f"{event.trial}.safetensors", weights, {"trial": event.trial})

        return PackBench(
            machine,
            log.history,
            machine.executor(question, log, Phase.SEARCH, lambda: 1.0, keep, at_once=fitting(plan, usable_bytes(backbone.device))),
            working(folder, "checkpoints"),
            kept,
            facts_of(question, backbone.sha256),
            device_name(backbone.device),
            environment() | {"threads": torch.get_num_threads(), "process": os.getpid()},
        )

    def score(self, job: Job) -> Any:
        """What comes of it."""
        if job.examples is not None and list(self.machine.splits.opened or []) != list(job.examples):
            self.machine.splits.open_report(job.examples)
        if job.weights is None:
            return job.compute(replace(self.machine, folder=job.folder), job.runs)
        for run in job.runs:
            path = kept_at(self.machine.folder, run)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(job.weights[run.trial])
        found = job.compute(self.machine, job.runs)
        for run in job.runs:
            kept_at(self.machine.folder, run).unlink()
        return found


def facts_of(question: Question, weights: str) -> dict[str, str]:
    """What must be the same for all who train, beyond the program. `weights`: SHA-256 of the model's."""
    splits = json.dumps(question.data.hashes(question.search.seed), sort_keys=True)
    return {"data": hashlib.sha256(splits.encode()).hexdigest()[:16], "model": weights[:16]}


def fitting(plan: Planned | None, free: float) -> int | None:
    """How many trials a pack of this worker has at most: as many as are planned, unless its memory (`free` bytes) has no room for them."""
    taken = plan.numbers.get("pack_bytes", 0.0) if plan else 0.0
    if plan is None or not taken:
        return None
    return max(1, min(plan.pack_size, int(min(free * plan.pack_size / taken, plan.pack_size))))


_CLAIMED: list[int] = []
"""Open files whose locks say that this process has a device; the system lets go of them when the process ends, however that is."""


def claim(device: torch.device, folder: Path | None = None) -> None:
    """Have a GPU for this process alone: two workers on one would only be slow, and may run out of memory. A processor is shared.

    Raises `SelectionError` where another worker has it. `folder`: for the locks; None: the system's for temporary files.
    """
    if device.type != "cuda":
        return
    name = str(getattr(torch.cuda.get_device_properties(device), "uuid", "") or os.environ.get("CUDA_VISIBLE_DEVICES", "0"))
    path = (folder or Path(tempfile.gettempdir())) / f"pelt-automl-{name.replace('/', '-').replace(',', '-')}.lock"
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0o644))
    file = os.open(path, os.O_RDONLY)  # another user's file can be locked, too
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        raise SelectionError(
            f"another worker has the GPU {name} ({path} is locked); give each a GPU of its own with CUDA_VISIBLE_DEVICES"
        ) from None
    _CLAIMED.append(file)
