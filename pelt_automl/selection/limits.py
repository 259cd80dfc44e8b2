"""Limits of the user's: what is over them is refused before it is trained, and methods of which nothing is within them are left out.

No sampler is told of them as of constraints (Optuna's `constraints_func`): those are for trials that were carried out and turned out to
violate something, and here none ever is. A study draws again instead.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any

from pelt_automl.backbones import Architecture
from pelt_automl.design_space import BackboneShape, Modification
from pelt_automl.errors import SettingsError, all_problems
from pelt_automl.log.events import CostMeasured, Decision, HyperParameters, What
from pelt_automl.log.log import Log
from pelt_automl.methods import METHODS
from pelt_automl.modifications import count_of, count_on
from pelt_automl.search.spaces import MOST_COMBINATIONS, SearchSpace
from pelt_automl.selection.costs import (
    LIMIT_PASSES,
    ONE,
    Shape,
    cost_shape,
    device_name,
    is_exportable,
    latency_of,
    memory_bytes,
    served_shape,
    time_passes,
)
from pelt_automl.selection.field import refusals, too_many
from pelt_automl.selection.machine import Machine
from pelt_automl.selection.question import Question, plans_of
from pelt_automl.training.schedule import TrainingPlan

Refusal = Callable[[str, HyperParameters], str | None]
"""Why a configuration of a method can't be, or may not be; None if it may."""

KINDS_TRIED = 6
"""Kinds of configurations of which the smallest is tried before a method is left out whose default is over a limit."""

WITHIN = "no configuration is within the limits"


@dataclass(frozen=True)
class _Limit:
    """A limit that something has to be measured for."""

    most: float
    says: str
    """With a place for the figure and one for the limit."""
    figure: Callable[[CostMeasured], float | None]
    shape: Callable[[Machine, Sequence[Modification]], Shape]
    """What the figure depends on."""
    measure: Callable[[str, HyperParameters], CostMeasured]


class Limits:
    """Refuses configurations; what has to be measured is measured once for each shape, and recorded.

    Costs grow with sizes: what is larger than a shape that is over the limit, or smaller than one that is within, isn't measured.
    """

    def __init__(self, question: Question, machine: Machine, log: Log) -> None:
        """Takes up what an earlier start has measured."""
        self.machine, self.log, self._reads, self._most = machine, log, question.length.most, question.search.max_trainable
        self._known: dict[_Limit, list[tuple[Shape, float]]] = {limit: [] for limit in _limits(question, machine, log)}
        for event in log.history.costs:
            if not event.candidate:
                self._keep(event)

    def refusal(self, method: str, hyper_parameters: HyperParameters) -> str | None:
        """Why a configuration can't be carried out, or is over a limit; None for one that may be trained."""
        backbone, modifications = self.machine.backbone, METHODS[method].modifications(hyper_parameters)
        if found := refusals(modifications, backbone.architecture, backbone.shape, self._reads):
            return "; ".join(found)
        kept = count_on(modifications, backbone, self.machine.data.outputs).kept if self._most is not None else 0
        if self._most is not None and (reason := too_many(kept, self._most)):
            return reason
        return next((reason for limit in self._known if (reason := self._over(limit, method, hyper_parameters))), None)

    def _keep(self, event: CostMeasured) -> None:
        modifications = METHODS[event.method].modifications(event.hyper_parameters)
        for limit, known in self._known.items():
            if (figure := limit.figure(event)) is not None:
                known.append((limit.shape(self.machine, modifications), figure))

    def _over(self, limit: _Limit, method: str, hyper_parameters: HyperParameters) -> str | None:
        shape = limit.shape(self.machine, METHODS[method].modifications(hyper_parameters))
        of_its_kind = [(known, figure) for known, figure in self._known[limit] if _same_kind(known, shape)]
        if any(figure <= limit.most and _at_most(shape, known) for known, figure in of_its_kind):
            return None
        over = [figure for known, figure in of_its_kind if figure > limit.most and _at_most(known, shape)]
        if over:
            return limit.says.format(min(over), limit.most)
        event = limit.measure(method, hyper_parameters)
        self.log.append(event)
        self._keep(event)
        found = limit.figure(event)  # None for what can't be trained: its training is going to record why
        return limit.says.format(found, limit.most) if found is not None and found > limit.most else None


def _limits(question: Question, machine: Machine, log: Log) -> list[_Limit]:
    search, plan, found = question.search, plans_of(question, log.history).search, list[_Limit]()
    if search.max_latency_ms is not None:
        says = "it takes {:.3g} ms or more for one text, over the {:g} of --max-latency-ms"
        latency = partial(_measure_latency, machine)
        found.append(_Limit(search.max_latency_ms, says, lambda event: event.served, served_shape, latency))
    if search.max_memory is not None:
        says = "its training takes {:.3g} GB or more, over the {:g} of --max-memory"
        memory = partial(_measure_memory, machine, plan, log)
        found.append(_Limit(search.max_memory, says, lambda event: event.memory_gb, lambda _, own: cost_shape(own), memory))
    return found


def _same_kind(one: Shape, other: Shape) -> bool:
    return [replace(m, size=0) for m in one] == [replace(m, size=0) for m in other]


def _at_most(smaller: Shape, larger: Shape) -> bool:
    """Whether no size of a shape is above that of another of its kind."""
    return all(one.size <= other.size for one, other in zip(smaller, larger, strict=True))


def _measure_latency(machine: Machine, method: str, hyper_parameters: HyperParameters) -> CostMeasured:
    """Of one text, as the winner can be handed over."""
    modifications = METHODS[method].modifications(hyper_parameters)
    shape, exportable = served_shape(machine, modifications), is_exportable(machine, modifications)
    latency = latency_of(machine, time_passes(machine, [shape], ONE, LIMIT_PASSES)[shape], ONE, merged=exportable)
    return CostMeasured(method, dict(hyper_parameters), [latency], None, device_name(machine), exportable=exportable)


def _measure_memory(machine: Machine, plan: TrainingPlan, log: Log, method: str, hyper_parameters: HyperParameters) -> CostMeasured:
    if not any(event.memory_bytes is not None for event in log.history.costs):
        memory_bytes(machine, plan, method, hyper_parameters)  # the first training of a process also fills what libraries keep
    taken = memory_bytes(machine, plan, method, hyper_parameters)
    return CostMeasured(method, dict(hyper_parameters), [], taken, device_name(machine))


# -------------------------------------------------------------------- methods


def out_of_limits(methods: Sequence[str], spaces: Mapping[str, SearchSpace], refusal: Refusal, size: Callable[..., int]) -> dict[str, str]:
    """The methods of which neither the default nor the smallest configurations are within the limits, each with the reason.

    `size`: trainable parameters of Modifications. Raises `SettingsError` when no method is left.
    """
    out: dict[str, str] = {}
    for method in methods:
        if refusal(method, default_of(spaces[method])) is None:
            continue
        if (reason := _why_nothing_fits(method, spaces[method], refusal, size)) is not None:
            out[method] = f"{WITHIN}{reason}"
    if len(out) == len(methods):
        problems = [f"{method}: {reason}" for method, reason in out.items()]
        raise SettingsError(f"{all_problems('the selection', problems)}\nSo no method is left: raise the limit, or name other methods.")
    return out


def _why_nothing_fits(method: str, space: SearchSpace, refusal: Refusal, size: Callable[..., int]) -> str | None:
    """Why the smallest of the smallest is refused, if all that are tried are; None from the first on that is within."""
    first = " that makes sense"
    for number, smallest in enumerate(islice(_smallest(method, space, size), KINDS_TRIED)):
        reason = refusal(method, smallest)
        if reason is None:
            return None
        first = first if number else f"; of the smallest: {reason}"
    return first


def default_of(space: SearchSpace) -> dict[str, Any]:
    """The published configuration as the search asks for it first."""
    return space.configuration(space.default())


def _smallest(method: str, space: SearchSpace, size: Callable[..., int]) -> Iterator[dict[str, Any]]:
    """The configuration with the fewest parameters of each kind, smallest first: every combination of choices, with the lowest numbers."""
    low = {parameter.name: parameter.low for parameter in space.parameters if parameter.kind != "categorical"}
    kinds: dict[tuple[Modification, ...], tuple[int, dict[str, Any]]] = {}
    for drawn in islice(space.combinations(), MOST_COMBINATIONS):
        least = {name: low.get(name, value) for name, value in drawn.items()}
        if space.refusal(least):
            continue
        configuration = space.configuration(least)
        modifications = METHODS[method].modifications(configuration)
        kind = tuple(replace(m, size=0, scale=1.0) for m in modifications)
        found = (size(modifications), configuration)
        kinds[kind] = min(kinds.get(kind, found), found, key=lambda pair: pair[0])
    yield from (configuration for _, configuration in sorted(kinds.values(), key=lambda pair: pair[0]))


def over_parameters(question: Question, outline: tuple[Architecture, BackboneShape]) -> dict[str, str]:
    """The methods that `--max-trainable` leaves nothing of, before any model is loaded. Raises as `out_of_limits` does."""
    most, (table, shape) = question.search.max_trainable, outline
    if most is None:
        return {}

    def size(modifications: Sequence[Modification]) -> int:
        return count_of(modifications, table, shape, question.data.outputs).kept

    def refusal(method: str, hyper_parameters: HyperParameters) -> str | None:
        modifications = METHODS[method].modifications(hyper_parameters)
        found = refusals(modifications, table, shape, question.length.most)
        return "; ".join(found) or too_many(size(modifications), most)

    return out_of_limits(question.methods, question.spaces, refusal, size)


def apply_limits(question: Question, machine: Machine, log: Log) -> None:
    """Leave methods out of which nothing is within the limits, as far as it has to be measured, and note which defaults aren't.

    Raises `SettingsError` when no method is left.
    """
    search, spaces = question.search, question.spaces
    if search.max_trainable is None and search.max_latency_ms is None and search.max_memory is None:
        return
    refusal = Limits(question, machine, log).refusal

    def size(modifications: Sequence[Modification]) -> int:
        return count_on(modifications, machine.backbone, question.data.outputs).kept

    leave_out(out_of_limits(question.left(log.history), spaces, refusal, size), log)
    for method in question.left(log.history):
        if reason := refusal(method, default_of(spaces[method])):
            log.once(Decision(What.DEFAULT_OVER, method, reason))


def leave_out(out: Mapping[str, str], log: Log) -> None:
    """Record why methods are left out, unless an earlier start has."""
    for method, reason in out.items():
        log.once(Decision(What.METHOD_OVER, method, reason))
