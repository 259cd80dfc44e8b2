"""What a worker works with, made in this process."""

import json
import math

import pytest

from pelt_automl.design_space import Form, Modification, Site
from pelt_automl.execution.worker import HERE
from pelt_automl.log.events import Planned
from pelt_automl.methods import METHODS
from pelt_automl.modifications import Pack, PackTrial
from pelt_automl.options import settings_from
from pelt_automl.selection import Selection
from pelt_automl.selection.bench import PackBench, fitting
from pelt_automl.training import evaluation
from tests.tiny import learnable_tokens

LORA = METHODS["lora"].modifications({"rank": 2, "alpha": 2})
PEFT = json.dumps({"peft_type": "IA3"})
EVERYTHING = {
    "full": (Modification("full", Site.EVERYTHING, Form.FULL),),
    "peft": (Modification("peft", Site.EVERYTHING, Form.PEFT, peft=PEFT),),
    "lora": LORA,
    "head": (),
}


@pytest.fixture(scope="module")
def bench(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    with Selection.open(settings_from(**world.options()), folder / "out") as selection:
        return PackBench.make(selection.question, [], 1, folder / "worker")


@pytest.mark.parametrize(("free", "trials"), [(math.inf, 8), (8.5e9, 8), (4.1e9, 4), (2.9e9, 2), (1.0, 1)])
def test_a_worker_with_less_memory_has_smaller_packs(free, trials):
    assert fitting(Planned(20, 7, 2, 1.5, "", {"pack_bytes": 8e9}, pack_size=8), free) == trials


def test_without_a_plan_and_without_a_figure_of_memory_packs_are_as_planned():
    assert fitting(None, 1e9) is None
    assert fitting(Planned(20, 7, 2, 1.5, "", {}, pack_size=8), 1e9) is None


@pytest.mark.parametrize("name", EVERYTHING)
def test_every_pass_of_an_evaluation_tells_that_the_worker_advances(bench, monkeypatch, name):
    monkeypatch.setitem(evaluation.EXAMPLES_A_PASS, "cpu", 8)
    pack = Pack(bench.machine.backbone, [PackTrial(EVERYTHING[name], seed=0)], outputs=2)
    before = HERE.beats
    evaluation.evaluate(pack, [learnable_tokens(40)])
    assert HERE.beats - before >= 5
