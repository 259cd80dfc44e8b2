"""Which verdicts flipped, as runs of one MLflow experiment: ``python -m pelt_automl.recorders.verdict_changes`` reads them from its input.

In a process of its own, as all that is sent: a server that hangs is given up.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from pelt_automl.printable import without_secrets
from pelt_automl.recorders.mlflow_server import artifact_location, default_tracking_uri, found_or_made, make_client
from pelt_automl.recorders.run_tree import metric_name, texts
from pelt_automl.recorders.sending import ENVIRONMENT, MOST_SECONDS, START_SECONDS

EXPERIMENT = "verdict changes"
KEY = "pelt.change"
"""Tag by which a change's run is found again."""


@dataclass(frozen=True)
class VerdictChange:
    """Two verdicts on one task, the later against the one before it."""

    task: str
    metric: str
    before: str
    """The method that was recommended."""
    after: str
    before_score: float | None
    """Report score, in the metric's unit; None where no finalist was scored."""
    after_score: float | None
    moved: float | None
    """By which the report score is better (positive) or worse than before, each on its own report split."""
    lead: float | None
    """Of the new recommendation over the best finalist of the earlier method, in the new selection; None where there is none."""
    before_folder: str
    after_folder: str
    reached: float
    """When the later verdict was; seconds since the epoch."""

    @property
    def flipped(self) -> bool:
        """Whether another method is recommended."""
        return self.before != self.after


def send_changes(changes: Sequence[VerdictChange]) -> str:
    """Send them, each once; what kept them from MLflow, empty when it has all. Never raises for a server that is away or hangs."""
    command = (sys.executable, "-P", "-m", "pelt_automl.recorders.verdict_changes")
    text, seconds = json.dumps([asdict(change) for change in changes]), START_SECONDS + MOST_SECONDS
    try:
        ended = subprocess.run(  # noqa: S603
            command, input=text, capture_output=True, text=True, timeout=seconds, check=False, env=ENVIRONMENT | os.environ
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"it didn't answer for {seconds:.0f} s" if isinstance(error, subprocess.TimeoutExpired) else without_secrets(str(error))
    lines = ended.stderr.strip().splitlines() or ["its process ended without a word"]
    return without_secrets(lines[-1])[:240] if ended.returncode else ""


def record(changes: Sequence[VerdictChange], uri: str) -> None:
    """A run for each that MLflow hasn't got. Raises whatever MLflow raises when it is away."""
    client = make_client(uri)
    experiment = found_or_made(
        lambda: client.get_experiment_by_name(EXPERIMENT),
        lambda: client.get_experiment(client.create_experiment(EXPERIMENT, artifact_location(uri, EXPERIMENT))),
    ).experiment_id
    for change in changes:
        key = f"{change.before_folder} > {change.after_folder}"
        if client.search_runs([experiment], f"tags.`{KEY}` = '{key.replace(chr(39), '')}'", max_results=1):
            continue
        tags = texts({KEY: key.replace("'", ""), "flipped": str(change.flipped).lower()} | asdict(change))
        at = int(change.reached * 1000)
        run = client.create_run(experiment, at, tags, f"{change.task}: {change.before} to {change.after}")
        values = {"flipped": float(change.flipped), "score_before": change.before_score, "score_after": change.after_score}
        for name, value in (values | {"moved": change.moved, "lead_over_before": change.lead}).items():
            if value is not None:
                client.log_metric(run.info.run_id, metric_name(name), value, at)
        client.set_terminated(run.info.run_id, "FINISHED", at)


if __name__ == "__main__":
    record([VerdictChange(**change) for change in json.load(sys.stdin)], default_tracking_uri())
