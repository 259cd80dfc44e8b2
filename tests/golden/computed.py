"""What a small selection decides, how three methods train, and what a verdict says: by the program as it is now.

``python -m tests.golden.computed`` writes golden.json again, after `pelt_automl.BEHAVIOUR` was raised.
"""

import hashlib
import json
import math
import os
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from pelt_automl import BEHAVIOUR
from pelt_automl.log.events import Because, CurvePoint, Decision, Planned, Released, TrialEnded
from pelt_automl.log.history import History
from pelt_automl.methods import BASELINES
from pelt_automl.methods import METHODS as REGISTRY
from pelt_automl.scheduling.actions import Budget
from pelt_automl.scheduling.finals import finalist_seeds
from pelt_automl.search.finalists import FAR_POINTS, fitted_baselines
from pelt_automl.search.portfolio import Features, Observation, Source
from pelt_automl.search.shipped import Portfolio
from pelt_automl.selection import Selection, finalist_phase, portfolio_phase, settings_from
from pelt_automl.selection.question import plans_of
from pelt_automl.timing.costs import Costs, Sizes, Speed, of_use_to_finals
from pelt_automl.timing.plan import choose
from pelt_automl.timing.policy import POLICY
from pelt_automl.training import packing
from pelt_automl.training.work import Work
from pelt_automl.verdict.decision import decide
from tests.tiny_world import World, make_world, of
from tests.verdict.conftest import selection

FILE = Path(__file__).parent / "golden.json"
METHODS = ("full", "head", "lora", "adapter", "prefix")
LIKE = Features(2, 100, 32, 10.0)
GAINS = {"lora": (1.0, 5.0), "adapter": (3.0, 2.0), "head": (-1.0, -2.0)}
PORTFOLIO = Portfolio(
    1,
    "made up",
    (Source("a", "a", LIKE), Source("b", "b", LIKE, "b")),
    tuple(
        Observation(source, method, REGISTRY[method].defaults | {"learning_rate": rate}, gain[place] + rate, 1.0)
        for place, source in enumerate("ab")
        for method, gain in GAINS.items()
        for rate in (REGISTRY[method].learning_rate, 2e-3)
    ),
)
"""What is learned from is data, and changes without another behavior."""


class ScriptedPack:
    """A pack whose trials score as a script says: what the search makes of scores, without the luck of a processor's last digits."""

    def __init__(self, trainer, runs):
        self.plan, self.runs = trainer.plan, list(runs)

    def advance(self, until, expired):
        steps = min(next(at for at in self.plan.evaluate_at if at > run.progress.step) - run.progress.step for run in self.runs)
        for run in self.runs:
            run.progress.step += steps
            run.progress.seconds += 0.01 * steps
        due = [run for run in self.runs if run.progress.step in self.plan.evaluate_at]
        for run in due:
            self._score(run)
        return due

    def _score(self, run):
        progress, labels = run.progress, run.select.labels
        skill = int.from_bytes(hashlib.sha256(run.name.encode()).digest()[:2], "big") / 65536
        right = round(len(labels) * (0.5 + 0.45 * skill * (1 - math.exp(-3 * progress.step / self.plan.steps))))
        progress.curve += (CurvePoint(progress.step, 1.0, right / len(labels), run.learning_rate, progress.seconds),)
        progress.best_score = right / len(labels)
        progress.best_predictions = tuple(float(label if i < right else 1 - label) for i, label in enumerate(labels))
        progress.best_weights = progress.continuation = {"weight": torch.zeros(1)}

    def left(self, until):
        return [run for run in self.runs if not run.running or run.progress.step >= until(run)]

    def steps(self):
        return {run: run.progress.step for run in self.runs}

    def hold(self, runs=()):
        pass

    restore = share_time = hold


def computed(world: World, folder: Path, patch: Any) -> dict[str, Any]:
    """All of it, as plain values. `patch` is pytest's monkeypatch."""
    patch.setattr(portfolio_phase, "shipped_portfolio", lambda: PORTFOLIO)
    options = world.options(methods=METHODS, baselines=tuple(BASELINES), trials=9, k=120, patience=100)
    with Selection.open(settings_from(**options), folder) as opened:
        opened.prepare()
        with patch.context() as scripted:
            scripted.setattr(packing, "PackTraining", ScriptedPack)
            opened.search()
        found = finalist_phase.finals_of(opened.question, opened.machine, opened.log.history).found(opened.log.history, Budget())
        for trial in found.chosen:
            opened.log.append(found.decision(trial))
        events, data = opened.log.history.events, opened.question.data
        went_on = [event for event in of(events, Released) if event.because in (Because.DEFAULT, Because.QUOTA)]
        promotions = [["promoted", event.segment.trial] for event in went_on]
        told = {
            "behaviour": BEHAVIOUR,
            "splits": data.hashes(0) | {"another seed": data.hashes(1)["train"]},
            "plan": [(planned.steps, planned.final_steps, planned.rungs) for planned in of(events, Planned)],
            "trials": {t.trial: [t.state, t.steps, t.cause, _rounded(t.hyper_parameters)] for t in of(events, TrialEnded)},
            "decisions": sorted([*([d.what, d.subject] for d in of(events, Decision)), *promotions]),
            "finalists": [trial.candidate for trial in found.chosen],
            "baselines": [trial.trial for trial in fitted_baselines(opened.log.history)],
            "seeds": [asdict(finalist_seeds("question", index)) for index in range(2)],
            "training": _losses(opened.machine, plans_of(opened.question, opened.log.history).search),
            "limits": _limits(opened.question.settings),
        }
    verdict = decide(History.of(selection()[:-2]), 1.0, "params")
    rows = {row.candidate: [row.report_interval, row.p_best, row.difference_interval, row.tied] for row in verdict.standings}
    return json.loads(json.dumps(told | {"verdict": [verdict.candidate, verdict.outcome, rows]}))


def _limits(settings: Any) -> dict[str, Any]:
    """What time limits allow, and the numbers that the rest of that policy hangs on."""
    speed, search, training = Speed(0.1, 0.01), settings.search, settings.training
    examples = Sizes(14 * training.batch_size, 90, 1000, 0, 0)  # 14 steps an epoch
    costs = Costs((*METHODS[:4], "unipelt-apl"), (), search, replace(training, epochs=20), examples)
    plans = [choose(costs, left, speed) for left in (20, 60, 120, 300, 900, 3600)]
    phases = (POLICY.first, POLICY.ahead, POLICY.nothing, POLICY.last_reserve)
    finals = (POLICY.ample, POLICY.second, POLICY.room_for_another, FAR_POINTS)
    return {
        "plans": [[plan.steps, plan.final_steps, plan.finalists, plan.seeds] for plan in plans],
        "kept": [round(of_use_to_finals(share, 10.0, 5.0, 6, search), 3) for share in (10, 40, 70, 200)],
        "constants": [*phases, *finals],
    }


def _losses(machine: Any, plan: Any) -> dict[str, list[float]]:
    """Training losses of real steps."""
    seeds = finalist_seeds("loss", 0)
    runs = {method: machine.run(method, method, _default(method), seeds, plan, probed=True) for method in METHODS[2:]}
    work = Work(machine.backbone, plan, machine.data.metric, machine.data.outputs, lower=machine.lower)
    packing.train(work, list(runs.values()), plan.evaluate_at[1])
    return {method: [point.train_loss for point in run.progress.curve] for method, run in runs.items()}


def _default(method: str) -> dict[str, Any]:
    from pelt_automl.methods import METHODS as REGISTRY

    return REGISTRY[method].defaults


def _rounded(hyper_parameters: dict[str, Any]) -> dict[str, Any]:
    return {name: float(f"{value:.5g}") if isinstance(value, float) else value for name, value in hyper_parameters.items()}


def main() -> None:
    """Write the file."""
    import pytest

    from pelt_automl.recorders import RECORDERS

    RECORDERS.pop("mlflow", None)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PELT_AUTOML_HOME"] = folder
        found = computed(make_world(Path(folder)), Path(folder) / "selection", pytest.MonkeyPatch())
    FILE.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
