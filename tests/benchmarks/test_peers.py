"""The peers train what ours trains; a bare machine is enough for packing.py."""

import json

import pytest
import torch
import transformers

from benchmarks.measuring import run_process
from benchmarks.our_steps import SHAPES, Configuration, DidNotRun, Work, configurations, random_backbone, time_pack
from benchmarks.peer import BY_FLAGS, BY_PEFT, tuned
from pelt_automl.design_space import count_all
from pelt_automl.methods import METHODS
from pelt_automl.search.spaces import load_spaces
from tests.tiny import _BERT

WORK = Work(batch=4, tokens=16, steps=2, warmup=1)


def classifier():
    return transformers.BertForSequenceClassification(transformers.BertConfig(**_BERT))


def trained(model):
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


@pytest.fixture(scope="module")
def backbone():
    return random_backbone(SHAPES["tiny"], 16, torch.device("cpu"), "fp32")


@pytest.mark.parametrize("targets", ["query-value", "all-linear"])
def test_the_peers_lora_changes_the_maps_that_ours_does(targets, backbone):
    values = METHODS["lora"].defaults | {"rank": 4, "targets": targets}
    theirs = trained(tuned(transformers.BertForSequenceClassification(backbone.model.config), "lora", values))
    assert theirs == count_all(METHODS["lora"].modifications(values), backbone.shape, outputs=2).kept


def test_the_peers_other_methods_train_as_many_weights_as_ours():
    # Width 16, feed-forward 24, 2 layers; the head 2 * 16 + 2 = 34.
    head, every = 34, trained(classifier())
    biases = sum(weight.numel() for name, weight in classifier().named_parameters() if name.endswith("bias"))
    expected = {"ia3": 2 * (16 + 16 + 24) + head, "prompt": 20 * 16 + head, "bitfit": biases + 32, "full": every}
    assert {name: trained(tuned(classifier(), name, METHODS[name].defaults)) for name in expected} == expected
    assert {*expected, "lora"} == {*BY_PEFT, *BY_FLAGS}


def test_what_the_peer_trains_is_fp32_on_a_backbone_in_bf16():
    model = tuned(classifier().to(torch.bfloat16), "lora", METHODS["lora"].defaults)
    kinds = {(parameter.requires_grad, parameter.dtype) for parameter in model.parameters()}
    assert kinds == {(True, torch.float32), (False, torch.bfloat16)}


def test_a_mixed_pack_begins_with_every_default_and_goes_on_with_draws_from_the_spaces():
    chosen = configurations(["lora", "adapter"], 6)
    assert [trial.method for trial in chosen] == ["lora", "adapter"] * 3
    spaces = load_spaces(None, ("lora", "adapter"))
    assert [dict(trial.hyper_parameters) for trial in chosen[:2]] == [METHODS[name].defaults for name in ("lora", "adapter")]
    for trial in chosen:
        assert all(p.holds(trial.hyper_parameters[p.name]) for p in spaces[trial.method].parameters if p.name in trial.hyper_parameters)
    assert len({json.dumps(dict(trial.hyper_parameters)) for trial in chosen}) == 6
    assert chosen == configurations(["lora", "adapter"], 6)


def test_the_real_loop_is_timed_and_a_pack_that_fails_is_no_timing(backbone):
    timing = time_pack(backbone, configurations(["lora", "bitfit"], 2), WORK)
    assert len(timing.seconds) == WORK.steps
    assert all(seconds > 0 for seconds in timing.seconds)
    with pytest.raises(DidNotRun, match="packs of"):
        time_pack(backbone, [Configuration("full", METHODS["full"].defaults)] * 2, WORK)


@pytest.mark.slow
def test_packing_runs_with_torch_and_transformers_alone_and_says_what_stood_in(tmp_path):
    absent = ("optuna", "mlflow", "prefect", "datasets", "peft", "accelerate", "sklearn", "pandas", "scipy", "matplotlib")
    options = (
        "--shapes tiny --packs 1,2 --reference 2 --methods lora,adapter --processes= --steps 2 --warmup 1 --repeats 1 --tokens 8 --batch 2"
    )
    program = f"""
import runpy, sys
sys.modules.update(dict.fromkeys({absent!r}))
sys.argv = ["packing.py", *{options.split()!r}, "--memory=", "--precision", "fp32", "--output", {str(tmp_path)!r}]
runpy.run_path("benchmarks/packing.py", run_name="__main__")
"""
    run_process(["-c", program], {"OMP_NUM_THREADS": "1"})
    found = json.loads((tmp_path / "packing.json").read_text())
    assert found["left_out"] == []
    missing = [note for note in found["notes"] if "is missing" in note]
    assert [note.split()[2] for note in missing] == ["trainer", "peft"]
    speeds = found["tables"]["Speed"]
    lora = {row["who"]: row["how"] for row in speeds if row["trials of"] == "lora" and row["at once"] != 2}
    assert lora["HF Trainer, one by one"] == "own module + plain PyTorch loop (no HF Trainer here) (no peft here)"
    sizes = {(row["trials of"], row["at once"]) for row in speeds if row["who"] == "ours"}
    assert sizes == {(what, size) for what in ("mixed", "lora", "adapter") for size in (1, 2)}
    assert all(row["share of ceiling"] > 0 for row in speeds)


@pytest.mark.slow
def test_the_peers_search_asks_for_every_default_first_and_scores_its_winner_once(world, capsys):
    from benchmarks.peer_search import PeerSearch

    own = {name: value for name, value in world.options().items() if name not in ("methods", "trials")}
    search = PeerSearch(own | {"methods": "bitfit,lora", "trials": 2, "epochs": 2})
    search.run()
    score, (low, high) = search.reported(search.best)
    asked = [trial.params for trial in search.study.trials]
    assert len(asked) == 4
    assert [(trial["method"], trial[f"{trial['method']}.learning_rate"]) for trial in asked[:2]] == [("bitfit", 1e-4), ("lora", 5e-4)]
    assert 4 * search.steps / 2 < search.taken <= 4 * search.steps  # patience ends a training in its second half, at the earliest
    assert low <= score <= high
    capsys.readouterr()


@pytest.mark.slow
def test_the_peers_finals_have_each_methods_best_and_the_fixed_defaults_on_fresh_seeds_and_splits(world, capsys):
    from benchmarks.peer_search import PeerSearch, _Best
    from pelt_automl.selection.finalist_phase import finalist_seeds

    own = {name: value for name, value in world.options().items() if name not in ("methods", "trials")}
    search = PeerSearch(own | {"methods": "bitfit,lora", "trials": 1, "epochs": 1, "min_steps": 2})
    defaults = {method: METHODS[method].defaults for method in ("bitfit", "lora")}
    other = defaults["lora"] | {"learning_rate": 1e-3}
    search.best_of = {"bitfit": _Best(0.6, {}, "bitfit", defaults["bitfit"]), "lora": _Best(0.7, {}, "lora", other)}
    splits, split = [], search._split
    search._split = lambda seed: splits.append(seed) or split(seed)  # type: ignore[method-assign]
    found = search.confirm(2)
    assert set(found["seed_scores"]) == {"bitfit", "lora", "lora (default)"}, "LoRA's default is fixed, and isn't its best"
    assert all(len(scores) == 2 for scores in found["seed_scores"].values())
    first = search.settings.search.seed
    assert splits == [finalist_seeds(f"peer-{first}", index).split for index in (0, 1)]
    means = {name: sum(scores) / 2 for name, scores in found["seed_scores"].items()}
    assert found["report_score"] == pytest.approx(max(means.values()))
    assert found["examples"] == search.taken * search.settings.training.batch_size > 0
    capsys.readouterr()


@pytest.mark.slow
def test_the_peers_search_takes_the_fastest_precision_and_trains_every_method_in_each(world, capsys, monkeypatch):
    from benchmarks.peer_search import METHODS_OF_BOTH, PeerSearch

    own = {name: value for name, value in world.options().items() if name not in ("methods", "trials")}
    search = PeerSearch(own | {"methods": ",".join(METHODS_OF_BOTH), "trials": 1, "epochs": 1, "min_steps": 2})
    with monkeypatch.context() as patch:
        took = {"fp32": iter([3.0, 2.0]), "bf16 autocast": iter([2.5, 2.5]), "bf16 weights": iter([9.0, 1.0])}
        patch.setattr(search, "_shortest_step", lambda _: next(took[search.precision]))
        assert search.choose_precision() == {"fp32": 2.0, "bf16 autocast": 2.5, "bf16 weights": 1.0}
    assert search.precision == "bf16 weights"
    assert search._shortest_step(2) > 0
    search.run()
    assert [trial.state.name for trial in search.study.trials] == ["COMPLETE"] * 5
    search.reported(search.best)
    capsys.readouterr()
