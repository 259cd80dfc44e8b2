"""Seconds as a function of trials, K, methods, pack size and model width: a plot each, and the exponent of the power law that fits best.

    python benchmarks/scaling.py --output results
    python benchmarks/scaling.py --axes pack,width --packs 1,2 --widths 32,64 --layers 2 --tokens 16 --repeats 1

``trials``, ``k`` and ``methods`` are whole selections in fresh processes (the seconds of the selection itself, from its records: imports
are left out); ``pack`` and ``width`` are steps of the real training loop on random weights (see our_steps.py). An exponent of 1 is
linear. The fit is least squares of log seconds on log size, with its 95 % interval by Student's t; costs that don't grow (loading, the
report) make the exponent of small sizes smaller than that of large ones, so the last step's own exponent stands beside it.
"""

import argparse
import json
import math
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import Report, Table, add_selection_options, names, numbers, parser, say, selection_options
from benchmarks.measuring import ProcessError, Spread, TimeLimit, in_turn, run_process
from pelt_automl.durable import replacing

AXES = ("pack", "width", "trials", "k", "methods")
POINTS = ("axis", "size", "seconds", "lowest", "highest", "repeats")
FITS = ("axis", "exponent", "low", "high", "last step's exponent", "points")
HEAD_WIDTH = 32

Measure = Callable[[int], float]
"""Seconds at a size."""


@dataclass(frozen=True)
class PowerLaw:
    """``seconds = factor * size ** exponent``."""

    exponent: float
    low: float
    high: float
    """The 95 % interval; infinite with two points."""
    factor: float


def fit_power_law(sizes: Sequence[float], seconds: Sequence[float]) -> PowerLaw:
    """Least squares on logarithms. Raises `ValueError` for fewer than two different sizes."""
    if len(set(sizes)) < 2:
        raise ValueError(f"a power law needs at least two different sizes, not {sorted(set(sizes))}")
    x, y = [math.log(size) for size in sizes], [math.log(value) for value in seconds]
    slope, intercept = statistics.linear_regression(x, y)
    df = len(x) - 2
    if not df:
        return PowerLaw(slope, -math.inf, math.inf, math.exp(intercept))
    from scipy.stats import t

    residual = sum((b - intercept - slope * a) ** 2 for a, b in zip(x, y, strict=True)) / df
    mean = statistics.fmean(x)
    half = float(t.ppf(0.975, df)) * math.sqrt(residual / sum((a - mean) ** 2 for a in x))
    return PowerLaw(slope, slope - half, slope + half, math.exp(intercept))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write, draw."""
    options = _options(arguments)
    report = Report("scaling", {name: str(value) for name, value in vars(options).items()})
    points, fits = Table("Seconds by size", POINTS), Table("Exponents", FITS)
    report.tables += [fits, points]
    limit = TimeLimit(options.seconds)
    for axis in options.axes:
        sizes, measure = _axis(axis, options)
        found = _measured(axis, sizes, measure, options, report, limit)
        for size, spread in found.items():
            points.add(axis=axis, size=size, seconds=spread.median, lowest=spread.low, highest=spread.high, repeats=spread.repeats)
        if len(found) < 2:
            report.left_out.append(f"{axis}: {len(found)} sizes are too few for an exponent")
            continue
        law = fit_power_law(list(found), [spread.median for spread in found.values()])
        last = fit_power_law(list(found)[-2:], [spread.median for spread in list(found.values())[-2:]]).exponent
        fits.add(
            **{"axis": axis, "exponent": law.exponent, "low": law.low, "high": law.high, "last step's exponent": last, "points": len(found)}
        )
        if options.output:
            _draw(axis, found, law, options.output, report)
    report.write(options.output)


def _measured(
    axis: str, sizes: Sequence[int], measure: Measure, options: argparse.Namespace, report: Report, limit: TimeLimit
) -> dict[int, Spread]:
    """Every size `repeats` times; sizes that fail or come too late are named in the report."""
    found: dict[int, Spread] = {}
    for size in sorted(sizes):
        if limit.left <= 0:
            report.left_out.append(f"{axis} = {size}: the time limit")
            continue
        say(f"{axis} = {size}")
        try:
            found[size] = Spread.of(in_turn({"seconds": lambda n=size: measure(n)}, options.repeats, limit)["seconds"])
        except (ProcessError, RuntimeError) as error:
            report.left_out.append(f"{axis} = {size}: {error}")
    return found


def _axis(axis: str, options: argparse.Namespace) -> tuple[list[int], Measure]:
    """The sizes of an axis, and what measures one."""
    if axis == "pack":
        return options.packs, lambda count: _step_seconds(options, options.width, count)
    if axis == "width":
        return options.widths, lambda width: _step_seconds(options, width, options.pack)
    chosen = names(options.methods)
    if axis == "methods":
        counts = options.method_counts or list(range(1, len(chosen) + 1))
        return counts, lambda count: _selection_seconds(options, {"methods": ",".join(chosen[:count])})
    sizes: list[int] = options.trial_counts if axis == "trials" else options.ks
    return sizes, lambda size: _selection_seconds(options, {axis: size})


def _step_seconds(options: argparse.Namespace, width: int, count: int) -> float:
    """A step of a mixed pack, in seconds."""
    import torch

    from benchmarks.our_steps import Work, configurations, device_named, random_backbone, time_pack

    sizes = {
        "hidden_size": width,
        "num_hidden_layers": options.layers,
        "num_attention_heads": max(1, width // HEAD_WIDTH),
        "intermediate_size": 4 * width,
    }
    backbone = random_backbone(sizes, options.tokens, device_named(options.device), "auto")
    work = Work(options.batch, options.tokens, options.steps, options.warmup)
    seconds = statistics.median(time_pack(backbone, configurations(options.pack_methods, count), work).seconds)
    if backbone.device.type == "cuda":
        torch.cuda.empty_cache()
    return seconds


def _selection_seconds(options: argparse.Namespace, changed: Mapping[str, Any]) -> float:
    """A whole selection, in seconds."""
    given = selection_options(options) | dict(changed)
    with tempfile.TemporaryDirectory() as folder:
        command = ["-m", "benchmarks.our_selection", f"{folder}/selection", json.dumps(given)]
        return float(run_process(command, {"PELT_AUTOML_HOME": f"{folder}/home"}).result["selection_seconds"])


def _draw(axis: str, found: Mapping[int, Spread], law: PowerLaw, folder: Path, report: Report) -> None:
    """``scaling-AXIS.png``."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        report.left_out.append(f"the plot of {axis}: {error}")
        return
    sizes, medians = list(found), [spread.median for spread in found.values()]
    below = [spread.median - spread.low for spread in found.values()]
    above = [spread.high - spread.median for spread in found.values()]
    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.errorbar(sizes, medians, yerr=[below, above], fmt="o", capsize=3, label="median, smallest to largest")
    axes.plot(
        sizes,
        [law.factor * size**law.exponent for size in sizes],
        "--",
        label=f"exponent {law.exponent:.2f} ({law.low:.2f} to {law.high:.2f})",
    )
    axes.set(xscale="log", yscale="log", xlabel=axis, ylabel="seconds")
    axes.set_xticks(sizes, [str(size) for size in sizes], minor=False)
    axes.set_yticks(medians, [f"{median:.3g}" for median in medians], minor=False)
    axes.minorticks_off()
    axes.legend()
    with replacing(folder / f"scaling-{axis}.png") as draft:
        figure.savefig(draft, dpi=150)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    made = parser(__doc__)
    made.formatter_class = argparse.RawDescriptionHelpFormatter
    made.add_argument("--axes", type=names, default=list(AXES), help=f"of {', '.join(AXES)} (default: all)")
    made.add_argument("--repeats", type=int, default=3)
    made.add_argument("--seconds", type=float, default=24 * 3600.0, help="no further size is begun after so many")
    selection = "lora,bitfit,adapter,unipelt-apl"
    add_selection_options(made, task="pydoc-match", model="minilm", methods=selection, k="400", trials=4)
    made.add_argument("--trial-counts", type=numbers, default=[2, 4, 8, 16])
    made.add_argument("--ks", type=numbers, default=[100, 200, 400, 800])
    made.add_argument("--method-counts", type=numbers, help="so many of --methods, the first ones (default: 1 to all)")
    made.add_argument("--packs", type=numbers, default=[1, 2, 4, 8, 16])
    made.add_argument("--widths", type=numbers, default=[128, 256, 512, 1024], help=f"multiples of {HEAD_WIDTH}")
    made.add_argument("--pack", type=int, default=4, help="pack size on the axis width")
    made.add_argument("--width", type=int, default=384, help="width on the axis pack")
    made.add_argument("--layers", type=int, default=6)
    made.add_argument("--pack-methods", type=names, default=["lora", "adapter", "prefix", "bitfit"])
    made.add_argument("--batch", type=int, default=16)
    made.add_argument("--tokens", type=int, default=64)
    made.add_argument("--steps", type=int, default=5)
    made.add_argument("--warmup", type=int, default=2)
    made.add_argument("--device", default="auto")
    options = made.parse_args(arguments)
    if unknown := [axis for axis in options.axes if axis not in AXES]:
        made.error(f"there is no axis {', '.join(unknown)}; there are {', '.join(AXES)}")
    return options


if __name__ == "__main__":
    main()
