"""Every shipped space, and everything that can be wrong with one's own."""

import pytest

from pelt_automl.errors import SearchSpaceError
from pelt_automl.methods import METHODS
from pelt_automl.search.spaces import load_space, load_spaces, shipped_spaces

SHIPPED = sorted(shipped_spaces().rglob("*.y*ml"))


def test_every_method_has_a_space_and_every_space_a_method():
    assert sorted(path.stem for path in SHIPPED) == sorted(METHODS)
    assert all(path.name == f"{path.stem}.yaml" for path in SHIPPED)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_space_loads_holds_its_default_and_always_searches_the_learning_rate(path):
    space = load_space(path)
    assert space.method == path.stem
    assert "learning_rate" in [parameter.name for parameter in space.parameters]
    assert all(parameter.holds(space.default()[parameter.name]) for parameter in space.parameters if parameter.name in space.default())
    assert METHODS[path.stem].modifications(space.configuration(space.default())) == METHODS[path.stem].build()


def written(folder, text, name="lora.yaml"):
    path = folder / name
    path.write_text(text)
    return path


HEAD = "method: lora\nversion: 1\nhyper_parameters:\n"

BAD = [
    ("learning_rate: {type: float, low: 1e-5, high: 1.0e-2, log: true}", "low is the text '1e-5' to YAML; write it with a point: 1.0e-5"),
    ("learning_rate: {type: float, low: 1.0e-2, high: 1.0e-4}", "low 0.01 must be below high 0.0001"),
    ("learning_rate: {type: float, low: 0.0, high: 1.0, log: true}", "on a log scale it must be above 0"),
    ("learning_rate: {type: float, low: 1.0e-3, high: 1.0e-2}", "the published default 0.0005 isn't in the space"),
    ("learning_rate: {type: float, low: 1.0e-5}", "high is missing"),
    ("learning_rate: {type: float, lo: 1.0e-5, low: 1.0e-5, high: 1.0}", "unknown key 'lo'"),
    ("learning_rate: {type: real, low: 1.0e-5, high: 1.0}", "one of float, int, categorical"),
    ("rnak: {type: int, low: 1, high: 8}", "lora has no hyper-parameter rnak; it has learning_rate, rank, alpha"),
    ("rank: {type: int, low: 1.5, high: 8}", "low is 1.5; it must be a whole number"),
    ("rank: {type: int, low: true, high: 8}", "low is True; it must be a whole number"),
    ("alpha: {type: categorical, choices: [8.0, 1e1]}", "the choice '1e1' is text to YAML"),
    ("alpha: {type: categorical, choices: []}", "at least one entry"),
    ("alpha: {type: categorical, choices: [16.0, wide]}", "alpha is 'wide'; it must be a number"),
    ("targets: {type: categorical, choices: [query-value, qury]}", "targets is 'qury'; there are attention, ffn, all-linear"),
    ("rank: {type: float, low: 1.0, high: 8.5}", "rank is 1.0; it must be a whole number"),
]


RATE = "learning_rate: {type: float, low: 1.0e-4, high: 1.0e-2}\n"

BAD_PORTFOLIOS = [
    ("{learning_rate: 1.0e-3}", "portfolio must be a list of mappings"),
    ("[{}]", "portfolio must be a list of mappings"),
    ("[{rank: 4}]", "portfolio, entry 1: rank isn't searched; searched are learning_rate"),
    ("[{learning_rate: 1.0e-3}, {learning_rate: 1.0}]", "portfolio, entry 2: learning_rate can't be 1.0; it is 0.0001 to 0.01"),
    ("[{learning_rate: 1e-3}]", "portfolio, entry 1: learning_rate is the text '1e-3' to YAML; write it with a point: 1.0e-3"),
]


@pytest.mark.parametrize(("portfolio", "message"), BAD_PORTFOLIOS)
def test_what_is_wrong_with_a_portfolio_is_said(tmp_path, portfolio, message):
    with pytest.raises(SearchSpaceError) as caught:
        load_space(written(tmp_path, f"{HEAD}  {RATE}portfolio: {portfolio}\n"))
    assert message in str(caught.value)


@pytest.mark.parametrize("rank", ["4.5", "true", "null", "[4]"])
def test_a_portfolios_values_are_of_their_parameters_kind(tmp_path, rank):
    space = f"{HEAD}  {RATE}  rank: {{type: int, low: 1, high: 64}}\nportfolio: [{{rank: {rank}}}]\n"
    with pytest.raises(SearchSpaceError, match=r"portfolio, entry 1: rank can't be .*; it is 1 to 64"):
        load_space(written(tmp_path, space))


@pytest.mark.parametrize(("line", "message"), BAD)
def test_what_is_wrong_is_said(tmp_path, line, message):
    with pytest.raises(SearchSpaceError) as caught:
        load_space(written(tmp_path, HEAD + f"  {line}\n"))
    assert message in str(caught.value)
    assert str(tmp_path / "lora.yaml") in str(caught.value)


def test_all_problems_of_a_file_come_at_once(tmp_path):
    path = written(tmp_path, "method: lroa\nvesion: 2\nhyper_parameters:\n  rank: {type: int, low: 9, high: 8}\n")
    with pytest.raises(SearchSpaceError) as caught:
        load_space(path)
    for problem in ("unknown key 'vesion'", "the key 'version' is missing", "method is 'lroa'", "low 9 must be below high 8"):
        assert problem in str(caught.value)


@pytest.mark.parametrize("text", ["", "- a\n", "method: [\n", "!!python/object/apply:os.system ['true']\n"])
def test_what_is_no_space_at_all_is_refused(tmp_path, text):
    with pytest.raises(SearchSpaceError, match=r"lora\.yaml"):
        load_space(written(tmp_path, text))


def test_ones_own_folder_comes_first_and_the_shipped_spaces_fill_in(tmp_path):
    written(tmp_path, "method: lora\nversion: 7\nhyper_parameters:\n  rank: {type: int, low: 1, high: 8}\n")
    spaces = load_spaces(tmp_path, ("lora", "head"))
    assert spaces["lora"].version == 7
    assert spaces["head"].version == 1


def test_a_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(SearchSpaceError, match="isn't there"):
        load_spaces(tmp_path / "none", ("lora",))
