"""What `pelt-automl methods` shows: methods with their sizes, and which model supports which method."""

import string
from collections.abc import Mapping, Sequence
from typing import Any

from pelt_automl.backbones import ARCHITECTURES, SHAPES, Architecture, shape_of
from pelt_automl.design_space import WHOLE_SITES, BackboneShape, Site
from pelt_automl.errors import SettingsError
from pelt_automl.methods import BASELINES, METHODS
from pelt_automl.modifications.counting import count_of
from pelt_automl.selection.field import refusals

LONGEST_VALUE = 60
"""Characters of a default that are printed."""


def method_rows(architecture: Architecture, shape: BackboneShape) -> list[dict[str, Any]]:
    """Every method of the registry on a model: its published configuration with its sizes, the head's for two classes.

    ``refused`` has why the model doesn't support it, and is empty if it does; the parameters (``trainable_parameters`` without gates and
    head) are None then.
    """
    rows = []
    for method in METHODS.values():
        refused = refusals(method.build(), architecture, shape)
        count = None if refused else count_of(method.build(), architecture, shape)
        rows.append({
            "name": method.name,
            "summary": method.summary,
            "source": method.source,
            "defaults": dict(method.defaults),
            "trainable_parameters": count.pelt if count else None,
            "gate_parameters": count.gates if count else None,
            "head_parameters": shape.head_parameters(2),
            "training_only_parameters": count.training_only if count else None,
            "refused": refused,
        })  # fmt: skip
    return rows


def outline_of(model: str | None, shape: str) -> tuple[Architecture, BackboneShape]:
    """Table and sizes of a model, or of a well-known shape. Raises `BackboneError` or `SettingsError` for one that isn't known."""
    if model is not None:
        from pelt_automl.backbones.loading import load_outline

        return load_outline(model)
    if shape not in SHAPES:
        raise SettingsError(f"unknown shape {shape!r}; there are {', '.join(SHAPES)}; or give a --model")
    return ARCHITECTURES[SHAPES[shape].family], SHAPES[shape]


def methods_text(rows: Sequence[Mapping[str, Any]], where: str) -> str:
    """The table of `method_rows` that is printed, what the model refuses at its end."""
    lines = [f"{'method':<24} {'parameters':>12} {'gates':>8} {'head':>7}   on {where}; the head for two classes"]
    for row in rows:
        if not row["refused"]:
            texts = {name: str(value) for name, value in row["defaults"].items()}
            defaults = [f"{name}={text[:LONGEST_VALUE]}{'...' * (len(text) > LONGEST_VALUE)}" for name, text in texts.items()]
            counts = f"{row['trainable_parameters']:>12,} {row['gate_parameters']:>8,} {row['head_parameters']:>7,}"
            lines += [f"{row['name']:<24} {counts}   {row['summary']}", f"{'':<54}   {', '.join(defaults)}"]
    lines += [f"{row['name']:<24} not possible: {'; '.join(row['refused'])}" for row in rows if row["refused"]]
    baselines = [f"{baseline.name:<24} {'':>29}   {baseline.summary}" for baseline in BASELINES.values()]
    return "\n".join([*lines, "\nbaselines, which train no backbone and take part in every selection:", *baselines])


def sites_text(architecture: Architecture) -> str:
    """The sites of single layers, each with whether the architecture has it."""
    lines = [f"\nsites of {architecture.family}:"]
    for site in Site:
        if site not in WHOLE_SITES.values():
            reason = architecture.missing.get(site, "" if site in architecture.sites else "not in this architecture")
            lines.append(f"  {site:<17} {'no: ' + reason if reason else 'yes'}")
    return "\n".join(lines)


def support_matrix() -> dict[str, Any]:
    """Every method on a model of every family, from configurations alone: ``families``; in ``refused`` the reasons by method and family."""
    outlines = {family: (table, _small_shape(family)) for family, table in ARCHITECTURES.items()}
    refused = {
        name: {family: reasons for family, outline in outlines.items() if (reasons := refusals(method.build(), *outline))}
        for name, method in METHODS.items()
    }
    return {"families": list(outlines), "refused": refused}


def _small_shape(family: str) -> BackboneShape:
    """The shape of the family's standard configuration with two layers: what is supported doesn't depend on how many there are."""
    from transformers import AutoConfig

    config = AutoConfig.for_model(family)
    for name in ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "num_decoder_layers", "encoder_layers", "decoder_layers"):
        if getattr(config, name, None):
            setattr(config, name, 2)
    return shape_of(config)


def matrix_text(matrix: Mapping[str, Any]) -> str:
    """The matrix: a column a family, its name from top to bottom; ``+`` for what is possible, else a letter for the reason below.

    Reasons are written without the family's name, so that families with the same reason share its letter.
    """
    notes: dict[str, str] = {}
    height = max(map(len, matrix["families"]))
    names = [family.rjust(height) for family in matrix["families"]]
    lines = [" " * 24 + " ".join(name[row] for name in names) for row in range(height)]
    for method, by_family in matrix["refused"].items():
        whys = {family: "; ".join(reason.removeprefix(f"{family} ") for reason in reasons) for family, reasons in by_family.items()}
        for why in whys.values():
            notes.setdefault(why, string.ascii_letters[len(notes)])
        lines.append(method.ljust(24) + " ".join(notes[whys[family]] if family in whys else "+" for family in matrix["families"]))
    return "\n".join([*lines, "", "+: possible", *(f"{mark}: {reason}" for reason, mark in notes.items())])
