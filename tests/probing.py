"""What tests of the trained modules do again and again: move weights, widen a batch, look for tensors without a gradient."""

import torch
from torch.nn.functional import pad

from pelt_automl.backbones.loading import wrap
from pelt_automl.modifications import Pack
from pelt_automl.modifications.by_layer import LayerModule, SharedGate
from tests.tiny import FakeTokenizer, random_ids, tiny_model


def lively_model(family, **changes):
    """A tiny base model whose attention isn't uniform: random weights as small as before training let a changed query do nothing."""
    model, generator = tiny_model(family, **changes), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(0.25 / parameter.std())
            else:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model


def lively_backbone(family="bert", **changes):
    """A frozen tiny backbone of such a model; `changes` to its configuration."""
    return wrap(lively_model(family, **changes), FakeTokenizer(), name=f"lively-{family}")


def moved(pack, size=0.1, seed=1):
    """The pack as after some training: nothing of any trial is at its neutral start, and what a relu would hide is open.

    What pads a trial's weights to the pack's largest size stays 0, as it does in a training.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for slot in range(len(pack.trials)):
            for name, own in pack.trained_weights(slot).items():
                own.add_(size * torch.randn(own.shape, generator=generator))
                if name.endswith(("down_bias", "gate_bias")):
                    own.add_(0.5)
    return pack


def a_batch(trials, examples=4, tokens=7, seed=0):
    """Ids and mask ``(N, B, T)``, the same examples for every trial; the second has padding on the right."""
    ids = random_ids(1, examples, tokens, seed=seed).repeat(trials, 1, 1)
    mask = torch.ones_like(ids)
    mask[:, 1, tokens - 3 :] = 0
    return ids, mask


def widened(ids, mask, left=0, right=0):
    """The same texts with more padding; the ids there are no padding tokens, so that the mask alone can tell."""
    return pad(ids, (left, right), value=9), pad(mask, (left, right))


def trained_tensors(module):
    """By name: one trial's and one layer's part of each trained tensor of a module, with its gradient."""
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        for row in range(parameter.shape[0]) if module.stacked else [None]:
            own = parameter if row is None else module.own(name, parameter, row)
            gradient = None if parameter.grad is None else parameter.grad if row is None else module.own(name, parameter.grad, row)
            for part in range(own.shape[0]) if _by_layer(module, name) else [None]:
                yield f"{module.label}.{name}, row {row}, layer {part}", gradient if gradient is None or part is None else gradient[part]


def _by_layer(module, name):
    return isinstance(module, LayerModule | SharedGate) and not name.startswith(("embedding", "mlp_"))


def without_gradient(pack: Pack, seed=3):
    """Names of the trained tensors that a random direction of the logits' space doesn't reach; of frozen ones that it does."""
    ids, mask = a_batch(len(pack.trials))
    logits = pack(ids, mask).logits
    direction = torch.randn(logits.shape, generator=torch.Generator().manual_seed(seed))
    (logits * direction).sum().backward()
    trained = [item for module in pack.stacked() for item in trained_tensors(module)]
    unreached = [name for name, gradient in trained if gradient is None or not gradient.abs().max() > 0]
    return unreached + [f"frozen {name}" for name, own in pack.backbone.model.named_parameters() if own.grad is not None]
