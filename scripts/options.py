"""Writes what is made from pelt_automl/settings.py and committed: docs/options.md, and the types of `pelt_automl.select`'s options.

Run it after a change of the settings: python scripts/options.py
"""

from pathlib import Path
from typing import Literal

from pelt_automl.settings import Knob, options, reproduction_options

ROOT = Path(__file__).resolve().parents[1]
PAGE, TYPES = ROOT / "docs" / "options.md", ROOT / "pelt_automl" / "option_types.pyi"
INTRODUCTION = """The command line, the flow `select-pelt`, task files and Python have the same options ([README](../README.md) has
examples). Outside the command line a name has underscores: `max_length`. A list is typed as `a,b`; flows, task files and Python take
real lists too."""


def page() -> str:
    """The tables, a panel each."""
    knobs = options()
    lines = [
        "# All options",
        "",
        "<!-- Made by scripts/options.py from pelt_automl/settings.py. -->",
        "",
        INTRODUCTION,
        "",
    ]
    for panel in dict.fromkeys(knob.panel for knob in knobs.values()):
        lines += [f"## {panel}", "", *_table([knob for knob in knobs.values() if knob.panel == panel]), ""]
    lines += ["## Reproducing UniPELT's tables", "", "Of `reproduce-unipelt`; the defaults are the paper's.", ""]
    return "\n".join([*lines, *_table(list(reproduction_options().values())), ""])


def _table(knobs: list[Knob]) -> list[str]:
    rows = [
        f"| `{knob.flag}` | {'list, each ' if knob.many else ''}{knob.expected()} | {knob.text(knob.default)} | {knob.help} |"
        for knob in knobs
    ]
    return ["| option | values | default | what it is |", "|---|---|---|---|", *rows]


def types() -> str:
    """A stub with a dictionary of the options, which type checkers and editors understand; k, which a curve has by itself, apart."""
    knobs = options()
    apart = {name: knob for name, knob in knobs.items() if knob.several}
    return "\n".join(
        [
            "# Made by scripts/options.py from pelt_automl/settings.py.",
            "from collections.abc import Sequence",
            "from pathlib import Path",
            "from typing import Literal, TypedDict",
            "",
            "class CurveOptions(TypedDict, total=False):",
            *(line for name, knob in knobs.items() if name not in apart for line in _field(knob)),
            "",
            "class Options(CurveOptions, total=False):",
            *(line for knob in apart.values() for line in _field(knob)),
            "",
        ]
    )


def _field(knob: Knob) -> list[str]:
    one = str(Literal[knob.choices]).removeprefix("typing.").replace("'", '"') if knob.choices else knob.base.__name__
    one = "str | Path" if knob.base is Path else one
    kind = ("Sequence[str]" if knob.base is str else f"Sequence[{one}] | str") if knob.many else one
    kind += " | Sequence[str]" * knob.joined
    word = f' | Literal["{knob.nothing}"]' if knob.nothing and not knob.many else ""
    return [f"    {knob.name}: {kind}{word} | None", f'    """{knob.help}"""']


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    TYPES.write_text(types(), encoding="utf-8")
