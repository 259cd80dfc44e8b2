"""The printed figures: typed off correctly, as far as the paper's own sums can tell."""

import statistics

import pytest

from pelt_automl.reproduction.protocol import PAPER_METHODS, TASKS
from pelt_automl.reproduction.published import AVERAGE, PUBLISHED, Published

ROWS = [(k, method) for k, rows in PUBLISHED.items() for method in rows]


@pytest.mark.parametrize(("k", "method"), ROWS)
def test_every_row_has_the_average_that_the_paper_prints_for_it(k, method):
    row = PUBLISHED[k][method]
    assert statistics.fmean(row[task].mean for task in TASKS) == pytest.approx(row[AVERAGE].mean, abs=0.021)


@pytest.mark.parametrize(
    ("k", "submodules", "printed"),
    [
        (100, ("adapter", "prefix"), 58.86),
        (100, ("adapter", "prefix", "lora"), 60.60),
        (500, ("adapter", "prefix"), 69.69),
        (500, ("adapter", "prefix", "lora"), 70.02),
        (1000, ("adapter", "prefix"), 72.58),
        (1000, ("adapter", "prefix", "lora"), 73.19),
    ],
)
def test_table_2_follows_from_table_1(k, submodules, printed):
    best = [max(PUBLISHED[k][method][task].mean for method in submodules) for task in TASKS]
    assert statistics.fmean(best) == pytest.approx(printed, abs=0.021)


def test_single_figures_stand_in_their_column():
    assert PUBLISHED[100]["lora"]["qqp"] == Published(0.09, 0.02)
    assert PUBLISHED[100]["lora"]["stsb"] == Published(49.35, 21.87)
    assert PUBLISHED[500]["prefix"]["qqp"] == Published(54.34, 25.91)
    assert PUBLISHED[1000]["bitfit"]["cola"] == Published(22.44, 17.10)
    assert PUBLISHED[None]["prefix"]["rte"] == Published(76.90, None)
    assert PUBLISHED[None]["unipelt-ap-nogate"]["cola"] == Published(58.63, None)


def test_a_method_is_published_where_the_protocol_runs_it():
    assert {(k, method) for method, own in PAPER_METHODS.items() for k in own.ks} == set(ROWS)
