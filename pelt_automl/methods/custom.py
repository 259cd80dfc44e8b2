"""Any list of Modifications: a point of the design space, or several, without a name."""

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from pelt_automl.design_space import Form, Gate, Insertion, Modification, Site, modification_from_dict, nonsense
from pelt_automl.errors import SettingsError, all_problems
from pelt_automl.methods.gating import gate_problems
from pelt_automl.methods.method import LEARNING_RATE, PeltMethod
from pelt_automl.methods.values import wrong_value

BOTTLENECKS = (Form.LINEAR, Form.RELU)
FORMS: dict[str, tuple[Form, ...]] = {
    "size": (*BOTTLENECKS, Form.SOFTMAX, Form.SUBSPACE, Form.PROMPT),
    "scale": (*BOTTLENECKS, Form.SOFTMAX, Form.SCALE),
    "gate": (*BOTTLENECKS, Form.SOFTMAX, Form.SCALE, Form.SUBSPACE),
    "layers": (*BOTTLENECKS, Form.SOFTMAX, Form.SCALE, Form.SUBSPACE),
    "top_share": (*BOTTLENECKS, Form.SOFTMAX, Form.SCALE, Form.SUBSPACE),
    "positions": (Form.SUBSPACE,),
    "initialization": (*BOTTLENECKS, Form.SOFTMAX, Form.PROMPT),
    "reparameterization": (*BOTTLENECKS, Form.SOFTMAX),
    "activation": (Form.RELU,),
    "composition": (Form.SOFTMAX,),
}
"""By key: the forms that it says anything of."""

REQUIRED = ("name", "form", "site")
NOT_HERE = {
    Form.FULL: "full fine-tuning leaves nothing for other changes: use the method full",
    Form.PEFT: "what peft trains has methods of its own",
}
_ANNOTATIONS: dict[str, Any] = {field.name: field.type for field in fields(Modification) if field.name != "peft"}
KINDS = {key: _ANNOTATIONS[key] for key in (*REQUIRED, *_ANNOTATIONS)}
"""Annotations by key, in the order in which a list is written."""
GATE_KINDS: dict[str, Any] = {field.name: field.type for field in fields(Gate)}


def build(
    modifications: str = '[{"name": "linear-adapter", "form": "linear", "site": "ffn", "insertion": "sequential"}]',
    size: int = 16,
    scale: float = 1.0,
) -> tuple[Modification, ...]:
    """The Modifications of a JSON list, whose keys are those of `Modification`; what leaves out its size or scale takes these."""
    return tuple(_modification(entry, size, scale) for entry in json.loads(modifications))


def _modification(entry: Mapping[str, Any], size: int, scale: float) -> Modification:
    given = {"size": size} if entry["form"] in FORMS["size"] else {}
    return modification_from_dict({**given, **({"scale": scale} if _scaled(entry) else {}), **entry})


def _scaled(entry: Mapping[str, Any]) -> bool:
    """Whether a scale changes anything: a gate takes the place of a linear form's, and one softmax with the text's keys has none."""
    in_the_heads_softmax = entry["form"] == Form.SOFTMAX and entry.get("composition", "gated") == "gated"
    return entry["form"] in FORMS["scale"] and not in_the_heads_softmax and not (entry["form"] == Form.LINEAR and entry.get("gate"))


def read_modifications(value: Any) -> str:
    """The canonical JSON text for a list of mappings, or for such a text. Raises `SettingsError` with everything that is wrong with it."""
    try:
        entries = json.loads(value) if isinstance(value, str) else value
    except json.JSONDecodeError as error:
        raise SettingsError(f"modifications must be a list of mappings; the text {value!r} isn't JSON ({error})") from error
    if not isinstance(entries, list | tuple) or not entries:
        raise SettingsError(f"modifications must be a list with at least one mapping, found {entries!r}")
    problems = [problem for number, entry in enumerate(entries, start=1) for problem in _entry_problems(entry, f"number {number}")]
    if not problems:
        built = [_modification(entry, size=1, scale=1.0) for entry in entries]
        labels = [f"{m.name} at {m.site}" for m in built]
        problems = [f"there are two called {label}" for label in sorted({one for one in labels if labels.count(one) > 1})]
        problems += gate_problems(built)
    if problems:
        raise SettingsError(all_problems("a list of modifications", problems))
    return json.dumps([{key: entry[key] for key in KINDS if key in entry} for entry in entries])


def _entry_problems(entry: Any, label: str) -> list[str]:
    """What is wrong with one mapping by itself."""
    if not isinstance(entry, Mapping):
        return [f"{label}: expected a mapping with {', '.join(REQUIRED)}, found {entry!r}"]
    label = f"{label} ({entry['name']})" if isinstance(entry.get("name"), str) else label
    problems = [f"unknown key {key!r}; there are {', '.join(KINDS)}" for key in entry if key not in KINDS]
    problems += [f"the key {key!r} is missing" for key in REQUIRED if key not in entry]
    problems += [problem for key in KINDS if key in entry and (problem := _wrong(key, entry[key]))]
    if isinstance(entry.get("gate"), Mapping):
        problems += _gate_value_problems(entry["gate"])
    return [f"{label}: {problem}" for problem in problems or _form_problems(entry)]


def _wrong(key: str, value: Any) -> str | None:
    """Why a value isn't one that its key can have."""
    if key == "name":
        simple = isinstance(value, str) and value and value.replace("-", "").isalnum()
        return None if simple else f"name is {value!r}; it must be letters, digits and hyphens"
    if key == "gate":
        return None if isinstance(value, Mapping) and value else f"gate is {value!r}; it must be a mapping of {', '.join(GATE_KINDS)}"
    if key == "layers":
        whole = isinstance(value, list | tuple) and value and all(not wrong_value(int, layer) and layer >= 0 for layer in value)
        return None if whole and len(set(value)) == len(value) else f"layers is {value!r}; it must be a list of different layers, from 0"
    if wrong := wrong_value(KINDS[key], value):
        return f"{key} is {wrong}"
    if key == "top_share" and not 0 < value <= 1:
        return f"top_share is {value!r}; it must be above 0 and at most 1"
    if (key == "size" and value < 1) or (key == "reparameterization" and value < 0) or (key == "scale" and value == 0):
        return f"{key} is {value!r}; it would change nothing" if key == "scale" else f"{key} is {value!r}; it must be above 0"
    return None


def _gate_value_problems(gate: Mapping[str, Any]) -> list[str]:
    problems = [f"unknown key {key!r} of a gate; there are {', '.join(GATE_KINDS)}" for key in gate if key not in GATE_KINDS]
    known = {key: value for key, value in gate.items() if key in GATE_KINDS}
    found = {key: wrong_value(GATE_KINDS[key], value) for key, value in known.items()}
    problems += [f"the gate's {key} is {wrong}" for key, wrong in found.items() if wrong]
    small = [key for key in ("width", "temperature") if key in known and not found[key] and known[key] <= 0]
    problems += [f"the gate's {key} is {known[key]!r}; it must be above 0" for key in small]
    if not isinstance(gate.get("group", ""), str):
        problems.append(f"the gate's group is {gate['group']!r}; it must be a name")
    return problems


def _form_problems(entry: Mapping[str, Any]) -> list[str]:
    """What doesn't fit together in one mapping whose values are right."""
    form, site = Form(entry["form"]), Site(entry["site"])
    if form in NOT_HERE:
        return [NOT_HERE[form]]
    reason = nonsense(form, site, Insertion(entry.get("insertion", Insertion.PARALLEL)))
    problems = [f"{form} at {site}: {reason}"] if reason else []
    problems += [f"{key} says nothing of the {form} form" for key, forms in FORMS.items() if key in entry and form not in forms]
    if "scale" in entry and form in FORMS["scale"] and not _scaled(entry):
        problems.append("scale changes nothing: a gate takes the place of a linear form's, and a prefix in the head's own softmax has none")
    if "layers" in entry and "top_share" in entry:
        problems.append("layers and top_share both say which layers are changed; give one of them")
    if entry.get("reparameterization") and site is not Site.HEADS:
        problems.append("a reparameterization makes the keys and values of heads")
    start = entry.get("initialization", "paper")
    if (start == "vocabulary" and form is not Form.PROMPT) or (start == "identity" and form is Form.PROMPT):
        problems.append(f"the {form} form has no initialization {start}")
    return problems


METHOD = PeltMethod(
    name="custom",
    summary="any list of modifications, from a search space of your own",
    source="a form, site and insertion that He et al. 2022 (table 1) leave open; no published default",
    learning_rate=1e-3,
    build=build,
    readers={"modifications": read_modifications},
    unpublished=frozenset({LEARNING_RATE, "modifications", "size", "scale"}),
)
