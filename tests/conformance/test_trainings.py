"""After some steps by the one training loop: what moved, what didn't, and that packs change nothing."""

import pickle

import pytest
import torch

from pelt_automl.modifications import Pack, PackTrial
from tests.conformance.laboratory import backbone_of, methods_on, modifications_of, pack_of, packable_on
from tests.conformance.no_pickling import PicklingError, no_pickling
from tests.probing import a_batch, moved

NOISE = 1e-6
"""Components whose gradient is below this share of the trial's largest are rounding noise (a bias of the keys), which Adam blows up."""


def test_every_method_trains_without_a_failure_and_without_pickling(family, lab):
    assert {method: run.progress.cause for method, run in (lab.together | lab.alone).items() if run.progress.state == "failed"} == {}
    assert lab.warnings == [], "a pack failed and was tried again in halves"
    assert [run.progress.step for run in lab.together.values()] == [3] * len(methods_on(family))


def test_the_backbone_is_bit_identical_after_the_trainings(lab):
    assert lab.changed == []


def test_training_moves_every_method(family, lab):
    still = []
    for method, run in lab.together.items():
        start = pack_of(family, method).trained_weights(0)
        moments = {name: own for name, own in run.progress.continuation.items() if name.startswith("exp_avg_sq/")}
        assert moments.keys() == {f"exp_avg_sq/{name}" for name in start}
        still += [f"{method}: {name}" for name, own in moments.items() if not own.max() > 0 and "key" not in name and "k_" not in name]
    assert still == []


def test_a_mixed_pack_of_all_methods_ends_with_the_weights_that_each_has_alone(lab):
    problems = []
    for method, run in lab.alone.items():
        alone, packed = run.progress.continuation, lab.together[method].progress.continuation
        assert alone.keys() == packed.keys()
        ours, theirs = _without_noise(packed, alone)
        most, worst = _distances(ours, theirs)
        if most > 1e-5 or worst[0] > 1e-2:
            problems.append(f"{method}: {most:.1e} over nearly all components, {worst[0]:.1e} at {worst[1]}")
    assert problems == []


def _without_noise(*runs):
    """The trained weights of the same training, run twice: components whose gradient is rounding noise are 0 in both."""
    names = [name for name in runs[0] if not name.startswith(("exp_avg", "state/"))]
    sizes = {name: torch.maximum(*(run[f"exp_avg_sq/{name}"] for run in runs)).sqrt() for name in names}
    largest = max(size.max() for size in sizes.values())
    return [{name: run[name] * (sizes[name] > NOISE * largest) for name in names} for run in runs]


def _distances(ours, theirs):
    """Relative distance over all but one in fifty components, and the largest of any one tensor with its name.

    Adam divides a step by the gradient's size, so that a component whose gradient passes near zero loses digits.
    """
    differences = torch.cat([(ours[name] - theirs[name]).abs().flatten() for name in ours]).sort().values
    size = torch.cat([own.flatten() for own in theirs.values()]).norm()
    worst = max(((ours[name] - theirs[name]).norm() / theirs[name].norm().clamp_min(1e-3), name) for name in ours)
    return (differences[: -1 - len(differences) // 50].norm() / size).item(), worst


def test_a_mixed_pack_of_all_methods_in_two_sizes_gives_the_logits_and_gates_that_each_gives_alone(family):
    trials = [(method, size) for method in packable_on(family) for size in (4, 2)]
    if not trials:  # a family whose trials never share a pass
        return
    in_pack = [PackTrial(modifications_of(*trial), seed=slot) for slot, trial in enumerate(trials)]
    pack, (ids, mask) = moved(Pack(backbone_of(family), in_pack, outputs=2)), a_batch(len(trials))
    with torch.no_grad():
        together = pack(ids, mask)
        for slot, (method, size) in enumerate(trials):
            single = pack_of(family, method, size=size)
            single.load_weights(0, pack.trained_weights(slot))
            alone = single(ids[:1], mask[:1])
            torch.testing.assert_close(together.logits[slot], alone.logits[0], rtol=1e-4, atol=1e-5, msg=f"{method} of {size}")
            _assert_same_gates(together, slot, alone, f"{method} of {size}")
            assert bool(alone.gates) is any(m.gate for m in modifications_of(method)), method


def _assert_same_gates(together, slot, alone, name):
    gates = {key: own[1][own[0].tolist().index(slot)] for key, own in together.gates.items() if slot in own[0].tolist()}
    assert gates.keys() == alone.gates.keys(), name
    for key, own in gates.items():
        torch.testing.assert_close(own, alone.gates[key][1][0], rtol=1e-4, atol=1e-5, msg=f"{name}: {key}")


def test_the_ban_on_pickling_that_the_trainings_ran_under_does_ban_it(tmp_path):
    with no_pickling():
        for forbidden in (lambda: pickle.dumps(1), lambda: torch.save({}, tmp_path / "x"), lambda: torch.load(tmp_path / "x")):
            with pytest.raises(PicklingError, match="ever pickled"):
                forbidden()
    assert pickle.loads(pickle.dumps(1)) == 1
