"""Optuna's samplers by the names that a user gives; each trial gets a new one, with a seed of its own, that reads the study."""

import warnings
from collections.abc import Callable

from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, RandomSampler, TPESampler

from pelt_automl.search.spaces import SearchSpace

STARTUP_TRIALS = 4
"""Trials before a model of the scores takes over from chance; the default and the portfolio are among them."""

FEW_TRIALS = 8
"""Below this many trials a method tries its portfolio alone: a model of so few scores knows less than the literature."""


def _tpe(seed: int, space: SearchSpace) -> BaseSampler:
    """Multivariate TPE; in a space with conditions, groups of parameters that are drawn together get a model each."""
    conditional = any(parameter.only_if for parameter in space.parameters)
    return TPESampler(seed=seed, n_startup_trials=STARTUP_TRIALS, multivariate=True, group=conditional, constant_liar=True)


def _gp(seed: int, _: SearchSpace) -> BaseSampler:
    return GPSampler(seed=seed, n_startup_trials=STARTUP_TRIALS, warn_independent_sampling=False)


def _cmaes(seed: int, _: SearchSpace) -> BaseSampler:
    """Stopped trials, most of all, teach it something too."""
    return CmaEsSampler(seed=seed, n_startup_trials=STARTUP_TRIALS, consider_pruned_trials=True, warn_independent_sampling=False)


def _random(seed: int, _: SearchSpace) -> BaseSampler:
    return RandomSampler(seed)


_MADE: dict[str, Callable[[int, SearchSpace], BaseSampler]] = {"tpe": _tpe, "gp": _gp, "cmaes": _cmaes, "random": _random}


def sampler(name: str, seed: int, space: SearchSpace) -> BaseSampler:
    """The sampler of a name in the settings, for one trial."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # TPE's groups, CMA-ES's look at stopped trials
        return _MADE[name](seed, space)


def portfolio_length(trials: int) -> int:
    """How many of a portfolio's configurations a method tries after its default, of so many trials: all of a few, else a start."""
    return trials - 1 if trials < FEW_TRIALS else STARTUP_TRIALS - 1
