"""The table of trainings: every later question about start, search and finals is answered by looking trainings up in it.

``record`` trains what is missing, at any time of the day; ``write`` puts what is recorded into the Parquet files of the repository;
``status`` says how much is done.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from pelt_automl.errors import PeltError, SettingsError
from studies.table_folder import TableFolder, usual_folder
from studies.table_grid import Training, committed_configurations, trainings
from studies.table_recording import WORKER, Tasks, chosen_tasks, name_of, start, work


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 2 for what can't be done as it was asked."""
    asked = parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = asked.command
    try:
        return command(asked)
    except PeltError as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"{error.filename or 'a file'} can't be written or read ({error.strerror or error}); choose another folder", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def parser() -> argparse.ArgumentParser:
    """Of all commands."""
    found = argparse.ArgumentParser(prog="python -m studies.table", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = found.add_subparsers(required=True, metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--folder", type=Path, default=None, help="working folder (default: pelt-home/table)")
    common.add_argument("--sources", default="", help="only these sources, separated by commas (default: all)")
    common.add_argument("--model", default="minilm", help="alias, folder or Hub name of the encoder (default: minilm)")
    timed = argparse.ArgumentParser(add_help=False)
    timed.add_argument("--hours", type=_positive, default=None, help="begin no training after so many hours (default: no limit)")
    record = commands.add_parser("record", parents=[common, timed], help="train what is missing")
    record.add_argument("--processes", type=int, choices=range(1, 65), metavar="N", default=2, help="processes of one thread (default: 2)")
    record.set_defaults(command=_record)
    worker = commands.add_parser(WORKER, parents=[common, timed], help="one process of `record`, on its own")
    worker.set_defaults(command=_work)
    status = commands.add_parser("status", parents=[common], help="say how much is recorded, and how long the rest takes")
    status.set_defaults(command=_status)
    write = commands.add_parser("write", parents=[common], help="put what is recorded into the Parquet files of the repository")
    write.set_defaults(command=_write)
    for command in (status, write):
        command.add_argument("--table", type=Path, default=None, help="folder with the Parquet files (default: studies/table)")
    costs = commands.add_parser("costs", help="measure what a training costs, on a quiet machine")
    costs.add_argument("--model", default="minilm", help="alias, folder or Hub name of the encoder (default: minilm)")
    costs.add_argument("--seconds", type=_positive, default=180.0, help="for about so long (default: 180)")
    costs.set_defaults(command=_costs)
    grid = commands.add_parser("grid", help="make table_grid.json from the search spaces")
    grid.set_defaults(command=_grid)
    return found


def commands() -> dict[str, argparse.ArgumentParser]:
    """By name."""
    (found,) = [action for action in parser()._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(found.choices)


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} isn't a number above 0")
    return value


def _tasks(asked: argparse.Namespace) -> Tasks:
    from studies.sources import SOURCES

    return chosen_tasks(SOURCES, [name.strip() for name in asked.sources.split(",") if name.strip()])


def _folder(asked: argparse.Namespace) -> TableFolder:
    return TableFolder(asked.folder or usual_folder())


def _record(asked: argparse.Namespace) -> int:
    if not _tasks(asked):
        raise SettingsError("there is no source to record; see python -m studies.sources")
    folder = _folder(asked).make()
    own = ["--folder", str(folder.path), "--sources", asked.sources, "--model", asked.model]
    return start(asked.processes, own if asked.hours is None else [*own, "--hours", str(asked.hours)])


def _work(asked: argparse.Namespace) -> int:
    from studies.table_files import done_keys

    return work(_tasks(asked), _folder(asked).make(), asked.model, done_keys(), asked.hours, print)


def _wanted(tasks: Tasks) -> list[Training]:
    return list(trainings(list(tasks), committed_configurations()))


def _status(asked: argparse.Namespace) -> int:
    from studies.table_files import TABLE, seconds_seen
    from studies.table_status import Seconds, status_text

    tasks, model = _tasks(asked), name_of(asked.model)
    wanted = {training.key(model): training for training in _wanted(tasks)}
    written = {row["key"]: row for row in seconds_seen(asked.table or TABLE)}
    seen = {key: row for key, row in (dict(_folder(asked).records()) | written).items() if key in wanted}
    sources = {name: task.source for name, task in tasks.items()}
    print(status_text(list(wanted.values()), seen.keys(), model, sources, Seconds.of(seen.values())))
    print(f"{len(seen.keys() - written.keys()):,} of them are in the working folder alone; write puts them into the table.")
    return 0


def _write(asked: argparse.Namespace) -> int:
    from studies.table_files import TABLE, write_table

    tasks, folder = _tasks(asked), asked.table or TABLE
    wanted = {training.key(name_of(asked.model)) for training in _wanted(tasks)}
    records = dict(_folder(asked).records())
    sealed = {task.source for task in tasks.values() if task.sealed}
    for source, new in write_table([record for key, record in records.items() if key in wanted], sealed, folder).items():
        path = folder / f"{source}.parquet"
        print(f"{path}: {new:,} new trainings, {path.stat().st_size / 1e6:.2f} MB")
    if not records:
        print(f"nothing is recorded in {_folder(asked).path}")
    if others := len(records.keys() - wanted):
        print(f"{others:,} files of the working folder aren't in the grid of these sources and this model, and were left out")
    return 0


def _costs(asked: argparse.Namespace) -> int:
    from pelt_automl.backbones.loading import load_backbone
    from studies.table_costs import COSTS, measure, one_thread

    one_thread()
    configurations = [own for by_name in committed_configurations().values() for own in by_name.values()]
    measure(load_backbone(asked.model, precision="fp32"), configurations, asked.seconds, COSTS, print)
    print(f"written: {COSTS}")
    return 0


def _grid(_: argparse.Namespace) -> int:
    from studies.table_grid import GRID, write_configurations

    write_configurations()
    print(f"written: {GRID}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
