"""The command line. Nothing heavy is imported before a command needs it, so that ``--help`` answers at once."""

import inspect
import json
import logging
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from pelt_automl import __version__, settings
from pelt_automl.announcing import tasks_app
from pelt_automl.durable import full_disk
from pelt_automl.errors import PeltError, SelectionError, all_problems
from pelt_automl.home import expanded, home
from pelt_automl.printable import without_secrets
from pelt_automl.settings import Knob, taking

if TYPE_CHECKING:
    from pelt_automl.curve import KCurve
    from pelt_automl.recorders import Sent

PROBLEM, BAD_INPUT, INTERRUPTED = 1, 2, 130
"""Exit codes."""

RESUMABLE = ("select", "reproduce-unipelt")


class Commands(TyperGroup):
    """All commands; one that is interrupted says how to go on. Typer itself would end without a word."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was typed."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            how = " Run the same command again to resume." if ctx.invoked_subcommand in RESUMABLE else ""
            print(f"\nInterrupted.{how}", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None


app = typer.Typer(
    name="pelt-automl",
    cls=Commands,
    help="Which parameter-efficient tuning method should I use for this text task, with this much data, and with which settings?",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)

app.add_typer(tasks_app, name="tasks")

SYNC_SECONDS = 600.0
"""For one selection at most, when somebody waits for it."""

OUTPUT = "Output"
"""Group of options in the help of `select`, after those of `pelt_automl.settings.PANELS`."""

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Verbose = Annotated[bool, typer.Option("--verbose", help="Also print the tracebacks of trainings that failed.")]
Model = Annotated[
    str | None, typer.Option(help="Where the pretrained model is now, if its folder has moved; its weights must be the same.")
]
SelectionName = Annotated[str, typer.Argument(metavar="SELECTION", help="A selection's folder, or its name in the program's home.")]


def main() -> None:
    """Run the command line; an expected error is one message and exit code 2, never a traceback."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        app()
    except PeltError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(BAD_INPUT)
    except OSError as error:
        if "--verbose" in sys.argv:
            print(without_secrets(traceback.format_exc()), file=sys.stderr)
        one_line = " ".join(str(error.strerror or error).split()) or type(error).__name__
        said = f"{error.filename}: {error.strerror}" if error.filename is not None and error.strerror else one_line
        print(f"error: {full_disk(error) or without_secrets(said)}", file=sys.stderr)
        sys.exit(BAD_INPUT)
    except KeyboardInterrupt:  # before a command has begun
        print("\nInterrupted.", file=sys.stderr)
        sys.exit(INTERRUPTED)


def _version(value: bool) -> None:
    if value:
        print(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")] = False,
) -> None:
    pass


def _completion(knob: Knob) -> Callable[[str], list[str]] | None:
    """What the shell offers for a knob with choices or names: of a list, for its last part."""

    def offered(incomplete: str) -> list[str]:
        from pelt_automl.options import known_names

        done, comma, last = incomplete.rpartition(",") if knob.many else ("", "", incomplete)
        names = knob.choices or (*known_names(knob.names), *filter(None, [knob.nothing]))
        return [f"{done}{comma}{name}" for name in names if name.startswith(last)]

    return offered if knob.choices or knob.names else None


def _option(knob: Knob) -> inspect.Parameter:
    """A knob as an option. It takes text, which `settings_from` reads: so that everything that is wrong is said at once, in one place."""
    about = typer.Option(
        f"{knob.flag}/--no-{knob.flag[2:]}" if knob.base is bool else knob.flag,
        rich_help_panel=knob.panel,
        help=(f"{knob.help} ({'each ' * knob.many}{knob.allowed()})" if knob.allowed() else knob.help).replace("[", "\\["),
        metavar=f"<{'list' if knob.many else 'choice' if knob.choices else knob.base.__name__.lower()}>",
        autocompletion=_completion(knob),
    )
    default = knob.default if knob.base is bool or knob.default in (None, ()) else knob.text(knob.default)
    kind: Any = bool if knob.base is bool else str | None
    return inspect.Parameter(knob.name, inspect.Parameter.KEYWORD_ONLY, default=default or None, annotation=Annotated[kind, about])


@app.command()
@taking(map(_option, settings.options().values()))
def select(
    *,
    output: Annotated[
        Path | None, typer.Option(rich_help_panel=OUTPUT, help="Folder to write to. Run the same command again to resume.")
    ] = None,
    verbose: Verbose = False,
    **options: Any,
) -> None:
    """Find the method, confirm it on fresh seeds, and write the recommendation with its weights and report."""
    _be_verbose(verbose)
    if settings.is_curve(options["k"]):
        _run_curve(options, output)
    else:
        _run_selection(options, output)


def _be_verbose(verbose: bool) -> None:
    """What the program logs on its way is printed, too."""
    if verbose:
        logging.getLogger("pelt_automl").setLevel(logging.INFO)


def _run_selection(options: dict[str, Any], output: Path | None) -> None:
    started = time.monotonic()  # the time limit counts the imports, too
    from pelt_automl.display import TerminalDisplay
    from pelt_automl.options import settings_from
    from pelt_automl.selection import Selection

    asked = settings_from(**options)
    with closing(TerminalDisplay()) as display, Selection.open(asked, output, display, started=started) as selection:
        if selection.finished:
            print("This selection has finished before; here is its verdict. For another one change --seed or --output.\n")
        selection.run()
    _print_verdict(selection.folder)


def _run_curve(options: dict[str, Any], output: Path | None) -> None:
    from pelt_automl.curve import CurveRun, curve_settings
    from pelt_automl.display import TerminalDisplay

    asked = curve_settings(**options)
    with closing(TerminalDisplay()) as display:
        run = CurveRun.open(asked, output, display)
        if run.finished:
            print("This curve has finished before; here is its answer. For another one change --seed or --output.\n")
        curve = run.run()
    _print_curve(curve)


def _print_curve(curve: "KCurve") -> None:
    from pelt_automl.curve import curve_text
    from pelt_automl.recorders import sent_of

    print(curve_text(curve))
    print(f"\nReport:     {curve.folder / 'k-curve.html'}")
    for point in curve.points:
        print(f"K = {point.name:<6}  {curve.folder / point.folder}   (a selection: report.html, winner)")
        if sent := sent_of(curve.folder / point.folder):
            print("\n".join(f"            {line}" for line in _sent_text(sent, curve.folder / point.folder).splitlines()))


def _print_verdict(folder: Path) -> None:
    from pelt_automl.log.folder import history_of
    from pelt_automl.recorders import sent_of
    from pelt_automl.report import verdict_text

    print(verdict_text(history_of(folder)))
    print(f"\nReport:   {folder / 'report.html'}")
    if (folder / "winner").is_dir():
        ways = f"pelt_automl.load({str(folder)!r}), or: pelt-automl predict {folder} --input FILE --output FILE"
        print(f"Winner:   {folder / 'winner'}   ({ways})")
    if sent := sent_of(folder):
        print(_sent_text(sent, folder))


def _sent_text(sent: "Sent", folder: Path) -> str:
    """Where MLflow shows the selection and what became of the winner there, or why it isn't there and what to do."""
    if sent.problem:
        return f"MLflow:   not all there: {sent.problem}. Once it is back: pelt-automl sync {folder}"
    lines = [f"MLflow:   {sent.run_page or f'mlflow ui --host 127.0.0.1 --backend-store-uri {sent.uri}'}"]
    if sent.champion:
        lines += [f"Model:    {sent.model}, version {sent.version}; {sent.champion}"]
    return "\n".join(lines)


@app.command()
def methods(
    model: Annotated[str | None, typer.Option(help="A Hub name, a local folder, or minilm: what it supports, and the sizes on it.")] = None,
    shape: Annotated[str, typer.Option(help="Without a model: the shape that parameters are counted for.")] = "bert-base",
    matrix: Annotated[bool, typer.Option("--matrix", help="Which architecture supports which method, with the reasons.")] = False,
    as_json: Json = False,
) -> None:
    """List every method with its published defaults and trainable parameters, and what a model supports. Nothing is loaded."""
    from pelt_automl import listing

    if matrix:
        found = listing.support_matrix()
        print(json.dumps(found, indent=2) if as_json else listing.matrix_text(found))
        return
    architecture, sizes = listing.outline_of(model, shape)
    rows = listing.method_rows(architecture, sizes)
    if as_json:
        print(json.dumps([row | {"shape": model or shape} for row in rows], indent=2))
        return
    print(listing.methods_text(rows, model or shape))
    if model:
        print(listing.sites_text(architecture))


@tasks_app.command("show")
def tasks(
    name: Annotated[
        str | None,
        typer.Argument(help="A task to look at; all are listed without one.", autocompletion=_completion(settings.options()["task"])),
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder with DIR/TASK/train.jsonl and so on. Used before the Hub.")] = None,
    k: Annotated[str | None, typer.Option(help="Labelled examples that may be used: a number, or full.")] = None,
    as_json: Json = False,
) -> None:
    """List the tasks with a name, or show one with its splits and two simple baselines."""
    from pelt_automl.tasks import TASKS, baselines, load_task

    if name is None:
        known = [vars(task.info) for task in TASKS.values()]
        widths = {column: max(len(info[column]) for info in known) for column in ("name", "kind", "metric")}
        lines = [" ".join(f"{info[column]:<{width}}" for column, width in widths.items()) for info in known]
        table = "\n".join(f"{line} {info['description']} [{info['source']}]" for line, info in zip(lines, known, strict=True))
        print(json.dumps(known, indent=2) if as_json else table)
        return
    from pelt_automl.options import settings_from

    data = load_task(settings_from(task=name, data_dir=data_dir, k=k).task)
    scores = baselines(data)
    facts: dict[str, Any] = {
        "task": data.name,
        "kind": data.kind,
        "metric": data.metric.name,
        "labels": list(data.labels),
        "sizes": data.sizes(0),
        "baselines": scores,
        "notes": list(data.notes),
    }
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    print(f"{data.name}: {data.kind}, {data.metric.name}" + (f"; classes {', '.join(data.labels[:12])}" if data.labels else ""))
    print("examples: " + ", ".join(f"{size} {split}" for split, size in facts["sizes"].items()))
    for baseline, score in scores.items():
        print(f"{baseline:<14} {score:.3f} {data.metric.name} on report, trained on train and select")
    for note in data.notes:
        print(f"note: {note}")


@app.command()
def spaces(
    folder: Annotated[Path | None, typer.Option("--spaces", help="Folder with search spaces of your own (METHOD.yaml).")] = None,
) -> None:
    """Check the search spaces and print them."""
    from pelt_automl.methods import METHODS
    from pelt_automl.search.spaces import load_spaces

    for method, space in load_spaces(folder, tuple(METHODS)).items():
        print(f"{method} (version {space.version})")
        first = space.default()
        for parameter in space.parameters:
            notes = [f"default {first[parameter.name]}" if parameter.name in first else "", parameter.condition()]
            print(f"  {parameter.name:<20} {parameter.described():<32} {', '.join(note for note in notes if note)}")
        for why, what in space.excluded().items():
            print(f"  left out: {'; '.join(what)}\n    because {why}")


@app.command()
def report(selection: SelectionName, verbose: Verbose = False) -> None:
    """Rebuild a selection's report from its records, and print the verdict."""
    from pelt_automl.report import write_report

    folder = _folder(selection)
    if verbose:
        _print_tracebacks(folder)
    if (folder / "k-curve.json").is_file():
        from pelt_automl.curve import rebuilt_curve, write_curve_report

        curve = rebuilt_curve(folder)
        write_curve_report(curve)
        _print_curve(curve)
        return
    write_report(folder)
    _print_verdict(folder)


def _print_tracebacks(folder: Path) -> None:
    """Of every training in the folder that failed with an exception: of a curve, those of its selections."""
    from pelt_automl.log.codec import read
    from pelt_automl.log.events import TrialEnded, of_kind
    from pelt_automl.log.folder import RECORDS

    for path in sorted(folder.rglob(RECORDS)):
        for trial in of_kind(read(path), TrialEnded):
            if trial.traceback:
                print(f"{trial.trial} failed in {path.parent}\n{trial.traceback}")


@app.command()
def sync(selection: SelectionName) -> None:
    """Send a selection to MLflow again, or what an outage kept from it. Sending twice changes nothing.

    MLflow is $MLFLOW_TRACKING_URI, else a file in the program's home.
    """
    from pelt_automl.log.folder import LOCK, RECORDS, exclusive
    from pelt_automl.printable import printable_uri
    from pelt_automl.recorders import default_tracking_uri, send_folder

    folder = _folder(selection)
    folders = [folder] if (folder / RECORDS).is_file() else sorted(path.parent for path in folder.glob(f"*/{RECORDS}"))
    if not folders:
        raise SelectionError(f"{folder} holds no selection: there is no {RECORDS} in it")
    problems = []
    for each in folders:
        with exclusive(each / LOCK) as free:
            if not free:
                problems.append(f"{each}: the selection is under way; it is sent when it ends")
                continue
            sent = send_folder(each, SYNC_SECONDS)
        if sent.problem:
            problems.append(f"{each}: {sent.problem}")
            continue
        unfinished = "" if sent.complete else "; the selection hasn't ended"
        print(f"Sent {each.name} to {sent.uri} ({sent.trainings} training{'s' * (sent.trainings != 1)}{unfinished}).")
        print(_sent_text(sent, each))
    if problems:
        raise SelectionError(all_problems(f"MLflow at {printable_uri(default_tracking_uri())}", problems))


@app.command()
def worker(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="Of the selection, as its --listen has it: tls://HOST:8786.")],
    certificates: Annotated[
        Path | None, typer.Option(help="Folder with the selection's own certificates. Default: $PELT_AUTOML_CERTIFICATES.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="What the selection calls this worker. Default: the host's name and a number.")] = None,
) -> None:
    """Train for a selection on another machine, from when it is there until it ends. docs/workers.md has all of it."""
    import os
    import socket

    from pelt_automl.execution.certificates import Certificates, listening
    from pelt_automl.execution.worker import serve

    host, port = listening(address)
    where, own = f"tls://{f'[{host}]' if ':' in host else host}:{port}", Certificates.of(certificates)
    called = name or f"{socket.gethostname()}-{os.getpid()}"
    print(f"{called}: looking for the selection at {where}", file=sys.stderr, flush=True)
    serve(where, called, own, joined=lambda: print(f"{called}: joined", file=sys.stderr, flush=True))


@app.command()
def certificates(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write to; it must be new or empty.")],
) -> None:
    """Make the certificates of a selection and its workers on other machines: the same folder for all of them, and for nobody else."""
    from pelt_automl.execution.certificates import FILES, VARIABLE, Certificates

    place = expanded(folder).absolute()
    Certificates.temporary().write(place)
    print(f"Written to {place}: {', '.join(FILES)}, valid for a year. Who has them may run anything on the selection's machines.")
    print(f"Copy the folder to each of them, and name it there: --certificates DIR, or {VARIABLE}=DIR")


@app.command()
def predict(
    selection: SelectionName,
    input_file: Annotated[Path, typer.Option("--input", help="CSV, TSV, JSON, JSONL or Parquet with the text columns.")],
    output_file: Annotated[Path, typer.Option("--output", help="File to write, of the same kinds: all columns and `prediction`.")],
    text_columns: Annotated[str | None, typer.Option(help="Columns with the text, where they have other names than in training.")] = None,
    encoding: Annotated[str | None, typer.Option(help="Encoding of the input, such as windows-1252. Default: detected.")] = None,
    delimiter: Annotated[str | None, typer.Option(help="What separates cells in the input: ';', tab and so on. Default: detected.")] = None,
    model: Model = None,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Also write a column for each class.")] = False,
    abstain_below: Annotated[
        float | None, typer.Option(help="Leave the prediction empty where no class has such a probability, for instance 0.8.")
    ] = None,
    prediction_column: Annotated[str, typer.Option(help="Name of the column with the predictions.")] = "prediction",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output file if it is there.")] = False,
) -> None:
    """Predict with the recommended method and its trained weights."""
    from pelt_automl.predicting import predict_file

    predicted = predict_file(
        _folder(selection),
        input_file,
        output_file,
        text_columns=tuple(part.strip() for part in text_columns.split(",")) if text_columns else (),
        encoding=encoding,
        delimiter=delimiter,
        model=model,
        probabilities=probabilities,
        abstain_below=abstain_below,
        column=prediction_column,
        overwrite=overwrite,
    )
    for note in predicted.notes:
        print(f"note: {note}", file=sys.stderr)
    print(f"{predicted.predictions} prediction{'s' * (predicted.predictions != 1)} written to {output_file}")


@app.command("reproduce-unipelt")
@taking(map(_option, settings.reproduction_options().values()))
def reproduce_unipelt(
    *,
    model: Annotated[str | None, typer.Option(help="A Hub name, a local folder, or minilm. Default: the paper's BERT-base.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help=settings.options()["data_dir"].help)] = None,
    seconds: Annotated[float | None, typer.Option(help="Time limit. Run the same command again to resume.")] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Train runs again that failed in an earlier start.")] = False,
    output: Annotated[Path | None, typer.Option(help="Folder to write to; several processes can share it.")] = None,
    verbose: Verbose = False,
    **options: Any,
) -> None:
    """Run the UniPELT paper's experiments on a model, and compare its printed tables with what came out."""
    from pelt_automl.reproduction import MODEL, Reproduction, protocol_from, terminal_text

    _be_verbose(verbose)
    started = time.monotonic()
    reproduction = Reproduction.open(
        protocol_from(**options),
        model or MODEL,
        data_dir=data_dir,
        output=output,
        seconds=seconds,
        say=lambda line: print(f"{time.monotonic() - started:7.1f}s  {line}", file=sys.stderr, flush=True),
        retry_failed=retry_failed,
    )
    print(terminal_text(reproduction.run()))
    print(f"Table:    {reproduction.folder.path / 'table.md'} (and table.json)")


@app.command()
def export(
    selection: SelectionName,
    output: Annotated[Path, typer.Option(help="Folder to write; it must be new or empty.")],
    merged: Annotated[bool, typer.Option("--merged", help="A plain transformers folder, the method folded into the weights.")] = False,
    peft: Annotated[bool, typer.Option("--peft", help="A folder of HF peft.")] = False,
    model: Model = None,
) -> None:
    """Write the recommended method for programs without this package."""
    from pelt_automl.export import export_winner

    print(export_winner(_folder(selection), output, merged=merged, peft=peft, model=model).described())


@app.command()
def optuna(selection: SelectionName) -> None:
    """Write the search as an Optuna storage, for optuna-dashboard. It can be written again at any time."""
    from pelt_automl.log.folder import RECORDS
    from pelt_automl.search.mirror import MIRROR, mirror

    folder = _folder(selection)
    studies = mirror(folder / RECORDS, folder / MIRROR)
    print(f"{len(studies)} studies: optuna-dashboard {folder / MIRROR}")


@app.command()
def doctor(as_json: Json = False) -> None:
    """Check this machine: versions, device, precision, memory, disk, servers and the Hub, each with a remedy. Ends with 1 for a problem."""
    from pelt_automl.doctor import as_text, checks, works

    found = checks()
    print(json.dumps({"works": works(found), "checks": [vars(check) for check in found]}, indent=2) if as_json else as_text(found))
    raise typer.Exit(0 if works(found) else PROBLEM)


def _folder(selection: str) -> Path:
    """A folder, or a name in the program's home; a name never leaves it."""
    folder = expanded(selection)
    if folder.is_dir():
        return folder.absolute()
    named = home() / "selections" / selection
    if "/" not in selection and ".." not in selection and named.is_dir():
        return named
    there = sorted(path.name for path in (home() / "selections").glob("*") if path.is_dir())
    listed = f"; in {home() / 'selections'} there are {', '.join(there)}" if there else f"; {home() / 'selections'} has none"
    raise SelectionError(f"there is no selection {selection!r}: give its folder or its name{listed}")


if __name__ == "__main__":
    main()
