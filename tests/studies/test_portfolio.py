"""The shipped portfolio, from a made-up table."""

from dataclasses import replace

import pytest

from pelt_automl.errors import SelectionError
from pelt_automl.search.portfolio import Features
from pelt_automl.search.shipped import load_portfolio
from studies import portfolio
from studies.portfolio import portfolio_of
from studies.table_files import load_table, write_table
from tests.studies.test_simulate import COSTS, QUALITY, rows


@pytest.fixture
def table(tmp_path):
    write_table(rows(QUALITY | {"probe": {"default": 0.57}}, seeds=range(3)), [], tmp_path)
    return load_table(folder=tmp_path, sealed=[])


def test_a_gain_is_over_the_probe_of_the_same_seed_in_points_of_report_and_a_cost_over_loras_default(table):
    found = portfolio_of(table, COSTS, "minilm")
    (source,) = found.sources
    assert (source.group, source.features) == ("a", Features(2, 73, 32, pytest.approx(source.features.probe)))
    gains = {(own.method, own.hyper_parameters["learning_rate"]): own.gain for own in found.observations}
    assert gains == {
        ("lora", 1e-4): 3.0, ("lora", 1e-3): 13.0, ("lora", 2e-3): 8.0, ("lora", 5e-3): 5.0,
        ("bitfit", 1e-4): -2.0, ("bitfit", 1e-3): 1.0, ("bitfit", 2e-3): 23.0, ("bitfit", 5e-3): 0.0,
    }  # fmt: skip
    assert {own.cost for own in found.observations} == {1.0}


def test_a_dearer_method_costs_more(table):
    dear = replace(COSTS, methods=COSTS.methods | {"bitfit": replace(COSTS.methods["bitfit"], step=20 / 96)})
    costs = {own.method: own.cost for own in portfolio_of(table, dear, "minilm").observations}
    assert costs == {"lora": 1.0, "bitfit": pytest.approx(2.0, abs=1e-3)}


def test_a_training_that_failed_counts_as_the_constant_answer(table):
    failed = table["method"].eq("bitfit") & table["configuration"].eq("random-1")
    table.loc[failed, ["failure", "report_score"]] = ["out of memory", None]
    gains = {
        own.hyper_parameters["learning_rate"]: own.gain for own in portfolio_of(table, COSTS, "m").observations if own.method == "bitfit"
    }
    assert gains[2e-3] == pytest.approx(50 - 58), "half of the labels are one class; the probe has 57, 58 and 59 points"


def test_a_table_without_a_probe_or_loras_default_is_one_message(table):
    for lacks in ("probe", "lora"):
        with pytest.raises(SelectionError, match="record more"):
            portfolio_of(table[table["method"] != lacks], COSTS, "minilm")


def test_it_is_written_where_it_is_asked_to_and_never_reads_a_sealed_source(tmp_path, monkeypatch, capsys):
    for name, sealed in (("a", []), ("b", ["b"])):
        write_table(
            [row | {"source": name, "key": f"{name}{row['key']}"} for row in rows(QUALITY, seeds=range(3))],
            sealed,
            tmp_path / "table",
        )
    monkeypatch.setattr(portfolio, "shipped_spaces", lambda: tmp_path)
    monkeypatch.setattr(portfolio, "load_costs", lambda: COSTS)
    arguments = ["--table", str(tmp_path / "table")]
    portfolio.main(arguments)
    assert not (tmp_path / "portfolio.json").exists()
    portfolio.main([*arguments, "--write"])
    assert {own.group for own in load_portfolio(tmp_path / "portfolio.json").sources} == {"a"}
    with pytest.raises(SystemExit):
        portfolio.main(["--table", str(tmp_path / "table"), "--k", "17"])
    assert "record more" in capsys.readouterr().err
