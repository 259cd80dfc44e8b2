"""One selection, from its settings to its recommendation, as phases that can be called one after the other."""

import re
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from pelt_automl import BEHAVIOUR
from pelt_automl.backbones.loading import Backbone, Precision, check_model, load_backbone, load_outline
from pelt_automl.errors import SelectionError, SettingsError
from pelt_automl.home import expanded, home
from pelt_automl.log.codec import read
from pelt_automl.log.events import DataDescribed, Decision, Event, Phase, Planned, Recorder, SelectionStarted, What
from pelt_automl.log.folder import LOCK, RECOMMENDATION, RECORDS, check_output, exclusive, make_output, make_work_folder
from pelt_automl.options import settings_from
from pelt_automl.recorders import RECORDERS
from pelt_automl.report import Recommendation, load_recommendation
from pelt_automl.search.budget import Clock, Speed, allowance, seconds_enough, seconds_used, training_seconds
from pelt_automl.search.finalists import wanted_finalists
from pelt_automl.search.spaces import load_spaces
from pelt_automl.selection.baseline_phase import fit_baselines
from pelt_automl.selection.context import Context, Record
from pelt_automl.selection.costs import measure_costs
from pelt_automl.selection.environment import effort_of, environment, key_of, settings_as_json
from pelt_automl.selection.evidence_phase import explain
from pelt_automl.selection.field import field_of
from pelt_automl.selection.finalist_phase import confirm
from pelt_automl.selection.head_start import decide_head_start
from pelt_automl.selection.inherited import Inherited
from pelt_automl.selection.limits import apply_limits, leave_out, left_out_before, over_parameters
from pelt_automl.selection.probe import Packs, choose_packs, probe_packs
from pelt_automl.selection.process import process_restored
from pelt_automl.selection.pruning_phase import prune
from pelt_automl.selection.result_phase import publish, recommend
from pelt_automl.selection.search_phase import search
from pelt_automl.selection.speed import choose_threads, machine_numbers, machine_words, measure_speed, workload
from pelt_automl.selection.text_length import length_note, recorded_length, text_length
from pelt_automl.settings import SelectionSettings
from pelt_automl.tasks import load_task
from pelt_automl.tasks.baselines import constant_on_select
from pelt_automl.training.checkpoints import precision_name
from pelt_automl.training.schedule import wanted_steps

if TYPE_CHECKING:
    from typing import Unpack

    from pelt_automl.option_types import Options


class Selection:
    """A selection in its folder. Phases are called in their order; what an earlier start has finished isn't done again."""

    def __init__(self, context: Context, name: str, key: str, held: ExitStack) -> None:
        """Use `Selection.open`. `held` is let go at the end: the recorders, the folder's lock, what was changed of the process."""
        self.context, self.name, self.key, self._held = context, name, key, held

    @staticmethod
    def open(
        settings: SelectionSettings,
        folder: Path | None = None,
        display: Recorder | None = None,
        *,
        inherited: Inherited | None = None,
    ) -> "Selection":
        """Check settings, search spaces and data, and start a selection, or take it up where an earlier start left it.

        `folder`: None for one in the program's home. `display` is told of every event, progress included.
        `inherited`: what an earlier selection hands on.
        Raises `TaskError`, `SettingsError`, `BackboneError`, `SearchSpaceError` for what can't be used, and `SelectionError` when the
        folder holds another selection or another process works in it. All of this happens before a model is loaded.
        """
        started = time.monotonic()
        if folder:
            check_output(expanded(folder).absolute(), "selection")
        table, shape = load_outline(settings.model)
        possible, _ = field_of(settings.search.methods, table, shape, baselines=settings.search.baselines)
        spaces = load_spaces(settings.search.spaces, possible)
        inherited = inherited or Inherited()
        before_data = time.monotonic()
        data = inherited.data or load_task(settings.task)
        key = key_of(settings, data.data_hash, spaces)
        name = f"{re.sub(r'[^A-Za-z0-9._-]+', '-', data.name)}-{key[:8]}"
        folder = expanded(folder or home() / "selections" / name).absolute()
        check_output(folder, "selection")
        tokenizer = inherited.backbone.tokenizer if inherited.backbone else check_model(settings.model, shape)
        length = recorded_length(_earlier_events(folder, key)) or text_length(settings, data, tokenizer, shape, possible)
        bill = {"data": time.monotonic() - before_data}
        methods, left_out = field_of(settings.search.methods, table, shape, length.most, baselines=settings.search.baselines)
        over = over_parameters(settings, methods, spaces, (table, shape), data.outputs, length.most)
        make_output(folder)
        with ExitStack() as held:
            held.enter_context(process_restored())
            if not held.enter_context(exclusive(folder / LOCK)):
                raise SelectionError(f"another process is working on this selection in {folder}; wait for it, or choose another --output")
            events = _earlier_events(folder, key)
            clock = Clock(settings.search.seconds, used=seconds_used(events), started=started)
            record = Record(events, _recorders(folder, held), display)
            context = Context(settings, folder, methods, spaces, data, tokenizer, shape.vocabulary, length, record, clock, inherited, bill)
            selection = Selection(context, name, key, held)
            if not selection.finished:
                make_work_folder(folder)
                selection._start(left_out, over, resumed=bool(events))
            selection._held = held.pop_all()
        return selection

    def _start(self, left_out: Mapping[str, Sequence[str]], over: Mapping[str, str], *, resumed: bool) -> None:
        settings = self.context.settings
        found = environment()
        self.context.record.append(
            SelectionStarted(
                self.name,
                self.key,
                self.context.data.name,
                settings.model,
                list(self.context.methods),
                settings_as_json(settings),
                found,
                resumed,
                self.context.question,
                effort_of(settings, self.context.spaces),
                BEHAVIOUR,
                self.context.clock.elapsed - self.context.clock.used,
            )
        )
        if not resumed:
            for method, reasons in left_out.items():
                self.context.record.append(
                    Decision(What.METHOD_IMPOSSIBLE, method, f"not possible on {settings.model}: {'; '.join(reasons)}")
                )
        leave_out(self.context, over)

    @property
    def folder(self) -> Path:
        """Where everything is written."""
        return self.context.folder

    @property
    def finished(self) -> bool:
        """Whether an earlier start has come to its end."""
        return self.context.record.history.end is not None

    @property
    def loaded(self) -> Backbone | None:
        """The model as far as it is loaded; None before `prepare`, and for a selection that had finished before."""
        return self.context.loaded

    def prepare(self) -> None:
        """Describe the data, load the model, measure its speed, and plan what the time limit allows."""
        if self.finished:
            return
        context = self.context
        with context.timed(Phase.DATA):
            if not context.record.history.of_kind(DataDescribed):
                context.record.append(_description(context))
        with context.timed(Phase.MODEL):
            context.progress(Phase.MODEL, 0, 1, f"loading {context.settings.model}")
            training, planned = context.settings.training, context.record.history.plan
            backbone = self._backbone((planned.precision if planned else "") or training.precision)
            if planned:
                context.ready(backbone, planned.steps, planned.final_steps)
                choose_threads(context)
                leave_out(context, left_out_before(context))
                return
            context.ready(backbone, wanted_steps(context.data.sizes(context.settings.search.seed)["train"], training))
            context.progress(Phase.MODEL, 0.5, 1, "measuring its speed")
            choose_threads(context)
            decide_head_start(context)
            apply_limits(context)
            packs = choose_packs(context, probe_packs(context))
            self._plan(measure_speed(context, packs), packs)

    def _backbone(self, precision: Precision) -> Backbone:
        """The model in a precision, or in the one that is the faster: an earlier selection's, if that will do."""
        context, training = self.context, self.context.settings.training
        handed_on = context.inherited.backbone
        if handed_on and precision in ("auto", precision_name(handed_on.dtype)):
            return handed_on
        return load_backbone(
            context.settings.model, precision=precision, dropout=training.dropout, tokenizer=context.tokenizer, work=workload(context)
        )

    def _plan(self, speed: Speed, packs: Packs) -> None:
        context = self.context
        search_settings, training = context.settings.search, context.settings.training
        sizes = context.data.sizes(search_settings.seed)
        wanted, evaluated = wanted_steps(sizes["train"], training), (sizes["select"], sizes["report"])
        given = allowance(
            wanted,
            wanted_finalists(context.methods),
            len(context.methods),
            evaluated,
            context.clock.left,
            speed,
            search_settings,
            training,
        )
        context.ready(context.backbone, given.steps, given.final_steps)
        plan = context.plan
        seconds = training_seconds(given.steps, sizes["select"], speed, search_settings, training)
        cut = sum(part.cut["cut"] for part in context.splits(search_settings.seed))
        texts = f"texts of at most {context.max_length} tokens, {cut:,} of {sizes['train'] + sizes['select']:,} cut"
        message = f"{given.message}; {texts}; {machine_words(context)}; {packs.message}"
        enough = seconds_enough(wanted, len(context.methods), evaluated, context.clock.elapsed, speed, search_settings, training)
        context.record.append(
            Planned(
                plan.steps,
                plan.rungs[0] if plan.rungs else plan.steps,
                len(plan.evaluate_at),
                seconds,
                message,
                packs.numbers | machine_numbers(context),
                list(plan.rungs),
                context.final_plan.steps,
                step_seconds=speed.step,
                example_seconds=speed.example,
                finalists=given.finalists,
                seconds_enough=enough,
                pack_size=packs.size,
                precision=precision_name(context.backbone.dtype),
            )
        )

    def search(self) -> None:
        """The baselines, then trials of all methods, packed."""
        if self.finished:
            return
        with self.context.timed(Phase.BASELINES):
            fit_baselines(self.context)
        with self.context.timed(Phase.SEARCH):
            search(self.context, self.context.methods)

    def confirm(self) -> None:
        """Train the finalists on fresh seeds and score them on the report split."""
        if self.finished:
            return
        with self.context.timed(Phase.FINALISTS):
            confirm(self.context)

    def explain(self) -> None:
        """Take unions apart, confirm those without what they can do without, and measure what each finalist costs."""
        if self.finished:
            return
        with self.context.timed(Phase.EVIDENCE):
            explain(self.context)
        with self.context.timed(Phase.FINALISTS):
            prune(self.context)
        with self.context.timed(Phase.EVIDENCE):
            explain(self.context)  # the smaller unions, too
        with self.context.timed(Phase.COSTS):
            measure_costs(self.context)

    def recommend(self) -> Recommendation:
        """The verdict with report and weights; the earlier one when the selection has finished before."""
        if not self.finished:
            return recommend(self.context)
        if not (
            self.context.record.history.published and (self.folder / RECOMMENDATION).is_file()
        ):  # an earlier start was killed just before
            return publish(self.context)
        for recorder in self.context.record.recorders:
            recorder.publish(self.folder)  # what a server that was away hasn't got
        return load_recommendation(self.folder)

    def run(self) -> Recommendation:
        """All phases."""
        self.prepare()
        self.search()
        self.confirm()
        self.explain()
        return self.recommend()

    def close(self) -> None:
        """Let the recorders write what they hold back."""
        self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()


def _recorders(folder: Path, held: ExitStack) -> list[Recorder]:
    """One of each kind, closed with `held`."""
    made: list[Recorder] = []
    for make in RECORDERS.values():
        made.append(make(folder))
        held.callback(made[-1].close)
    return made


def _earlier_events(folder: Path, key: str) -> list[Event]:
    """The records of an earlier start in this folder. Raises `SelectionError` when they are another selection's."""
    path = folder / RECORDS
    if not path.is_file():
        return []
    events = list(read(path))
    started = [event for event in events if isinstance(event, SelectionStarted)]
    if started and started[0].behaviour != BEHAVIOUR:
        raise SelectionError(
            f"{folder} holds a selection of another version of this program (behavior {started[0].behaviour}; this one has {BEHAVIOUR}), "
            "and trainings of two versions can't be compared; choose another --output. "
            f"Where that selection has ended, `pelt-automl report {folder}` still shows it"
        )
    if started and started[0].key != key:
        raise SelectionError(
            f"{folder} holds another selection ({started[0].selection}: other settings, data or program version); "
            "choose another folder with --output"
        )
    return events if started else []


def _description(context: Context) -> DataDescribed:
    data, seed = context.data, context.settings.search.seed
    cut = {split: part.cut for split, part in zip(("train", "select"), context.splits(seed), strict=True)}
    return DataDescribed(
        task=data.name,
        kind=data.kind,
        metric=data.metric.name,
        greater_is_better=data.metric.greater_is_better,
        labels=list(data.labels),
        k=data.k,
        protocol=data.protocol,
        sizes=data.sizes(seed),
        hashes=data.hashes(seed),
        notes=[*data.notes, length_note(context.length, cut)],
        positive_class=data.positive_class,
        guess_on_select=constant_on_select(data, seed),
        text_length=context.length.recorded(),
        cut=cut,
    )


def select(
    settings: SelectionSettings | None = None,
    *,
    output: Path | str | None = None,
    display: Recorder | None = None,
    **options: "Unpack[Options]",
) -> Recommendation:
    """Run a selection and return its recommendation: the program in one call.

    `settings`, or in their place `options`: those of the command line with underscores, ``task`` (or ``train``, ``text_columns``,
    ``label_column``), ``k``, ``methods``, ``seconds``, ... (docs/options.md has all). `output` is the folder to write to; the same call
    takes a selection up again. Raises the errors of `settings_from` and `Selection.open`, and `NoTrialCompletedError`.
    """
    if settings is not None and (options or not isinstance(settings, SelectionSettings)):
        came = f"{settings!r} came, with {', '.join(options) or 'no options'}"
        raise SettingsError(f"give either SelectionSettings or options such as task='qnli'; {came}")
    asked = settings or settings_from(**options)
    with process_restored(), Selection.open(asked, Path(output) if output else None, display) as selection:
        return selection.run()
