"""UniPELT's gates on the Modifications of any method, and which gates make no sense."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from pelt_automl.design_space import WHOLE_SITES, Form, Gate, Modification


def behind_gate(modifications: Iterable[Modification], gate: Gate) -> tuple[Modification, ...]:
    """The same changes, each multiplied by a gate. It takes the place of a low-rank change's scale, as in UniPELT's released code."""
    return tuple(replace(m, gate=gate, scale=1.0 if m.form is Form.LINEAR else m.scale) for m in modifications)


def gate_problems(modifications: Sequence[Modification]) -> list[str]:
    """Why the gates of a method make no sense, all reasons at once; empty if they do."""
    gated = [(m, m.gate) for m in modifications if m.gate]
    problems = [
        f"{m.name}: a gate multiplies a change of h in a layer; the {m.form} form changes the model as a whole"
        for m, _ in gated
        if m.form in WHOLE_SITES
    ]
    for m, gate in gated:
        if gate.split and (m.form is not Form.SOFTMAX or m.composition != "gated"):
            problems.append(f"{m.name}: only a prefix in the head's own softmax has a gate for its keys and one for its values (split)")
        elif gate.split and gate.group:
            problems.append(f"{m.name}: a shared or competing gate has one value for keys and values (split)")
    problems += [f"{m.name}: competing gates ({gate.squashing}) need a group" for m, gate in gated if gate.competing and not gate.group]
    for group in sorted({gate.group for _, gate in gated if gate.group}):
        members = [(m.name, gate) for m, gate in gated if gate.group == group]
        if len({gate for _, gate in members}) > 1:
            problems.append(f"the gates of the group {group} differ; they are one network")
        names = {name for name, _ in members}
        if members[0][1].competing and len(names) < 2:
            problems.append(
                f"competing gates ({members[0][1].squashing}) add up to 1 over two submodules or more; there is {min(names)} alone"
            )
    return problems
