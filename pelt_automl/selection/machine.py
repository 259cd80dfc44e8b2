"""What trains and evaluates here: the loaded model with all that is kept for it, and the texts as it reads them."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pelt_automl.backbones.loading import Backbone
from pelt_automl.baselines import Encoder, HeadStarts
from pelt_automl.design_space import Modification
from pelt_automl.execution.paces import Paces
from pelt_automl.execution.packs import Packs, trains_only
from pelt_automl.log.events import Decision, HyperParameters, Phase, Seeds, Segment, Stage, State, TrialEnded, What
from pelt_automl.log.history import History
from pelt_automl.log.log import Log
from pelt_automl.log.outputs import Outputs
from pelt_automl.methods import LEARNING_RATE, METHODS
from pelt_automl.modifications import LowerLayers, count_on, needs_own_pack, pack_kind
from pelt_automl.scheduling.actions import Executor, Fit, Score, TakeOver
from pelt_automl.selection.question import Question, plans_of
from pelt_automl.selection.splits import Splits
from pelt_automl.selection.threads import Threads
from pelt_automl.selection.working_folders import working
from pelt_automl.selection.writing import WRITING, writing_shown
from pelt_automl.tasks import Examples, TaskData
from pelt_automl.timing.costs import Costs, Sizes
from pelt_automl.timing.pack_speed import Watch
from pelt_automl.timing.policy import POLICY
from pelt_automl.timing.schedule import TrainingPlan
from pelt_automl.training.checkpoints import load_tensors
from pelt_automl.training.evaluation import Evaluation
from pelt_automl.training.features import FrozenFeatures
from pelt_automl.training.memory import give_back, held_bytes
from pelt_automl.training.packing import kind_of
from pelt_automl.training.tokens import Tokens
from pelt_automl.training.trials import TrialProgress, TrialRun, begin
from pelt_automl.training.work import Work

if TYPE_CHECKING:
    from pelt_automl.execution.workers import Workers


@dataclass
class Machine:
    """Made once, after the model is loaded. Holds neither log nor clock; of its own it chooses only the number of threads."""

    backbone: Backbone
    """Frozen."""
    splits: Splits
    data: TaskData
    threads: Threads
    """Torch's."""
    tokenized: Callable[[Examples], Tokens]
    """Texts, as all trainings read them."""
    folder: Path
    """The selection's, where weights are kept while it runs."""
    lower: LowerLayers
    """What the lower layers put out for each example, kept for all packs that leave them alone."""
    heads: HeadStarts
    """The probe of each split, and the frozen features that it reads."""
    encoder: Encoder
    """What baselines read; it shares its passes of the backbone with `heads`."""
    watch: Watch = field(default_factory=Watch)
    """What the trainings take, by kind of pack (see `kind`) and number of threads."""
    paces: Paces = field(default_factory=Paces)
    """How fast the workers' devices have shown themselves."""
    workers: "Workers | None" = None
    """Who trains in place of this process; None: nobody."""
    left: torch.device | None = None
    """The device that is a worker's now: the model waits on the processor, and is there only while something is computed here."""

    @staticmethod
    def of(question: Question, splits: Splits, backbone: Backbone, threads: Threads, folder: Path) -> "Machine":
        """Nothing is computed yet."""
        heads = HeadStarts(FrozenFeatures(backbone), question.data.outputs, question.most_probed)
        encoder = Encoder(heads.features, question.tokenized)
        return Machine(backbone, splits, question.data, threads, question.tokenized, folder, LowerLayers(backbone), heads, encoder)

    def leave(self) -> None:
        """Let a worker have the device, its memory too."""
        self.left = self.backbone.device
        self._move(torch.device("cpu"))

    def come_back(self) -> None:
        """The worker is gone."""
        if self.left is not None:
            self._move(self.left)
            self.left = None

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """While something is computed in this process: on the device, which a worker may have, but isn't using then."""
        if self.left is None or self.backbone.device == self.left:
            yield
            return
        self._move(self.left)
        try:
            yield
        finally:
            self._move(torch.device("cpu"))

    def _move(self, device: torch.device) -> None:
        self.backbone.model.to(device)
        self.lower.clear()
        give_back()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def shares_packs(self, method: str) -> bool:
        """Whether a method's published configuration can train in one pack with others."""
        return not needs_own_pack(METHODS[method].build(), self.backbone.architecture)

    def kind(self, modifications: Sequence[Modification], method: str) -> str:
        """What its packs are remembered by: trials of one kind share them, and others take another time."""
        kind = pack_kind(modifications, self.backbone.architecture, self.backbone.shape)
        return f"{method} alone" if kind is None else f"{'with prompts, ' if kind[0] else ''}{kind[1]}"

    def run(
        self, name: str, method: str, hyper_parameters: HyperParameters, seeds: Seeds, plan: TrainingPlan, *, probed: bool = False
    ) -> TrialRun:
        """A training that hasn't started. `probed`: whether its head starts at the probe."""
        splits = self.splits.of(seeds.split)
        return begin(
            name,
            METHODS[method].modifications(hyper_parameters),
            hyper_parameters[LEARNING_RATE],
            seeds,
            splits,
            plan,
            kind=self.data.task_kind,
            head=self.heads.of(seeds.split, seeds.initialization, splits[0]) if probed else None,
            class_weights=self.data.task_kind.class_weights(splits[0].labels, self.data.labels) if self.data.balanced else None,
        )

    def executor(
        self,
        question: Question,
        log: Log,
        phase: Phase,
        total_steps: Callable[[], float],
        keep: Callable[[TrialEnded, Mapping[str, Tensor]], object],
        aside: Callable[[Fit | TakeOver | Score], object] = trains_only,
        at_once: int | None = None,
    ) -> Executor:
        """What trains here, or with the workers, and shows its steps as the phase's progress. `keep`, `aside`: see `Packs`.

        `at_once`: trials in a pack at most; None: as planned.
        """
        plans, probed, taken = plans_of(question, log.history), "probe" in log.history.decided(What.HEAD_START), 0

        def on_step(trials: int) -> None:
            nonlocal taken
            taken += trials
            run = packs.training()[0]
            kind = self.kind(run.modifications, log.history.trials[run.name].segment.method)
            self.watch.step((kind, self.threads.number), trials, held_bytes(self.backbone.device) - held)
            held_bytes(self.backbone.device, afresh=True)  # the next step's memory is its own pack's
            if self.threads.look():
                why = f"measured again, since the machine's load has changed: {self.threads} threads"
                log.append(Decision(What.THREADS, "machine", why, {"threads": float(self.threads.number)}))
            if self.workers is None:  # else that of all is shown
                log.progress(phase, min(taken, total_steps()), total_steps())

        def on_evaluation(_run: TrialRun, _step: int, evaluation: Evaluation) -> None:
            self.watch.evaluation(len(evaluation.logits))

        def computed_here(action: Fit | TakeOver | Score) -> None:
            with self.at_work():
                aside(action)

        held = held_bytes(self.backbone.device, afresh=True)
        packs = Packs(
            Work(
                self.backbone,
                plans.search,
                self.data.metric,
                self.data.outputs,
                on_step=on_step,
                on_evaluation=on_evaluation,
                lower=self.lower,
            ),
            log.history,
            plan=plans.of,
            begin=lambda s: self.run(s.trial, s.method, s.hyper_parameters, s.seeds, plans.of(s.steps), probed=probed),
            ended=partial(self.ended, log.history.outputs),
            keep=keep,
            states=working(self.folder, "checkpoints"),
            owner=question.hash,
            at_once=at_once or plans.pack_size,
            aside=computed_here,
        )
        if self.workers is None:
            return packs
        from pelt_automl.execution.cluster import Cluster

        stage = Stage.SEARCH if phase == Phase.SEARCH else Stage.FINALIST

        def steps_taken(at: Mapping[str, int]) -> int:
            trials = [trial for trial in log.history.trials.values() if trial.segment.stage == stage]
            return sum(max(trial.ended.steps if trial.ended else trial.reached, at.get(trial.name, 0)) for trial in trials)

        def show(at: Mapping[str, int], text: str) -> None:
            log.progress(phase, min(steps_taken(at) - before, total_steps()), total_steps(), text)

        def kind(segment: Segment) -> Hashable:
            modifications = METHODS[segment.method].modifications(segment.hyper_parameters)
            return kind_of(segment.trial, modifications, plans.of(segment.steps), self.backbone)

        before = steps_taken({})
        return Cluster(
            self.workers,
            log.history,
            packs,
            kind=kind,
            at_once=plans.pack_size,
            states=packs.states,
            keep=lambda event, path: keep(event, load_tensors(path)[0]),
            failed=lambda segment, cause: self.ended(log.history.outputs, segment, given_up(packs.begin(segment), log.history, cause)),
            here=self.workers.alone,
            paces=self.paces,
            paced=lambda s: self.kind(METHODS[s.method].modifications(s.hyper_parameters), s.method),
            progress=show,
        )

    def ended(self, outputs: Outputs, segment: Segment, run: TrialRun) -> TrialEnded:
        """The record of a training that has ended, with the last of its segments. What it predicts goes to `outputs`."""
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
            hyper_parameters=dict(segment.hyper_parameters),
            seeds=run.seeds,
            parameters={part: getattr(count, part) for part in ("pelt", "gates", "head", "kept", "training_only")},
            curve=list(progress.curve),
            select_score=progress.best_score if progress.evaluated else None,
            steps=progress.step,
            seconds=progress.seconds,
            constant_predictions=progress.best_constant,
            cause=progress.cause,
            traceback=progress.traceback,
            outputs=outputs.put(progress.best_predictions) if segment.stage == Stage.SEARCH and state == State.COMPLETED else "",
            tokens={"computed": progress.tokens_computed, "text": progress.tokens_of_text},
            threshold=progress.best_threshold,
        )


def given_up(run: TrialRun, history: History, cause: str) -> TrialRun:
    """A trial at its start as one that has failed where the log knows it."""
    known = history.trials[run.name]
    run.progress = TrialProgress(known.reached, curve=known.curve, seconds=known.seconds)
    run.end("failed", cause)
    return run


def costs_of(question: Question, machine: Machine, history: History) -> Costs:
    """What trainings and all that comes after them take."""
    methods, sizes = question.left(history), question.sizes
    shared = [method for method in methods if machine.shares_packs(method)]
    examples = Sizes(sizes["train"], sizes["select"], sizes["report"], len(question.data.pool), question.most_probed)
    writing = history.plan.numbers.get(WRITING) if history.plan else writing_shown(question)
    return Costs(methods, shared, question.search, question.settings.training, examples, POLICY.writing if writing is None else writing)
