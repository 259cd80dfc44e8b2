"""The order in which configurations are tried, by hand; and the file of what it is learned from."""

import json
import math
import subprocess
import sys
from dataclasses import asdict, replace

import pytest

from pelt_automl.errors import SearchSpaceError
from pelt_automl.log.events import Configuration
from pelt_automl.methods import METHODS
from pelt_automl.search.portfolio import LEAST_WEIGHT, Features, Observation, Source, arranged, learned, nearest, weight, weights
from pelt_automl.search.shipped import load_portfolio, shipped_portfolio, write_portfolio
from pelt_automl.search.spaces import load_spaces, shipped_spaces


def lora(rate):
    return Configuration("lora", {"learning_rate": rate})


def head(rate):
    return Configuration("head", {"learning_rate": rate})


def seen(source, configuration, gain, cost=1.0):
    return Observation(source, configuration.method, configuration.hyper_parameters, gain, cost)


A, B, C = lora(1.0), lora(10.0), head(1.0)
ORDERS = {
    "what is best on average, then what helps where that is bad": (
        [(A, 5, 0), (B, 4, 4), (C, 0, 5)], {}, [B, A, C], 3,  # B lowers 4 on average; then A 0.5, C 0.5, of equals the first
    ),
    "not what is second on average: it helps nowhere": ([(A, 4, 4), (B, 3.9, 3.9), (C, -1, 4.5)], {}, [A, C, B], 2),
    "by its cost": ([(A, 4, 4, 2.0), (B, 3, 3, 1.0)], {}, [B, A], 2),
    "what the probe is above lowers nothing, and comes by its mean": ([(A, -5, -5), (B, -1, -2), (C, -3, -1)], {}, [B, C, A], 0),
    "a source with more weight says more": ([(A, 4, 0), (B, 0, 1)], {"y": 9.0}, [B, A], 2),  # 9 for B, 4 for A
    "one without weight isn't asked": ([(A, 100, 0), (B, 0, 1)], {"x": None}, [B, A], 1),
}  # fmt: skip


@pytest.mark.parametrize("case", ORDERS)
def test_the_order(case):
    rows, other, expected, useful = ORDERS[case]
    observations = [seen(name, own, gain, *cost) for own, x, y, *cost in rows for name, gain in (("x", x), ("y", y))]
    given = {name: number for name, number in ({"x": 1.0, "y": 1.0} | other).items() if number}
    assert learned([own for own, *_ in rows], observations, given) == (expected, useful)


def test_what_a_source_does_not_have_gains_there_as_the_most_similar_of_its_method():
    observations = [seen("x", A, 1), seen("x", B, 6), seen("y", C, 2)]
    near_b, other = lora(8.0), Configuration("adapter", {"learning_rate": 1.0})
    assert learned([A, C, near_b, other], observations, {"x": 1.0, "y": 1.0}) == ([near_b, C, A], 2)  # nobody knows the adapter


def test_a_source_says_nothing_of_a_method_that_it_does_not_have():
    """A method that few sources know is judged by these alone: it has its whole worth."""
    observations = [seen("x", A, 3), seen("y", A, 3), seen("z", A, 3), seen("x", C, 8)]
    assert learned([C, A], observations, dict.fromkeys("xyz", 1.0)) == ([C, A], 2), "by the mean over those that know it: 8 and 3"
    mean = [*observations[:3], seen("x", C, -9), seen("x", B, -1), seen("y", B, -6), seen("z", B, -6)]
    assert learned([C, B, A], mean, dict.fromkeys("xyz", 1.0)) == ([A, B, C], 1), "by the mean over those that know it: -4.33 and -9"


def test_nothing_is_learned_from_nothing():
    assert learned([], [], {"x": 1.0}) == ([], 0)
    assert learned([A], [seen("x", C, 1)], {"x": 1.0}) == ([], 0)


def test_the_nearest_is_the_first_of_equals_and_true_is_no_number():
    own = [{"rate": 1.0, "gate": True}, {"rate": 4.0, "gate": False}, {"rate": 4.0, "gate": True}]
    assert nearest(own, {"rate": 2.0, "gate": True}) == 0
    assert nearest(own, {"rate": 2.1, "gate": True}) == 2
    assert nearest(own, {"rate": 4.0, "gate": 0}) == 1


LIKE = Features(2, 100, 64, 10.0)


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (LIKE, 1.0),
        (replace(LIKE, classes=4), math.exp(-1 / 8)),  # a factor of 2 in one of four
        (replace(LIKE, examples=400, length=16), math.exp(-8 / 8)),
        (replace(LIKE, classes=0), math.exp(-4 / 8)),
        (replace(LIKE, probe=30.0), math.exp(-1 / 8)),
        (replace(LIKE, probe=None, examples=50), math.exp(-1 / 6)),
        (Features(150, 500_000, 512, 95.0), LEAST_WEIGHT),
    ],
)
def test_the_weight_falls_with_what_differs_and_stays_between_its_bounds(other, expected):
    assert weight(LIKE, other) == pytest.approx(expected)
    assert weight(other, LIKE) == weight(LIKE, other)


def test_sources_of_one_group_have_together_the_weight_of_one():
    sources = [Source(name, group, LIKE) for name, group in (("a", "g"), ("b", "g"), ("c", "h"))]
    assert weights(LIKE, sources) == {"a": 0.5, "b": 0.5, "c": 1.0}


DEFAULTS = {"lora": {"learning_rate": 5.0}, "head": {"learning_rate": 1.0}, "bitfit": {"learning_rate": 2.0}}
ARRANGED = {
    "a default comes right after what is of use": (
        [A, C, B], 3, {}, 9, ["lora", "head", "lora"], {"lora": [1.0, 10.0, 5.0], "head": [1.0], "bitfit": [2.0]},
    ),
    "or where it stands": ([lora(5.0), C, A], 3, {}, 9, ["lora", "head", "lora"], {"lora": [5.0, 1.0], "head": [1.0], "bitfit": [2.0]}),
    "never twice": ([A, lora(5.0), A], 3, {}, 9, ["lora", "lora"], {"lora": [1.0, 5.0], "head": [1.0], "bitfit": [2.0]}),
    "what is handed on comes right after the default, before all others": (
        [A, C, B], 3, {"lora": [10.0]}, 9, ["lora", "lora", "lora", "head"], {"lora": [5.0, 10.0, 1.0], "head": [1.0], "bitfit": [2.0]},
    ),
    "no more than are wanted of a method, and its default is one": (
        [A, B, C], 3, {}, 2, ["lora", "head"], {"lora": [1.0, 5.0], "head": [1.0], "bitfit": [2.0]},
    ),
    "who isn't of use has no turn": ([A, B, C], 1, {}, 9, ["lora"], {"lora": [1.0, 5.0, 10.0], "head": [1.0], "bitfit": [2.0]}),
    "what is handed on of who isn't of use": (
        [A, C], 0, {"lora": [10.0]}, 9, [], {"lora": [5.0, 10.0, 1.0], "head": [1.0], "bitfit": [2.0]},
    ),
    "no order": ([], 0, {}, 9, [], {"lora": [5.0], "head": [1.0], "bitfit": [2.0]}),
}  # fmt: skip


@pytest.mark.parametrize("case", ARRANGED)
def test_how_a_search_takes_the_order(case):
    order, useful, handed_on, most, sequence, known = ARRANGED[case]
    given = {method: [{"learning_rate": rate} for rate in own] for method, own in handed_on.items()}
    found = arranged(order, useful, DEFAULTS, given, dict.fromkeys(DEFAULTS, most))
    assert found == (sequence, {method: [{"learning_rate": rate} for rate in own] for method, own in known.items()})


def test_it_needs_neither_torch_nor_optuna():
    program = "import sys; sys.modules['torch'] = sys.modules['optuna'] = None; import pelt_automl.search.portfolio"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


# -------------------------------------------------------------------- the file


def test_the_shipped_file_is_of_configurations_that_the_shipped_spaces_include_and_of_no_sealed_source():
    from studies.sources.standing import committed

    shipped = shipped_portfolio()
    assert len(shipped.observations) > len(shipped.sources) > 5
    spaces = load_spaces(None, tuple({own.method for own in shipped.observations}))
    assert all(spaces[own.method].includes(own.hyper_parameters) for own in shipped.observations)
    assert not {source.group for source in shipped.sources} & set(committed().sealed)
    assert {own.source for own in shipped.observations} == {source.name for source in shipped.sources}


def test_what_is_written_is_read(tmp_path):
    write_portfolio(tmp_path / "p.json", shipped_portfolio())
    assert load_portfolio(tmp_path / "p.json") == shipped_portfolio()
    assert (tmp_path / "p.json").read_bytes() == (shipped_spaces() / "portfolio.json").read_bytes()


GOOD = {
    "version": 1,
    "model": "minilm",
    "sources": [asdict(Source("a", "a", LIKE, "0f"))],
    "observations": [{"source": "a", "method": "lora", "hyper_parameters": METHODS["lora"].defaults, "gain": 1.0, "cost": 1.0}],
}
BAD = {
    "version 1 of a portfolio is expected, found 2": {"version": 2},
    "version 1 of a portfolio is expected, found None": {"version": None},
    "it can't be read: model: ": {"model": 3},
    "it can't be read: observations[0].gain: ": {"observations": [GOOD["observations"][0] | {"gain": "much"}]},
    "sources, a: it is there twice": {"sources": GOOD["sources"] * 2},
    "sources, a: classes from 0 on": {"sources": [GOOD["sources"][0] | {"features": asdict(replace(LIKE, examples=0))}]},
    "observations, entry 1: there is no source 'b'": {"observations": [GOOD["observations"][0] | {"source": "b"}]},
    "observations, entry 1: there is no method 'lorra'": {"observations": [GOOD["observations"][0] | {"method": "lorra"}]},
    "observations, entry 1: lora has no hyper-parameter ranks": {
        "observations": [GOOD["observations"][0] | {"hyper_parameters": {"ranks": 3}}]
    },
    "observations, entry 1: gain is nan": {"observations": [GOOD["observations"][0] | {"gain": math.nan}]},
    "observations, entry 1: cost is 0": {"observations": [GOOD["observations"][0] | {"cost": 0}]},
}


@pytest.mark.parametrize("says", BAD)
def test_what_is_wrong_with_a_file_is_said(says, tmp_path):
    (tmp_path / "p.json").write_text(json.dumps(GOOD))
    assert load_portfolio(tmp_path / "p.json").sources[0].name == "a"
    (tmp_path / "p.json").write_text(json.dumps(GOOD | BAD[says]))
    with pytest.raises(SearchSpaceError) as caught:
        load_portfolio(tmp_path / "p.json")
    assert says in str(caught.value)
    assert "p.json" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"[", b"[]", b"3", b"\xff\xfe", b'{"version": 1}', b"[" * 100_000])
def test_a_file_that_is_none_is_one_message(content, tmp_path):
    (tmp_path / "p.json").write_bytes(content)
    with pytest.raises(SearchSpaceError, match="put back the shipped file"):
        load_portfolio(tmp_path / "p.json")
    with pytest.raises(SearchSpaceError, match="it can't be read"):
        load_portfolio(tmp_path / "none.json")


def test_everything_that_is_wrong_is_said_at_once(tmp_path):
    observation = GOOD["observations"][0] | {"gain": math.inf, "cost": -1.0, "source": "b"}
    (tmp_path / "p.json").write_text(json.dumps(GOOD | {"observations": [observation]}))
    with pytest.raises(SearchSpaceError, match="has 3 problems"):
        load_portfolio(tmp_path / "p.json")
