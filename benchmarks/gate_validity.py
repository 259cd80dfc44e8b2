"""Do UniPELT's gates, contributions and knock-outs rank its submodules as the methods' own scores do?

    python benchmarks/gate_validity.py --data-dir DATA --output results
    python benchmarks/gate_validity.py --data-dir DATA --datasets cola,sst2 --ks 32 --seeds 2 --max-steps 40 --select 50 --report 100

A cell is a data set, K, seed and learning rate: UniPELT-APL, adapter, prefix and LoRA are trained on the same K examples (UniPELT's
protocol: the next 1,000 to select on, the official validation set to report on), the union is taken apart on select, and the single
methods are scored on report. Each measure orders the three submodules, and so do the methods' own scores: Kendall's tau between the two
orders (a tied pair counts 0), and how often the first is the same (a tie is drawn: 1/3 by chance). The intervals are 95 %, by a bootstrap
over data sets.

Finished cells are kept in `--cache` and not done again. docs/gate-validity.md has the analysis as it was laid down before the first run.
"""

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import Report, names, numbers, parser, say
from benchmarks.gate_agreement import agreement_table, cells_table, read_cells
from benchmarks.gate_cells import PUBLISHED, Work, run_cell, settings_of
from pelt_automl.durable import write_text
from pelt_automl.errors import PeltError

DATASETS = "qnli,rte,mrpc,cola,sst2,atis,snips"


class Place(NamedTuple):
    """Which cell."""

    dataset: str
    k: int
    seed: int
    rate: str

    def __str__(self) -> str:
        return f"{self.dataset}, K = {self.k}, seed {self.seed}, learning rate {self.rate}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the cells that aren't there yet, then compare."""
    options = _options(arguments)
    if options.threads:
        import torch

        torch.set_num_threads(options.threads)
    report = Report("gate_validity", {name: str(value) for name, value in vars(options).items()})
    work = Work(options.epochs, options.max_steps, options.max_length, options.select, options.report)
    found = _cells(options, work, report)
    cells = read_cells(found)
    report.tables += [agreement_table(cells), cells_table(cells)]
    report.notes.append("intervals: 95 %, percentiles of 10,000 bootstrap draws of whole data sets; own scores are in points on report")
    report.data["cells"] = found
    report.write(options.output)


def _cells(options: argparse.Namespace, work: Work, report: Report) -> list[dict[str, Any]]:
    """Seed by seed, so that a run that is cut off has all data sets."""
    started, found = time.monotonic(), []
    grid = product(names(options.learning_rates), range(options.seeds), numbers(options.ks), names(options.datasets))
    for rate, seed, k, name in grid:
        place = Place(name, k, seed, rate)
        path = options.cache / f"{name}-k{k}-seed{seed}-{rate}-{_key(options, work)}.json"
        if path.is_file():
            found.append(json.loads(path.read_text(encoding="utf-8")))
        elif options.seconds and time.monotonic() - started > options.seconds:
            report.left_out.append(f"{place}: the time was up")
        else:
            found += _new_cell(options, work, report, place, path)
    return found


def _new_cell(options: argparse.Namespace, work: Work, report: Report, place: Place, path: Path) -> list[dict[str, Any]]:
    say(str(place))
    began = time.monotonic()
    try:
        cell = _run(options, work, place)
    except PeltError as error:
        report.left_out.append(f"{place}: {error}")
        return []
    cell |= place._asdict() | {"seconds": round(time.monotonic() - began, 1)}
    write_text(path, json.dumps(cell))
    return [cell]


def _run(options: argparse.Namespace, work: Work, place: Place) -> dict[str, Any]:
    from pelt_automl.backbones.loading import load_backbone
    from pelt_automl.tasks import load_task

    data = load_task(settings_of(place.dataset, options.data_dir, place.k, options.cache / "data"))
    return run_cell(load_backbone(options.model), data, place.seed, place.rate, work)


def _key(options: argparse.Namespace, work: Work) -> str:
    """Of everything that a cell depends on beside its place."""
    return hashlib.sha256(json.dumps([options.model, asdict(work)], sort_keys=True).encode()).hexdigest()[:8]


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    made = parser(__doc__)
    made.formatter_class = argparse.RawDescriptionHelpFormatter
    made.add_argument("--data-dir", type=Path, required=True, help="folder with glue/TASK and custom/atis, custom/snips")
    made.add_argument("--datasets", default=DATASETS, help=f"default: {DATASETS}")
    made.add_argument("--ks", default="100,500", help="labeled examples to train on (default: 100,500)")
    made.add_argument("--seeds", type=int, default=3, help="of data, initialization and order (default: 3)")
    made.add_argument(
        "--learning-rates", default=PUBLISHED, help="published (each method's own), or rates for all; of several select decides"
    )
    made.add_argument("--model", default="minilm")
    made.add_argument("--epochs", type=float, default=20.0, help="passes over the K examples (default: 20)")
    made.add_argument("--max-steps", type=int, default=2000, help="optimizer steps of a training at most (default: 2000)")
    made.add_argument("--max-length", type=int, default=128, help="tokens that texts are cut to (default: 128)")
    made.add_argument("--select", type=int, default=500, help="examples of select that are used at most (default: 500)")
    made.add_argument("--report", type=int, default=1000, help="examples of report that are scored at most (default: 1000)")
    made.add_argument("--threads", type=int, help="of torch (default: its own choice)")
    made.add_argument("--seconds", type=float, help="begin no further cell after so many")
    made.add_argument(
        "--cache", type=Path, default=Path("pelt-home/gate-validity"), help="finished cells (default: pelt-home/gate-validity)"
    )
    return made.parse_args(arguments)


if __name__ == "__main__":
    main()
