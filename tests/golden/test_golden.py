"""A small selection decides as it did when `BEHAVIOUR` got its number; who changes an algorithm raises it.

Scores are scripted, so that no processor's last digit decides; a few real steps and a verdict on made-up predictions are held to a
tolerance. After a wanted change: raise `pelt_automl.BEHAVIOUR`, then ``python -m tests.golden.computed``.
"""

import json

import pytest

from pelt_automl import BEHAVIOUR
from tests.golden import computed as golden

EXACT = ("splits", "plan", "trials", "decisions", "finalists", "baselines", "seeds", "limits")


@pytest.fixture(scope="module")
def now(world, tmp_path_factory):
    from pelt_automl.recorders import RECORDERS

    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(RECORDERS, "mlflow", raising=False)
        patch.setenv("PELT_AUTOML_HOME", str(tmp_path_factory.mktemp("golden-home")))
        return golden.computed(world, tmp_path_factory.mktemp("golden") / "selection", patch)


@pytest.fixture(scope="module")
def then():
    return json.loads(golden.FILE.read_text(encoding="utf-8"))


def test_golden_json_is_of_this_behavior(then):
    assert then["behaviour"] == BEHAVIOUR, "BEHAVIOUR was raised: write the file again with `python -m tests.golden.computed`"


@pytest.mark.parametrize("part", EXACT)
def test_the_program_decides_as_it_did_or_its_behavior_has_another_number(now, then, part):
    assert now[part] == then[part], f"{part} changed: if that is wanted, raise BEHAVIOUR and write golden.json again"


def test_three_methods_train_as_they_did(now, then):
    assert now["training"].keys() == then["training"].keys()
    for method, losses in now["training"].items():
        first, *others = then["training"][method]
        assert losses[0] is first is None, method  # before the first step
        assert losses[1:] == pytest.approx(others, rel=1e-2), method


def test_a_verdict_says_what_it_said(now, then):
    (candidate, outcome, rows), (candidate_then, outcome_then, rows_then) = now["verdict"], then["verdict"]
    assert (candidate, outcome, list(rows)) == (candidate_then, outcome_then, list(rows_then))
    for name, (interval, p_best, difference, tied) in rows.items():
        assert [*interval, p_best, *difference, tied] == pytest.approx(
            [*rows_then[name][0], rows_then[name][1], *rows_then[name][2], rows_then[name][3]], abs=2e-3
        ), name
