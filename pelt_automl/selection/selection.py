"""One selection, from its settings to its recommendation, as phases that can be called one after the other."""

import math
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self, Unpack

from pelt_automl import BEHAVIOUR
from pelt_automl.backbones.loading import Backbone, Precision, check_model, load_backbone, load_outline
from pelt_automl.errors import SelectionError, SettingsError
from pelt_automl.home import expanded, home
from pelt_automl.log.codec import read
from pelt_automl.log.events import (
    DataDescribed,
    Decision,
    Event,
    OutputsLost,
    Phase,
    Planned,
    Recorder,
    SelectionStarted,
    What,
    WorkersAwaited,
)
from pelt_automl.log.folder import LOCK, OUTPUTS, RECOMMENDATION, RECORDS, check_output, exclusive, make_output, make_work_folder
from pelt_automl.log.history import History
from pelt_automl.log.log import Log
from pelt_automl.log.outputs import Outputs
from pelt_automl.option_types import Options
from pelt_automl.options import settings_from
from pelt_automl.recorders import RECORDERS
from pelt_automl.report import Recommendation, load_recommendation, write_report
from pelt_automl.search.shipped import shipped_portfolio
from pelt_automl.search.spaces import load_spaces
from pelt_automl.selection.baseline_phase import fit_baselines
from pelt_automl.selection.costs import measure_costs
from pelt_automl.selection.environment import effort_of, environment, key_of, settings_as_json
from pelt_automl.selection.evidence_phase import explain
from pelt_automl.selection.field import field_of
from pelt_automl.selection.finalist_phase import confirm
from pelt_automl.selection.head_start import decide_head_start
from pelt_automl.selection.hiring import Provider, check_hiring
from pelt_automl.selection.inherited import Inherited
from pelt_automl.selection.limits import apply_limits, leave_out, over_parameters
from pelt_automl.selection.machine import Machine, costs_of
from pelt_automl.selection.measuring import (
    IN_WORDS,
    batch_tokens,
    machine_numbers,
    machine_words,
    pack_speed,
    remember_speed,
    workload,
)
from pelt_automl.selection.portfolio_phase import identify, learn_portfolio, uses_portfolio
from pelt_automl.selection.process import process_restored
from pelt_automl.selection.pruning_phase import prune
from pelt_automl.selection.question import Question, plans_of
from pelt_automl.selection.result_phase import publish, recommend
from pelt_automl.selection.search_phase import search
from pelt_automl.selection.splits import Splits
from pelt_automl.selection.text_length import length_note, recorded_length, text_length
from pelt_automl.selection.threads import choose_threads
from pelt_automl.selection.writing import WRITING, remember_writing, writing_shown
from pelt_automl.settings import SelectionSettings
from pelt_automl.tasks import load_task
from pelt_automl.tasks.baselines import constant_on_select
from pelt_automl.timing.clock import Clock, seconds_used
from pelt_automl.timing.costs import LEFT, Speed
from pelt_automl.timing.plan import choose, in_words, seconds_enough
from pelt_automl.timing.policy import POLICY
from pelt_automl.timing.schedule import make_plan
from pelt_automl.training.checkpoints import precision_name
from pelt_automl.training.memory import usable_bytes

MOMENT = 0.01
"""Seconds of a wait that aren't worth a record."""


class Selection:
    """A selection in its folder. Phases are called in their order; what an earlier start has finished isn't done again.

    Each phase is a function of what it uses: the question, the machine, the log, and the clock.
    """

    def __init__(
        self,
        folder: Path,
        key: str,
        question: Question,
        log: Log,
        clock: Clock,
        inherited: Inherited,
        bill: dict[str, float],
        held: ExitStack,
        provider: Provider | None = None,
    ) -> None:
        """Use `Selection.open`. `bill`: seconds by phase; `held` is let go at the end: the recorders, the folder's lock, ..."""
        self.folder, self.key, self.question, self.log, self.clock = folder, key, question, log, clock
        self.inherited, self.bill, self._held = inherited, bill, held
        self.waited = 0.0
        """Seconds that this start waited for the first worker; the time limit doesn't count them."""
        self.splits, self.provider, self._crew = Splits(question), provider, held.enter_context(ExitStack())

    @staticmethod
    def open(
        settings: SelectionSettings,
        folder: Path | None = None,
        display: Recorder | None = None,
        *,
        inherited: Inherited | None = None,
        started: float | None = None,
        provider: Provider | None = None,
    ) -> "Selection":
        """Check settings, search spaces and data, and start a selection, or take it up where an earlier start left it.

        `folder`: None for one in the program's home. `display` is told of every event, progress included.
        `inherited`: what an earlier selection hands on. `started`: where the time limit begins to count, on the monotonic
        clock; None: with this call. `provider`: who brings the workers that are asked for; None: they are processes of this machine.
        Raises `TaskError`, `SettingsError`, `BackboneError`, `SearchSpaceError` for what can't be used, and `SelectionError` when the
        folder holds another selection or another process works in it. All of this happens before a model is loaded.
        """
        started = time.monotonic() if started is None else started
        if folder:
            check_output(expanded(folder).absolute(), "selection")
        table, shape = load_outline(settings.model)
        possible, _ = field_of(settings.search.methods, table, shape, baselines=settings.search.baselines)
        spaces = load_spaces(settings.search.spaces, possible)
        check_hiring(settings.training, provider)
        if uses_portfolio(settings):
            shipped_portfolio()  # what is wrong with it is said before anything is loaded
        inherited = inherited or Inherited()
        before_data = time.monotonic()
        data = inherited.data or load_task(settings.task)
        table, shape = load_outline(settings.model, tokens=data.task_kind.reads_tokens)
        key = key_of(settings, data.data_hash, spaces)
        name = f"{re.sub(r'[^A-Za-z0-9._-]+', '-', data.name)}-{key[:8]}"
        folder = expanded(folder or home() / "selections" / name).absolute()
        check_output(folder, "selection")
        tokenizer = inherited.backbone.tokenizer if inherited.backbone else check_model(settings.model, shape)
        length = recorded_length(_earlier_events(folder, key, data.data_hash)) or text_length(settings, data, tokenizer, shape, possible)
        bill = {"data": time.monotonic() - before_data}
        methods, left_out = field_of(settings.search.methods, table, shape, length.most, baselines=settings.search.baselines)
        question = Question(settings, spaces, methods, data, tokenizer, shape.vocabulary, length)
        over = over_parameters(question, (table, shape))
        make_output(folder)
        with ExitStack() as held:
            held.enter_context(process_restored())
            if not held.enter_context(exclusive(folder / LOCK)):
                raise SelectionError(f"another process is working on this selection in {folder}; wait for it, or choose another --output")
            events = _earlier_events(folder, key, data.data_hash)
            clock = Clock(settings.search.seconds, used=seconds_used(events), started=started)
            log = Log(events, _recorders(folder, held), display, Outputs(folder / OUTPUTS))
            selection = Selection(folder, key, question, log, clock, inherited, bill, held, provider)
            if not selection.finished:
                make_work_folder(folder)
                log.append(_started(question, name, key, clock, resumed=bool(events)))
                if not events:
                    for method, reasons in left_out.items():
                        log.append(Decision(What.METHOD_IMPOSSIBLE, method, f"not possible on {settings.model}: {'; '.join(reasons)}"))
                for reference in log.history.unreadable():
                    log.append(OutputsLost(reference))
                leave_out(over, log)
                for trial in log.history.open():
                    if trial.reached and not trial.stopped:
                        log.append(Decision(What.RESUMED, trial.name, f"goes on at step {trial.reached}", {"step": float(trial.reached)}))
            selection._held = held.pop_all()
        return selection

    @property
    def finished(self) -> bool:
        """Whether an earlier start has come to its end."""
        return self.log.history.end is not None

    @cached_property
    def machine(self) -> Machine:
        """Loads the model when it is first asked for."""
        question, plan = self.question, self.log.history.plan
        self.log.progress(Phase.MODEL, 0, 1, f"loading {question.settings.model}")
        work = workload(question, self.splits)
        precision: Precision = (plan.precision if plan else "") or question.settings.training.precision
        backbone = self.inherited.backbone
        if not backbone or precision not in ("auto", precision_name(backbone.dtype)):
            dropout = question.settings.training.dropout
            backbone = load_backbone(
                question.settings.model,
                precision=precision,
                dropout=dropout,
                tokenizer=question.tokenizer,
                work=work,
                tokens=question.data.task_kind.reads_tokens,
            )
        self.log.progress(Phase.MODEL, 0.5, 1, "measuring its speed")
        return Machine.of(question, self.splits, backbone, choose_threads(backbone, work), self.folder)

    @property
    def loaded(self) -> Backbone | None:
        """The model as far as it is loaded; None before `prepare`, and for a selection that had finished before."""
        return self.machine.backbone if "machine" in vars(self) else None

    @contextmanager
    def _timed(self, phase: Phase) -> Iterator[None]:
        """Put the wall time spent inside on the bill."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.bill[phase] = self.bill.get(phase, 0.0) + time.monotonic() - start

    @contextmanager
    def _remembered(self) -> Iterator[None]:
        """Keep what the trainings inside show of this machine, however they end."""
        try:
            yield
        finally:
            remember_speed(self.question, self.machine)

    def prepare(self) -> None:
        """Describe the data, load the model, and plan what the time limit allows."""
        if self.finished:
            return
        question, log = self.question, self.log
        with self._timed(Phase.DATA):
            if not log.history.of_kind(DataDescribed):
                log.append(_description(question, self.splits))
        with self._timed(Phase.MODEL):
            machine = self.machine
            if log.history.plan is None:
                decide_head_start(question, machine, log)
                apply_limits(question, machine, log)
                log.append(_planned(question, machine, log.history, self.clock))
            identify(question, machine, log)
            self._hire()

    def _hire(self) -> None:
        """Start the workers, and let others in: who has joined trains from then on."""
        training = self.question.settings.training
        if training.workers or training.listen:
            from pelt_automl.selection.hiring import hired

            if training.workers and self.machine.backbone.device.type == "cuda":
                self.machine.leave()
            self.machine.workers = self._crew.enter_context(hired(self.question, self.machine, self.log, self.provider))

    def _await_worker(self) -> None:
        """Workers that are brought come when there is a place for them: until the first is there, the time limit doesn't run."""
        if self.provider is None or self.machine.workers is None or self.machine.workers.ready():
            return
        told = begun = time.monotonic()

        def tell(*events: Event) -> None:
            """The wait comes first: without it the next start would take it for time that was used."""
            nonlocal told
            now = time.monotonic()
            if now - told > MOMENT:
                self.log.append(WorkersAwaited(now - told))
                told = now
            for event in events:
                self.log.append(event)

        try:
            self.machine.workers.first(tell)
        finally:
            tell()
            self.waited = told - begun
            self.clock = self.clock.without(self.waited)

    def _dismiss(self) -> None:
        """Send them away, and put what they did on the record."""
        if "machine" in vars(self) and self.machine.workers is not None:
            for event in self.machine.workers.leaving():
                self.log.append(event)
            self.machine.workers = None
            self._crew.close()
            self.machine.come_back()

    def search(self) -> None:
        """The baselines, then trials of all methods, packed."""
        if self.finished:
            return
        with self._timed(Phase.BASELINES), self.machine.at_work():
            fit_baselines(self.question, self.machine, self.log)
            learn_portfolio(self.question, self.machine, self.log)
        self._await_worker()
        with self._timed(Phase.SEARCH), self._remembered():
            search(self.question, self.machine, self.log, self.clock, self.inherited)

    def confirm(self) -> None:
        """Train the finalists on fresh seeds and score them on the report split."""
        if self.finished:
            return
        with self._timed(Phase.FINALISTS), self._remembered():
            confirm(self.question, self.machine, self.log, self.clock)

    def explain(self) -> None:
        """Take unions apart, confirm those without what they can do without, and measure what each finalist costs."""
        if self.finished:
            return
        values = self.question, self.machine, self.log, self.clock
        with self._timed(Phase.EVIDENCE):
            explain(*values)
        with self._timed(Phase.FINALISTS):
            prune(*values)
        with self._timed(Phase.EVIDENCE):
            explain(*values)  # the smaller unions, too
        self._dismiss()
        with self._timed(Phase.COSTS):
            measure_costs(*values)

    def recommend(self) -> Recommendation:
        """The verdict with report and weights; the earlier one when the selection has finished before."""
        self._dismiss()
        started, ends_now = time.monotonic(), not self.finished
        if ends_now:
            recommend(self.question, self.machine, self.log, self.clock, self.bill)
        if not self.log.history.published or not (self.folder / RECOMMENDATION).is_file():
            write_report(self.folder)
            if ends_now:
                remember_writing(self.question, time.monotonic() - started)
            return publish(self.folder, self.log)
        for recorder in self.log.recorders:
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


def _earlier_events(folder: Path, key: str, data_hash: str) -> list[Event]:
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
        before = next((event.hashes.get("data") for event in events if isinstance(event, DataDescribed)), None)
        if before not in (None, data_hash):
            raise SelectionError(
                f"{folder} holds another selection: its data had the hash {before}, the data now has {data_hash}. "
                "Bring back the data that it was started with, or choose another folder with --output"
            )
        raise SelectionError(
            f"{folder} holds another selection ({started[0].selection}: other settings, data or program version); "
            "choose another folder with --output"
        )
    return events if started else []


def _started(question: Question, name: str, key: str, clock: Clock, *, resumed: bool) -> SelectionStarted:
    settings = question.settings
    return SelectionStarted(
        name,
        key,
        question.data.name,
        settings.model,
        list(question.methods),
        settings_as_json(settings),
        environment(),
        resumed,
        question.hash,
        effort_of(settings, question.spaces),
        BEHAVIOUR,
        clock.elapsed - clock.used,
    )


def _description(question: Question, splits: Splits) -> DataDescribed:
    data, seed = question.data, question.search.seed
    cut = {split: part.cut for split, part in zip(("train", "select"), splits.search, strict=True)}
    return DataDescribed(
        task=data.name,
        kind=data.kind,
        metric=data.metric.name,
        greater_is_better=data.metric.greater_is_better,
        labels=list(data.labels),
        k=data.k,
        protocol=data.protocol,
        sizes=question.sizes,
        hashes=data.hashes(seed),
        notes=[*data.notes, length_note(question.length, cut, windows=data.task_kind.reads_tokens)],
        positive_class=data.positive_class,
        guess_on_select=constant_on_select(data, seed),
        text_length=question.length.recorded(),
        cut=cut,
    )


def _planned(question: Question, machine: Machine, history: History, clock: Clock) -> Planned:
    """What the time limit allows, by what is known of the machine."""
    costs, splits, unshortened = costs_of(question, machine, history), machine.splits, plans_of(question, history).search
    packs, figures = pack_speed(question, machine, history, clock, unshortened)
    free, tokens = usable_bytes(machine.backbone.device), batch_tokens(question, splits)
    size = question.settings.training.pack_size or packs.size(POLICY.device(machine.backbone.device.type), free, tokens)
    step, taken = packs.seconds_of(size) / size, size * tokens * packs.token_bytes
    devices = (question.settings.training.workers or 1) if machine.backbone.device.type == "cuda" else 1  # on a processor they share cores
    speed, left = Speed(step * costs.slowdown / devices, packs.example), clock.left
    plan = choose(costs, left, speed)
    schedule = make_plan(plan.steps, question.search.rungs, costs.sizes.select, costs.training_settings)
    cut, known = sum(part.cut["cut"] for part in splits.search), len(splits.known)
    texts = f"texts of at most {question.length.most} tokens, {cut:,} of {known:,} cut"
    source = IN_WORDS[figures].format(*packs.steps)
    in_packs = f"trials in a pack: {size}, {1000 * step:.0f} ms a trial's step, {taken / 1e9:.2g} GB, {source}"
    numbers = {f"pack_seconds_{trials}": seconds for trials, seconds in packs.steps.items()} | {"pack_bytes": taken}
    if math.isfinite(left):
        numbers[LEFT] = left
    if writing_shown(question) is not None:
        numbers[WRITING] = costs.writing
    return Planned(
        plan.steps,
        schedule.rungs[0] if schedule.rungs else plan.steps,
        len(schedule.evaluate_at),
        costs.full(plan.steps, speed),
        f"{in_words(plan, costs, left)}; {texts}; {machine_words(machine)}; {in_packs}",
        numbers | ({"pack_bytes_free": free} if math.isfinite(free) else {}) | machine_numbers(machine),
        list(schedule.rungs),
        plan.final_steps,
        step_seconds=speed.step,
        example_seconds=speed.example,
        finalists=plan.finalists,
        seconds_enough=seconds_enough(costs, clock.elapsed, speed),
        pack_size=size,
        precision=precision_name(machine.backbone.dtype),
        figures=figures,
        fresh=plan.seeds > 0,
    )


def select(
    settings: SelectionSettings | None = None,
    *,
    output: Path | str | None = None,
    display: Recorder | None = None,
    **options: Unpack[Options],
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
