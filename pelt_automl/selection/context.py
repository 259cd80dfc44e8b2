"""What the phases of a selection share: settings, data, model, clock, and the record of what has happened."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from pelt_automl.backbones.loading import Backbone
from pelt_automl.baselines import Encoder, HeadStarts, probed_at_most
from pelt_automl.design_space import Modification
from pelt_automl.execution.packs import Packs
from pelt_automl.log.events import (
    Decision,
    Event,
    HyperParameters,
    Phase,
    Planned,
    Progress,
    Recorder,
    Seeds,
    Segment,
    Stage,
    State,
    TrialEnded,
    What,
)
from pelt_automl.log.history import History
from pelt_automl.methods import LEARNING_RATE, METHODS
from pelt_automl.modifications import LowerLayers, count_on, needs_own_pack, pack_kind
from pelt_automl.scheduling.actions import Budget
from pelt_automl.search.budget import EVIDENCE_EXAMPLES, Clock, Speed
from pelt_automl.search.spaces import SearchSpace
from pelt_automl.selection.environment import question_of
from pelt_automl.selection.field import refusals, too_many
from pelt_automl.selection.inherited import Inherited
from pelt_automl.selection.text_length import TextLength
from pelt_automl.selection.threads import Threads
from pelt_automl.selection.working_folders import working
from pelt_automl.settings import SelectionSettings
from pelt_automl.tasks import Examples, TaskData
from pelt_automl.timing.costs import SeenCosts, Sizes
from pelt_automl.training.features import FrozenFeatures
from pelt_automl.training.packing import Kind, kind_of
from pelt_automl.training.schedule import TrainingPlan, make_plan
from pelt_automl.training.tokens import Tokens, TokenStore, tokenize
from pelt_automl.training.trials import TrialRun, begin
from pelt_automl.training.work import Work

C = TypeVar("C")


class Record:
    """A selection's log: its history so far, and where new events go."""

    def __init__(self, events: Iterable[Event], recorders: list[Recorder], display: Recorder | None = None) -> None:
        self.history, self.recorders, self.display = History.of(events), recorders, display

    @property
    def events(self) -> list[Event]:
        """All of them, oldest first."""
        return self.history.events

    def append(self, event: Event) -> None:
        """Write an event to every recorder, the file first."""
        for recorder in self.recorders:
            recorder.record(event)
        self.show(event)
        self.history.apply(event)

    def once(self, decision: Decision) -> None:
        """Write a decision, unless it was made of its subject before."""
        if decision.subject not in self.history.decided(decision.what):
            self.append(decision)

    def show(self, event: Event) -> None:
        """Hand an event to the display alone."""
        if self.display:
            self.display.record(event)


@dataclass
class Context:
    """The state of a selection between its phases."""

    settings: SelectionSettings
    folder: Path
    methods: tuple[str, ...]
    spaces: dict[str, SearchSpace]
    data: TaskData
    tokenizer: Any
    """The model's."""
    rows: int
    """Of the model's token embedding."""
    length: TextLength
    """Where texts are cut."""
    record: Record
    clock: Clock
    inherited: Inherited = field(default_factory=Inherited)
    bill: dict[str, float] = field(default_factory=dict)
    """Seconds by phase."""
    _backbone: Backbone | None = None
    threads: Threads | None = None
    """Torch's, after `prepare`."""
    lower: LowerLayers | None = None
    """What the lower layers put out for each example, kept for all packs that leave them alone, after `prepare`."""
    heads: HeadStarts | None = None
    """The probe of each split, and the frozen features that it reads, after `prepare`."""
    report_opened: tuple[Tokens, Examples] | None = None
    """The examples of the report split that finalists are scored on, once it is open in this process."""
    _encoder: Encoder | None = None
    _plan: TrainingPlan | None = None
    _final_plan: TrainingPlan | None = None
    _pool: TokenStore | None = None
    _validation: TokenStore | None = None
    _latest: tuple[int, tuple[Tokens, Tokens]] | None = None
    """The split seed that was asked for last, with its splits."""

    @property
    def question(self) -> str:
        """The hash of what is asked; the finalists' seeds are made from it."""
        return question_of(self.settings, self.data.data_hash)

    @property
    def backbone(self) -> Backbone:
        """The frozen model, after `prepare`."""
        assert self._backbone is not None, "prepare() comes first"
        return self._backbone

    @property
    def loaded(self) -> Backbone | None:
        """The model as far as it is loaded."""
        return self._backbone

    @property
    def encoder(self) -> Encoder:
        """What baselines read; it shares its passes of the backbone with the starts of the heads. After `prepare`."""
        assert self.heads is not None, "prepare() comes first"
        self._encoder = self._encoder or Encoder(self.heads.features, self.tokenized)
        return self._encoder

    @property
    def most_probed(self) -> int:
        """Train examples that the start of the heads and the baselines are fitted on at most, and of select those that baselines read."""
        return probed_at_most(self.clock.limit)

    @property
    def max_length(self) -> int:
        """Tokens that a text is cut to."""
        return self.length.most

    @property
    def trials(self) -> int:
        """Configurations tried a method at most."""
        return self.settings.search.trials + self.inherited.more_trials

    @property
    def plan(self) -> TrainingPlan:
        """The plan of every training in the search, after `prepare`."""
        assert self._plan is not None, "prepare() comes first"
        return self._plan

    @property
    def final_plan(self) -> TrainingPlan:
        """The plan of every finalist's training, after `prepare`: the search's own, unless time for that was short."""
        assert self._final_plan is not None, "prepare() comes first"
        return self._final_plan

    def ready(self, backbone: Backbone, steps: int, final_steps: int = 0) -> None:
        """Set what `prepare` has found; without `final_steps` finalists are trained as long as the search's trials."""
        self._backbone, self.lower = backbone, LowerLayers(backbone)
        if self.heads is None:
            self.heads = HeadStarts(FrozenFeatures(backbone), self.data.outputs, self.most_probed)
        search, training, select_size = self.settings.search, self.settings.training, self.data.sizes(self.settings.search.seed)["select"]
        self._plan = make_plan(steps, search.rungs, select_size, training)
        self._final_plan = make_plan(final_steps or steps, search.rungs, select_size, training)

    def modifications(self, method: str, hyper_parameters: HyperParameters) -> tuple[Modification, ...]:
        """What a configuration changes in the backbone."""
        return METHODS[method].modifications(hyper_parameters)

    def refusal(self, method: str, hyper_parameters: HyperParameters) -> str | None:
        """Why the model can't carry out a configuration, or may not for its parameters; None if it can."""
        backbone, modifications = self.backbone, self.modifications(method, hyper_parameters)
        if found := refusals(modifications, backbone.architecture, backbone.shape, self.max_length):
            return "; ".join(found)
        most = self.settings.search.max_trainable
        return too_many(count_on(modifications, backbone, self.data.outputs).kept, most) if most is not None else None

    def packs(self, configurations: Sequence[C], of: Callable[[C], tuple[Modification, ...]]) -> list[list[C]]:
        """Configurations in packs that fit and suit them (see `pack_kind`), their Modifications given by `of`.

        Those that can't share a pack stand alone, at the end.
        """
        kinds, alone = dict[tuple[object, ...], list[C]](), list[list[C]]()
        for one in configurations:
            kind = pack_kind(of(one), self.backbone.architecture, self.backbone.shape)
            if kind is None:
                alone.append([one])
            else:
                kinds.setdefault(kind, []).append(one)
        size = self.pack_size
        return [same[start : start + size] for same in kinds.values() for start in range(0, len(same), size)] + alone

    def shares_packs(self, method: str) -> bool:
        """Whether a method's published configuration can train in one pack with others."""
        return not needs_own_pack(self.modifications(method, METHODS[method].defaults), self.backbone.architecture)

    @property
    def pack_size(self) -> int:
        """Trials in one forward pass at most: the user's wish, else as planned. Plans made before packs were measured don't say it."""
        plan = self.record.history.plan
        measured = plan.pack_size if plan else 0
        return self.settings.training.pack_size or measured or (4 if self.backbone.device.type == "cpu" else 16)

    @property
    def heads_from_probe(self) -> bool:
        """Whether the heads of all trainings start at the probe, as decided once; False before that."""
        return "probe" in self.record.history.decided(What.HEAD_START)

    @property
    def planned(self) -> Planned:
        """The plan's record."""
        return self.record.history.of_kind(Planned)[-1]

    @property
    def speed(self) -> Speed:
        """What was measured."""
        return Speed(self.planned.step_seconds, self.planned.example_seconds)

    @property
    def costs(self) -> SeenCosts:
        """What trainings and all that comes after them take, once there is a plan."""
        sizes, shared = self.data.sizes(self.settings.search.seed), [method for method in self.methods if self.shares_packs(method)]
        examples = Sizes(sizes["train"], sizes["select"], sizes["report"], len(self.data.pool), self.most_probed)
        return SeenCosts(self.methods, shared, self.plan.steps, self.final_plan.steps, self.settings.search, examples)

    def seconds_a_finalist_of(self, method: str) -> float:
        """What a finalist's training takes with this method."""
        return self.costs.finalist(self.record.history, method)

    def closing_seconds(self, runs: int = 0, report_examples: int = 0) -> float:
        """What scoring `runs` finalists' runs, measuring their costs, the evidence and the writing are going to take."""
        return self.costs.closing(self.record.history, self.clock.limit, runs, report_examples)

    def splits(self, seed: int) -> tuple[Tokens, Tokens]:
        """Tokenized train and select of a split seed. Every text is tokenized once, and of the seeds only the latest is kept."""
        if self._latest is None or self._latest[0] != seed:
            self._latest = None  # not two at once
            self._latest = (seed, self._gathered(seed))
        return self._latest[1]

    def _gathered(self, seed: int) -> tuple[Tokens, Tokens]:
        train, select = self.data.indices(seed)
        self._pool = self._pool or TokenStore(self.data.pool, self.tokenized)
        if self.data.validation is None:
            return self._pool.take(train), self._pool.take(select)
        self._validation = self._validation or TokenStore(self.data.validation, self.tokenized)
        return self._pool.take(train), self._validation.take(select)

    def tokenized(self, examples: Examples) -> Tokens:
        """As all trainings read them, and all contenders."""
        return tokenize(examples, self.tokenizer, self.max_length, self.rows)

    def report(self, indices: Sequence[int]) -> Tokens:
        """Tokenized examples of the report split."""
        return self.tokenized(self.data.report.take(indices))

    def run(self, name: str, method: str, hyper_parameters: dict[str, Any], seeds: Seeds, plan: TrainingPlan | None = None) -> TrialRun:
        """A training that hasn't started, by the search's plan unless another is given."""
        splits = self.splits(seeds.split)
        return begin(
            name,
            self.modifications(method, hyper_parameters),
            hyper_parameters[LEARNING_RATE],
            seeds,
            splits,
            plan or self.plan,
            kind=self.data.task_kind,
            head=self.heads.of(seeds.split, seeds.initialization, splits[0]) if self.heads and self.heads_from_probe else None,
        )

    def kind(self, segment: Segment) -> Kind:
        """What trials that share a pack with this one have in common."""
        modifications = self.modifications(segment.method, segment.hyper_parameters)
        return kind_of(segment.trial, modifications, self._plan_of(segment.steps), self.backbone)

    def _plan_of(self, steps: int) -> TrainingPlan:
        return self.plan if steps == self.plan.steps else self.final_plan

    def executor(self, phase: Phase, total_steps: float, keep: Callable[[TrialEnded, Mapping[str, Tensor]], object]) -> Packs:
        """What trains on this device, shows its steps as the phase's progress, and hands each trial's best weights to `keep`."""
        taken = 0

        def on_step(trials: int) -> None:
            nonlocal taken
            taken += trials
            if self.threads and self.threads.look():
                why = f"measured again, since the machine's load has changed: {self.threads} threads"
                self.record.append(Decision(What.THREADS, "machine", why, {"threads": float(self.threads.number)}))
            self.progress(phase, min(taken, total_steps), total_steps)

        return Packs(
            Work(self.backbone, self.plan, self.data.metric, self.data.outputs, on_step=on_step, lower=self.lower),
            self.record.history,
            plan=self._plan_of,
            begin=lambda s: self.run(s.trial, s.method, s.hyper_parameters, s.seeds, self._plan_of(s.steps)),
            ended=self.ended,
            keep=keep,
            states=working(self.folder, "checkpoints"),
            owner=self.question,
            at_once=self.pack_size,
        )

    def budget(self) -> Budget:
        """The time as it is now."""
        return Budget(self.clock.limit, self.clock.elapsed)

    @contextmanager
    def timed(self, phase: Phase) -> Iterator[None]:
        """Put the wall time spent inside on the bill."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.bill[phase] = self.bill.get(phase, 0.0) + time.monotonic() - start

    def progress(self, phase: Phase, done: float, total: float, message: str = "") -> None:
        """Tell the display how far a phase has come."""
        self.record.show(Progress(phase, done, total, message))

    def ended(self, segment: Segment, run: TrialRun) -> TrialEnded:
        """The record of a training that has ended, with the last of its segments."""
        progress = run.progress
        count = count_on(run.modifications, self.backbone, self.data.outputs)
        state: Any = progress.state
        if segment.stage == Stage.FINALIST and state == State.STOPPED and not progress.evaluated:
            state = State.FAILED  # there is nothing of it that could be compared
        return TrialEnded(
            trial=run.name,
            candidate=segment.candidate,
            method=segment.method,
            stage=segment.stage,
            number=segment.number,
            state=state,
            is_default=segment.is_default,
            hyper_parameters=segment.hyper_parameters,
            seeds=run.seeds,
            parameters={
                "pelt": count.pelt,
                "gates": count.gates,
                "head": count.head,
                "kept": count.kept,
                "training_only": count.training_only,
            },
            curve=list(progress.curve),
            select_score=progress.best_score if progress.evaluated else None,
            steps=progress.step,
            seconds=progress.seconds,
            constant_predictions=progress.best_constant,
            cause=progress.cause,
            traceback=progress.traceback,
            select_predictions=list(progress.best_predictions) if segment.stage == Stage.SEARCH and state == State.COMPLETED else [],
            tokens={"computed": progress.tokens_computed, "text": progress.tokens_of_text},
        )

    def evidence_select(self, seed: int) -> Tokens:
        """The part of select that gates are measured on: all of it, or the same `EVIDENCE_EXAMPLES` of it."""
        return self.splits(seed)[1].at_most(EVIDENCE_EXAMPLES, seed)
