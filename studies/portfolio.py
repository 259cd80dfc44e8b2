"""The shipped portfolio: what the table's open sources say of each configuration, written for `pelt_automl.search.shipped`.

Of trainings at one K whose heads start from the probe. A gain is the report score less the probe's on the same split, in points, mean over
the seeds that both have; a training that failed counts as the constant answer. A cost is the seconds of a training on a quiet machine over
those of LoRA's default on the same task. Sealed sources are never read.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pelt_automl.errors import PeltError, SelectionError
from pelt_automl.log.events import Configuration
from pelt_automl.methods import METHODS
from pelt_automl.search.portfolio import Features, Observation, Source, learned, weights
from pelt_automl.search.shipped import VERSION, Portfolio, write_portfolio
from pelt_automl.search.spaces import shipped_spaces
from pelt_automl.tasks import METRICS
from pelt_automl.tasks.kinds import KINDS
from pelt_automl.verdict.statistics import point
from studies.harness import Report, add_options, parser
from studies.table_costs import Costs, load_costs, seconds_of
from studies.table_files import TABLE, load_table
from studies.table_grid import DEFAULT, PROBE, K

LORA = "lora"
DIGITS, FEWEST_SEEDS = 4, 3


def portfolio_of(table: pd.DataFrame, costs: Costs, model: str) -> Portfolio:
    """Of rows of the table at one K, with their probes. Raises `SelectionError` where nothing of them can be compared with a probe."""
    found = [_of_task(str(task), own, costs) for task, own in table.groupby("task") if _comparable(own)]
    if not found:
        raise SelectionError("no task of the table has the probe and LoRA's default on three seeds; record more with studies.table")
    return Portfolio(VERSION, model, tuple(source for source, _ in found), tuple(one for _, own in found for one in own))


def _comparable(own: pd.DataFrame) -> bool:
    """Whether it has a probe, and LoRA's default on `FEWEST_SEEDS`: what one seed alone says is mostly noise."""
    default = own[(own["method"] == LORA) & (own["configuration"] == DEFAULT)]
    return bool((own["method"] == PROBE).any() and default["seed"].nunique() >= FEWEST_SEEDS)


def _of_task(task: str, own: pd.DataFrame, costs: Costs) -> tuple[Source, list[Observation]]:
    own = own.assign(seconds=[seconds_of(row, costs) for row in own.to_dict("records")])
    probes = own[own["method"] == PROBE].set_index("seed")
    first = probes.iloc[0]
    size, sign = point(first["metric"], first["report_labels"].tolist()), METRICS[first["metric"]].sign
    above = [sign * (row["select_score"] - _constant(row, "select_labels")) / size for row in probes.to_dict("records")]
    features = Features(int(first["classes"]), int(first["train_size"] + first["select_size"]), int(own["max_length"].mode()[0]),
                        round(float(np.mean(above)), DIGITS))  # fmt: skip
    trained = own[own["method"].isin(METHODS) & own["seed"].isin(probes.index)]
    unit = float(trained[(trained["method"] == LORA) & (trained["configuration"] == DEFAULT)]["seconds"].mean())
    keys = [json.dumps(values, sort_keys=True) for values in trained["hyper_parameters"]]
    observations = []
    for (method, values), rows in trained.groupby(["method", pd.Series(keys, trained.index)]):
        gains = [sign * (_report_score(row) - probes.loc[row["seed"], "report_score"]) / size for row in rows.to_dict("records")]
        gain, cost = round(float(np.mean(gains)), DIGITS), round(float(rows["seconds"].mean()) / unit, DIGITS)
        observations.append(Observation(task, str(method), json.loads(str(values)), gain, cost))
    return Source(task, str(first["source"]), features, str(first["data_hash"])), observations


def _report_score(row: Any) -> float:
    failed = row["failure"] or row["report_score"] is None or math.isnan(row["report_score"])
    return _constant(row, "report_labels") if failed else float(row["report_score"])


def _constant(row: Any, labels: str) -> float:
    """What the same answer for all examples scores."""
    metric, true = METRICS[row["metric"]], row[labels].astype(np.float64)
    said, _ = KINDS[row["kind"]].constant(true.tolist(), metric)
    return metric.value(np.full(len(true), said), true)


def learned_from(others: pd.DataFrame, costs: Costs) -> Portfolio | None:
    """What these rows teach; None for nothing."""
    try:
        return portfolio_of(others, costs, "")
    except SelectionError:
        return None


def ordered_by(portfolio: Portfolio, own: pd.DataFrame, tried: pd.DataFrame, costs: Costs) -> tuple[list[Configuration], int] | None:
    """The configurations of `tried` in the order that other sources teach for a task whose rows are `own`.

    With how many of the first are of use; see `pelt_automl.search.portfolio.learned`. None where `own` has no probe.
    """
    if not (own["method"] == PROBE).any():
        return None
    task, _ = _of_task(str(own["task"].iloc[0]), own, costs)
    candidates = [Configuration(row["method"], row["hyper_parameters"]) for row in tried.to_dict("records")]
    return learned(candidates, portfolio.observations, weights(task.features, portfolio.sources))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the gains by configuration; write the file if asked to."""
    made = parser("portfolio", __doc__)
    add_options(made, {
        "write": (bool, False, "replace the shipped file, search_spaces/portfolio.json"),
        "k": (int, K, "labeled examples"),
        "model": (str, "minilm", "of the recorded trainings"),
        "table": (Path, TABLE, "folder with the Parquet files"),
    })  # fmt: skip
    asked = made.parse_args(arguments)
    report = Report("portfolio", asked)
    try:
        table, costs = load_table(model=asked.model, folder=asked.table), load_costs()
        portfolio = portfolio_of(table[(table["k"] == asked.k) & table["head_start"].isin([PROBE, "none"])], costs, asked.model)
    except PeltError as error:
        made.error(str(error))
    frame = pd.DataFrame([vars(own) | {"hyper_parameters": json.dumps(own.hyper_parameters)} for own in portfolio.observations])
    for (method, values), own in frame.groupby(["method", "hyper_parameters"]):
        report.add("Gains above the probe, points", method=method, configuration=values, **{
            "data sets": len(own), "mean": own["gain"].mean(), "worst": own["gain"].min(), "best": own["gain"].max(),
            "cost of LoRA's default": own["cost"].mean(),
        })  # fmt: skip
    report.write()
    if asked.write:
        write_portfolio(shipped_spaces() / "portfolio.json", portfolio)


if __name__ == "__main__":
    main()
