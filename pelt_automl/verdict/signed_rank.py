"""The Bayesian signed-rank test with a region of practical equivalence: a second opinion on two finalists, from their seeds alone.

Benavoli, Corani, Demsar and Zaffalon 2017, "Time for a change", section 4.2: the differences of two finalists on the seeds that they share
are draws from an unknown distribution, which has a Dirichlet process for a prior; what is asked is where the mean of two differences drawn
from it lies. A posterior draw weighs the differences with Dirichlet weights, a pseudo-difference of 0 with weight `PRIOR` among them, and
adds up the weight of all pairs whose mean lies above, inside and below the region. The probability of each is the share of the draws in
which it weighs most.

It is written here because no kept-up library has it: baycomp (MIT) had its last release in 2023 and gives the numbers that the tests hold
this to; autorank (Apache-2.0) calls baycomp; deepsig, with almost stochastic order, is under the GPL, which doesn't go with Apache-2.0.

What it assumes: that the seeds are independent draws, and nothing about their distribution. What it doesn't know: that other examples could
stand in the report split. So it is surer than the intervals: 3 seeds that agree on more than the region make it say 98 %.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pelt_automl.tasks.metrics import Floats

PRIOR = 0.5
"""Weight of the pseudo-difference of 0, as in the paper and in baycomp: half a seed that says "equal"."""
DRAWS = 50_000
FEWEST = 3
"""Seeds below which it isn't asked: a single one would make it say 84 %."""


class Opinion(NamedTuple):
    """Probabilities that sum to 1."""

    better: float
    """That the first is better by more than the region of practical equivalence."""
    equivalent: float
    worse: float


def signed_rank(differences: Sequence[float], region: float, draws: int = DRAWS, seed: int = 0) -> Opinion:
    """How the first of two finalists compares with the second.

    Args:
        differences: one a shared seed, positive where the first is better; at least one.
        region: of practical equivalence, in the differences' unit.
        draws: of the posterior; the same input gives the same numbers.
        seed: of the draws.
    """
    values = np.array([0.0, *differences])
    weights = np.random.default_rng(seed).dirichlet([PRIOR] + [1.0] * len(differences), size=draws)
    means = (values[:, None] + values) / 2
    above, below = _step(means - region), _step(-region - means)
    better, worse = (((weights @ side) * weights).sum(axis=1) for side in (above, below))
    most = np.argmax(np.stack([better, 1 - better - worse, worse]), axis=0)
    shares = np.bincount(most, minlength=3) / draws
    return Opinion(*shares.tolist())


def _step(values: Floats) -> Floats:
    """1 above 0, a half at 0 (but for rounding), else 0."""
    return np.where(np.abs(values) <= 1e-12, 0.5, (values > 0).astype(np.float64))
