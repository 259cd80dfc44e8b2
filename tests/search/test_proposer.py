"""What is tried next is a function of the history, and what Optuna's studies in a journal file asked for before."""

import random

import pytest

from pelt_automl.log.events import Because, Released, Seeds, Segment, TrialEnded
from pelt_automl.log.history import History
from pelt_automl.search.proposer import Proposer
from pelt_automl.search.spaces import load_spaces
from pelt_automl.search.studies import MethodStudy, open_storage

SEEDS = Seeds(0, 0, 0)


def released(method, asked, attempt=0):
    name = f"{method}-{asked.number:04d}"
    return Released(
        Segment(name, name, method, asked.hyper_parameters, "search", asked.number, asked.is_default, SEEDS, 8, 0, 2, attempt),
        Because.FIRST,
    )


def ended(method, asked, state, score):
    name = f"{method}-{asked.number:04d}"
    steps = 8 if state == "completed" else 2
    return TrialEnded(
        name, name, method, "search", asked.number, state, asked.is_default, asked.hyper_parameters, SEEDS, {}, [], score, steps, 1.0
    )


def score_of(asked):
    """Smooth in the learning rate and in every other number, so that samplers have something to learn."""
    numbers = [value for value in asked.hyper_parameters.values() if isinstance(value, int | float)]
    return 1 / (1 + sum(abs(value - 0.003) for value in numbers) + 0.01 * len(asked.hyper_parameters))


def large_ranks_refused(_method, configuration):
    return "it is too large" if configuration.get("rank", 0) > 8 or configuration.get("layers", 0) > 6 else None


@pytest.mark.parametrize("under_way", [1, 4])
@pytest.mark.parametrize("method", ["lora", "design-space", "bitfit"])
@pytest.mark.parametrize("sampler", ["tpe", "gp", "cmaes", "random"])
def test_it_asks_for_what_the_studies_in_a_journal_asked_for_also_after_a_kill_at_any_point(tmp_path, sampler, method, under_way):
    space = load_spaces(None, (method,))[method]
    first = space.good()[:2]
    old = MethodStudy(
        open_storage(tmp_path / "studies.journal"), method, space, 7, greater_is_better=True, sampler=sampler, first=first,
        refusal=lambda configuration: large_ranks_refused(method, configuration),
    )  # fmt: skip

    def proposer():
        return Proposer({method: space}, 7, greater_is_better=True, sampler=sampler, first={method: first}, refusal=large_ranks_refused)

    lives, history, running, draw = proposer(), History(), [], random.Random(f"{sampler} {method} {under_way}")
    for number in range(8 if sampler == "gp" else 14):  # its fits are slow
        asked = old.ask()
        assert lives.next(history, method) == asked
        assert lives.next(history, method) == asked, "asked twice, it says the same"
        if number % 3 == 0 or number > 11:
            assert proposer().next(history, method) == asked, "and so does another process that has the log alone"
        history.apply(released(method, asked))
        running.append(asked)
        while len(running) >= under_way:
            done = running.pop(draw.randrange(len(running)))
            state, score = draw.choice(["completed", "completed", "completed", "stopped", "failed"]), score_of(done)
            if state == "completed":
                old.tell_completed(done.number, score)
            elif state == "stopped":
                old.tell_stopped(done.number, 2, score)
            else:
                score = None
                old.tell_failed(done.number)
            history.apply(ended(method, done, state, score))
