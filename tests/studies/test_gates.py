"""The analysis of the gate study by hand, and the whole script on a tiny world."""

import csv
import json

import pandas as pd
import pytest

from pelt_automl.log.codec import to_json
from pelt_automl.log.events import ContributionMeasured, GateMeasured, KnockedOut
from studies import gates
from studies.gates import (
    TUNED,
    UNION,
    agreement_rows,
    cell_rows,
    clustered_interval,
    other_data_sets,
    other_seeds,
    read_cells,
    top_agreement,
    tuned,
    usable,
)


def values(adapter, prefix, lora):
    return {"adapter": adapter, "prefix": prefix, "lora": lora}


def cell(dataset, own, gate, *, k=100, seed=0, variant="published"):
    return {"dataset": dataset, "k": k, "seed": seed, "variant": variant, "measures": {"gate": gate}, "own": own, "union": 0.9}


UP, DOWN, SIDEWAYS = values(0.1, 0.2, 0.3), values(0.3, 0.2, 0.1), values(0.1, 0.3, 0.2)


@pytest.mark.parametrize(
    ("one", "other", "first"),
    [
        ((1, 2, 3), (10, 20, 30), 1),
        ((1, 2, 3), (3, 2, 1), 0),
        ((1, 2, 3), (5, 5, 9), 1),
        ((1, 3, 3), (1, 2, 3), 1 / 2),  # one of two that are equally great is drawn
        ((7, 7, 7), (1, 2, 3), 1 / 3),  # drawing blindly
        ((7, 7, 7), (2, 2, 1), 1 / 3),
        ((2, 2, 1), (2, 2, 1), 1 / 2),  # two draws from the same two
        ((1, 2), (2, 3, 1), 1),  # the third is in one of them only
        ((1,), (1, 2, 3), None),
        ((), (), None),
    ],
)
def test_the_same_first_by_hand(one, other, first):
    found = top_agreement(dict(zip("abc", one, strict=False)), dict(zip("abc", other, strict=False)))
    assert found == (None if first is None else pytest.approx(first))


def test_agreement_is_the_mean_over_cells_with_the_references_beside_it():
    cells = [
        cell("a", own=UP, gate=UP, seed=0),  # tau 1, first the same
        cell("a", own=UP, gate=DOWN, seed=1),  # tau -1
        cell("b", own=UP, gate=SIDEWAYS, seed=0),  # tau 1/3
        cell("b", own=DOWN, gate=DOWN, seed=1),  # tau 1, first the same
    ]
    rows = {(row["cells of"], row["measure"]): row for row in agreement_rows(cells)}
    gate = rows["all", "gate"]
    assert (gate["cells"], gate["data sets"]) == (4, 2)
    assert gate["tau"] == pytest.approx((1 - 1 + 1 / 3 + 1) / 4, abs=1e-3)
    assert gate["same first"] == 0.5
    assert rows["K = 100", "gate"]["tau"] == gate["tau"]
    # other seeds: a agrees with itself twice, b contradicts itself twice
    assert rows["all", "own score, other seeds"]["tau"] == 0.0
    # other data sets: a's order is up and so is the mean of b's, tied throughout: (up + down) / 2; b's cells see a's order
    assert rows["all", "mean order of other data sets"]["tau"] == pytest.approx((0 + 0 + 1 - 1) / 4)


def test_cells_whose_own_scores_hardly_differ_are_left_out_of_the_decided_ones():
    cells = [cell("a", own=values(0.800, 0.805, 0.810), gate=UP), cell("b", own=values(0.80, 0.83, 0.81), gate=UP)]
    decided = [row for row in agreement_rows(cells) if row["cells of"] == "own scores 2 points apart"]
    assert [(row["measure"], row["cells"]) for row in decided] == [("gate", 1), ("mean order of other data sets", 1)]


def test_references_look_at_other_cells_only():
    cells = [
        cell("a", UP, UP, seed=0),
        cell("a", values(0.5, 0.6, 0.1), UP, seed=1),
        cell("a", values(0.7, 0.8, 0.3), UP, seed=2),
        cell("a", DOWN, UP, k=500),
        cell("b", DOWN, UP),
    ]
    assert other_seeds(cells[0], cells) == pytest.approx(values(0.6, 0.7, 0.2))
    assert other_seeds(cells[4], cells) is None
    assert other_data_sets(cells[0], cells) == values(3, 2, 1)  # of three the first place counts 3, the last 1
    assert other_data_sets(cells[3], cells) is None


def test_the_interval_draws_whole_data_sets():
    low, high = clustered_interval(pd.Series([0.0] * 10 + [1.0] * 10, ["a"] * 10 + ["b"] * 10))
    assert (low, high) == (0.0, 1.0), "ten cells of one data set are no ten data sets"
    assert clustered_interval(pd.Series([0.5] * 4, ["a", "a", "b", "b"])) == (0.5, 0.5)
    assert clustered_interval(pd.Series([0.0, 1.0], ["a", "a"])) is None


def found(rate, *, select, report, gate=0.6, greater=True, seed=0):
    """A cell's JSON; `select`, `report`: of union, adapter, prefix, lora."""
    methods = (UNION, "adapter", "prefix", "lora")
    scores = {method: {"select": s, "report": r} for method, s, r in zip(methods, select, report, strict=True)}
    events = [
        event
        for name, loss in (("adapter", 0.02), ("prefix", 0.0), ("lora", -0.01))
        for event in (
            GateMeasured(UNION, UNION, seed, name, "ffn", 0, gate, 0.1, 0.5),
            ContributionMeasured(UNION, UNION, seed, name, "ffn", 0, 0.3, 0.1),
            KnockedOut(UNION, UNION, seed, name, 0.8, 0.8 - loss if greater else 0.8 + loss),
        )
    ]
    place = {"dataset": "a", "k": 100, "seed": seed, "rate": rate, "metric": "accuracy", "greater_is_better": greater}
    return place | {"scores": scores, "events": [to_json(event) for event in events]}


def test_a_cell_is_read_from_its_json():
    (one,) = read_cells([found("published", select=(0.8,) * 4, report=(0.9, 0.7, 0.5, 0.6))])
    assert tuple(one[name] for name in ("dataset", "k", "seed", "variant", "union")) == ("a", 100, 0, "published", 0.9)
    assert one["own"] == values(0.7, 0.5, 0.6)
    assert one["measures"]["gate"] == values(0.6, 0.6, 0.6)
    assert one["measures"]["drift"] == pytest.approx(values(0.1, 0.1, 0.1))
    assert one["measures"]["contribution"] == values(0.3, 0.3, 0.3)
    assert one["measures"]["knock-out"] == pytest.approx(values(0.02, 0.0, -0.01))
    (row, *_) = cell_rows([one])
    assert (row["submodule"], row["own score"], row["knock-out"], row["UniPELT-APL"]) == ("adapter", 70.0, 2.0, 90.0)
    assert row["seeds"] == 1


def test_a_smaller_error_is_a_better_own_score():
    (one,) = read_cells([found("published", select=(0.8,) * 4, report=(0.9, 0.7, 0.5, 0.6), greater=False)])
    assert one["own"] == values(-0.7, -0.5, -0.6)
    assert one["measures"]["knock-out"] == pytest.approx(values(0.02, 0.0, -0.01))


def test_cells_with_a_failed_training_are_left_out():
    assert read_cells([found("published", select=(0.8, 0.8, None, 0.8), report=(0.9, 0.7, None, 0.6))]) == []


def test_of_several_learning_rates_each_method_has_the_one_that_select_chooses():
    slow = found("published", select=(0.7, 0.9, 0.6, 0.6), report=(0.70, 0.71, 0.72, 0.73), gate=0.6)
    fast = found("2e-3", select=(0.8, 0.8, 0.8, 0.6), report=(0.80, 0.81, 0.82, 0.83), gate=0.9)
    mixed = tuned([slow, fast])
    assert [mixed["scores"][method]["report"] for method in (UNION, "adapter", "prefix", "lora")] == [0.80, 0.71, 0.82, 0.73]
    cells = read_cells([slow, fast])
    assert [one["variant"] for one in cells] == ["published", "2e-3", TUNED]
    assert cells[2]["measures"]["gate"] == values(0.9, 0.9, 0.9), "the gates of the union that select chooses"
    alone = found("published", select=(0.7,) * 4, report=(0.7,) * 4, seed=1)
    assert [one["variant"] for one in read_cells([slow, fast, alone])].count(TUNED) == 1


def test_rows_that_the_program_would_refuse_are_left_out_of_copies(tmp_path):
    for name, rows in (("train", [("a", "x"), ("b", "x"), ("c", "once")]), ("test", [("d", "x"), ("e", "once"), ("f", "new")])):
        with (tmp_path / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *rows])
    copies = usable(tmp_path / "train.csv", tmp_path / "test.csv", ("text", "label"), tmp_path / "own")
    assert [list(csv.reader(copy.open())) for copy in copies] == [
        [["text", "label"], ["a", "x"], ["b", "x"]],
        [["text", "label"], ["d", "x"]],
    ]


@pytest.mark.slow
def test_the_script_trains_what_is_missing_and_writes_its_tables(world, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(gates.OWN_FILES, "tiny", ("reviews.csv", "test.csv", "text", "label"))
    typed = ["--data-dir", str(world.folder), "--datasets", "tiny,nowhere", "--ks", "40", "--seeds", "2", "--model", str(world.model)]
    typed += [
        "--max-steps",
        "40",
        "--select",
        "30",
        "--report",
        "30",
        "--cache",
        str(tmp_path / "cells"),
        "--output",
        str(tmp_path / "out"),
    ]
    gates.main([*typed, "--learning-rates", "1e-2"])
    written = json.loads((tmp_path / "out" / "gates.json").read_text())
    assert [(one["dataset"], one["seed"], one["rate"], one["sizes"]) for one in written["cells"]] == [
        ("tiny", seed, "1e-2", {"train": 40, "select": 30, "report": 30}) for seed in range(2)
    ]
    assert all(20 <= own["steps"] <= 40 and 0 <= own["report"] <= 1 for one in written["cells"] for own in one["scores"].values())
    assert len(written["left_out"]) == 2
    assert "nowhere" in written["left_out"][0]
    first = written["tables"]["Agreement with the methods' own scores (tau by chance 0, same first by chance 0.333)"]
    assert {row["measure"] for row in first} >= {"gate", "drift", "contribution", "knock-out"}

    monkeypatch.setattr(gates, "run_cell", lambda *_: pytest.fail("finished cells are not done again"))
    gates.main([*typed[:3], "tiny", *typed[4:], "--learning-rates", "1e-2"])
    gates.main([*typed[:3], "tiny", *typed[4:], "--learning-rates", "1e-2,5e-3", "--seconds", "1e-9"])
    again = json.loads((tmp_path / "out" / "gates.json").read_text())
    assert again["cells"] == written["cells"]
    assert again["left_out"] == [f"tiny, K = 40, seed {seed}, learning rate 5e-3: the time was up" for seed in range(2)]
    capsys.readouterr()
