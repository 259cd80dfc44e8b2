"""What packing.py measures of one shape of backbone: packs beside HF Trainer, beside k processes, and packs of several sizes."""

import argparse
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.common import Report, Table, say
from benchmarks.flops import trial_flops
from benchmarks.measuring import ProcessError, Spread, TimeLimit, in_turn, ratios
from benchmarks.our_steps import SHAPES, Configuration, DidNotRun, Work, bert_config, configurations, time_pack
from benchmarks.pack_memory import STEPS, measure, predict
from benchmarks.peer import Peer, PeerPrecision, how_trained
from benchmarks.peer_processes import PeerProcesses, setting_for
from pelt_automl.backbones.loading import Backbone
from pelt_automl.methods import METHODS
from pelt_automl.training.memory import usable_bytes

MIXED = "mixed"
COLUMNS = (
    "shape", "trials of", "who", "at once", "trial-steps/s", "lowest", "highest", "ms a step",
    "share of ceiling", "GPU GB added", "setup s", "how",
)  # fmt: skip
MEMORY = ("shape", "trials of", "pack of", "predicted GB", "measured GB", "error %")
RATIOS = ("shape", "trials of", "ours, pack of", "peer", "times faster", "lowest", "highest", "repeats")

Measure = Callable[[], float]

FRESH_PROCESS = 10.0
"""Seconds that a process takes for its imports and a model."""


@dataclass
class Bench:
    """One run of the benchmark."""

    options: argparse.Namespace
    report: Report
    limit: TimeLimit
    work: Work
    ceiling: float = 0.0
    speeds: Table = field(default_factory=lambda: Table("Speed", COLUMNS))
    memory: Table = field(default_factory=lambda: Table("Memory of a pack beside the backbone", MEMORY))
    gains: Table = field(default_factory=lambda: Table("Ours against the peers", RATIOS))

    def left_out(self, what: str, why: object) -> None:
        """Say that something wasn't measured."""
        say(f"left out: {what}: {why}")
        self.report.left_out.append(f"{what}: {str(why).splitlines()[0] if str(why) else type(why).__name__}")


@dataclass
class Shape:
    """Everything of one shape: our backbone, the peer's model, what was measured."""

    bench: Bench
    name: str
    backbone: Backbone
    precision: PeerPrecision
    done: set[tuple[str, str, int]] = field(default_factory=set)
    slowest: float = 0.0
    """Seconds for one step of one trial, at most, so far."""

    def mixed(self, count: int) -> list[Configuration]:
        """The trials of a mixed pack."""
        return configurations(self.bench.options.methods, count)

    def trials(self, what: str, count: int) -> list[Configuration]:
        """A pack's trials: mixed, or all of them one method's published default, so that the peer's single one is the same work."""
        return self.mixed(count) if what == MIXED else configurations([what], 1) * count

    def fits(self, trial_steps: float) -> bool:
        """Whether the time that is left is enough for so many, at the slowest speed seen."""
        return self.bench.limit.allows(1.0 + trial_steps * self.slowest)

    # ------------------------------------------------------------ one measurement each

    def ours(self, what: str, count: int, seen: list[dict[str, Any]]) -> float:
        """Trial-steps per second of a pack; what else is known goes into `seen`."""
        timing = time_pack(self.backbone, self.trials(what, count), self.bench.work)
        step = statistics.median(timing.seconds)
        self.slowest = max(self.slowest, step / count)
        seen.append({"step": step, "setup": timing.setup_seconds, "peak": timing.added_bytes})
        return count / step

    def peer(self, peer: Peer, trials: Sequence[Configuration], seen: list[dict[str, Any]]) -> float:
        """Trial-steps per second when the trials are trained one after the other, their setup left out."""
        timings = [peer.train(trial, self.bench.work) for trial in trials]
        steps = [statistics.median(timing.seconds) for timing in timings]
        self.slowest = max(self.slowest, *steps)
        peaks = [timing.added_bytes for timing in timings if timing.added_bytes]
        setup = statistics.median(timing.setup_seconds for timing in timings)
        seen.append({"step": statistics.mean(steps), "setup": setup, "peak": max(peaks, default=None)})
        return len(steps) / sum(steps)

    # ------------------------------------------------------------ rows

    def flops(self, trials: Sequence[Configuration]) -> float:
        """Mean FLOPs of a trial-step."""
        work = self.bench.work
        return statistics.mean(
            trial_flops(self.backbone.shape, METHODS[t.method].modifications(t.hyper_parameters), work.batch, work.tokens) for t in trials
        )

    def row(
        self, what: str, who: str, at_once: int, speeds: list[float], trials: Sequence[Configuration], how: str, seen: list[dict[str, Any]]
    ) -> None:
        """Put a measurement into the table."""
        spread = Spread.of(speeds)
        more: dict[str, Any] = {}
        if seen:
            peak = max((one["peak"] for one in seen if one["peak"]), default=None)
            more = {"ms a step": 1000 * statistics.median(one["step"] for one in seen), "setup s": max(one["setup"] for one in seen)}
            more["GPU GB added"] = peak / 1e9 if peak else None
        self.bench.speeds.add(**{
            "shape": self.name, "trials of": what, "who": who, "at once": at_once, "trial-steps/s": spread.median, "lowest": spread.low,
            "highest": spread.high, "share of ceiling": spread.median * self.flops(trials) / self.bench.ceiling, "how": how, **more,
        })  # fmt: skip

    def gain(self, what: str, count: int, peer: str, ours: list[float], theirs: list[float]) -> None:
        """Put a ratio into the table."""
        spread = ratios(ours, theirs)
        self.bench.gains.add(**{
            "shape": self.name, "trials of": what, "ours, pack of": count, "peer": peer, "times faster": spread.median,
            "lowest": spread.low, "highest": spread.high, "repeats": spread.repeats,
        })  # fmt: skip

    # ------------------------------------------------------------ stages, by importance

    def against_trainer(self, what: str, count: int) -> None:
        """A pack against the same trials one after the other by HF Trainer."""
        trials, turns = self.trials(what, count), self.bench.options.repeats
        distinct = trials if what == MIXED else trials[:1]  # one of a method stands for the others, its equals
        if not self.fits((count + len(distinct)) * self._steps()):
            self.bench.left_out(f"{self.name}, {what}, pack of {count} against HF Trainer", "the time limit")
            return
        peer, our_seen, peer_seen = Peer(self._config(), self.backbone, self.precision), list[dict[str, Any]](), list[dict[str, Any]]()
        measures: dict[str, Measure] = {
            "ours": lambda: self.ours(what, count, our_seen),
            "peer": lambda: self.peer(peer, distinct, peer_seen),
        }
        try:
            found = in_turn(measures, turns, self.bench.limit)
        except Exception as error:  # noqa: BLE001 one method's failure must not end the run
            self.bench.left_out(f"{self.name}, {what}, pack of {count} against HF Trainer", error)
            return
        how = ", ".join(sorted({how_trained(trial.method) for trial in distinct}))
        self.row(what, "ours", count, found["ours"], trials, "one pack, training.loop.Trainer", our_seen)
        self.row(what, "HF Trainer, one by one", 1, found["peer"], distinct, how, peer_seen)
        self.gain(what, count, "HF Trainer, one by one", found["ours"], found["peer"])
        self.done.add((what, "ours", count))

    def against_processes(self, count: int, processes: int) -> None:
        """A mixed pack against k processes."""
        name = f"{processes} processes"
        if not self.fits((count + processes) * self._steps()) or not self.bench.limit.allows(20.0):
            self.bench.left_out(f"{self.name}, {MIXED}, {name}", "the time limit")
            return
        trials, repeats, limit = self.mixed(processes), self.bench.options.repeats, self.bench.limit
        precisions = {"backbone_precision": self.bench.options.precision, "precision": self.precision}
        setting = setting_for(SHAPES[self.name], self.bench.work, self.backbone.device, processes, repeats, **precisions)
        try:
            with PeerProcesses(trials, setting, limit.left) as peers:
                measures = {"ours": lambda: self.ours(MIXED, count, []), "peer": peers.trial_steps_per_second}
                found = in_turn(measures, repeats, limit)
        except Exception as error:  # noqa: BLE001 too little memory for k processes, say
            self.bench.left_out(f"{self.name}, {MIXED}, {name}", error)
            return
        how = f"HF Trainer in {name}, {setting.threads} threads each"
        self.row(MIXED, name, processes, found["peer"], trials, how, [])
        self.gain(MIXED, count, name, found["ours"], found["peer"])

    def curve(self, what: str, counts: Sequence[int]) -> None:
        """Our packs of several sizes, in turn."""
        wanted = [count for count in counts if (what, "ours", count) not in self.done]
        chosen = [count for count in wanted if self.fits(sum(n for n in wanted if n <= count) * self._steps())]
        if late := [str(count) for count in wanted if count not in chosen]:
            self.bench.left_out(f"{self.name}, {what}, packs of {', '.join(late)}", "the time limit")
        seen: dict[int, list[dict[str, Any]]] = {count: [] for count in chosen}
        for count in chosen:  # each apart: a pack too large for the memory must not cost the others
            try:
                found = in_turn({"ours": lambda n=count: self.ours(what, n, seen[n])}, self.bench.options.repeats, self.bench.limit)
            except DidNotRun as error:
                self.bench.left_out(f"{self.name}, {what}, pack of {count}", error)
                continue
            self.row(what, "ours", count, found["ours"], self.trials(what, count), "one pack, training.loop.Trainer", seen[count])

    def remember(self, what: str, counts: Sequence[int]) -> None:
        """Memory of packs of several sizes, predicted and measured."""
        methods = self.bench.options.methods if what == MIXED else [what]
        try:
            probed = predict(self.name, self.backbone, configurations(methods, len(methods)), self.bench.options.precision, self.bench.work)
        except (DidNotRun, ProcessError) as error:
            self.bench.left_out(f"{self.name}, {what}, memory", error)
            return
        for count in counts:
            trials = self.trials(what, count)
            predicted = probed.of([trial.method for trial in trials])
            if why := self._too_much(predicted, count * STEPS):
                self.bench.left_out(f"{self.name}, {what}, memory of a pack of {count}", why)
                continue
            try:
                measured = measure(self.name, self.backbone, trials, self.bench.options.precision, self.bench.work)
            except (DidNotRun, ProcessError) as error:
                self.bench.left_out(f"{self.name}, {what}, memory of a pack of {count}", error)
                continue
            self.bench.memory.add(**{
                "shape": self.name, "trials of": what, "pack of": count, "predicted GB": predicted / 1e9,
                "measured GB": measured / 1e9, "error %": 100 * (predicted / measured - 1) if measured else None,
            })  # fmt: skip

    def _too_much(self, predicted: float, trial_steps: float) -> str:
        """Why a pack of so many bytes isn't measured; empty if it is."""
        free = usable_bytes(self.backbone.device)
        if predicted > free:
            return f"{predicted / 1e9:.1f} GB are predicted, {free / 1e9:.1f} GB may be used"
        return "" if self.fits(trial_steps) and self.bench.limit.allows(FRESH_PROCESS) else "the time limit"

    def _steps(self) -> int:
        return self.bench.work.steps + self.bench.work.warmup

    def _config(self) -> Any:
        return bert_config(SHAPES[self.name], self.bench.work.tokens)
