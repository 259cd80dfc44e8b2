"""The grid: what is in it, and that its order leaves something of use wherever it is cut."""

from collections import Counter

import pytest

from pelt_automl.methods import METHODS
from studies.sources import open_sources
from studies.table_grid import DEEP_TASKS, LARGER_K, LARGER_K_TASKS, ROUNDS, committed_configurations, made_configurations, trainings

BASELINES = ["probe", "bag-of-words", "neighbors"]
TASKS = ["sst2", "rte", "pydoc-topic", "mail-spam"]
TUNED = ["head", "bitfit", "lora", "adapter", "prefix", "mam", "unipelt-ap", "unipelt-apl", "ia3", "prompt"]


@pytest.fixture(scope="module")
def grid():
    return list(trainings(TASKS, committed_configurations()))


def test_the_committed_grid_is_what_the_search_spaces_give():
    committed = committed_configurations()
    made = made_configurations()
    assert {m: {n: dict(c.hyper_parameters) for n, c in own.items()} for m, own in committed.items() if m not in BASELINES} == made
    assert set(made) == {"full", *TUNED}
    assert list(made["full"]) == ["default"]
    assert all(list(made[method]) == ["default", "known-1", "known-2", "random-1", "random-2"] for method in TUNED)
    for method, own in made.items():
        assert own["default"] == METHODS[method].defaults
        assert all(METHODS[method].refusal(values) is None for values in own.values())
        assert len({str(values) for values in own.values()}) == len(own), "no configuration twice"


def test_no_training_is_in_the_grid_twice(grid):
    assert Counter(own.key("minilm") for own in grid).most_common(1)[0][1] == 1


def test_every_cell_that_was_asked_for_is_in_the_grid(grid):
    cells = Counter((own.task, own.k, own.configuration.method, own.configuration.name, own.head_start) for own in grid)
    for task in TASKS:
        for method in TUNED:
            deep = task in ("sst2", "pydoc-topic") and method in ("lora", "adapter", "bitfit", "prefix")
            names = ("default", "known-1", "known-2", "random-1", "random-2")
            assert [cells[task, 100, method, name, "probe"] for name in names] == [5, 24 if deep else 5, 5, 5, 5]
            assert cells[task, 100, method, "default", "random"] == 5
            assert cells[task, 100, method, "known-1", "random"] == 0
        assert cells[task, 100, "full", "default", "probe"] == cells[task, 100, "full", "default", "random"] == 5
        assert cells[task, 100, "full", "known-1", "probe"] == 0
        for baseline in BASELINES:
            assert cells[task, 100, baseline, "default", "none"] == (24 if task in ("sst2", "pydoc-topic") else 5)
        larger = {own.configuration.name for own in grid if own.task == task and own.k == LARGER_K and own.configuration.method == "lora"}
        assert larger == ({"default", "known-1", "known-2"} if task in ("sst2", "pydoc-topic") else set())
        assert cells[task, 300, "lora", "default", "probe"] == (3 if task in ("sst2", "pydoc-topic") else 0)


def test_the_first_round_has_the_defaults_of_standard_methods_seed_by_seed_all_sources_before_the_next_method(grid):
    first = [own for own in grid if own.round == next(iter(ROUNDS))]
    assert [own.task for own in first[:8]] == TASKS * 2
    methods = [*BASELINES, "bitfit", "lora", "adapter", "prefix", "mam", "unipelt-ap", "unipelt-apl"]
    assert [(own.seed, own.configuration.method) for own in first[:: len(TASKS)]] == [
        (seed, method) for seed in range(3) for method in methods
    ]
    assert {(own.configuration.name, own.head_start) for own in first} == {("default", "probe"), ("default", "none")}


def test_full_fine_tuning_comes_after_all_other_defaults_of_its_round(grid):
    others = [own.configuration.method for own in grid if own.round == "other methods" and own.configuration.name == "default"]
    assert list(dict.fromkeys(others)) == ["head", "ia3", "prompt", "full"]


def test_every_prefix_has_what_comes_before_in_full(grid):
    """Rounds come one after the other; what is to be cut first comes last."""
    order = list(dict.fromkeys(own.round for own in grid))
    assert order == list(ROUNDS)
    places = [list(ROUNDS).index(own.round) for own in grid]
    assert places == sorted(places)
    last = {kind: max(i for i, own in enumerate(grid) if test(own)) for kind, test in KINDS.items()}
    assert last["configurations"] < last["random starts"] < last["larger K"]


KINDS = {
    "larger K": lambda own: own.k == LARGER_K,
    "random starts": lambda own: own.head_start == "random",
    "configurations": lambda own: own.configuration.name != "default" and own.k == 100,
}


def test_a_prefix_of_a_single_source_is_the_same_order(grid):
    alone = [own.key("minilm") for own in trainings(["rte"], committed_configurations())]
    assert alone == [own.key("minilm") for own in grid if own.task == "rte"]


def test_the_deep_slice_and_the_larger_k_are_of_three_and_two_open_sources():
    tasks = open_sources()
    for names, count in ((DEEP_TASKS, 3), (LARGER_K_TASKS, 2)):
        assert set(names) <= set(tasks)
        assert len({tasks[name].source for name in names}) == count
