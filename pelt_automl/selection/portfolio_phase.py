"""What the search tries first: learned once, before it begins, from what comes with the program and from the user's own selections."""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

from pelt_automl.log.events import Configuration, Identified, Phase, PortfolioLearned, Stage
from pelt_automl.log.history import History
from pelt_automl.log.log import Log
from pelt_automl.log.outputs import Outputs
from pelt_automl.methods import METHODS
from pelt_automl.search.portfolio import Observation, Source, learned, weights
from pelt_automl.search.shipped import Portfolio, shipped_portfolio
from pelt_automl.search.spaces import lists_its_own
from pelt_automl.selection.experience import LIMIT_SHARE, TEXTS, UNLIMITED_SECONDS, Asking, Experience, features_of, gather, hashes_of
from pelt_automl.selection.limits import refusal_on
from pelt_automl.selection.machine import Machine
from pelt_automl.selection.question import Question
from pelt_automl.settings import SelectionSettings

VERBOSE = logging.getLogger(__name__)


def uses_portfolio(settings: SelectionSettings) -> bool:
    """Whether anything of other data decides what is tried first."""
    return settings.search.portfolio and settings.task.protocol != "paper"


def identify(question: Question, machine: Machine, log: Log) -> None:
    """Keep what later selections need to learn from this one, unless an earlier start has, or nobody is to learn."""
    if question.search.experience and not log.history.of_kind(Identified):
        texts = Outputs(machine.folder / TEXTS).put(hashes_of(question.data))
        log.append(Identified(machine.backbone.sha256, texts))


def learn_portfolio(question: Question, machine: Machine, log: Log) -> None:
    """Write the order, unless an earlier start has, or the search has begun without one."""
    history = log.history
    begun = any(trial.segment.stage == Stage.SEARCH and trial.segment.method in METHODS for trial in history.trials.values())
    if history.portfolio or begun or not uses_portfolio(question.settings):
        return
    log.progress(Phase.BASELINES, 0.9, 1, "learning what to try first")
    own = gather(_asking(question, history), machine.folder) if question.search.experience else []
    log.append(_learned(question, machine, history, shipped_portfolio(), own))


def _asking(question: Question, history: History) -> Asking:
    identified = history.of_kind(Identified)[-1]
    limit = question.search.seconds
    seconds = UNLIMITED_SECONDS if limit is None else LIMIT_SHARE * limit
    return Asking(question.data.data_hash, identified.weights, hashes_of(question.data), features_of(history), seconds)


def _learned(question: Question, machine: Machine, history: History, shipped: Portfolio, own: Sequence[Experience]) -> PortfolioLearned:
    """From the sources that aren't the data at hand, over what this selection can try: its methods, what its search spaces include."""
    same = {source.group for source in shipped.sources if source.name == question.data.name or source.data_hash == question.data.data_hash}
    groups = {source.data_hash: source.group for source in shipped.sources}
    ours = [replace(each.source, group=groups.get(each.source.data_hash, each.source.group)) for each in own]
    sources = [source for source in (*shipped.sources, *ours) if source.group not in same]
    names, methods = {source.name for source in sources}, question.left(history)
    every = [*shipped.observations, *(observed for each in own for observed in each.observations)]
    observations = [observed for observed in every if observed.source in names and observed.method in methods]
    names = {observed.source for observed in observations}
    weight_of = weights(features_of(history), [source for source in sources if source.name in names])
    weight_of |= {each.source.name: each.trust * weight_of[each.source.name] for each in own if each.source.name in weight_of}
    known = [observed for observed in shipped.observations if observed.source in names]
    found = [Configuration(observed.method, dict(observed.hyper_parameters)) for observed in known]
    found += [configuration for each in own for configuration in each.best]
    tried = [one for number, one in enumerate(found) if _can_try(question, machine, methods, one) and one not in found[:number]]
    order, useful = learned(tried, observations, weight_of) if weight_of else ([], 0)
    used = [each for each in own if each.source.name in weight_of]
    for each in used:
        VERBOSE.info("learned what to try first from %s: %d trainings", each.source.name, len(each.observations))
    searched = [Configuration(one.method, question.spaces[one.method].searched(one.hyper_parameters)) for one in order]
    return PortfolioLearned(
        searched,
        _digest(sources, observations, weight_of),
        len({source.data_hash for source in sources if source.name in weight_of}),
        len({each.source.data_hash for each in used}),
        [hashlib.sha256(each.source.name.encode()).hexdigest()[:12] for each in used],
        shipped.model,
        useful,
    )


def _can_try(question: Question, machine: Machine, methods: Sequence[str], one: Configuration) -> bool:
    """Whether it isn't refused, as far as nothing has to be measured for that.

    Of a method for which the user's own search space lists what is good, the learned order has the default alone.
    """
    if one.method not in methods or not question.spaces[one.method].includes(one.hyper_parameters):
        return False
    outline = machine.backbone.architecture, machine.backbone.shape
    if refusal_on(question, outline, METHODS[one.method].modifications(one.hyper_parameters)):
        return False
    space = question.spaces[one.method]
    return space.searched(one.hyper_parameters) == space.default() or not lists_its_own(question.search.spaces, space)


def _digest(sources: Sequence[Source], observations: Sequence[Observation], weight_of: Mapping[str, float]) -> str:
    used = [[asdict(source), weight_of[source.name]] for source in sources if source.name in weight_of]
    plain = json.dumps([used, [asdict(observed) for observed in observations]], sort_keys=True)
    return hashlib.sha256(plain.encode()).hexdigest()[:16]
