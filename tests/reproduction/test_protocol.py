"""The paper's protocol as values: what runs, for how long, and how it is narrowed."""

import pytest

from pelt_automl.errors import SettingsError
from pelt_automl.methods import METHODS
from pelt_automl.reproduction.protocol import PAPER_METHODS, Cell, Protocol, protocol_from


def test_the_paper_has_over_a_thousand_runs():
    protocol = Protocol()
    cells = list(protocol.cells())
    assert (len(cells), len(set(cells))) == (8 * 4 * 5, 8 * 4 * 5)
    methods = {k: [method.name for method in protocol.methods_at(k)] for k in protocol.ks}
    low = ["full", "bitfit", "adapter", "prefix", "lora", "unipelt-ap", "unipelt-apl"]
    assert methods == {
        100: [*low[:4], "prefix-50", *low[4:]],
        500: low,
        1000: low,
        None: ["full", "adapter", "prefix", "lora", "unipelt-ap", "unipelt-ap-nogate", "unipelt-apl"],
    }


def test_the_first_seed_has_every_task_before_the_second_begins():
    cells = [cell.name for cell in protocol_from(tasks="rte,cola", ks="100,full", seeds="3,4").cells()]
    assert cells[:5] == ["rte-k100-seed3", "rte-kfull-seed3", "cola-k100-seed3", "cola-kfull-seed3", "rte-k100-seed4"]


def test_hyper_parameters_are_the_papers():
    settings = {name: own.hyper_parameters for name, own in PAPER_METHODS.items()}
    rates = {name: values["learning_rate"] for name, values in settings.items()}
    assert rates == {
        "full": 2e-5, "bitfit": 1e-4, "adapter": 1e-4, "prefix": 2e-4, "prefix-50": 2e-4, "lora": 5e-4, "unipelt-ap": 5e-4,
        "unipelt-ap-nogate": 5e-4, "unipelt-apl": 5e-4,
    }  # fmt: skip
    assert settings["adapter"]["bottleneck"] == 48
    assert [settings[name]["prefix_length"] for name in ("prefix", "prefix-50", "unipelt-ap-nogate")] == [10, 50, 10]
    assert (settings["lora"]["rank"], settings["lora"]["alpha"], settings["lora"]["targets"]) == (8, 16.0, "query-value")
    assert [settings["unipelt-apl"][size] for size in ("bottleneck", "prefix_length", "rank")] == [48, 10, 8]


def test_without_gates_the_union_is_the_same_but_for_its_gates():
    with_gates, without = (
        METHODS[PAPER_METHODS[name].method].modifications(PAPER_METHODS[name].hyper_parameters)
        for name in ("unipelt-ap", "unipelt-ap-nogate")
    )
    assert all(m.gate for m in with_gates)
    assert not any(m.gate for m in without)
    assert [(m.name, m.site, m.size) for m in without] == [(m.name, m.site, m.size) for m in with_gates]


@pytest.mark.parametrize(
    ("options", "train_size", "steps", "first", "count"),
    [
        ({}, 100, 350, 7, 50),  # 7 batches of 16, 50 times; evaluated once an epoch
        ({"epochs": 10}, 100, 70, 7, 10),
        ({"epochs": 10, "evaluations": 4}, 100, 72, 18, 4),  # 70 isn't divisible by 4
        ({"epochs": 10, "evaluations": 1}, 500, 320, 320, 1),
        ({"epochs": 0.1}, 100, 1, 1, 1),
        ({"epochs": 1, "evaluations": 50}, 100, 7, 1, 7),  # no more evaluations than steps
    ],
)
def test_a_training_is_cut_into_equal_parts_by_its_evaluations(options, train_size, steps, first, count):
    plan = protocol_from(**options).plan(train_size)
    assert (plan.steps, plan.evaluate_at[0], len(plan.evaluate_at), plan.evaluate_at[-1]) == (steps, first, count, steps)
    assert (plan.rungs, plan.warmup, plan.weight_decay, plan.patience, plan.batch_size) == ((), 0.0, 0.0, 10, 16)


def test_methods_that_are_named_run_at_every_k_and_in_the_papers_order():
    protocol = protocol_from(methods=["lora", "prefix-50"], ks=[100, "full"])
    assert [[method.name for method in protocol.methods_at(k)] for k in protocol.ks] == [["prefix-50", "lora"]] * 2


def test_at_a_k_that_the_paper_lacks_its_seven_methods_run():
    names = [method.name for method in Protocol(ks=(50,)).methods_at(50)]
    assert names == ["full", "bitfit", "adapter", "prefix", "lora", "unipelt-ap", "unipelt-apl"]


def test_everything_that_is_wrong_is_said_at_once():
    with pytest.raises(SettingsError) as caught:
        protocol_from(tasks="rte,wnli", methods="lora,lora,ia3", ks="8", evaluations=0)
    assert str(caught.value).splitlines()[0] == "the reproduction has 5 problems:"
    for part in (
        "tasks has 'wnli'",
        "no method 'ia3'",
        "ks has 8; each must be at least 16",
        "methods ['lora', 'lora', 'ia3'] names",
        "evaluations is 0",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ks": "100,many"}, "ks has 'many'; each must be a whole number, at least 16, or 'full'"),
        ({"ks": "many", "tasks": "wnli"}, r"tasks has 'wnli'.*\n.*ks has 'many'"),
        ({"seeds": "0,full"}, "seeds has 'full'; each must be a whole number, from 0 to"),
        ({"seeds": "-1"}, "seeds has -1"),
        ({"tasks": ","}, "name at least one of the tasks"),
        ({"epochs": 0}, "epochs is 0"),
    ],
)
def test_what_cant_be_is_refused(options, message):
    with pytest.raises(SettingsError, match=message):
        protocol_from(**options)


def test_departures_from_the_paper_are_named_and_a_narrower_choice_of_runs_is_none():
    narrowed = protocol_from(tasks="rte", ks="100", seeds="0", threads=1, pack_size=2, epochs=10, select_most=100, evaluations=5)
    assert narrowed.departures() == [
        "epochs 10 (paper: 50)",
        "evaluations 5 (paper: once an epoch)",
        "select most 100 (paper: all)",
    ]


def test_a_cells_name_is_that_of_its_file():
    assert [Cell("rte", 100, 1).name, Cell("rte", None, 1).name] == ["rte-k100-seed1", "rte-kfull-seed1"]
