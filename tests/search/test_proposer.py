"""What is tried next: defaults first, then what is known, then the sampler's; a function of the history, whatever process asks."""

import random

import pytest
from optuna.trial import TrialState

from pelt_automl.log.events import State
from pelt_automl.methods import METHODS
from pelt_automl.search.spaces import load_spaces
from tests.search.playing import Play

WITHOUT_A_MEANING = {"unipelt": {"gate_width", "alpha", "scale"}, "design-space": {"composition"}}
"""What the published configuration leaves without effect, so that its trial doesn't have it."""


@pytest.mark.parametrize("method", list(METHODS))
def test_the_first_trial_is_the_published_default(method):
    asked = Play(method).release()
    assert asked.number == 0
    assert asked.is_default
    assert asked.hyper_parameters.items() <= METHODS[method].defaults.items()
    assert METHODS[method].modifications(asked.hyper_parameters) == METHODS[method].build()
    assert set(METHODS[method].defaults) - set(asked.hyper_parameters) == WITHOUT_A_MEANING.get(method, set())


def test_configurations_given_are_tried_right_after_the_default_also_after_a_kill():
    rare = {"learning_rate": 0.004, "rank": 2, "alpha": 8.0, "targets": "query-value"}
    first = [rare, {**METHODS["lora"].defaults, "learning_rate": 0.001}]
    play, found = Play("lora", {"first": {"lora": first}}), []
    for _ in range(4):
        play.restart()
        found.append(play.release())
    assert [trial.number for trial in found] == [0, 1, 2, 3]
    assert [trial.is_default for trial in found] == [True, False, False, False]
    assert [trial.hyper_parameters for trial in found[1:3]] == first
    assert found[3].hyper_parameters not in first


def test_trials_have_optunas_own_states_and_those_under_way_their_configuration():
    play = Play("lora")
    asked = [play.release() for _ in range(5)]
    play.end(asked[0], 0.4, State.STOPPED, steps=30)
    play.end(asked[1], None, State.STOPPED, steps=0)
    play.end(asked[2], None, State.FAILED)
    play.end(asked[3], 0.5)
    trials = play.another().study(play.history, "lora").trials
    assert [trial.state for trial in trials] == [
        TrialState.PRUNED, TrialState.FAIL, TrialState.FAIL, TrialState.COMPLETE, TrialState.RUNNING,
    ]  # fmt: skip
    assert trials[0].intermediate_values == {30: 0.4}
    assert trials[3].value == 0.5
    assert [trial.params for trial in trials] == [play.space.searched(trial.hyper_parameters) for trial in asked]


ASKED = {
    ("tpe", "lora", 1): {3: 0.001125, 4: 0.007556, 6: 0.002966, 8: 0.0001466, 10: 0.0004953, 11: 0.0001287, 13: 0.0001192, 36: 0.0001529},
    ("tpe", "lora", 4): {3: 0.001125, 4: 0.007556, 5: 0.002898, 15: 0.0001608, 16: 0.004524, 17: 0.0004573, 24: 0.0001733, 75: 0.00304},
    ("tpe", "design-space", 1): {
        3: 0.0001285, 4: 0.003448, 5: 0.005918, 7: 0.002468, 9: 0.003745, 11: 0.0001263, 12: 0.000112, 14: 0.006145,
    },
    ("tpe", "design-space", 4): {
        3: 0.0001285, 4: 0.003448, 5: 0.005918, 7: 0.002468, 10: 0.001134, 11: 0.004788, 12: 0.002642, 14: 0.000411,
    },
    ("tpe", "bitfit", 1): {3: 0.0004435, 4: 0.003318, 5: 0.001178, 6: 0.0162, 7: 0.0001156, 8: 0.01892, 9: 0.002001, 10: 0.004538},
    ("tpe", "bitfit", 4): {3: 0.0004435, 4: 0.003318, 5: 0.001178, 6: 0.0001661, 7: 0.00044, 8: 0.01894, 9: 0.004205, 10: 0.01777},
    ("random", "lora", 1): {3: 0.001125, 4: 0.007556, 5: 0.002898, 15: 0.0001608, 16: 0.004524, 18: 0.0006784, 21: 0.001972, 24: 0.003261},
    ("random", "design-space", 1): {
        3: 0.0001285, 4: 0.003448, 5: 0.005918, 7: 0.002468, 9: 0.003745, 11: 0.0001263, 12: 0.001132, 13: 0.0001643,
    },
    ("random", "bitfit", 1): {3: 0.0004435, 4: 0.003318, 5: 0.001178, 6: 0.0001661, 7: 0.00044, 8: 0.0108, 9: 0.0005155, 10: 0.008756},
}  # fmt: skip
"""Learning rates of the first trials that the sampler drew, by number: by sampler, method and trials at once.

Made with version 0.1.0's studies in a journal file (`MethodStudy`, commit a4a824d), so that a search is the same as it was there. What
chance draws doesn't depend on how many trials are under way.
"""


def score_of(asked):
    """Smooth in the learning rate and in every other number, so that samplers have something to learn."""
    numbers = [value for value in asked.hyper_parameters.values() if isinstance(value, int | float)]
    return 1 / (1 + sum(abs(value - 0.003) for value in numbers) + 0.01 * len(asked.hyper_parameters))


def large_ranks_refused(_method, configuration):
    return "it is too large" if configuration.get("rank", 0) > 8 or configuration.get("layers", 0) > 6 else None


@pytest.mark.parametrize("under_way", [1, 4])
@pytest.mark.parametrize("method", ["lora", "design-space", "bitfit"])
@pytest.mark.parametrize("sampler", ["tpe", "gp", "cmaes", "random"])
def test_it_asks_for_what_it_always_asked_for_also_after_a_kill_at_any_point(sampler, method, under_way):
    good = load_spaces(None, (method,))[method].good()[:2]
    play = Play(method, {"sampler": sampler, "first": {method: good}, "refusal": large_ranks_refused}, seed=7)
    running, drawn, draw = [], {}, random.Random(f"{sampler} {method} {under_way}")
    for number in range(8 if sampler == "gp" else 14):  # its fits are slow
        proposed = play.proposer.next(play.history, method)
        assert play.proposer.next(play.history, method) == proposed, "asked twice, it says the same"
        if number % 3 == 0 or number > 11:
            assert play.another().next(play.history, method) == proposed, "and so does another process that has the log alone"
        asked = play.release()
        assert asked == proposed
        running.append(asked)
        if number > 2:  # the default and what is known come first
            drawn[asked.number] = asked.hyper_parameters["learning_rate"]
        while len(running) >= under_way:
            done = running.pop(draw.randrange(len(running)))
            state, score = draw.choice([State.COMPLETED, State.COMPLETED, State.COMPLETED, State.STOPPED, State.FAILED]), score_of(done)
            play.end(done, None if state == State.FAILED else score, state, steps=8 if state == State.COMPLETED else 2)
    frozen = ASKED.get((sampler, method, 1 if sampler == "random" else under_way))
    assert (frozen is not None) == (sampler in ("tpe", "random"))
    if frozen:
        assert {number: drawn.get(number) for number in frozen} == pytest.approx(frozen, rel=1e-3)
