"""What an architecture can't offer, and what trials can't share. No torch."""

import json
from collections.abc import Sequence
from dataclasses import replace

from pelt_automl.backbones.architectures import Architecture
from pelt_automl.design_space import OWN_COPY, WHOLE_SITES, BackboneShape, Form, Modification, Site, lowest_layer, nonsense
from pelt_automl.errors import BackboneError, all_problems


def why_not(modification: Modification, architecture: Architecture, shape: BackboneShape) -> str | None:
    """Why a modification can't be carried out on an architecture; None if it can. Nothing has to be loaded to know."""
    m = modification
    if reason := nonsense(m.form, m.site, m.insertion):
        return f"{m.form} at {m.site}, {m.insertion}: {reason}"
    if m.form is Form.BIAS and not shape.biases:
        return f"{architecture.family} has no bias terms"
    if m.site in architecture.missing:
        return f"{architecture.family} has no site {m.site}: {architecture.missing[m.site]}"
    if m.site not in architecture.sites and m.site not in WHOLE_SITES.values():
        return f"{architecture.family} has no site {m.site}"
    if m.gate and m.form in WHOLE_SITES:
        return f"a gate multiplies a change in a layer; the {m.form} form has none"
    if m.form is Form.PEFT:
        from pelt_automl.modifications.counting import bridged_refusal  # torch, and peft

        return bridged_refusal(m.peft, architecture, shape)
    last = shape.layers_with(m.site) - 1
    wrong = [layer for layer in m.layers or () if not 0 <= layer <= last]
    return f"{m.site} is at the layers 0 to {last}, not at {', '.join(map(str, wrong))}" if wrong else None


def check_supported(modifications: Sequence[Modification], architecture: Architecture, shape: BackboneShape) -> None:
    """Raises `BackboneError` with every modification that can't be carried out, the reasons, and the sites that there are."""
    problems = [reason for m in modifications if (reason := why_not(m, architecture, shape))]
    labels = [(m.name, m.site) for m in modifications]
    if len(modifications) > 1:
        problems += [
            f"{m.name} works on a copy of the backbone, so it can't be combined with others" for m in modifications if m.form in OWN_COPY
        ]
    problems += [f"two modifications are called {name} at {site}" for name, site in sorted({x for x in labels if labels.count(x) > 1})]
    if problems:
        there = ", ".join(site for site in Site if site in architecture.sites and site not in architecture.missing)
        raise BackboneError(f"{all_problems(f'not possible on {architecture.family}', problems)}\nIts sites: {there}.")


def needs_own_pack(modifications: Sequence[Modification], architecture: Architecture) -> bool:
    """Whether a trial can't share a forward pass with others."""
    return not architecture.packs or any(m.form in OWN_COPY for m in modifications)


def pack_kind(modifications: Sequence[Modification], architecture: Architecture, shape: BackboneShape) -> tuple[object, ...] | None:
    """What trials that train well in one pack have in common; None for one that can't share any.

    Prompts make the sequences of a whole pack longer; a trial that changes the lowest layer keeps the others from sharing theirs, and so
    does any that changes layers at all for those that only have a head.
    """
    if needs_own_pack(modifications, architecture):
        return None
    lowest = lowest_layer(modifications, shape)
    depth = "all layers" if lowest == 0 else "the upper layers" if lowest < shape.layers else "no layer"
    return (any(m.form is Form.PROMPT for m in modifications), depth)


def pack_order(modifications: Sequence[Modification]) -> tuple[str, ...]:
    """By this key trials with the same kinds of modifications become neighbors in a pack, so that their rows are one range."""
    return tuple(sorted(str(replace(m, size=0, scale=1.0)) for m in modifications))


def without_reparameterization(modifications: Sequence[Modification]) -> tuple[Modification, ...]:
    """The form in which trained modifications are kept: prefixes and prompts as such, without the network that made them."""
    kept = []
    for modification in modifications:
        given = json.loads(modification.peft or "{}")
        is_made = given.get("peft_type") == "P_TUNING"
        peft = json.dumps(given | {"inference_mode": True}, sort_keys=True) if is_made else modification.peft
        kept.append(replace(modification, reparameterization=0, peft=peft))
    return tuple(kept)
