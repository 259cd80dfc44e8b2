import pytest

from pelt_automl.recorders.champion import ERRORS
from pelt_automl.tasks import METRICS
from pelt_automl.verdict.wording import Unit, display_name, duration, in_short, listed, percent


@pytest.mark.parametrize(
    ("metric", "value", "number", "signed"),
    [
        ("accuracy", 0.8123, "81.2", "+81.2"),
        ("accuracy", -0.0001, "0.0", "0.0"),
        ("mcc", -0.05, "-5.0", "-5.0"),
        ("rmse", 0.45678, "0.457", "+0.457"),
        ("mae", 1234.5, "1.23e+03", "+1.23e+03"),
        ("log_loss", 0.45678, "0.457", "+0.457"),
        ("accuracy", None, "\N{EN DASH}", "\N{EN DASH}"),
    ],
)
def test_scores_are_shown_in_points_and_errors_in_their_own_unit(metric, value, number, signed):
    assert (Unit(metric).number(value), Unit(metric).signed(value)) == (number, signed)


@pytest.mark.parametrize(
    ("metric", "region"), [("roc_auc", "2 points"), ("mae", "2 % of the labels' standard deviation"), ("log_loss", "0.02 nats")]
)
def test_the_region_of_practical_equivalence_is_in_the_metrics_unit(metric, region):
    assert Unit(metric).region(2) == region


def test_a_champion_is_told_in_the_units_of_the_report():
    assert set(ERRORS) == {name for name in METRICS if not Unit(name).in_points}


@pytest.mark.parametrize(
    ("candidate", "method", "is_default", "name"),
    [
        ("lora-0000", "lora", True, "lora (default)"),
        ("lora-0003", "lora", False, "lora #3"),
        ("unipelt-apl-0010", "unipelt-apl", False, "unipelt-apl #10"),
        ("lora-0000", "lora", False, "lora #0"),
        ("unipelt-apl-0003-without-prefix", "unipelt", False, "unipelt-apl #3 without prefix"),
        (
            "unipelt-ap-0000-without-parallel-adapter-without-lora",
            "unipelt",
            False,
            "unipelt-ap (default) without parallel-adapter and lora",
        ),
    ],
)
def test_candidates_have_a_short_name(candidate, method, is_default, name):
    assert display_name(candidate, method, is_default) == name


def test_hyper_parameters_are_written_in_short():
    settings = {
        "learning_rate": 5e-4,
        "rank": 8,
        "alpha": 16.0,
        "dropout": 0.1,
        "warm": 1.234e-5,
        "reparameterization": True,
        "act": "relu",
    }
    expected = "learning rate 5e-4, rank 8, alpha 16, dropout 0.1, warm 1.23e-5, reparameterization yes, act relu"
    assert in_short(settings) == expected


@pytest.mark.parametrize(
    ("seconds", "text"), [(4.21, "4.2 s"), (42.4, "42 s"), (185, "3 min 5 s"), (7620, "2 h 7 min"), (59.9, "1 min 0 s")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(("share", "text"), [(0.62, "62 %"), (0.004, "<1 %"), (0.0, "0 %"), (0.996, ">99 %"), (1.0, "100 %")])
def test_probabilities_keep_their_side(share, text):
    assert percent(share) == text


def test_names_are_listed_in_words():
    assert [listed(["a"]), listed(["a", "b", "c"])] == ["a", "a, b and c"]
