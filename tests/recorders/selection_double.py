"""A small selection's events, as a search would write them."""

import dataclasses
import json

from pelt_automl.log.codec import to_json
from pelt_automl.log.events import (
    CurvePoint,
    DataDescribed,
    Decision,
    Event,
    FinalistScored,
    GateMeasured,
    KnockedOut,
    Planned,
    Progress,
    Seeds,
    SelectionEnded,
    SelectionStarted,
    TrialEnded,
    VerdictReached,
)

STARTED = SelectionStarted(
    selection="toy-task-k16-abc123",
    key="abc123",
    task="toy-task",
    model="toy-model",
    methods=["lora", "adapter"],
    settings={"task": {"task": "toy-task", "k": 16}, "model": "toy-model", "search": {"seed": 7}},
    environment={"versions": {"torch": "2.13.0"}, "git_commit": "0123abc"},
    question="question1",
    effort="effort1",
    time=1000.0,
)
CAUSE = "ValueError: loss is not finite"


def trial(name, state="completed", stage="search", score=0.75, time=1020.0, **others):
    fields = {
        "trial": name,
        "candidate": "lora-0000",
        "method": "lora",
        "stage": stage,
        "number": 0,
        "state": state,
        "is_default": True,
        "hyper_parameters": {"rank": 8, "learning_rate": 1e-3},
        "seeds": Seeds(split=1, initialization=2, order=3),
        "parameters": {"pelt": 100, "kept": 110},
        "curve": [CurvePoint(10, 0.7, 0.5, 1e-3, 2.0), CurvePoint(20, float("nan"), score, 5e-4, 4.0)],
        "select_score": score,
        "steps": 20,
        "seconds": 5.0,
        "time": time,
    }
    return TrialEnded(**(fields | others))


def events() -> list[Event]:
    return [
        STARTED,
        DataDescribed(
            "toy-task", "classification", "accuracy", True, ["no", "yes"], 16, "strict", {"train": 11, "select": 5, "report": 50},
            {"data": "d" * 64, "train": "t" * 64, "report": "r" * 64}, ["2 duplicates removed"], time=1001.0,
        ),
        Planned(20, 6, 2, 5.0, "20 steps a training", time=1002.0),
        Progress("search", 1, 3),
        trial("lora-0000"),
        trial("lora-0001", "stopped", score=0.5, steps=6, candidate="lora-0001", number=1, is_default=False),
        trial("adapter-0000", "failed", score=None, method="adapter", candidate="adapter-0000", curve=[], cause=CAUSE),
        Decision("finalist", "lora-0000", "best of its method", time=1030.0),
        trial("final-lora-0000-seed0", stage="finalist", time=1040.0),
        FinalistScored("final-lora-0000-seed0", "lora-0000", "lora", 0, 0.8, "[1.0, 0.0]", time=1041.0),
        GateMeasured("final-lora-0000-seed0", "lora-0000", 0, "lora", "attention.query", 3, 0.62, 0.1, 0.5, time=1042.0),
        KnockedOut("final-lora-0000-seed0", "lora-0000", 0, "lora", 0.75, 0.6, time=1043.0),
        VerdictReached(
            "lora", "lora-0000", [], "accuracy", 0.8, 0.7, "LoRA, by a little.", {"lora-0000": 0.0}, ["one seed only"], time=1044.0
        ),
        SelectionEnded("done", 45.0, {"search": 20.0}, time=1045.0),
    ]  # fmt: skip


WINNER = {
    "method": "lora",
    "kind": "classification",
    "labels": ["no", "yes"],
    "text_columns": ["question", "answer"],
    "backbone": {"name": "toy-model", "location": "/models/toy-model", "sha256": "s" * 64},
    "task": "toy-task",
}


def write_folder(folder, kept=None):
    """A selection's output folder with these events (all of them by default)."""
    kept = events() if kept is None else kept
    folder.mkdir(parents=True, exist_ok=True)
    if any(isinstance(event, VerdictReached) for event in kept):
        (folder / "winner").mkdir(exist_ok=True)
        (folder / "winner" / "pelt_config.json").write_text(json.dumps(WINNER))
        (folder / "report.md").write_text("# LoRA")
    lines = [to_json(event) for event in kept if not isinstance(event, Progress)]
    (folder / "records.jsonl").write_text("".join(line + "\n" for line in lines))
    return folder


def another(key, score=0.8, outcome="recommended", k=16, data="d" * 64, report="r" * 64, started=5000.0):
    """The events of another selection of the same task."""
    changes = {
        SelectionStarted: lambda event: {"selection": f"toy-task-{key}", "key": key, "question": f"question-{key}", "time": started},
        DataDescribed: lambda event: {"k": k, "hashes": event.hashes | {"data": data, "report": report}},
        VerdictReached: lambda event: {"report_score": score, "outcome": outcome},
    }
    return [dataclasses.replace(event, **changes[type(event)](event)) if type(event) in changes else event for event in events()]
