"""The deep slice: a finals of some seeds and examples, judged by the others."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from pelt_automl.methods import BASELINES
from studies.calibration import World
from studies.deep_slice import Slice, judged, recorded, study
from studies.harness import Report
from studies.table import TableFolder
from studies.table_files import write_table
from studies.table_grid import DEEP_METHODS, Training, committed_configurations
from tests.studies.test_table_files import made

FINALISTS = (*DEEP_METHODS, *BASELINES)


def sliced(rng, seeds=12, examples=400):
    finals = World(4, seeds, examples=examples, spread=2.0).finals(rng)
    return Slice("made-up", finals.metric, list("abcd"), finals.fitted, [4, 3, 2, 1], finals.labels, finals.predictions)


@pytest.mark.statistical
def test_statements_hold_of_the_other_half_though_it_is_the_smaller_one():
    """Three seeds and 100 examples of truth: taken as exact, they would lie within the intervals of nine seeds in far fewer finals."""
    rng, repeats = np.random.default_rng(0), 80
    said = pd.DataFrame([judged(sliced(rng), 9, 300, rng, 200) for _ in range(repeats)])
    error = 3 * math.sqrt(0.95 * 0.05 / repeats)
    assert said["means"].mean() == pytest.approx(0.95, abs=error)
    assert said["differences"].mean() == pytest.approx(0.95, abs=error)
    assert said["expected"].mean() == pytest.approx(said["true"].mean(), abs=3 * math.sqrt(0.25 / repeats))
    assert said["said"].mean() > said["expected"].mean() + 0.1  # the truth's luck may make another one the best
    assert said["wider"].median() > 1.8


def test_the_recommended_one_is_the_cheapest_of_those_within_a_point_of_the_best():
    wrong = np.zeros((4, 6, 400))
    wrong[0, :, ::100] = 1  # 99 %: the best
    wrong[1, :, ::80] = 1  # 98.75 %
    wrong[2, :, ::2] = 1  # the cheapest by far, but wrong in every second
    wrong[3, :, ::80] = 1  # as the second one, and dearer
    whole = Slice("made-up", "accuracy", list("abcd"), [False] * 4, [5, 2, 1, 3], np.zeros(400), wrong)
    assert judged(whole, 3, 200, np.random.default_rng(0), 100)["recommended"] == "b"


def cell(method, seed, name="known-1", task="sst2", **more):
    configuration = committed_configurations()[method]["default" if method in BASELINES else name]
    start = "none" if method in BASELINES else "probe"
    key = Training(task, 100, configuration, start, seed, "").key("minilm")
    outputs = {"report": [seed % 3, 1, FINALISTS.index(method) % 3], "report_labels": [0, 1, 2], "parameters": 7}
    return made(
        seed, key=key, task=task, source="sst2", method=method, configuration=configuration.name, head_start=start, **outputs | more
    )


def test_the_slice_has_the_seeds_that_all_of_its_finalists_have_in_the_table_or_in_the_working_folder(tmp_path):
    table, folder = tmp_path / "table", TableFolder(tmp_path / "work").make()
    table.mkdir()
    write_table([cell(method, seed) for seed in (0, 5) for method in FINALISTS], (), table)
    write_table([cell("lora", 1, name="known-2"), cell("lora", 1, name="default")], (), table)
    late = [cell(method, 2) for method in FINALISTS] + [cell(method, 3) for method in FINALISTS if method != "prefix"]
    late += [cell(method, 4, failure="it diverged" if method == "bitfit" else "") for method in FINALISTS]
    for record in late:
        folder.add(record["key"], record)
    (found,) = recorded(table, folder.path)
    assert (found.task, found.metric, tuple(found.names)) == ("sst2", "accuracy", FINALISTS)
    assert list(found.fitted) == [False] * 4 + [True] * 3
    assert found.predictions.shape == (7, 3, 3)
    assert found.predictions[:, :, 0].tolist() == [[0, 2, 2]] * 7  # seeds 0, 2 and 5
    assert recorded(table)[0].predictions.shape == (7, 2, 3)


def test_what_has_too_few_seeds_is_left_out_and_said(tmp_path):
    report = Report("deep_slice", None)
    study(report, [sliced(np.random.default_rng(1), seeds=6, examples=60)], [3, 4], 300, 3, 0, 50)
    assert report.left_out == ["made-up, 4 seeds: 6 are recorded, and the truth takes 3 others at least"]
    (row,) = report.tables["By task: 3 finals each"]
    assert (row["seeds"], row["of"]) == (3, 6)
    first, every = report.tables["Over the tasks"]
    assert first["finals that share no seed"] == 2
    assert every["seeds"] == "all"
    assert json.dumps(report.tables)
