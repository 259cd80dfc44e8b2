"""Before any training: which pairs there are, how near the backbone they start, and what the loss reaches."""

import torch

from pelt_automl.design_space import Form, Modification, Site
from pelt_automl.methods import METHODS
from pelt_automl.modifications import Pack, PackTrial
from tests.conformance.laboratory import backbone_of, methods_on, modifications_of, pack_of
from tests.probing import a_batch, moved, without_gradient
from tests.tiny import FAMILIES

EXACT, NEAR, FAR = 1e-5, 0.15, 2.0
"""Largest change of a logit at the start, as shares of the largest logit. A prefix isn't near the identity: its keys draw attention
whatever they are (Mao et al. 2022, footnote 3), at random weights so much that the logits stay of their size and no more can be said."""

EXACT_IN_PEFT, NEAR_IN_PEFT = 1e-4, {"peft-c3a": 0.5, "peft-vblora": 0.01}
"""peft takes some weights apart and puts them together again (PiSSA); C3A starts with random kernels, VB-LoRA with a random bank."""

EXACT_BY_PAPER = ("full", "head", "bitfit", "lora", "ia3", "scaled-parallel-adapter")
"""Those of ours whose papers start at the backbone's own output."""


def starts_exactly(modification: Modification) -> bool:
    """Whether the modification's own initialization adds nothing yet."""
    m = modification
    if m.form in (Form.SCALE, Form.BIAS, Form.FULL):
        return True
    if m.form is Form.SOFTMAX:
        return m.initialization == "identity" and m.composition == "add"
    return m.initialization == "identity" or (m.form is Form.LINEAR and m.site is not Site.HEADS and m.initialization == "paper")


def test_the_suite_is_not_empty_and_bert_has_every_method():
    assert len(FAMILIES) >= 20
    assert len(METHODS) >= 40
    assert methods_on("bert") == tuple(METHODS)


def test_a_family_refuses_few_methods_of_ours(family):
    ours = {method for method in METHODS if not method.startswith("peft-")}
    there = set(methods_on(family))
    assert {"full", "head", "lora", "adapter", "houlsby", "prompt"} <= there
    assert len(there & ours) >= len(ours) / 2


def test_methods_whose_papers_start_at_the_identity_are_held_to_it():
    for method in EXACT_BY_PAPER:
        assert all(map(starts_exactly, modifications_of(method))), method


def joins_softmax(modification: Modification) -> bool:
    """Whether trained keys stand beside the head's own."""
    return modification.form is Form.SOFTMAX and modification.composition == "gated"


def test_methods_start_as_the_identity_or_near_it(family):
    problems = []
    for method in methods_on(family):
        changes = modifications_of(method)
        if any(m.form is Form.PROMPT or "P_TUNING" in m.peft for m in changes):  # more text in front: it starts at words, not at nothing
            continue
        share, most = _share_changed(family, changes), _most(changes)
        if not share <= most:
            problems.append(f"{method}: {share:.2e} away, at most {most}")
    assert problems == []


def _most(changes):
    if any(m.form is Form.PEFT for m in changes):
        return NEAR_IN_PEFT.get(changes[0].name, EXACT_IN_PEFT)
    return EXACT if all(map(starts_exactly, changes)) else FAR if any(map(joins_softmax, changes)) else NEAR


def _share_changed(family, changes):
    packs = [Pack(backbone_of(family), [PackTrial(own, seed=3)], outputs=2) for own in (changes, ())]
    with torch.no_grad():
        changed, plain = (pack(*a_batch(1, tokens=30)).logits for pack in packs)
    return ((changed - plain).abs().max() / plain.abs().max()).item()


def test_gradients_reach_every_trained_tensor_and_no_frozen_one(family):
    problems = []
    for method in methods_on(family):
        pack = moved(pack_of(family, method), size=0.02 if method == "full" else 0.1)
        problems += [f"{method}: {name}" for name in without_gradient(pack) if not _is_key_bias(name, family)]
    assert problems == []


def _is_key_bias(name, family):
    """A bias of the keys cancels in the softmax, so that its gradient is rounding noise, or nothing at all."""
    paths = [str(stack.sites[Site.ATTENTION_KEY]) for stack in backbone_of(family).architecture.stacks]
    return any(name.partition(",")[0].endswith((f"{path}.bias", path.replace(".", "__"))) for path in paths)
