"""Trial-steps per second: packs of many trials on one frozen backbone, beside HF Trainer + peft and beside k processes on one device.

    python benchmarks/packing.py --output results              # on a GPU: BERT-base and MiniLM, within 8 minutes
    python benchmarks/packing.py --shapes tiny --packs 1,2 --steps 2 --repeats 1 --tokens 16

A trial-step is one optimizer step of one trial on `--batch` texts of `--tokens` tokens. Ours are steps of the real training loop (see
our_steps.py), the peers' those of HF Trainer (see peer.py), in the same run and in turn; each figure is the median of the timed steps, each
ratio the median over the turns with the smallest and the largest. The share of the ceiling is the frozen backbone's FLOPs (see flops.py)
over the largest rate of plain square matrix products in the same precision. torch and transformers are all that is needed.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import Report, names, numbers, parser, say
from benchmarks.flops import matmul_ceiling
from benchmarks.measuring import TimeLimit
from benchmarks.our_steps import SHAPES, Work, bert_config, device_named, random_backbone
from benchmarks.packing_stages import MIXED, Bench, Shape
from benchmarks.peer import fastest_precision, missing
from pelt_automl.methods import METHODS

CEILINGS = {"cuda": (4096, 8192, 12288), "cpu": (1024, 2048)}
"""Sizes of the matrix products."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    options = _options(arguments)
    device = device_named(options.device)
    if options.reference is None:
        options.reference = 16 if device.type == "cuda" else 4
    if unknown := [name for name in options.methods if name not in METHODS]:
        sys.exit(f"unknown methods {', '.join(unknown)}; there are {', '.join(METHODS)}")
    report = Report("packing", {name: str(value) for name, value in vars(options).items()})
    bench = Bench(options, report, TimeLimit(options.seconds), Work(options.batch, options.tokens, options.steps, options.warmup))
    report.tables += [bench.gains, bench.memory, bench.speeds]
    for library in ("trainer", "peft"):
        if why := missing(library):
            report.notes.append(f"the peer's {library} is missing ({why}); see the column 'how' for what stands in")
    shapes = [_shape(bench, name, device) for name in options.shapes]
    run(bench, shapes)
    report.data["ceiling_flops"] = bench.ceiling
    report.write(options.output)


def run(bench: Bench, shapes: Sequence[Shape]) -> None:
    """The stages in the order of their importance, each over all shapes, as far as the time goes."""
    reference, methods = bench.options.reference, bench.options.methods
    for shape in shapes:
        say(f"{shape.name}: a mixed pack of {reference} against HF Trainer")
        shape.against_trainer(MIXED, reference)
    for processes in bench.options.processes:
        say(f"{shapes[0].name}: against {processes} processes")
        shapes[0].against_processes(reference, processes)
    for shape in shapes:
        say(f"{shape.name}: mixed packs of {bench.options.packs}")
        shape.curve(MIXED, bench.options.packs)
    counts = bench.options.packs if bench.options.memory is None else bench.options.memory
    for shape in shapes if counts else ():
        for what in (MIXED, methods[0]):
            say(f"{shape.name}: memory of packs of {what} trials")
            shape.remember(what, counts)
    for shape in shapes:
        for method in methods:
            say(f"{shape.name}: {method}")
            shape.against_trainer(method, reference)
    for shape in shapes:
        for method in methods:
            shape.curve(method, bench.options.packs)


def _shape(bench: Bench, name: str, device: Any) -> Shape:
    options, work = bench.options, bench.work
    say(f"{name}: random weights, the ceiling, the peer's precision")
    backbone = random_backbone(SHAPES[name], work.tokens, device, options.precision)
    if not bench.ceiling:
        reached = matmul_ceiling(device, backbone.dtype, CEILINGS.get(device.type, (1024,)))
        bench.ceiling = max(reached.values())
        shown = ", ".join(f"{size}: {rate / 1e12:.3g}" for size, rate in reached.items())
        bench.report.notes.append(f"square matrix products in {backbone.dtype} reach TFLOP/s by size: {shown}; the largest is the ceiling")
    short = Work(work.batch, work.tokens, min(3, work.steps), min(2, work.warmup))
    precision, seconds = fastest_precision(bert_config(SHAPES[name], work.tokens), backbone, short)
    shown = ", ".join(f"{which} {1000 * value:.1f} ms" for which, value in seconds.items())
    bench.report.notes.append(
        f"{name}: the peer trains LoRA in {precision}, its fastest ({shown} a step); ours computes in {backbone.dtype}"
    )
    return Shape(bench, name, backbone, precision, slowest=min(seconds.values()))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    made = parser(__doc__)
    made.formatter_class = argparse.RawDescriptionHelpFormatter
    made.add_argument("--shapes", type=names, default=["bert-base", "minilm"], help=f"of {', '.join(SHAPES)}; the most important first")
    made.add_argument("--packs", type=numbers, default=[1, 2, 4, 8, 16, 32], help="pack sizes (default: 1,2,4,8,16,32)")
    made.add_argument("--methods", type=names, default=["lora", "adapter", "prefix", "bitfit", "ia3", "mam", "unipelt-apl"])
    made.add_argument("--reference", type=int, help="pack size that the peers are compared with (default: 16 on a GPU, 4 on a CPU)")
    made.add_argument("--processes", type=numbers, default=[2, 4, 8], help="peers that share the device (default: 2,4,8)")
    made.add_argument("--memory", type=numbers, help="pack sizes whose memory is predicted and measured (default: as --packs)")
    made.add_argument("--batch", type=int, default=16)
    made.add_argument("--tokens", type=int, default=128)
    made.add_argument("--steps", type=int, default=8, help="timed steps (default: 8)")
    made.add_argument("--warmup", type=int, default=3, help="steps before them (default: 3)")
    made.add_argument("--repeats", type=int, default=3, help="turns (default: 3)")
    made.add_argument("--device", default="auto")
    made.add_argument("--precision", choices=("auto", "bf16", "fp32"), default="auto")
    made.add_argument("--seconds", type=float, default=460.0, help="limit on the whole run (default: 460)")
    return made.parse_args(arguments)


if __name__ == "__main__":
    main()
