"""Means, deviations, averages, orders and differences: small tables checked by hand."""

import json

import pytest

from pelt_automl.reproduction.folder import FinishedRun
from pelt_automl.reproduction.protocol import Protocol, protocol_from
from pelt_automl.reproduction.rendering import as_json, markdown, terminal_text
from pelt_automl.reproduction.table import build_table


def finished(method, task, seed, score, *, k=100, constant=False, cause=""):
    return FinishedRun(
        task=task, k=k, seed=seed, method=method, state="failed" if score is None else "completed", metric="accuracy", report_score=score,
        select_score=None, constant=constant, cause=cause, hyper_parameters={}, parameters=1, steps=7, seconds=1.0, curve=[],
        sizes={"train": 100, "select": 1000, "report": 277}, data_hash="", backbone={"name": "minilm"}, version="0",
    )  # fmt: skip


def table_of(runs, protocol, model="minilm", refused=(), unavailable=None):
    return build_table(protocol, model, runs, dict.fromkeys(refused, "no"), unavailable or {}, {"versions": {"torch": "2.9"}})


TWO_TASKS = protocol_from(tasks="rte,sst2", ks="100", seeds="0,1", methods="lora,adapter,unipelt-apl")

RUNS = [
    *(finished("lora", "rte", seed, score) for seed, score in enumerate((0.50, 0.54))),
    *(finished("lora", "sst2", seed, score) for seed, score in enumerate((0.80, 0.86))),
    *(finished("adapter", "rte", seed, score) for seed, score in enumerate((0.60, 0.60))),
    finished("adapter", "sst2", 0, 0.70),
    finished("unipelt-apl", "rte", 0, 0.55),
    finished("unipelt-apl", "sst2", 0, 0.81),
    finished("unipelt-apl", "rte", 1, None, cause="a\nb"),
]


def rows(table):
    return {row.method: row.entries for row in table.grids[0].rows}


def test_a_cell_is_the_mean_over_seeds_with_the_deviation_of_the_sample():
    lora = rows(table_of(RUNS, TWO_TASKS))["lora"]["rte"]
    assert (lora.here.mean, lora.here.deviation, lora.here.seeds) == pytest.approx((52.0, 2.828427, 2))
    assert (lora.published.mean, lora.published.deviation) == (55.02, 1.75)
    assert lora.difference == pytest.approx(-3.02)


def test_an_average_is_over_the_seeds_that_have_every_task_and_the_papers_over_the_same_tasks():
    found = rows(table_of(RUNS, TWO_TASKS))
    # lora: seed 0 has (50 + 80) / 2 = 65, seed 1 has (54 + 86) / 2 = 70; the paper (55.02 + 81.56) / 2
    average = found["lora"]["average"]
    assert (average.here.mean, average.here.deviation, average.here.seeds) == pytest.approx((67.5, 3.535534, 2))
    assert (average.published.mean, average.published.deviation) == (pytest.approx(68.29), None)
    # adapter: only seed 0 has both, (60 + 70) / 2
    assert (found["adapter"]["average"].here.mean, found["adapter"]["average"].here.deviation) == (pytest.approx(65.0), None)
    assert found["adapter"]["average"].here.seeds == 1


def test_a_failed_run_has_no_score_and_its_cause_is_listed_on_one_line():
    table = table_of(RUNS, TWO_TASKS)
    assert rows(table)["unipelt-apl"]["rte"].here.seeds == 1
    assert table.failed == {"rte, K=100, seed 1, unipelt-apl": "a\nb"}
    assert "- rte, K=100, seed 1, unipelt-apl: a b\n" in markdown(table)
    assert (table.finished, table.wanted) == (10, 12)


def test_orders_are_compared_over_the_same_methods_and_tasks():
    [grid] = table_of(RUNS, TWO_TASKS).grids
    assert grid.order_here == ("unipelt-apl", "lora", "adapter")  # 68.0, 67.5, 65.0
    assert grid.order_published == ("unipelt-apl", "lora", "adapter")  # 68.905, 68.29, 66.63
    assert grid.correlation == pytest.approx(1.0)
    worse = [finished("lora", task, 0, 0.1) for task in ("rte", "sst2")]
    [grid] = table_of([run for run in RUNS if run.method != "lora"] + worse, TWO_TASKS).grids
    assert (grid.order_here, grid.correlation) == (("unipelt-apl", "adapter", "lora"), pytest.approx(0.5))


def test_two_methods_are_too_few_for_an_order():
    protocol = protocol_from(tasks="rte", ks="100", seeds="0", methods="lora,adapter")
    table = table_of([finished("lora", "rte", 0, 0.5), finished("adapter", "rte", 0, 0.6)], protocol)
    assert table.grids[0].correlation is None
    assert "Too few methods" in markdown(table)


def test_the_upper_bound_is_the_best_submodule_of_each_task():
    runs = [*RUNS, finished("prefix", "rte", 0, 0.65), finished("prefix", "sst2", 0, 0.60)]
    protocol = protocol_from(tasks="rte,sst2", ks="100", seeds="0,1", methods="lora,adapter,prefix")
    two, three = table_of(runs, protocol).grids[0].oracles
    assert [two.entries[name].here.mean for name in ("rte", "sst2", "average")] == pytest.approx([65.0, 70.0, 67.5])
    assert [three.entries[name].here.mean for name in ("rte", "sst2", "average")] == pytest.approx([65.0, 83.0, 74.0])
    assert three.entries["average"].published.mean == pytest.approx((55.96 + 81.56) / 2)


def test_without_all_submodules_there_is_no_upper_bound():
    two, _ = table_of(RUNS, TWO_TASKS).grids[0].oracles
    assert (two.entries["average"].here, two.entries["average"].published) == (None, None)


def test_over_all_eight_tasks_the_papers_own_average_stands():
    lora = rows(table_of([], Protocol(ks=(100,))))["lora"]["average"]
    assert (lora.here, lora.published.mean, lora.published.deviation) == (None, 49.26, 2.1)


def test_constant_predictions_are_counted_and_runs_that_nobody_asked_for_are_not():
    runs = [finished("lora", "rte", seed, 0.5, constant=seed > 0) for seed in range(4)]
    table = table_of(runs, protocol_from(tasks="rte", ks="100", seeds="0,1,2", methods="lora"))
    assert (table.constant, table.finished) == ({"K=100, rte, lora": "2 of 3"}, 3)


def test_a_task_that_cant_be_had_has_no_column_and_doesnt_count_as_missing():
    table = table_of(RUNS[:4], TWO_TASKS, refused=["adapter"], unavailable={("sst2", 100): "not there", ("rte", 500): "other K"})
    assert table.grids[0].tasks == ("rte", "sst2"), "it has runs of an earlier start"
    table = table_of(RUNS[:2], TWO_TASKS, refused=["adapter"], unavailable={("sst2", 100): "not there"})
    assert table.grids[0].tasks == ("rte",)
    assert (table.finished, table.wanted) == (2, 4)
    assert table.left_out == {"adapter": "no", "sst2 at K=100": "not there"}


PAGE = """\
# UniPELT's tables on minilm

3 of 4 runs. Data seeds 0, 1; initialization and order have the seed 42 in all of them. Other than the paper: epochs 10 (paper: 50).

Points; mean (standard deviation) over data seeds, [n] where fewer of them are there. torch 2.9.

## K=100 (table 1 of the paper)

|  | rte | sst2 | average |
|---|---:|---:|---:|
| LoRA, here | 52.00 (2.83) | 80.00 [1] | 65.00 [1] |
| LoRA, paper | 55.02 (1.75) | 81.56 (0.94) | 68.29 |
| LoRA, difference | -3.02 | -1.56 | -3.29 |
"""


def test_the_page_reads_as_it_should():
    protocol = protocol_from(tasks="rte,sst2", ks="100", seeds="0,1", methods="lora", epochs=10)
    page = markdown(table_of(RUNS[:3], protocol))
    assert page.startswith(PAGE)
    assert "The backbone is minilm, the paper's BERT-base: figures and differences aren't comparable" in page
    assert "Quora and SQuAD text" in page


def test_on_the_papers_backbone_its_figures_are_comparable():
    page = markdown(table_of([], TWO_TASKS, model="google-bert/bert-base-uncased"))
    assert "The backbone is" not in page
    assert "SQuAD" not in page


def test_a_k_that_the_paper_lacks_has_no_figures_of_it():
    table = table_of([finished("lora", "rte", 0, 0.5, k=50)], protocol_from(tasks="rte", ks="50", seeds="0", methods="lora"))
    page = markdown(table)
    assert "## K=50 (not in the paper)" in page
    assert "LoRA, paper" not in page


def test_the_terminals_columns_are_aligned():
    lines = [line for line in terminal_text(table_of(RUNS, TWO_TASKS)).splitlines() if line.startswith(("LoRA", "Adapter", "UniPELT APL"))]
    assert len(lines) == 9
    assert len({len(line) for line in lines}) == 1


def test_the_json_has_the_differences():
    written = json.loads(as_json(table_of(RUNS, TWO_TASKS)))
    by_method = {row["method"]: row["entries"] for row in written["grids"][0]["rows"]}
    assert by_method["lora"]["rte"]["difference"] == pytest.approx(-3.02)
    assert written["environment"] == {"versions": {"torch": "2.9"}}
