"""UniPELT's gate, for a stack of trials."""

from typing import Literal

import torch
from torch import Tensor


def gate_values(states: Tensor, weight: Tensor, bias: Tensor, mask: Tensor, token_mean: Literal["masked", "paper"] = "masked") -> Tensor:
    """``G = mean_t sigmoid(w x_t + b)``, one scalar an example (Mao et al. 2022, section 3; sigmoid first, as in the released code).

    `states` ``(n, B, T, H)``, `weight` ``(n, H)``, `bias` ``(n,)``, `mask` ``(n, B, T)``; the result is ``(n, B)`` in fp32.
    Departs from the paper: padding is left out of the mean unless `token_mean` is ``paper``.
    """
    n, b, t, h = states.shape
    scores = torch.bmm(states.reshape(n, b * t, h), weight.to(states.dtype).unsqueeze(2)).view(n, b, t).float()
    opened = torch.sigmoid(scores + bias.float()[:, None, None])
    if token_mean == "paper":
        return opened.mean(dim=2)
    weights = mask.to(opened.dtype)
    return (opened * weights).sum(dim=2) / weights.sum(dim=2).clamp_min(1.0)
