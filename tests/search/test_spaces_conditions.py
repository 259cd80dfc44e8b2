"""Conditional parameters of a search space, and configurations that make no sense: neither costs a training."""

from dataclasses import replace

import pytest
from optuna.trial import TrialState

from pelt_automl.errors import SearchSpaceError, SettingsError
from pelt_automl.methods import METHODS
from pelt_automl.search.parameters import Parameter, fits, in_order
from pelt_automl.search.spaces import SearchSpace, load_space
from tests.search.playing import Play

GATED = """
method: unipelt
version: 1
hyper_parameters:
  gate_width: {type: int, low: 4, high: 64, log: true, only_if: {network: [mlp, gru]}}
  network: {type: categorical, choices: [linear, mlp, gru], only_if: {gates: [true]}}
  gates: {type: categorical, choices: [true, false]}
  submodules: {type: categorical, choices: [adapter+prefix+lora, adapter+prefix]}
  rank: {type: int, low: 1, high: 16, only_if: {submodules: ["*lora*"]}}
"""


def space_of(folder, text=GATED, method="unipelt"):
    path = folder / f"{method}.yaml"
    path.write_text(text)
    return load_space(path)


class Fixed:
    """Suggests what it is told to, and keeps what it was asked for."""

    def __init__(self, **values):
        self.values, self.asked = values, []

    def suggest_categorical(self, name, choices):
        self.asked.append(name)
        return self.values[name]

    def suggest_int(self, name, low, high, *, step=1, log=False):
        return self.suggest_categorical(name, None)

    suggest_float = suggest_int


DRAWS = [
    ({"gates": False, "submodules": "adapter+prefix"}, ["gates", "submodules"]),
    ({"gates": True, "network": "linear", "submodules": "adapter+prefix"}, ["network", "gates", "submodules"]),
    ({"gates": True, "network": "mlp", "gate_width": 8, "submodules": "adapter+prefix"}, ["gate_width", "network", "gates", "submodules"]),
    ({"gates": False, "submodules": "adapter+prefix+lora", "rank": 2}, ["gates", "submodules", "rank"]),
]


@pytest.mark.parametrize(("values", "asked"), DRAWS)
def test_a_parameter_without_a_meaning_is_not_drawn(tmp_path, values, asked):
    trial = Fixed(**values)
    assert space_of(tmp_path).suggest(trial) == values
    assert sorted(trial.asked) == sorted(asked)


def test_parameters_are_drawn_after_those_that_they_depend_on_else_in_the_files_order(tmp_path):
    assert [p.name for p in space_of(tmp_path).parameters] == ["gates", "network", "gate_width", "submodules", "rank"]


def test_parameters_in_a_circle_are_handed_back():
    one, two, free = (
        Parameter("one", "int", only_if={"two": (1,)}),
        Parameter("two", "int", only_if={"one": (1,)}),
        Parameter("free", "int"),
    )
    assert in_order([one, two, free]) == ((free,), (one, two))


@pytest.mark.parametrize(
    ("value", "wanted", "answer"),
    [
        ("lora+prefix", "lora+prefix", True),
        ("lora+prefix", "*lora*", True),
        ("prefix", "*lora*", False),
        ("lora+prefix", "lora", False),
        ("lora+prefix", "*prefix", True),
        ("lora.prefix", "lora+*", False),  # a plus is a plus
        (True, True, True),
        (True, 1, False),
        (2, 2, True),
        ('[{"name": "a"}]', '[{"name": "a"}]', True),
    ],
)
def test_a_condition_is_a_value_or_a_pattern_of_texts(value, wanted, answer):
    assert fits(value, wanted) is answer


def test_a_trial_has_no_hyper_parameter_without_a_meaning_and_the_published_value_of_what_is_not_searched(tmp_path):
    configuration = space_of(tmp_path).configuration({"gates": False, "submodules": "adapter+prefix"})
    assert not {"network", "gate_width", "rank"} & set(configuration)
    assert configuration["learning_rate"] == 5e-4
    assert configuration["bottleneck"] == 48
    assert set(configuration) == set(METHODS["unipelt"].defaults) - {"network", "gate_width", "rank"}


BAD = [
    ("rank: {type: int, low: 1, high: 16, only_if: {targts: [ffn]}}", "rank: only_if names 'targts', which isn't another hyper-parameter"),
    ("rank: {type: int, low: 1, high: 16, only_if: {rank: [8]}}", "rank: only_if names 'rank', which isn't another hyper-parameter"),
    ("rank: {type: int, low: 1, high: 16, only_if: [targets]}", "only_if must be a mapping from another hyper-parameter to a list"),
    ("rank: {type: int, low: 1, high: 16, only_if: {targets: ffn}}", "only_if wants a list of values of targets, found 'ffn'"),
    (
        "rank: {type: int, low: 1, high: 16, only_if: {targets: [ffn, key]}}",
        "only_if: targets can't be 'key'; it is one of query-value, ffn",
    ),
    ('rank: {type: int, low: 1, high: 16, only_if: {targets: ["*key*"]}}', "only_if: targets can't be '*key*'"),
    ("rank: {type: int, low: 1, high: 16, only_if: {alpha: [2.0]}}", "only_if: alpha can't be 2.0; it is 8 to 64"),
]


@pytest.mark.parametrize(("line", "message"), BAD)
def test_what_is_wrong_with_a_condition_is_said(tmp_path, line, message):
    head = "method: lora\nversion: 1\nhyper_parameters:\n  targets: {type: categorical, choices: [query-value, ffn]}\n"
    with pytest.raises(SearchSpaceError) as caught:
        space_of(tmp_path, f"{head}  alpha: {{type: float, low: 8.0, high: 64.0}}\n  {line}\n", "lora")
    assert message in str(caught.value)


def test_conditions_in_a_circle_are_an_error(tmp_path):
    text = """
method: lora
version: 1
hyper_parameters:
  targets: {type: categorical, choices: [query-value, ffn], only_if: {alpha: [16.0]}}
  alpha: {type: categorical, choices: [16.0, 8.0], only_if: {targets: [ffn]}}
"""
    with pytest.raises(SearchSpaceError, match="targets, alpha: their only_if refer to each other in a circle"):
        space_of(tmp_path, text, "lora")


def test_a_first_configuration_that_makes_no_sense_is_an_error(tmp_path, monkeypatch):
    def build(rank: int = 8):
        raise SettingsError(f"rank {rank}: this never works")

    monkeypatch.setitem(METHODS, "lora", replace(METHODS["lora"], build=build))
    with pytest.raises(SearchSpaceError, match="the configuration to try first makes no sense: rank 8: this never works"):
        space_of(tmp_path, "method: lora\nversion: 1\nhyper_parameters:\n  rank: {type: int, low: 1, high: 16}\n", "lora")


OWN_LISTS = """
method: custom
version: 1
hyper_parameters:
  modifications:
    type: categorical
    choices:
      - [{form: scale, name: factors, site: ffn, insertion: sequential}]
      - [{name: low, form: linear, site: ffn.up}]
  size: {type: int, low: 2, high: 8, only_if: {modifications: [[{name: low, form: linear, site: ffn.up}]]}}
"""


def test_lists_of_modifications_become_texts_and_the_first_is_tried_first(tmp_path):
    space = space_of(tmp_path, OWN_LISTS, "custom")
    assert space.default() == {"modifications": '[{"name": "factors", "form": "scale", "site": "ffn", "insertion": "sequential"}]'}
    first = Play("custom", space=space).release()
    assert first.is_default
    assert "size" not in first.hyper_parameters
    assert [m.name for m in METHODS["custom"].modifications(first.hyper_parameters)] == ["factors"]


def test_all_problems_of_lists_in_a_file_come_at_once(tmp_path):
    text = OWN_LISTS.replace("form: scale", "form: scael").replace("name: low,", "name: low, colour: red,", 1)
    with pytest.raises(SearchSpaceError) as caught:
        space_of(tmp_path, text, "custom")
    for problem in ("form is 'scael'; there are linear", "number 1 (low): unknown key 'colour'"):
        assert problem in str(caught.value)


# ---------------------------------------------------------------- the search


def test_what_makes_no_sense_is_never_handed_out_and_takes_a_number():
    play = Play("design-space")
    asked = play.played(12)
    assert [METHODS["design-space"].refusal(trial.hyper_parameters) for trial in asked] == [None] * 12
    trials = play.another().study(play.history, "design-space").trials
    refused = {trial.number for trial in trials} - {trial.number for trial in asked}
    assert refused
    assert {trials[number].state for number in refused} == {TrialState.FAIL}
    assert len(trials) == 12 + len(refused)


def test_a_search_with_refusals_goes_on_after_a_kill_as_it_would_have_without():
    through, broken = Play("design-space"), Play("design-space")
    found = broken.played(3)
    broken.restart()
    assert found + broken.played(5) == through.played(8)


def test_what_the_model_cannot_do_is_refused_too():
    def without_ffn(_method, configuration):
        return "no feed-forward" if configuration["targets"] == "ffn" else None

    free, play = Play("lora").played(12), Play("lora", {"refusal": without_ffn})
    assert "ffn" in {trial.hyper_parameters["targets"] for trial in free}
    asked = play.played(12)
    assert "ffn" not in {trial.hyper_parameters["targets"] for trial in asked}
    assert asked[-1].number > 11, "those that were refused have a number"


def test_a_search_without_a_configuration_that_makes_sense_has_nothing_to_propose(monkeypatch):
    monkeypatch.setattr("pelt_automl.search.proposer.MOST_DRAWS", 5)
    space = SearchSpace("head", 1, (Parameter("learning_rate", "float", 1e-4, 1e-1, log=True),))
    drawn = []
    play = Play("head", {"refusal": lambda _method, values: drawn.append(values) or "never"}, space)
    assert play.proposer.next(play.history, "head") is None
    assert len(drawn) == 5
