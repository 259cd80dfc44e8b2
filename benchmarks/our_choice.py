"""One selection as a contender makes it, in a process of its own: ``python -m benchmarks.our_choice FOLDER REQUEST`` (a JSON object).

``finalists``: with them it is `pelt_automl.select`; without, the search has all of the time, its trainings have their full length, and the
trial with the best select score is the answer, as someone chooses who runs Optuna.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measuring import hand_over
from benchmarks.retraining import settings_of

if TYPE_CHECKING:
    from pelt_automl.selection import Selection

FOR_WRITING = 0.01
"""Share of the time that a search without finalists leaves for its end."""


def main(arguments: Sequence[str]) -> None:
    """Run it and hand over what it recommends and how sure it is."""
    folder, request = Path(arguments[0]), json.loads(arguments[1])
    from pelt_automl.selection import Selection

    with_finalists = request["finalists"]
    options = request["options"] if with_finalists else request["options"] | _of_a_search(request)
    with Selection.open(settings_of(options, request["seed"]), folder) as selection:
        if with_finalists:
            selection.run()
        else:
            selection.prepare()
            selection.search()
        hand_over(_answer(selection, with_finalists=with_finalists))


def _of_a_search(request: Mapping[str, Any]) -> dict[str, Any]:
    """All time to the search, and no training shorter than without a time limit."""
    from pelt_automl.tasks import load_task
    from pelt_automl.training.schedule import wanted_steps

    settings = settings_of(request["options"], request["seed"])
    train, _ = load_task(settings.task).split(request["seed"])
    return {"finalist_share": FOR_WRITING, "min_steps": wanted_steps(len(train), settings.training)}


def _answer(selection: "Selection", *, with_finalists: bool) -> dict[str, Any]:
    from pelt_automl.recommendation.decision import best_by_select_score
    from pelt_automl.records import Stage, TrialEnded, VerdictReached

    context = selection.context
    trials = context.record.of(TrialEnded)
    verdicts = context.record.of(VerdictReached)
    if with_finalists:
        chosen = next(trial for trial in trials if trial.candidate == verdicts[-1].candidate)
    else:
        chosen = best_by_select_score(trials, context.data.metric.greater_is_better)
    return {
        "method": chosen.method,
        "hyper_parameters": chosen.hyper_parameters,
        "candidate": chosen.candidate,
        "steps": context.final_plan.steps if verdicts and verdicts[-1].standings else context.plan.steps,
        "wanted_steps": _wanted_steps(selection),
        "trials": sum(trial.stage == Stage.SEARCH for trial in trials),
        "seeds": len({trial.number for trial in trials if trial.stage == Stage.FINALIST}),
        "seconds": context.clock.elapsed,
        "finalists": [
            {
                "candidate": row.candidate, "method": row.method, "hyper_parameters": row.hyper_parameters, "p_best": row.p_best,
                "tied": row.tied, "report_score": row.report_score, "difference": row.difference,
            }
            for row in (verdicts[-1].standings if verdicts else [])
        ],
    }  # fmt: skip


def _wanted_steps(selection: "Selection") -> int:
    """Steps of a training without a time limit."""
    from pelt_automl.training.schedule import even_steps, wanted_steps

    context = selection.context
    train, _ = context.data.split(context.settings.search.seed)
    return even_steps(wanted_steps(len(train), context.settings.training))


if __name__ == "__main__":
    main(sys.argv[1:])
