"""A made-up selection that looks like a real one: 8 methods, failed and stopped trials, 10 finalists on 3 seeds, gates, knock-outs."""

import math
import random

import pytest

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
    ReportOpened,
    Seeds,
    SelectionEnded,
    SelectionStarted,
    TrialEnded,
)
from pelt_automl.log.history import History
from pelt_automl.log.outputs import Outputs
from pelt_automl.verdict.decision import decide

EXAMPLES = 800
STEPS = 400
METHODS = {  # name: (skill, kept parameters, hyper-parameters of the default)
    "full": (0.800, 22_713_986, {"learning_rate": 2e-5}),
    "head": (0.700, 770, {"learning_rate": 1e-3}),
    "bitfit": (0.742, 21_000, {"learning_rate": 1e-4}),
    "lora": (0.806, 74_498, {"learning_rate": 5e-4, "rank": 8, "alpha": 16.0}),
    "adapter": (0.802, 113_000, {"learning_rate": 1e-4, "bottleneck": 48}),
    "prefix": (0.755, 46_850, {"learning_rate": 2e-4, "prefix_length": 10, "reparameterization": True}),
    "unipelt-ap": (0.806, 165_000, {"learning_rate": 5e-4, "bottleneck": 48, "prefix_length": 10}),
    "unipelt-apl": (0.811, 243_000, {"learning_rate": 5e-4, "bottleneck": 48, "prefix_length": 10, "rank": 8}),
}
FINALISTS = [
    "unipelt-apl-0004", "unipelt-apl-0000", "lora-0003", "lora-0000", "unipelt-ap-0002", "adapter-0001", "full-0000", "prefix-0002",
    "bitfit-0001", "head-0002",
]  # fmt: skip
TUNED = 0.012
"""What a tuned configuration gains over its default."""


def training(name, method, number, stage="search", state="completed", seed=0, cause="", rng=None):
    rng = rng or random.Random(name)
    skill, kept, sizes = METHODS[method]
    candidate = name.split("-seed")[0].removeprefix("final-")
    default = candidate.endswith("-0000")
    last = {"completed": STEPS, "stopped": 120, "failed": 80}[state]
    noise = [rng.gauss(0, 0.012) for _ in range(20)]
    top = skill + (0.02 if not default else 0.0) - 0.015 * (number % 3)
    curve = [
        CurvePoint(step, 0.7 - 0.4 * step / STEPS, 0.5 + (top - 0.5) * (1 - math.exp(-step / 90)) + noise[i], 5e-4, 0.02 * step)
        for i, step in enumerate(range(40, last + 1, 40))
    ]
    scale = 1.0 if default else 10 ** random.Random(candidate).uniform(-0.7, 0.7)
    return TrialEnded(
        trial=name,
        candidate=candidate,
        method=method,
        stage=stage,
        number=number,
        state=state,
        is_default=default,
        hyper_parameters=sizes | {"learning_rate": sizes["learning_rate"] * scale},
        seeds=Seeds(seed, seed, seed),
        parameters={"pelt": kept - 770, "gates": 0, "head": 770, "kept": kept, "training_only": 0},
        curve=curve,
        select_score=max(point.select_score for point in curve),
        steps=last,
        seconds=0.02 * last * (1 + kept / 2e6),
        cause=cause,
        tokens={"computed": 700 * last, "text": 616 * last},
        time=1_790_000_000.0 + 10 * number,
    )


def search(rng):
    failed = {"prefix-0003": "loss is not finite", "full-0004": "OutOfMemoryError: tried to allocate 512 MiB | pack of 1"}
    for method in METHODS:
        for number in range(6):
            name = f"{method}-{number:04d}"
            state = "failed" if name in failed else "stopped" if number in (4, 5) and method != "unipelt-apl" else "completed"
            yield training(name, method, number, state=state, cause=failed.get(name, ""), rng=rng)
            if state == "stopped":
                yield Decision(
                    "stopped", name, "its select score at the rung is not among the best third", {"rank": 5}, time=1_790_000_100.0
                )


def finals(rng):
    labels = [float(rng.random() < 0.5) for _ in range(EXAMPLES)]
    difficulty = [rng.gauss(0, 0.08) for _ in labels]
    yield ReportOpened(1, EXAMPLES, EXAMPLES, Outputs().put(labels), time=1_790_000_200.0)
    for seed in range(3):
        for candidate in FINALISTS:
            method = candidate.rsplit("-", 1)[0]
            name = f"final-{candidate}-seed{seed}"
            if (candidate, seed) == ("prefix-0002", 2):
                yield training(name, method, seed, "finalist", "failed", seed, "loss is not finite", rng)
                continue
            yield training(name, method, seed, "finalist", seed=seed, rng=rng)
            skill = METHODS[method][0] + TUNED * (not candidate.endswith("-0000")) + rng.gauss(0, 0.006)
            right = [rng.random() < skill + hard for hard in difficulty]
            predictions = [label if ok else 1 - label for label, ok in zip(labels, right, strict=True)]
            yield FinalistScored(name, candidate, method, seed, sum(right) / EXAMPLES, Outputs().put(predictions), time=1_790_000_210.0)


def evidence(rng):
    means = {"lora": (0.68, ["attention.query", "attention.value"]), "adapter": (0.55, ["ffn"]), "prefix": (0.33, ["heads"])}
    for seed in range(3):
        for submodule, (mean, sites) in means.items():
            for site in sites:
                for layer in range(6):
                    value = mean + 0.02 * (layer - 2.5) + rng.gauss(0, 0.01)
                    name = f"final-unipelt-apl-0004-seed{seed}"
                    yield GateMeasured(name, "unipelt-apl-0004", seed, submodule, site, layer, value, 0.04, 0.5, time=1_790_000_220.0)
            loss = {"lora": 0.09, "adapter": 0.05, "prefix": 0.01}[submodule] + rng.gauss(0, 0.004)
            trial = f"final-unipelt-apl-0004-seed{seed}"
            yield KnockedOut(trial, "unipelt-apl-0004", seed, submodule, 0.83, 0.83 - loss, time=1_790_000_225.0)


def opening():
    settings = {
        "task": {"task": "qnli", "k": 100, "protocol": "paper", "data_dir": None},
        "model": "minilm",
        "training": {"batch_size": 16, "max_length": 128, "epochs": 20.0, "warmup": 0.1, "weight_decay": 0.0},
        "search": {"trials": 6, "finalist_seeds": 3, "equivalence": 1.0, "prefer": "params"},
    }
    environment = {
        "python": "3.11.7",
        "torch": "2.13.0",
        "processor": "x86_64, 2 threads",
        "precision": "fp32",
        "commit": "0f3c2d1",
        "dirty": False,
    }
    notes = ["UniPELT's protocol: the select split has 1,000 examples, ten times K.", "3 exact duplicates of report examples were removed."]
    yield SelectionStarted("qnli-3f9a2c", "3f9a2c", "qnli", "minilm", list(METHODS), settings, environment, time=1_790_000_000.0)
    yield DataDescribed(
        "qnli", "classification", "accuracy", True, ["entailment", "not_entailment"], 100, "paper",
        {"train": 100, "select": 1000, "report": EXAMPLES}, {"data": "ab" * 32, "train": "cd" * 32, "report": "ef" * 32}, notes,
        time=1_790_000_001.0,
    )  # fmt: skip
    yield Planned(
        STEPS, 120, 10, 9.0, "A full training has 400 steps; the time limit asks for no shortening.", rungs=[80, 120], time=1_790_000_002.0
    )


def closing():
    bill = {"data": 2.1, "model": 3.4, "search": 301.0, "finalists": 212.5, "evidence": 24.2, "other": 3.3}
    return SelectionEnded("done", 546.5, bill, time=1_790_000_546.0)


def selection(seed=7) -> list[Event]:
    rng = random.Random(seed)
    events = [*opening(), *search(rng)]
    events += [Decision("finalist", name, "best configuration of its method", {}, time=1_790_000_150.0) for name in FINALISTS]
    events += [*finals(rng), *evidence(rng)]
    return [*events, decide(History.of(events), equivalence=1.0, prefer="params"), closing()]


def save(folder, events):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "records.jsonl").write_text("".join(to_json(event) + "\n" for event in events), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def events():
    return selection()


@pytest.fixture(scope="session")
def folder(tmp_path_factory, events):
    return save(tmp_path_factory.mktemp("selection"), events)


@pytest.fixture
def save_selection(tmp_path):
    """A function that writes events as a selection's folder."""
    return lambda events: save(tmp_path / "selection", events)
