"""Limits of the user's: what is over them is refused before it is trained, and methods of which nothing is within them are left out.

No sampler is told of them as of constraints (Optuna's `constraints_func`): those are for trials that were carried out and turned out to
violate something, and here none ever is. A study draws again instead.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from pelt_automl.backbones import Architecture
from pelt_automl.design_space import BackboneShape, Modification
from pelt_automl.errors import SettingsError, all_problems
from pelt_automl.log.events import CostMeasured, Decision, HyperParameters, What
from pelt_automl.log.log import Log
from pelt_automl.methods import METHODS
from pelt_automl.modifications import count_of
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

Refusal = Callable[[str, HyperParameters], str | None]
"""Why a configuration of a method can't be, or may not be; None if it may."""

KINDS_TRIED = 6
"""Kinds of configurations of which the smallest is tried before a method is left out whose default is over a limit."""

Outline = tuple[Architecture, BackboneShape]
"""What is known of a model before it is loaded."""


MEASURED: dict[str, tuple[str, Callable[[CostMeasured], float | None]]] = {
    "max_latency_ms": ("it takes {:.3g} ms or more for one text, over the {:g} of --max-latency-ms", lambda event: event.served),
    "max_memory": ("its training takes {:.3g} GB or more, over the {:g} of --max-memory", lambda event: event.memory_gb),
}
"""Limits that something has to be measured for: what is said, with places for the figure and the limit, and where the figure is."""


class Limits:
    """Refuses configurations; what has to be measured is measured once for each shape, and recorded.

    Costs grow with sizes: what is larger than a shape that is over the limit, or smaller than one that is within, isn't measured.
    """

    def __init__(self, question: Question, machine: Machine, log: Log) -> None:
        """Takes up what an earlier start has measured."""
        self.question, self.machine, self.log = question, machine, log
        self._most = {knob: most for knob in MEASURED if (most := getattr(question.search, knob)) is not None}
        self._known: dict[str, list[tuple[Shape, float]]] = {knob: [] for knob in self._most}
        for event in log.history.costs:
            if not event.candidate:
                self._keep(event)

    def refusal(self, method: str, hyper_parameters: HyperParameters) -> str | None:
        """Why a configuration can't be carried out, or is over a limit; None for one that may be trained."""
        outline = self.machine.backbone.architecture, self.machine.backbone.shape
        if reason := refusal_on(self.question, outline, METHODS[method].modifications(hyper_parameters)):
            return reason
        return next((reason for knob in self._most if (reason := self._over(knob, method, hyper_parameters))), None)

    def _shape(self, knob: str, method: str, hyper_parameters: HyperParameters) -> Shape:
        """What the figure depends on."""
        modifications = METHODS[method].modifications(hyper_parameters)
        return served_shape(self.machine, modifications) if knob == "max_latency_ms" else cost_shape(modifications)

    def _keep(self, event: CostMeasured) -> None:
        for knob, known in self._known.items():
            if (figure := MEASURED[knob][1](event)) is not None:
                known.append((self._shape(knob, event.method, event.hyper_parameters), figure))

    def _over(self, knob: str, method: str, hyper_parameters: HyperParameters) -> str | None:
        (says, figure_of), most, shape = MEASURED[knob], self._most[knob], self._shape(knob, method, hyper_parameters)
        of_its_kind = [(known, figure) for known, figure in self._known[knob] if _same_kind(known, shape)]
        if any(figure <= most and _at_most(shape, known) for known, figure in of_its_kind):
            return None
        over = [figure for known, figure in of_its_kind if figure > most and _at_most(known, shape)]
        if over:
            return says.format(min(over), most)
        with self.machine.at_work():
            event = self._measured(knob, method, hyper_parameters, shape)
        self.log.append(event)
        self._keep(event)
        found = figure_of(event)  # None for what can't be trained: its training is going to record why
        return says.format(found, most) if found is not None and found > most else None

    def _measured(self, knob: str, method: str, hyper_parameters: HyperParameters, shape: Shape) -> CostMeasured:
        """The latency of one text, as the winner can be handed over, or the memory of a training."""
        machine, given = self.machine, dict(hyper_parameters)
        if knob == "max_latency_ms":
            exportable = is_exportable(machine, METHODS[method].modifications(hyper_parameters))
            latency = latency_of(machine, time_passes(machine, [shape], ONE, LIMIT_PASSES)[shape], ONE, merged=exportable)
            return CostMeasured(method, given, [latency], None, device_name(machine.backbone.device), exportable=exportable)
        plan = plans_of(self.question, self.log.history).search
        if not any(event.memory_bytes is not None for event in self.log.history.costs):
            memory_bytes(machine, plan, method, given)  # the first training of a process also fills what libraries keep
        return CostMeasured(method, given, [], memory_bytes(machine, plan, method, given), device_name(machine.backbone.device))


def refusal_on(question: Question, outline: Outline, modifications: Sequence[Modification]) -> str | None:
    """Why such a model can't carry a configuration out, or it has too many parameters; None if it may be trained as far as these go."""
    if found := refusals(modifications, *outline, question.length.most):
        return "; ".join(found)
    most = question.search.max_trainable
    return None if most is None else too_many(count_of(modifications, *outline, question.data.outputs).kept, most)


def _same_kind(one: Shape, other: Shape) -> bool:
    return [replace(m, size=0) for m in one] == [replace(m, size=0) for m in other]


def _at_most(smaller: Shape, larger: Shape) -> bool:
    """Whether no size of a shape is above that of another of its kind."""
    return all(one.size <= other.size for one, other in zip(smaller, larger, strict=True))


# -------------------------------------------------------------------- methods


def out_of_limits(question: Question, methods: Sequence[str], outline: Outline, refusal: Refusal) -> dict[str, str]:
    """The methods of which neither the default nor the smallest configurations are within the limits, each with the reason.

    Raises `SettingsError` when no method is left.
    """

    def size(modifications: Sequence[Modification]) -> int:
        return count_of(modifications, *outline, question.data.outputs).kept

    out: dict[str, str] = {}
    for method in methods:
        if refusal(method, default_of(question.spaces[method])) is None:
            continue
        first = " that makes sense"
        for number, smallest in enumerate(islice(_smallest(method, question.spaces[method], size), KINDS_TRIED)):
            if (reason := refusal(method, smallest)) is None:
                break
            first = first if number else f"; of the smallest: {reason}"
        else:
            out[method] = f"no configuration is within the limits{first}"
    if len(out) == len(methods):
        problems = [f"{method}: {reason}" for method, reason in out.items()]
        raise SettingsError(f"{all_problems('the selection', problems)}\nSo no method is left: raise the limit, or name other methods.")
    return out


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


def over_parameters(question: Question, outline: Outline) -> dict[str, str]:
    """The methods that `--max-trainable` leaves nothing of, before any model is loaded. Raises as `out_of_limits` does."""
    if question.search.max_trainable is None:
        return {}

    def refusal(method: str, hyper_parameters: HyperParameters) -> str | None:
        return refusal_on(question, outline, METHODS[method].modifications(hyper_parameters))

    return out_of_limits(question, question.methods, outline, refusal)


def apply_limits(question: Question, machine: Machine, log: Log) -> None:
    """Leave methods out of which nothing is within the limits, as far as it has to be measured, and note which defaults aren't.

    Raises `SettingsError` when no method is left.
    """
    if all(getattr(question.search, knob) is None for knob in ("max_trainable", *MEASURED)):
        return
    refusal, outline = Limits(question, machine, log).refusal, (machine.backbone.architecture, machine.backbone.shape)
    leave_out(out_of_limits(question, question.left(log.history), outline, refusal), log)
    for method in question.left(log.history):
        if reason := refusal(method, default_of(question.spaces[method])):
            log.once(Decision(What.DEFAULT_OVER, method, reason))


def leave_out(out: Mapping[str, str], log: Log) -> None:
    """Record why methods are left out, unless an earlier start has."""
    for method, reason in out.items():
        log.once(Decision(What.METHOD_OVER, method, reason))
