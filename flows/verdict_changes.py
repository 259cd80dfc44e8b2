"""What a new verdict on a task changes: which method was recommended before, which is now, and by how much the score moved."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect.artifacts import create_markdown_artifact

from flows.conduct import run_log
from flows.run_page import artifact_key, not_in_the_way
from flows.task_files import Verdict, last_verdicts
from pelt_automl.recorders.verdict_changes import VerdictChange, send_changes

SAME = ("task", "model", "k", "protocol", "report_metric")
"""What two verdicts have in common that can be compared."""


def change_to(after: Verdict, verdicts: Iterable[Verdict]) -> VerdictChange | None:
    """The verdict against the latest of the earlier ones on the same task; None where it is the first. `verdicts`: oldest first."""
    asked = [after.answer.get(name) for name in SAME]
    earlier = [one for one in verdicts if [one.answer.get(name) for name in SAME] == asked and one.reached < after.reached]
    if not earlier:
        return None
    before, sign = earlier[-1].answer, 1 if after.answer.get("greater_is_better", True) else -1
    was, score = before.get("report_score"), after.answer.get("report_score")
    return VerdictChange(
        task=str(after.answer["task"]),
        metric=str(after.answer["report_metric"]),
        before=str(before.get("method")),
        after=str(after.answer["method"]),
        before_score=was,
        after_score=score,
        moved=None if was is None or score is None else sign * (score - was),
        lead=_lead(after.answer, str(before.get("method"))),
        before_folder=str(earlier[-1].folder),
        after_folder=str(after.folder),
        reached=after.reached,
    )


def _lead(answer: Mapping[str, Any], method: str) -> float | None:
    """Of the recommended configuration over the best one of a method, on the same examples and seeds; None where that is no finalist."""
    behind = {row["candidate"]: row["difference"] for row in answer.get("leaderboard", ())}
    others = [row["difference"] for row in answer.get("leaderboard", ()) if row["method"] == method]
    return min(others) - behind[answer["candidate"]] if others and answer.get("candidate") in behind else None


def in_words(change: VerdictChange) -> str:
    """One sentence."""
    what = f"flipped from {change.before} to {change.after}" if change.flipped else f"stayed {change.after}"
    if change.before_score is None or change.after_score is None or change.moved is None:
        moved = "without a report score in both verdicts"
    else:
        moved = f"{change.metric} {change.before_score:.4f}, then {change.after_score:.4f} ({change.moved:+.4f}; positive is better)"
    lead = f"; in the new verdict it leads {change.before} by {change.lead:+.4f}" if change.flipped and change.lead is not None else ""
    return f"{what}: {moved}{lead}"


def changes_table(changes: Iterable[VerdictChange]) -> str:
    """Markdown, the flipped first."""
    rows = sorted(changes, key=lambda change: (not change.flipped, change.task))
    if not rows:
        return "No task has a second verdict yet.\n"
    lines = [
        f"| {change.task} | {'flipped' if change.flipped else 'stayed'} | {in_words(change)} | {_day(change.reached)} |" for change in rows
    ]
    return "\n".join(["| task | verdict | from and to | reached |", "|---|---|---|---|", *lines]) + "\n"


def _day(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"


@not_in_the_way
def tell_change(folder: Path) -> None:
    """Of a selection that has ended: what its verdict changes, in the run's log, as an artifact and as an MLflow run."""
    verdicts = list(last_verdicts())
    mine = [one for one in verdicts if one.folder.resolve() == folder.resolve()]
    change = change_to(mine[-1], verdicts) if mine else None
    if change is None:
        return
    run_log().info("Verdict on %s %s", change.task, in_words(change))
    create_markdown_artifact(
        changes_table([change]), key=artifact_key(f"verdict-change-{change.task}"), description="The verdict against the one before it"
    )
    send([change])


def send(changes: list[VerdictChange]) -> None:
    """To MLflow; what keeps it from being sent is said, and sent again with the next."""
    if changes and (problem := send_changes(changes)):
        run_log().warning("MLflow hasn't got the changes of verdicts (%s); the next reevaluate-tasks sends them again", problem)
