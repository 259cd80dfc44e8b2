"""A table in words: Markdown for the folder, plain text for the terminal, JSON for programs."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict

from pelt_automl.reproduction.protocol import k_name
from pelt_automl.reproduction.published import AVERAGE, TABLES, Published
from pelt_automl.reproduction.table import Entry, Figure, Grid, Row, Table

MISSING = "-"

VERSIONS = ("pelt-automl", "torch", "transformers")


def as_json(table: Table) -> str:
    """Everything, with the differences worked out."""
    plain = asdict(table)
    for grid, own in zip(plain["grids"], table.grids, strict=True):
        for kind, rows in (("rows", own.rows), ("oracles", own.oracles)):
            for row, its in zip(grid[kind], rows, strict=True):
                for name, entry in row["entries"].items():
                    entry["difference"] = its.entries[name].difference
    return json.dumps(plain, indent=2) + "\n"


def markdown(table: Table) -> str:
    """A page: what was run, a table a K, what went wrong, caveats."""
    return _page(table, _markdown_lines, "##")


def terminal_text(table: Table) -> str:
    """The same with aligned columns."""
    return _page(table, _aligned_lines, "")


def _page(table: Table, draw: Callable[[list[list[str]]], list[str]], mark: str) -> str:
    lines = [f"{mark[1:]} UniPELT's tables on {table.model}".strip(), "", *_facts(table)]
    for grid in table.grids:
        lines += ["", f"{mark} K={k_name(grid.k)}{_where(grid)}".strip(), "", *draw(_cells(grid)), "", *_order(grid)]
    for title, found in (("Left out", table.left_out), ("Constant predictions", table.constant), ("Failed", table.failed)):
        if found:
            lines += ["", f"{mark} {title}".strip(), "", *(f"- {what}: {_plain(why)}" for what, why in found.items())]
    return "\n".join([*lines, "", f"{mark} Caveats".strip(), "", *(f"- {caveat}" for caveat in table.caveats)]) + "\n"


def _facts(table: Table) -> list[str]:
    versions = table.environment.get("versions", {})
    known = ", ".join(f"{name} {versions[name]}" for name in VERSIONS if name in versions)
    departures = f" Other than the paper: {', '.join(table.departures)}." if table.departures else ""
    seeds = f"Data seeds {', '.join(map(str, table.seeds))}; initialization and order have the seed {table.training_seed} in all of them."
    return [
        f"{table.finished} of {table.wanted} runs. {seeds}{departures}",
        "",
        f"Points; mean (standard deviation) over data seeds, [n] where fewer of them are there. {known}.",
    ]


def _where(grid: Grid) -> str:
    return f" (table {TABLES[grid.k]} of the paper)" if grid.k in TABLES else " (not in the paper)"


def _cells(grid: Grid) -> list[list[str]]:
    """The table's cells, its head first: three lines a method."""
    columns = (*grid.tasks, AVERAGE)
    cells = [["", *columns]]
    for row in (*grid.rows, *grid.oracles):
        cells += [_line(row, columns, "here", lambda e: _here(e.here, grid.wanted))]
        if any(entry.published for entry in row.entries.values()):
            cells += [_line(row, columns, "paper", lambda e: _paper(e.published)), _line(row, columns, "difference", _difference)]
    return cells


def _line(row: Row, columns: Sequence[str], what: str, show: Callable[[Entry], str]) -> list[str]:
    return [f"{row.label}, {what}", *(show(row.entries[name]) if name in row.entries else MISSING for name in columns)]


def _here(figure: Figure | None, wanted: int) -> str:
    if figure is None:
        return MISSING
    deviation = f" ({figure.deviation:.2f})" if figure.deviation is not None else ""
    return f"{figure.mean:.2f}{deviation}" + (f" [{figure.seeds}]" if 0 < figure.seeds < wanted else "")


def _paper(figure: Published | None) -> str:
    if figure is None:
        return MISSING
    return f"{figure.mean:.2f}" + (f" ({figure.deviation:.2f})" if figure.deviation is not None else "")


def _difference(entry: Entry) -> str:
    return MISSING if entry.difference is None else f"{entry.difference:+.2f}"


def _order(grid: Grid) -> list[str]:
    if grid.correlation is None:
        return ["Too few methods with an average here and in the paper to compare their order."]
    correlation = f"Spearman's correlation of the averages: {grid.correlation:+.2f} over {len(grid.order_here)} methods."
    return [
        f"Order by average, here: {' > '.join(grid.order_here)}.",
        f"In the paper, on the same tasks: {' > '.join(grid.order_published)}. {correlation}",
    ]


def _plain(text: str) -> str:
    """On one line: a cause may have many."""
    return " ".join(text.split())


def _markdown_lines(cells: list[list[str]]) -> list[str]:
    head, *body = [f"| {' | '.join(row)} |" for row in cells]
    return [head, "|---|" + "---:|" * (len(cells[0]) - 1), *body]


def _aligned_lines(cells: list[list[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return [
        "  ".join([row[0].ljust(widths[0]), *(text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True))]) for row in cells
    ]
