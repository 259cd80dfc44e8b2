"""Who leaves the race between methods, by tables checked by hand."""

import json
from dataclasses import replace

import numpy as np
import pytest

from pelt_automl.log.events import Seeds, TrialEnded, What
from pelt_automl.log.outputs import Outputs
from pelt_automl.search.race import leaving
from pelt_automl.tasks.answers import Answer, as_label
from pelt_automl.verdict.statistics import smallest_error

LABELS = np.ones(100)
OUTPUTS = Outputs()
SLOW = ("prompt",)


def a_trial(name, wrong, *, state="completed"):
    """A trial that is wrong on these of 100 examples."""
    method, number = name.rsplit("-", 1)
    predictions = [float(example not in wrong) for example in range(100)] if state == "completed" else []
    return TrialEnded(
        name, name, method, "search", int(number), state, number == "0", {}, Seeds(0, 0, 0), {}, [], 1 - len(wrong) / 100, 10, 1.0,
        outputs=Outputs().put(predictions) if predictions else "",
    )  # fmt: skip


def trials(method, *wrong):
    return [a_trial(f"{method}-{number}", own) for number, own in enumerate(wrong)]


LEADER = trials("lora", range(30), range(10), range(20))
"""90 % are right at best."""

SEEDS = 2**0.5 * 0.015
"""What the seeds of two trials leave open: 0.0212, in each standard error below."""

TABLE = {
    # 10 of the leader's mistakes and 15 more: 0.15 behind, standard error by examples sqrt(0.15 * 0.85 / 100) = 0.036, with seeds 0.041,
    # times 2.33 is 0.097
    "far behind": (trials("head", range(40), range(25), range(40)), (), ["head"]),
    # 3 more: 0.03 behind, standard errors 0.017 and 0.027, times 2.33 is 0.064
    "a little behind": (trials("head", range(40), range(13), range(40)), (), []),
    # 6 more: 0.06 behind, standard error by examples 0.024, times 2.33 is 0.055, but with seeds 0.032, times 2.33 is 0.074
    "behind by less than what seeds may change": (trials("head", range(40), range(16), range(40)), (), []),
    # 9 more: 0.09 behind on the same examples, standard errors 0.029 and 0.036, times 2.33 is 0.083 ...
    "behind on the same examples": (trials("head", range(40), range(19), range(40)), (), ["head"]),
    # ... but with 19 mistakes elsewhere the standard errors are sqrt((0.29 - 0.09 ** 2) / 100) = 0.053 and 0.057
    "as far behind, wrong elsewhere": (trials("head", range(40), range(50, 69), range(40)), (), []),
    "two trials are too few": (trials("head", range(40), range(25)), (), []),
    "left before": (trials("head", range(40), range(25), range(40)), ("head",), []),
    "a slow starter has six": (trials("prompt", range(40), range(25), range(40)), (), []),
    "a slow starter with six": (trials("prompt", *[range(40)] * 6), (), ["prompt"]),
    "its default was stopped": ([a_trial("head-0", range(9), state="stopped"), *trials("head", *[range(40)] * 3)[1:]], (), []),
    "stopped trials count as tried": (
        [*trials("head", range(40)), *(a_trial(f"head-{number}", range(5), state="stopped") for number in (1, 2))], (), ["head"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_a_method_leaves_when_it_is_clearly_behind_the_leader(name):
    others, out, expected = TABLE[name]
    decisions = leaving([*LEADER, *others], OUTPUTS, LABELS, "accuracy", out, SLOW, greater_is_better=True)
    assert [decision.subject for decision in decisions] == expected
    assert all(decision.what == What.LEFT_RACE for decision in decisions)


def test_answers_that_are_texts_are_compared_as_well():
    """The same table, each right answer a word and each wrong one another."""
    labels = np.array([as_label([Answer(0, "Rome")])] * 100)

    def in_words(trial):
        said = ["Rome" if right else "Paris" for right in Outputs().get(trial.outputs)]
        return replace(trial, outputs=Outputs().put(said))

    for name in ("far behind", "a little behind"):
        others, out, expected = TABLE[name]
        told = [in_words(trial) for trial in (*LEADER, *others)]
        decisions = leaving(told, OUTPUTS, labels, "exact_match", out, SLOW, greater_is_better=True)
        assert [decision.subject for decision in decisions] == expected
    assert leaving([*LEADER, *others], OUTPUTS, labels, "exact_match", (), SLOW, greater_is_better=True) == [], "numbers are no texts"


def test_a_method_whose_default_is_over_a_limit_leaves_without_it():
    others = trials("head", range(40), range(40), range(25), range(40))[1:]
    assert leaving([*LEADER, *others], OUTPUTS, LABELS, "accuracy", (), SLOW, greater_is_better=True) == []
    (decision,) = leaving([*LEADER, *others], OUTPUTS, LABELS, "accuracy", (), SLOW, ("head",), greater_is_better=True)
    assert decision.subject == "head"


def test_where_smaller_is_better_the_greater_error_leaves():
    labels = np.linspace(0.0, 1.0, 100)

    def three(method, error):
        made = trials(method, range(1), range(1), range(1))
        shifted = labels + np.where(np.arange(100) % 2, error, error / 2)
        return [TrialEnded(**(vars(trial) | {"select_score": error * 0.75, "outputs": Outputs().put(shifted)})) for trial in made]

    decisions = leaving([*three("lora", 0.1), *three("head", 0.4)], OUTPUTS, labels, "mae", (), SLOW, greater_is_better=False)
    assert [decision.subject for decision in decisions] == ["head"]


def test_the_decision_names_the_numbers_it_was_made_on():
    trials_ended = [*LEADER, *trials("head", range(40), range(25), range(40))]
    (decision,) = leaving(trials_ended, OUTPUTS, LABELS, "accuracy", (), (), greater_is_better=True)
    assert decision.numbers["best"] == pytest.approx(0.75)
    assert decision.numbers["leader"] == pytest.approx(0.90)
    assert decision.numbers["standard_error"] == pytest.approx((0.0357**2 + SEEDS**2) ** 0.5, rel=0.08)
    assert "head-1" in decision.why
    assert "lora-1" in decision.why


def test_a_method_that_has_left_leads_nobody_out():
    both = [*trials("lora", *[range(5)] * 3), *trials("head", *[range(40)] * 3)]
    assert leaving(both, OUTPUTS, LABELS, "accuracy", ("lora",), (), greater_is_better=True) == []


def test_equally_good_methods_rarely_part():
    """Simulated: two methods right on 80 % of examples, independently; the worse one leaves in less than 2 % of the races."""
    rng, left = np.random.default_rng(0), 0
    for _ in range(300):
        both = [trials(method, *[np.flatnonzero(rng.random(100) > 0.8).tolist()] * 3) for method in ("a", "b")]
        left += bool(leaving([*both[0], *both[1]], OUTPUTS, LABELS, "accuracy", (), (), greater_is_better=True))
    assert left / 300 < 0.03


def test_no_mistake_among_few_examples_is_not_certainty():
    assert smallest_error(20, "accuracy") == pytest.approx((2 * 22 / 24**3) ** 0.5)
    assert smallest_error(20, "mae") == 0.0


def test_a_trial_whose_outputs_are_lost_neither_leads_nor_leaves(tmp_path):
    others, outputs = trials("head", range(40), range(25), range(40)), Outputs(tmp_path)

    def kept(trial):
        return replace(trial, outputs=outputs.put(Outputs().get(trial.outputs)))

    ended = [kept(trial) for trial in (*LEADER, *others)]
    assert [decision.subject for decision in leaving(ended, outputs, LABELS, "accuracy", (), SLOW, greater_is_better=True)] == ["head"]
    (tmp_path / ended[4].outputs).unlink()  # its best: the others are 0.30 behind
    (decision,) = leaving(ended, Outputs(tmp_path), LABELS, "accuracy", (), SLOW, greater_is_better=True)
    assert decision.numbers["best"] == pytest.approx(0.60)
    for trial in ended[:3]:
        (tmp_path / trial.outputs).unlink(missing_ok=True)
    assert leaving(ended, Outputs(tmp_path), LABELS, "accuracy", (), SLOW, greater_is_better=True) == []


@pytest.mark.parametrize("damaged", [["yes"] * 100, [[1.0]] * 100, [[1.0], *range(99)]])
def test_a_trial_whose_outputs_are_no_number_for_each_label_takes_no_part(damaged):
    lora, head = trials("lora", range(30), range(10), range(20)), trials("head", range(40), range(25), range(40))
    head[1] = replace(head[1], outputs=json.dumps(damaged))
    (decision,) = leaving([*lora, *head], OUTPUTS, LABELS, "accuracy", (), SLOW, greater_is_better=True)
    assert decision.numbers["best"] == pytest.approx(0.60)


def test_a_metric_of_probabilities_reads_a_row_of_each_example():
    """Always 0.9 for the true class against always 0.3: 1.1 nats behind for certain."""

    def sure(method, chance):
        own = Outputs().put([[1 - chance, chance]] * 100)
        return [replace(trial, outputs=own, select_score=-float(np.log(chance))) for trial in trials(method, *[range(1)] * 3)]

    both = [*sure("lora", 0.9), *sure("head", 0.3)]
    (decision,) = leaving(both, OUTPUTS, LABELS, "log_loss", (), SLOW, greater_is_better=False)
    assert decision.subject == "head"
