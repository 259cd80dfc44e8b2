"""Stratified splits, their quotas worked out by hand, and what must never be on both sides."""

from collections import Counter
from itertools import pairwise

import pytest

from pelt_automl.tasks.examples import Examples
from pelt_automl.tasks.splits import apart_from, carve, duplicates, sample, shares, strata, turns


def examples(labels, texts=None):
    texts = texts or [f"text {i}" for i in range(len(labels))]
    return Examples(tuple((text,) for text in texts), tuple(labels))


@pytest.mark.parametrize(
    ("counts", "total", "kept", "expected"),
    [
        ({0: 50, 1: 50}, 10, 0, {0: 5, 1: 5}),
        ({0: 70, 1: 30}, 10, 0, {0: 7, 1: 3}),
        # exact 3.33 each: the spare one goes to the lowest index
        ({0: 10, 1: 10, 2: 10}, 10, 0, {0: 4, 1: 3, 2: 3}),
        ({0: 98, 1: 1, 2: 1}, 10, 0, {0: 10, 1: 0, 2: 0}),
        # one of each stays, so that only 2 of the 5 wanted can go
        ({0: 2, 1: 2, 2: 1}, 5, 1, {0: 1, 1: 1, 2: 0}),
        ({0: 5, 1: 3}, 8, 0, {0: 5, 1: 3}),
    ],
)
def test_quotas_follow_the_largest_remainders_within_their_bounds(counts, total, kept, expected):
    assert shares(counts, total, kept=kept) == expected


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({0: 2, 1: 2}, [0, 1, 0, 1]),
        # Shares 0.6 and 0.4. k=3: 1.8 and 1.2, both may have a second; 3/2 beats 2/2. k=4: 2.4 and 1.6, both; 3/3 = 2/2, the lower index.
        # k=5: 3 and 2, stratum 0 has its 3.
        ({0: 3, 1: 2}, [0, 1, 0, 0, 1]),
        # The rare ones first, once each; they are over their shares until k = 6 and get no second turn.
        ({0: 4, 1: 1, 2: 1}, [0, 1, 2, 0, 0, 0]),
        # Largest remainders take a turn back here: of 10 they give 4, 4, 2 (of 4.29, 4.29, 1.43), of 11 then 5, 5, 1 (of 4.71, 4.71, 1.57).
        ({0: 6, 1: 6, 2: 2}, [0, 1, 2, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 2]),
    ],
)
def test_turns_are_shared_out_so_that_none_is_ever_taken_back(counts, expected):
    assert turns(counts, sum(counts.values()), each=True) == expected
    assert all(turns(counts, k, each=True) == expected[:k] for k in range(len(expected)))


@pytest.mark.parametrize("counts", [{0: 50, 1: 50}, {0: 61, 1: 23, 2: 16}, {0: 7, 1: 400, 2: 30, 3: 63}])
def test_the_first_k_turns_hold_each_strata_share_rounded_down_or_up(counts):
    whole = sum(counts.values())
    order = turns(counts, whole, each=True)
    for k in range(whole // min(counts.values()), whole + 1):  # from where one of each is no more than its share
        taken = Counter(order[:k])
        assert all(int(k * n / whole) <= taken[s] <= -int(-k * n // whole) for s, n in counts.items()), k


def test_strata_that_need_no_turn_each_have_their_shares_from_the_first_turn_on():
    counts = {0: 40, 1: 40} | dict.fromkeys(range(2, 22), 2)
    for k in range(1, 121):
        taken = Counter(turns(counts, k, each=False))
        assert all(int(k * n / 120) <= taken[s] <= -int(-k * n // 120) for s, n in counts.items()), k


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_the_examples_of_a_smaller_k_are_among_those_of_a_larger_one(kind):
    labels = [float(i**3) for i in range(200)] if kind == "regression" else [0] * 120 + [1] * 60 + [2] * 20
    data = examples(labels)
    samples = [set(sample(data, kind, k, seed=3)) for k in (16, 17, 50, 100, 101, 199, 200)]
    assert [len(chosen) for chosen in samples] == [16, 17, 50, 100, 101, 199, 200]
    assert all(small < large for small, large in pairwise(samples))
    if kind == "classification":
        assert Counter(data.labels[i] for i in samples[2]) == {0: 30, 1: 15, 2: 5}


def test_a_sample_has_k_examples_and_every_class():
    data = examples([0] * 95 + [1] * 4 + [2])
    chosen = sample(data, "classification", 16, seed=0)
    assert len(set(chosen)) == 16
    assert Counter(data.labels[i] for i in chosen) == {0: 14, 1: 1, 2: 1}
    assert chosen == sample(data, "classification", 16, seed=0) != sample(data, "classification", 16, seed=1)


def test_carving_is_stratified_seeded_and_disjoint():
    data = examples([0] * 60 + [1] * 40)
    rest, carved = carve(data, "classification", 30, 5, "select")
    assert sorted(rest + carved) == list(range(100))
    assert Counter(data.labels[i] for i in carved) == {0: 18, 1: 12}
    assert carve(data, "classification", 30, 5, "select")[1] == carved
    assert carve(data, "classification", 30, 6, "select")[1] != carved
    assert carve(data, "classification", 30, 5, "report")[1] != carved


def test_a_class_with_one_example_stays_in_train_for_every_seed():
    data = examples([0] * 10 + [1] * 5 + [2])
    for seed in range(20):
        rest, _ = carve(data, "classification", 5, seed, "select")
        assert {data.labels[i] for i in rest} == {0, 1, 2}


def test_equal_texts_stay_on_one_side_even_with_contradictory_labels():
    texts = [f"text {i // 3}" for i in range(90)]
    data = examples([i % 2 for i in range(90)], texts)
    for seed in range(10):
        rest, carved = carve(data, "classification", 27, seed, "select")
        assert not {texts[i] for i in rest} & {texts[i] for i in carved}
        assert 20 <= len(carved) <= 27


def test_no_class_leaves_train_with_a_group_of_equal_texts():
    # The only example of class 2 shares its text with two of class 0.
    texts = [*(f"text {i}" for i in range(12)), "same", "same", "same"]
    data = examples([0] * 6 + [1] * 6 + [0, 0, 2], texts)
    for seed in range(30):
        assert 14 in carve(data, "classification", 5, seed, "select")[0]


def test_regression_is_stratified_by_quantiles():
    data = examples([float(i) ** 3 for i in range(100)])
    assert Counter(strata(data, "regression")) == dict.fromkeys(range(10), 10)
    _, carved = carve(data, "regression", 30, 0, "select")
    assert Counter(i // 10 for i in carved) == dict.fromkeys(range(10), 3)


def test_texts_that_occur_elsewhere_are_taken_out_and_counted():
    pool, report = examples([0, 1, 0], ["a", "b", "c"]), examples([1], ["b"])
    assert apart_from(pool, [report]) == (examples([0, 0], ["a", "c"]), 1)


def test_repeats_and_contradictions_are_counted():
    assert duplicates(examples([0, 0, 1, 1, 0], ["a", "a", "b", "c", "c"])) == (2, 1)
