"""Optuna's studies: defaults first, the same search after a break, nothing lost by a kill."""

import pytest

from pelt_automl.errors import SelectionError
from pelt_automl.log.folder import exclusive
from pelt_automl.methods import METHODS
from pelt_automl.search.spaces import load_spaces
from pelt_automl.search.studies import MethodStudy, open_storage


def study_in(folder, method="lora", seed=0):
    space = load_spaces(None, (method,))[method]
    return MethodStudy(open_storage(folder / "studies.journal"), method, space, seed, greater_is_better=True)


WITHOUT_A_MEANING = {"unipelt": {"gate_width", "alpha", "scale"}, "design-space": {"composition"}}
"""What the published configuration leaves without effect, so that its trial doesn't have it."""


@pytest.mark.parametrize("method", list(METHODS))
def test_the_first_trial_is_the_published_default(tmp_path, method):
    asked = study_in(tmp_path, method).ask()
    assert asked.number == 0
    assert asked.is_default
    assert asked.hyper_parameters.items() <= METHODS[method].defaults.items()
    assert METHODS[method].modifications(asked.hyper_parameters) == METHODS[method].build()
    assert set(METHODS[method].defaults) - set(asked.hyper_parameters) == WITHOUT_A_MEANING.get(method, set())


def searched(folder, count, breaks=()):
    """The configurations of a search whose scores are a function of the learning rate; a new process at each break."""
    found, study = [], study_in(folder)
    for number in range(count):
        if number in breaks:
            study = study_in(folder)
        asked = study.ask()
        found.append(asked.hyper_parameters)
        study.tell_completed(asked.number, -abs(asked.hyper_parameters["learning_rate"] - 2e-3))
    return found


def test_a_search_with_breaks_goes_on_as_it_would_have_without(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    through, broken = searched(tmp_path / "one", 9), searched(tmp_path / "other", 9, breaks=(3, 6, 7))
    assert through == broken
    assert len({tuple(configuration.items()) for configuration in through}) == 9


def test_configurations_given_are_tried_right_after_the_default_also_after_a_break(tmp_path):
    space = load_spaces(None, ("lora",))["lora"]
    rare = {"learning_rate": 0.004, "rank": 2, "alpha": 8.0, "targets": "query-value"}
    first = [rare, {**METHODS["lora"].defaults, "learning_rate": 0.001}]

    def asked():
        return MethodStudy(open_storage(tmp_path / "studies.journal"), "lora", space, 0, greater_is_better=True, first=first).ask()

    found = [asked() for _ in range(4)]
    assert [trial.number for trial in found] == [0, 1, 2, 3]
    assert [trial.is_default for trial in found] == [True, False, False, False]
    assert [trial.hyper_parameters for trial in found[1:3]] == first
    assert found[3].hyper_parameters not in first


def test_trials_that_were_never_told_are_found_again_with_their_configuration(tmp_path):
    study = study_in(tmp_path)
    asked = [study.ask(), study.ask()]
    study.tell_completed(0, 0.5)
    assert study_in(tmp_path).unfinished() == [asked[1]]


def test_a_kill_between_ask_and_suggest_leaves_a_usable_trial(tmp_path):
    study = study_in(tmp_path)
    study.study.ask()
    found = study_in(tmp_path).unfinished()
    assert [trial.number for trial in found] == [0]
    assert set(found[0].hyper_parameters) == set(METHODS["lora"].defaults)


def test_a_journal_cut_off_in_the_middle_of_a_line_is_mended(tmp_path):
    study = study_in(tmp_path)
    study.ask()
    study.tell_completed(0, 0.5)
    journal = tmp_path / "studies.journal"
    with journal.open("ab") as file:
        file.write(b'{"op_code": 4, "worker')
    again = study_in(tmp_path)
    assert again.asked == 1
    again.ask()
    assert study_in(tmp_path).asked == 2


def test_stopped_and_failed_trials_have_optunas_own_states(tmp_path):
    study = study_in(tmp_path)
    for _ in range(3):
        study.ask()
    study.tell_stopped(0, 30, 0.4)
    study.tell_stopped(1, 0, None)
    study.tell_failed(2)
    states = [trial.state.name for trial in study.study.trials]
    assert states == ["PRUNED", "FAIL", "FAIL"]
    assert study.study.trials[0].intermediate_values == {30: 0.4}


def test_only_one_process_searches_a_method(tmp_path):
    with exclusive(tmp_path / "lora.lock") as mine:
        assert mine
        with exclusive(tmp_path / "lora.lock") as theirs:
            assert not theirs
    with exclusive(tmp_path / "lora.lock") as again:
        assert again


@pytest.mark.parametrize(
    "damage",
    [b"hello\n", b"{}\n", b"[1]\n", b"\xff\xfe\n", b"\0\0\0\n", b'{"op_code": 99}\n', b'{"op_code": 5, "worker_id": "a"}\n'],
)
def test_a_damaged_journal_is_one_error(damage, tmp_path):
    study_in(tmp_path).ask()
    journal = next(tmp_path.glob("*.journal"))
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:2], damage, *lines[2:]]))
    with pytest.raises(SelectionError, match=r"journal is damaged: Optuna can't read it"):
        study_in(tmp_path)
