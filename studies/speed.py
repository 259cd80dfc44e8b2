"""How fast the program is: packs of many trials, whole selections by their size, and where a selection's time goes.

``packing``: trial-steps a second of packs beside HF Trainer + peft and beside k processes on one device, and a pack's memory; random
weights, torch and transformers are all that is needed (accelerate and peft for the peer). ``scaling``: seconds by trials, K, methods, pack
size and width, with the exponent of the power law that fits best. ``overheads``: which part of the program a selection's main thread is in.
"""

import argparse
import math
import multiprocessing
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from studies.harness import (
    ProcessError,
    Report,
    Row,
    TimeLimit,
    add_options,
    add_selection_options,
    fresh_process,
    in_turn,
    names,
    numbers,
    parser,
    ratios,
    say,
    selection_options,
    spread,
)  # fmt: skip

MIXED = "mixed"
AXES = ("pack", "width", "trials", "k", "methods")
HEAD_WIDTH = 32
STARTING = 180.0
"""Seconds for all of k processes to import their libraries, build their model and warm up."""


# -------------------------------------------------------------------- packing


class Packing:
    """One shape of backbone, ours and the peer's."""

    def __init__(self, shape: str, asked: argparse.Namespace, report: Report, limit: TimeLimit) -> None:
        from studies import steps

        say(f"{shape}: random weights, the ceiling, the peer's precision")
        self.shape, self.asked, self.report, self.limit, self.steps = shape, asked, report, limit, steps
        self.sizes, self.work = steps.SHAPES[shape], steps.Work(asked.batch, asked.tokens, asked.steps, asked.warmup)
        self.backbone = steps.random_backbone(self.sizes, asked.tokens, steps.device_named(asked.device), asked.precision)
        self.ceiling = product_flops(self.backbone.device, self.backbone.dtype)
        report.notes.append(f"{shape}: products in {self.backbone.dtype} reach {self.ceiling / 1e12:.3g} TFLOP/s, the ceiling")
        self.done, self.mean_flops = set[tuple[str, int]](), dict[tuple[str, int], float]()
        self.slowest = 0.0  # seconds for one step of one trial, at most, so far
        self.precision: Any = None
        try:
            self.precision, seconds = steps.fastest_precision(self.sizes, self.backbone, self.work)
        except ImportError as error:  # HF Trainer needs accelerate
            report.leave_out(f"{shape}, the peer", error)
        else:
            self.slowest = min(seconds.values())
            shown = ", ".join(f"{which} {1000 * value:.1f} ms" for which, value in seconds.items())
            report.notes.append(f"{shape}: the peer trains LoRA in {self.precision}, its fastest ({shown} a step)")

    def stage(self, what: str, trials: int, measure: Callable[..., None], *arguments: Any, more: float = 1.0) -> None:
        """A measurement of so many trials' steps and `more` seconds, if it fits; what it raises (too little memory, say) ends it alone."""
        if not self.limit.allows(more + trials * (self.work.steps + self.work.warmup) * self.slowest):
            self.report.leave_out(f"{self.shape}, {what}", "the time limit")
            return
        say(f"{self.shape}, {what}")
        try:
            measure(*arguments)
        except Exception as error:  # noqa: BLE001 see above
            self.report.leave_out(f"{self.shape}, {what}", error)

    def trials(self, what: str, count: int) -> list[Any]:
        """A pack's trials: mixed, or all of them one method's published default, so that the peer's single one is the same work."""
        own = self.steps.configurations
        return own(self.asked.methods, count) if what == MIXED else own([what], 1) * count

    def row(self, what: str, who: str, at_once: int, speeds: list[float], how: str, seen: Sequence[Any] = ()) -> None:
        """Put a measurement into the table; FLOPs are those that torch counts in a step of our pack of such trials."""
        key = what, at_once if who == "ours" else self.asked.reference
        if key not in self.mean_flops:
            self.mean_flops[key] = self.steps.flops(self.backbone, self.trials(*key), self.work)
        row: Row = {"shape": self.shape, "trials of": what, "who": who, "at once": at_once, **spread(speeds, "trial-steps/s"),
                    "share of ceiling": statistics.median(speeds) * self.mean_flops[key] / self.ceiling, "how": how}  # fmt: skip
        if seen:
            added = max((own.added_bytes or 0 for own in seen), default=0)
            row |= {"ms a step": 1000 * statistics.median(own.step for own in seen), "setup s": max(own.setup for own in seen),
                    "GPU GB added": added / 1e9 or None}  # fmt: skip
        self.report.add("Speed", **row)

    def ours(self, what: str, count: int, seen: list[Any]) -> float:
        """Trial-steps per second of a pack."""
        seen.append(self.steps.time_pack(self.backbone, self.trials(what, count), self.work))
        self.slowest = max(self.slowest, seen[-1].step / count)
        return float(count / seen[-1].step)

    def against(self, what: str, who: str, peer: Callable[[], float], how: str, at_once: int, seen: Sequence[Any]) -> None:
        """A pack in turn with a peer."""
        own, count = list[Any](), self.asked.reference
        measures = {"ours": lambda: self.ours(what, count, own), "peer": peer}
        found = in_turn(measures, self.asked.repeats, self.limit)
        if (what, count) not in self.done:
            self.row(what, "ours", count, found["ours"], "one pack, training.packing", own)
        self.done.add((what, count))
        self.row(what, who, at_once, found["peer"], how, seen)
        gains = ratios(found["ours"], found["peer"])
        self.report.add("Ours against the peers", shape=self.shape, **{"trials of": what, "ours, pack of": count}, peer=who,
                        **spread(gains, "times faster"), repeats=len(gains))  # fmt: skip

    def against_trainer(self, what: str) -> None:
        """A pack against the same trials one after the other by HF Trainer; of a method's equal ones one stands for all."""
        distinct = self.trials(what, self.asked.reference if what == MIXED else 1)
        peer, seen = self.steps.Peer(self.sizes, self.backbone, self.work, self.precision), list[Any]()

        def one_by_one() -> float:
            seen.append(peer.one_by_one(distinct))
            self.slowest = max(self.slowest, seen[-1].step)
            return 1 / float(seen[-1].step)

        how = ", ".join(sorted({self.steps.how_trained(trial.method) for trial in distinct}))
        self.against(what, "HF Trainer, one by one", one_by_one, how, 1, seen)

    def against_processes(self, processes: int) -> None:
        """A mixed pack against k processes that share the device, by time slices on a GPU (no MPS), a share of the cores on a processor."""
        spawn, threads = multiprocessing.get_context("spawn"), max(1, (os.cpu_count() or 1) // processes)
        precisions = self.asked.precision, self.precision
        station = spawn.Barrier(processes), self.sizes, self.work, str(self.backbone.device), precisions, threads
        with spawn.Pool(processes, self.steps.open_station, station) as pool:

            def together() -> float:
                training = pool.map_async(self.steps.train_at_station, self.trials(MIXED, processes), chunksize=1)
                begins, ends = zip(*training.get(min(STARTING, max(1.0, self.limit.left))), strict=True)
                return float(processes * self.work.steps / (max(ends) - min(begins)))

            self.against(MIXED, f"{processes} processes", together, f"HF Trainer, {threads} threads each", processes, ())

    def pack(self, what: str, count: int) -> None:
        """Our packs of one size."""
        seen = list[Any]()
        found = in_turn({"ours": lambda: self.ours(what, count, seen)}, self.asked.repeats, self.limit)["ours"]
        self.row(what, "ours", count, found, "one pack, training.packing", seen)

    def curve(self, what: str) -> None:
        """Our packs of several sizes."""
        for count in self.asked.packs:
            if (what, count) not in self.done:
                self.stage(f"{what}, pack of {count}", count, self.pack, what, count)

    def memory(self, what: str) -> None:
        """Memory of packs of several sizes, predicted from probes, and measured."""
        methods = self.asked.methods if what == MIXED else [what]
        probed = self.steps.Probed(**self.of_memory("probe", self.steps.configurations(methods, len(methods))))
        for count in self.asked.packs if self.asked.memory is None else self.asked.memory:
            self.stage(f"{what}, memory of a pack of {count}", count, self.memory_of, what, count, probed, more=10.0)

    def memory_of(self, what: str, count: int, probed: Any) -> None:
        """Of a pack of one size. Raises `MemoryError` where it isn't expected to fit."""
        from pelt_automl.training.memory import usable_bytes

        trials, usable = self.trials(what, count), usable_bytes(self.backbone.device)
        predicted = probed.of([trial.method for trial in trials])
        if predicted > usable:
            raise MemoryError(f"{predicted / 1e9:.1f} GB are predicted, {usable / 1e9:.1f} GB may be used")
        found = self.of_memory("pack", trials)
        self.report.add("Memory of a pack beside the backbone", shape=self.shape, **{
            "trials of": what, "pack of": count, "predicted GB": predicted / 1e9, "measured GB": found / 1e9,
            "error %": 100 * (predicted / found - 1) if found else None,
        })  # fmt: skip

    def of_memory(self, what: str, trials: Sequence[Any]) -> Any:
        """See `studies.steps.memory`."""
        return self.steps.memory(what, self.shape, self.backbone, trials, self.asked.precision, self.work)


def product_flops(device: Any, dtype: Any) -> float:
    """FLOP/s of the fastest square matrix product of random numbers."""
    import torch
    from torch.utils.benchmark import Timer

    reached = []
    for size in (4096, 8192, 12288) if device.type == "cuda" else (1024, 2048):
        a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        timer = Timer("torch.mm(a, b)", globals={"torch": torch, "a": a, "b": b}, num_threads=torch.get_num_threads())
        reached.append(2 * size**3 / timer.blocked_autorange(min_run_time=0.3).median)
    return max(reached)


def packing(asked: argparse.Namespace) -> Report:
    """The stages in the order of their importance, each over all shapes, as far as the time goes."""
    from studies.steps import device_named

    report, limit = Report("packing", asked), TimeLimit(asked.seconds)
    asked.reference = asked.reference or (16 if device_named(asked.device).type == "cuda" else 4)
    shapes, both = [Packing(name, asked, report, limit) for name in asked.shapes], 2 * asked.reference
    for own in shapes:
        own.stage(f"a mixed pack of {asked.reference} against HF Trainer", both, own.against_trainer, MIXED)
    for count in asked.processes:
        shapes[0].stage(f"against {count} processes", both, shapes[0].against_processes, count, more=20.0)
    for own in shapes:
        own.curve(MIXED)
    for own in shapes if asked.memory != [] else ():
        for what in (MIXED, asked.methods[0]):
            own.stage(f"memory of packs of {what} trials", 0, own.memory, what, more=10.0)
    for own in shapes:
        for method in asked.methods:
            own.stage(f"{method}, pack of {asked.reference} against HF Trainer", both, own.against_trainer, method)
    for own in shapes:
        for method in asked.methods:
            own.curve(method)
    return report


# -------------------------------------------------------------------- scaling


def power_law(sizes: Sequence[float], seconds: Sequence[float]) -> Row:
    """``seconds = factor * size ** exponent``: least squares on logarithms, with Student's 95 % interval (infinite with two points)."""
    from scipy.stats import linregress, t

    fit = linregress([math.log(size) for size in sizes], [math.log(value) for value in seconds])
    half = float(t.ppf(0.975, len(sizes) - 2) * fit.stderr) if len(sizes) > 2 else math.inf
    slope = float(fit.slope)
    return {"exponent": slope, "low": slope - half, "high": slope + half, "factor": math.exp(fit.intercept)}


def scaling(asked: argparse.Namespace) -> Report:
    """Every size of every axis `repeats` times; what fails or comes too late is named in the report."""
    report, limit, chosen = Report("scaling", asked), TimeLimit(asked.seconds), names(asked.methods)
    counts = asked.method_counts or list(range(1, len(chosen) + 1))
    axes: dict[str, tuple[Sequence[int], Callable[[int], float]]] = {
        "pack": (asked.packs, lambda count: _step_seconds(asked, asked.width, count)),
        "width": (asked.widths, lambda width: _step_seconds(asked, width, asked.pack)),
        "trials": (asked.trial_counts, lambda count: _selection_seconds(asked, trials=count)),
        "k": (asked.ks, lambda k: _selection_seconds(asked, k=k)),
        "methods": (counts, lambda count: _selection_seconds(asked, methods=",".join(chosen[:count]))),
    }
    for axis in asked.axes:
        sizes, measure = axes[axis]
        found: dict[int, float] = {}
        for size in sorted(sizes):
            if limit.left <= 0:
                report.leave_out(f"{axis} = {size}", "the time limit")
                continue
            say(f"{axis} = {size}")
            try:
                values = in_turn({"seconds": lambda size=size, measure=measure: measure(size)}, asked.repeats, limit)["seconds"]  # type: ignore[misc]
            except RuntimeError as error:
                report.leave_out(f"{axis} = {size}", error)
                continue
            found[size] = statistics.median(values)
            report.add("Seconds by size", axis=axis, size=size, **spread(values, "seconds"), repeats=len(values))
        if len(found) > 1:
            last = power_law(list(found)[-2:], list(found.values())[-2:])["exponent"]
            report.add("Exponents", axis=axis, **power_law(list(found), list(found.values())), **{"last step's exponent": last})
            if asked.output:
                _draw(axis, found, asked.output)
    return report


def _step_seconds(asked: argparse.Namespace, width: int, count: int) -> float:
    """A step of a mixed pack, in seconds."""
    from studies.steps import Work, configurations, device_named, random_backbone, time_pack

    sizes = {"hidden_size": width, "num_hidden_layers": asked.layers, "num_attention_heads": max(1, width // HEAD_WIDTH),
             "intermediate_size": 4 * width}  # fmt: skip
    backbone = random_backbone(sizes, asked.tokens, device_named(asked.device), "auto")
    work = Work(asked.batch, asked.tokens, asked.steps, asked.warmup)
    return time_pack(backbone, configurations(asked.pack_methods, count), work).step


def _selection_seconds(asked: argparse.Namespace, **changed: Any) -> float:
    """A whole selection, in seconds."""
    with tempfile.TemporaryDirectory() as folder:
        own = selection_options(asked) | changed
        home = Path(folder) / "home"
        return float(fresh_process("studies.answers:ours", home, folder=f"{folder}/selection", options=own).result["selection_seconds"])


def _draw(axis: str, found: dict[int, float], folder: Path) -> None:
    """``scaling-AXIS.png``: log seconds over log size."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4), layout="constrained")
    figure.add_subplot(xscale="log", yscale="log", xlabel=axis, ylabel="seconds").plot(list(found), list(found.values()), "o-")
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / f"scaling-{axis}.png", dpi=150)


# -------------------------------------------------------------------- overheads


def overheads(asked: argparse.Namespace) -> Report:
    """Each selection in a fresh process with a home of its own (see `studies.sampling`)."""
    report = Report("overheads", asked)
    for path in asked.paths:
        for k in asked.ks:
            say(f"{path}, k={k}")
            with tempfile.TemporaryDirectory() as folder:
                own = selection_options(asked) | {"k": k}
                try:
                    ended = fresh_process("studies.sampling:watched", Path(folder) / "home", path=path, folder=folder, options=own)
                except ProcessError as error:
                    report.leave_out(f"{path}, k={k}", error)
                    continue
            seen = ended.result
            total = ended.seconds
            parts = {"start (imports)": [total - seen["seconds"], None], **seen["parts"]}
            report.add("Selections", path=path, k=k, **summary(seen, total), **{"peak GB": ended.peak_bytes / 1e9})
            for part, (seconds, cpu) in sorted(parts.items(), key=lambda one: -one[1][0]):
                waiting = None if cpu is None else max(0.0, seconds - cpu)
                row = {"part": part, "seconds": seconds, "share %": 100 * seconds / total, "waiting s": waiting}
                report.add("Where the time goes", path=path, k=k, **row)
            report.data.setdefault("selections", {})[f"{path}, k={k}"] = seen
    return report


def summary(seen: Row, total: float) -> Row:
    """A selection in a line. ``overheads``: everything but training, evaluation, and what is decided, over everything."""
    from studies.sampling import EVALUATION, OVERHEADS, TRAINING

    parts = {name: seconds for name, (seconds, _) in seen["parts"].items()}
    training, evaluation = parts.get(TRAINING, 0.0), parts.get(EVALUATION, 0.0)
    start = total - seen["seconds"]
    return {
        "seconds": total, "first trial s": None if seen["first_trial"] is None else start + seen["first_trial"],
        "overheads %": 100 * (start + sum(parts.get(name, 0.0) for name in OVERHEADS)) / total,
        "evaluation / training %": 100 * evaluation / training if training else None,
        "padding %, training": None if seen["padding"] is None else 100 * seen["padding"],
    }  # fmt: skip


# -------------------------------------------------------------------- the command line


def _steps_options(to: argparse.ArgumentParser, tokens: int, steps: int, warmup: int) -> None:
    add_options(to, {
        "batch": (int, 16, "texts a step"),
        "tokens": (int, tokens, "of each text"),
        "steps": (int, steps, "timed steps"),
        "warmup": (int, warmup, "steps before them"),
        "repeats": (int, 3, "turns"),
        "device": (str, "auto", ""),
    })  # fmt: skip


def commands() -> dict[str, tuple[argparse.ArgumentParser, Callable[[argparse.Namespace], Report]]]:
    """By name."""
    packs, sizes, parts = (parser(f"speed {name}", __doc__) for name in ("packing", "scaling", "overheads"))
    add_options(packs, {
        "shapes": (names, ["bert-base", "minilm"], "of bert-base, minilm, tiny; the most important first"),
        "packs": (numbers, [1, 2, 4, 8, 16, 32], "pack sizes"),
        "methods": (names, ["lora", "adapter", "prefix", "bitfit", "ia3", "mam", "unipelt-apl"], ""),
        "reference": (int, None, "pack size that the peers are compared with (default: 16 on a GPU, 4 on a processor)"),
        "processes": (numbers, [2, 4, 8], "peers that share the device"),
        "memory": (numbers, None, "pack sizes whose memory is predicted and measured (default: as --packs)"),
    })  # fmt: skip
    _steps_options(packs, tokens=128, steps=8, warmup=3)
    add_options(packs, {
        "precision": (("auto", "bf16", "fp32"), "auto", ""),
        "seconds": (float, 460.0, "limit on the whole run"),
    })  # fmt: skip
    add_selection_options(sizes, task="pydoc-match", model="minilm", methods="lora,bitfit,adapter,unipelt-apl", k="400", trials=4)
    add_options(sizes, {
        "axes": (names, list(AXES), f"of {', '.join(AXES)} (default: all)"),
        "seconds": (float, 24 * 3600.0, "no further size is begun after so many"),
        "trial-counts": (numbers, [2, 4, 8, 16], ""),
        "ks": (numbers, [100, 200, 400, 800], ""),
        "method-counts": (numbers, None, "so many of --methods, the first ones (default: 1 to all)"),
        "packs": (numbers, [1, 2, 4, 8, 16], ""),
        "widths": (numbers, [128, 256, 512, 1024], f"multiples of {HEAD_WIDTH}"),
        "pack": (int, 4, "pack size on the axis width"),
        "width": (int, 384, "width on the axis pack"),
        "layers": (int, 6, ""),
        "pack-methods": (names, ["lora", "adapter", "prefix", "bitfit"], ""),
    })  # fmt: skip
    _steps_options(sizes, tokens=64, steps=5, warmup=2)
    add_selection_options(parts, task="pydoc-match", model="minilm", trials=4)
    add_options(parts, {
        "ks": (names, ["100", "1000"], "labeled examples, several"),
        "paths": (names, ["cli"], "cli, prefect"),
    })  # fmt: skip
    return {"packing": (packs, packing), "scaling": (sizes, scaling), "overheads": (parts, overheads)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    name, *rest = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    known = commands()
    if name not in known:
        print(f"usage: python -m studies.speed {{{','.join(known)}}} [--help]\n\n{__doc__}")
        sys.exit(0 if name in ("-h", "--help") else 2)
    made, study = known[name]
    asked = made.parse_args(rest)
    if unknown := [axis for axis in getattr(asked, "axes", ()) if axis not in AXES]:
        made.error(f"there is no axis {', '.join(unknown)}; there are {', '.join(AXES)}")
    if name == "packing":
        from pelt_automl.methods import METHODS

        if unknown := [method for method in asked.methods if method not in METHODS]:
            made.error(f"unknown methods {', '.join(unknown)}; there are {', '.join(METHODS)}")
    study(asked).write()


if __name__ == "__main__":
    main()
