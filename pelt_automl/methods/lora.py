"""LoRA: low-rank changes of a layer's linear maps."""

from typing import Any

from pelt_automl.design_space import Form, Modification, Site
from pelt_automl.errors import SettingsError
from pelt_automl.methods.method import PeltMethod

MAPS = {
    "query": Site.ATTENTION_QUERY,
    "key": Site.ATTENTION_KEY,
    "value": Site.ATTENTION_VALUE,
    "output": Site.ATTENTION_OUTPUT,
    "up": Site.FFN_UP,
    "gate": Site.FFN_GATE,
    "down": Site.FFN_DOWN,
}
GROUPS = {"attention": ("query", "key", "value", "output"), "ffn": ("up", "down")}
GROUPS["all-linear"] = GROUPS["attention"] + GROUPS["ffn"]  # without the gate, which few architectures have


def build(rank: int = 8, alpha: float = 16.0, targets: str = "query-value") -> tuple[Modification, ...]:
    """``W x + (alpha / rank) B A x`` at the linear maps that `targets` names, in every layer.

    `targets`: ``attention``, ``ffn``, ``all-linear``, or any of query, key, value, output, up, gate and down, joined by hyphens.
    """
    sites = [MAPS[name] for name in _names(targets)]
    return tuple(Modification("lora", site, Form.LINEAR, size=rank, scale=alpha / rank) for site in sites)


def _names(targets: str) -> tuple[str, ...]:
    return GROUPS.get(targets) or tuple(targets.split("-"))


def read_targets(value: Any) -> str:
    """The text for a list of linear maps, or for the text itself. Raises `SettingsError` for names that there aren't, or twice."""
    text = "-".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    names = _names(text)
    if set(names) - set(MAPS) or len(set(names)) < len(names):
        raise SettingsError(
            f"targets is {text!r}; there are {', '.join(GROUPS)}, and {', '.join(MAPS)}, each once at most, joined by hyphens"
        )
    return text


METHOD = PeltMethod(
    name="lora",
    summary="low-rank changes of linear maps: of query and value by default",
    source="Hu et al. 2022 (LoRA); r=8, alpha=16 and learning rate as in UniPELT's comparison",
    learning_rate=5e-4,
    build=build,
    readers={"targets": read_targets},
)
