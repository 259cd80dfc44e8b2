"""Records what the old scheduler was asked and what it said, in small selections of every kind.

``python -m tests.recorded.make`` records all of them, ``python -m tests.recorded.make NAME ...`` those named, and
``python -m tests.recorded.make --table`` prints how often each rule was consulted, contested and fired. See README.md here.
"""

import gzip
import json
import os
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch

from pelt_automl.curve import k_curve
from pelt_automl.errors import NoTrialCompletedError
from pelt_automl.log.codec import from_json
from pelt_automl.log.events import CurvePoint, Event, SchedulerCalled
from pelt_automl.search.budget import Clock, Speed
from tests.recorded.rules import RULES
from tests.tiny_world import World, make_world

FOLDER = Path(__file__).parent

STEP, EXAMPLE, OPENING = 0.05, 0.0005, 2.0
"""Seconds by the clock of the recordings: of a trial's step, of an example scored, and of what comes before the plan."""

DEAR = 2.5
"""A step of full fine-tuning over one of a method that leaves the backbone alone."""

DROPPED = {"GateMeasured", "ContributionMeasured"}
"""Kinds of events that no scheduler looks at."""


@dataclass
class FakeTime:
    """Passes by steps taken and examples scored, and not by itself."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class Recorded:
    """One selection to be recorded."""

    options: Mapping[str, Any]
    """Beyond those of `tests.tiny_world.World.options`."""
    scripted: bool = False
    """Scores come from `skills` in place of trainings, and it ends with the search."""
    skills: Mapping[str, float] = field(default_factory=dict)
    """Of scripted methods, 0 to 1."""
    spread: float = 0.5
    """How much scripted trials of a method differ."""
    kills: tuple[tuple[str, int], ...] = ()
    """The process is killed when so many of the events of this kind (or decisions of this name) were written since it began."""
    fails: Mapping[str, int] = field(default_factory=dict)
    """Trials that have no finite loss from this step on."""
    most_in_memory: int = 1000
    """Trials in a pack that there is memory for."""
    slow: float = 1.0
    """Of the fake machine: the real seconds a step over those that were measured."""
    ks: tuple[int, ...] = ()
    """A curve over these K: a recording for each."""
    draws: int = 1000
    """Configurations in a row that may be refused."""


SCRIPT = Recorded({})
FIVE = ("head", "lora", "adapter", "bitfit", "full")
SLOW = ("head", "lora", "prefix", "prompt")

RECORDED: dict[str, Recorded] = {
    # ------------------------------------------------------------ real trainings, to the verdict
    "no-limit": Recorded({}),
    "no-limit-alone": Recorded({"methods": ["lora", "head", "full"], "pack_size": 1, "baselines": ["probe", "bag-of-words"]}),
    "short-limit": Recorded({"seconds": 40, "methods": list(FIVE), "trials": 4}),
    "medium-limit": Recorded({"seconds": 150, "methods": list(FIVE), "trials": 4, "most_seeds": 6}),
    "very-short-limit": Recorded({"seconds": 16, "methods": list(FIVE), "trials": 4}, slow=1.5),
    "left-out-for-time": Recorded({"seconds": 60, "methods": ["lora", "adapter", "unipelt-apl", "head"], "trials": 3}, slow=1.6),
    "tpe": Recorded({"methods": ["lora", "head"], "trials": 12, "portfolio": False, "finalist_seeds": 1, "most_seeds": 1}),
    "further-seeds": Recorded({"methods": ["lora", "head", "adapter"], "trials": 2, "finalist_seeds": 2, "most_seeds": 5}),
    "slow-starters": Recorded({"methods": ["prefix", "prompt", "lora"], "trials": 6, "finalist_seeds": 1, "most_seeds": 1}),
    "one-rung": Recorded({"methods": ["lora", "head"], "trials": 6, "rungs": "0.5", "finalist_seeds": 1, "most_seeds": 1}),
    "no-rung": Recorded({"methods": ["lora", "head"], "trials": 3, "rungs": "none", "finalist_seeds": 1, "most_seeds": 1}),
    "failures": Recorded(
        {"methods": ["lora", "head", "adapter"], "trials": 4, "finalist_seeds": 1, "most_seeds": 1},
        fails={"lora-0001": 10, "adapter-0000": 20, "head-0002": 5},
        most_in_memory=2,
    ),
    "curve": Recorded({"methods": ["lora", "head"], "trials": 3, "finalist_seeds": 1, "most_seeds": 1}, ks=(20, 40)),
    "refused": Recorded({"methods": ["lora", "head", "adapter"], "trials": 3, "max_trainable": 734, "finalist_seeds": 1, "most_seeds": 1}),
    "kills": Recorded(
        {"trials": 4, "finalist_seeds": 2, "most_seeds": 2},
        kills=(("SchedulerCalled", 9), ("TrialEnded", 2), ("SchedulerCalled", 12), ("promoted", 1), ("FinalistScored", 3)),
    ),
    "kills-with-a-limit": Recorded(
        {"seconds": 120, "methods": list(FIVE), "trials": 4},
        kills=(("SchedulerCalled", 15), ("TrialEnded", 3), ("promoted", 2), ("TrialEnded", 6)),
    ),
}


def scripted(options: Mapping[str, Any], **more: Any) -> Recorded:
    """A search of scripted scores, without finals."""
    return Recorded({"k": 120, "epochs": 8, "patience": 100} | dict(options), scripted=True, **more)


WEAK = {"head": 0.1, "lora": 0.9, "adapter": 0.7, "bitfit": 0.3, "full": 0.8, "prefix": 0.2, "prompt": 0.1}
EIGHT = (*FIVE, "prefix", "ia3", "unipelt-apl")

RECORDED |= {
    f"race-{sampler}-pack-{pack}": scripted(
        {"methods": list(FIVE), "trials": 9, "pack_size": pack, "portfolio": sampler == "portfolio"}, skills=WEAK, spread=0.2
    )
    for pack in (1, 4)
    for sampler in ("portfolio", "tpe")
}
RECORDED |= {
    f"race-slow-starters-pack-{pack}": scripted(
        {"methods": list(SLOW), "trials": 10, "pack_size": pack, "rungs": rungs}, skills=WEAK, spread=0.1
    )
    for pack, rungs in ((1, "0.5"), (4, "0.25,0.5"))
}
RECORDED |= {
    f"limit-{limit}-pack-{pack}": scripted({"methods": list(EIGHT), "trials": 6, "pack_size": pack, "seconds": limit})
    for pack, limits in ((1, (7, 12, 30, 80)), (4, (5, 6, 9, 16, 24, 45)))
    for limit in limits
}
RECORDED |= {
    f"limit-{limit}-slow": scripted({"methods": list(EIGHT), "trials": 6, "seconds": limit}, slow=3.0) for limit in (10, 20, 40, 60)
}
RECORDED |= {
    f"killed-{number}": scripted({"methods": ["lora", "adapter", "head"], "trials": 6, "pack_size": pack, "portfolio": known}, kills=kills)
    for number, (pack, known, kills) in enumerate(
        (
            (4, True, (("promoted", 2), ("promoted", 1), ("TrialEnded", 2), ("promoted", 2))),
            (4, False, (("promoted", 4), ("promoted", 3), ("promoted", 2), ("TrialEnded", 1))),
            (1, True, (("SchedulerCalled", 14), ("TrialEnded", 1), ("promoted", 3), ("TrialEnded", 4))),
            (1, False, (("promoted", 1), ("promoted", 1), ("promoted", 1), ("TrialEnded", 3))),
            (4, True, (("TrialEnded", 1), ("TrialEnded", 1), ("TrialEnded", 1), ("TrialEnded", 1), ("TrialEnded", 1))),
        )
    )
}
RECORDED |= {
    f"over-a-limit-{number}": scripted(
        {"methods": ["lora", "adapter", "head"], "trials": trials, "max_trainable": 734, "pack_size": pack},
        skills={"lora": 0.1, "adapter": 0.9, "head": 0.2},
        spread=0.1,
        draws=draws,
    )
    for number, (trials, pack, draws) in enumerate(((8, 1, 1000), (8, 4, 1000), (12, 4, 4), (12, 1, 6), (9, 4, 3)))
}
MANY = ("lora", "adapter", "bitfit", "ia3", "houlsby")
RECORDED |= {
    f"race-many-{number}": scripted(
        {"methods": list(MANY), "trials": 12, "pack_size": pack, "portfolio": False, "rungs": rungs},
        skills=dict.fromkeys(MANY, 0.1) | {"lora": 0.95},
        spread=0.15,
    )
    for number, (pack, rungs) in enumerate(((2, "0.5"), (3, "0.25,0.5"), (4, "0.5"), (6, "0.25,0.5"), (8, "0.75")))
}
RECORDED |= {
    f"limit-{limit}-slow-{number}": scripted({"methods": list(methods), "trials": 6, "seconds": limit, "pack_size": pack}, slow=slow)
    for number, (limit, pack, slow, methods) in enumerate(
        (
            (8, 4, 6.0, FIVE),
            (9, 2, 5.0, FIVE),
            (7, 4, 4.0, FIVE),
            (12, 4, 8.0, EIGHT),
            (10, 1, 4.0, FIVE),
            (28, 2, 1.0, EIGHT),
            (20, 2, 1.0, EIGHT),
            (34, 4, 1.5, EIGHT),
            (18, 3, 1.0, EIGHT),
            (110, 4, 1.0, ("lora", "adapter")),
            (70, 3, 1.0, ("lora", "adapter", "head")),
        )
    )
}
RECORDED |= {
    f"sampler-{number}": scripted(
        {"methods": list(methods), "trials": 16, "pack_size": pack, "portfolio": False, "race": False}, spread=1.2
    )
    for number, (pack, methods) in enumerate(((8, ("lora",)), (4, ("lora", "adapter")), (6, ("adapter",))))
}
RECORDED |= {
    f"killed-late-{number}": scripted({"methods": ["lora", "adapter"], "trials": 7, "pack_size": pack, "promoted": 0.67}, kills=kills)
    for number, (pack, kills) in enumerate(
        (
            (6, (("promoted", 3), ("promoted", 1), ("promoted", 1), ("TrialEnded", 1), ("TrialEnded", 1))),
            (4, (("promoted", 2), ("promoted", 2), ("promoted", 2), ("TrialEnded", 2), ("promoted", 1))),
            (2, (("promoted", 3), ("promoted", 2), ("TrialEnded", 1), ("promoted", 1), ("TrialEnded", 1))),
        )
    )
}
RECORDED |= {
    f"default-fails-{pack}": scripted(
        {"methods": ["lora", "adapter", "head"], "trials": 7, "pack_size": pack},
        skills={"lora": 0.9, "adapter": 0.1, "head": 0.1},
        spread=0.1,
        fails={"adapter-0000": 22, "head-0000": 44},
    )
    for pack in (1, 4)
}
RECORDED |= {
    "failures-scripted": scripted(
        {"methods": list(EIGHT), "trials": 5},
        fails={"lora-0000": 8, "head-0001": 16, "adapter-0002": 40, "prefix-0000": 1, "ia3-0001": 1, "ia3-0002": 1},
        most_in_memory=3,
    )
}


class ScriptedPack:
    """A pack whose trials score as a script says, by a clock that passes by their steps."""

    recorded = SCRIPT
    time = FakeTime()

    def __init__(self, trainer: Any, runs: Any) -> None:
        if len(runs) > self.recorded.most_in_memory:
            raise MemoryError(f"no memory for {len(runs)} trials")
        self.trainer, self.plan, self.runs = trainer, trainer.plan, list(runs)
        self.held = [replace(run.progress) for run in runs]

    def advance(self, until: int) -> list[Any]:
        goal = min(next(at for at in self.plan.evaluate_at if at > run.progress.step) - run.progress.step for run in self.runs)
        for _ in range(goal):
            if self.trainer.expired():
                return []
            self._step()
        due = [run for run in self.runs if run.progress.step in self.plan.evaluate_at]
        for run in due:
            self._score(run)
        return due

    def _step(self) -> None:
        seconds = step_seconds(self.recorded, self.runs)
        self.time.now += seconds
        for run in self.runs:
            run.progress.step += 1
            run.progress.seconds += seconds / len(self.runs)

    def _score(self, run: Any) -> None:
        progress, labels, name = run.progress, run.select.labels, run.name
        if name in self.recorded.fails and progress.step >= self.recorded.fails[name]:
            run.end("failed", f"loss or output is not finite by step {progress.step}")
            return
        method = name.rsplit("-", 1)[0]
        luck = torch.rand(2, generator=torch.Generator().manual_seed(sum(name.encode()) * 7919)).tolist()
        skill = self.recorded.skills.get(method, 0.6) + self.recorded.spread * (luck[0] - 0.5)
        pace = (1.0 if method in ("prefix", "prompt") else 4.0) * (0.5 + luck[1])
        share = 0.5 + 0.5 * max(0.0, min(1.0, skill * (1 - 2.718 ** (-pace * progress.step / self.plan.steps))))
        right = round(len(labels) * share)
        progress.curve += (CurvePoint(progress.step, 1.0, right / len(labels), run.learning_rate, progress.seconds),)
        if progress.best_score is None or right / len(labels) >= progress.best_score:
            progress.best_score = right / len(labels)
            progress.best_predictions = tuple(float(label if i < right else 1 - label) for i, label in enumerate(labels))
        progress.best_weights = progress.continuation = {"weight": torch.zeros(1)}

    def left(self, until: int) -> list[Any]:
        return [run for run in self.runs if not run.running or run.progress.step >= until]

    def hold(self) -> None:
        self.held = [replace(run.progress) for run in self.runs]

    def restore(self) -> None:
        for run, progress in zip(self.runs, self.held, strict=True):
            run.progress = progress


def step_seconds(recorded: Recorded, runs: Any) -> float:
    """Of a pack's step: a trial costs less in a pack, and more where it changes the backbone itself."""
    dear = any(run.name.removeprefix("final-").startswith(("full", "unipelt")) for run in runs)
    return recorded.slow * STEP * (0.3 + 0.7 * len(runs)) * (DEAR if dear else 1.0)


@dataclass
class Killer:
    """A display that kills the process."""

    kind: str
    count: int

    def record(self, event: Event) -> None:
        self.count -= self.kind in (type(event).__name__, getattr(event, "what", ""))
        if not self.count:
            os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def machine(recorded: Recorded, time: FakeTime) -> Iterator[None]:  # noqa: C901 a list of what is replaced
    """A machine whose clock passes by what is trained and scored."""
    from pelt_automl.recorders import RECORDERS
    from pelt_automl.search import studies
    from pelt_automl.selection import report_scoring
    from pelt_automl.selection import selection as selection_module
    from pelt_automl.training import loop, pack_training
    from pelt_automl.training.pack_training import PackTraining

    one_step, begin, evaluate = PackTraining._one_step, PackTraining.__init__, pack_training.evaluate
    measuring = [] if time.now else [True]

    def step(self: PackTraining) -> None:
        if not measuring:
            time.now += step_seconds(recorded, self.runs)
        one_step(self)

    def started(self: PackTraining, trainer: Any, runs: Any) -> None:
        if len(runs) > recorded.most_in_memory and not measuring:
            raise MemoryError(f"no memory for {len(runs)} trials")
        begin(self, trainer, runs)

    def evaluated(pack: Any, sets: Any, *rest: Any) -> Any:
        time.now += 0.0 if measuring else EXAMPLE * sum(len(part) for part in sets)
        return evaluate(pack, sets, *rest)

    def taken(self: PackTraining, slot: int, *rest: Any, take: Callable[..., None] = PackTraining._take) -> None:
        run = self.runs[slot]
        if self._step_of(slot) >= recorded.fails.get(run.name, 10**9):
            run.progress.step = self._step_of(slot)
            run.end("failed", f"loss or output is not finite by step {run.progress.step}")
            return
        take(self, slot, *rest)

    def measured(*_: Any) -> Speed:
        measuring.clear()
        time.now += OPENING
        return Speed(STEP, EXAMPLE)

    with ExitStack() as stack:
        for owner, name, value in (
            (PackTraining, "_one_step", step),
            (PackTraining, "__init__", started),
            (PackTraining, "_take", taken),
            (pack_training, "evaluate", evaluated),
            (report_scoring, "evaluate", evaluated),
            (pack_training, "time", SimpleNamespace(perf_counter=time)),
            (studies, "MOST_DRAWS", recorded.draws),
            (selection_module, "measure_speed", measured),
            (selection_module, "Clock", lambda limit, used, started: Clock(limit, used, time, 0.0)),
            (selection_module, "seconds_used", lambda _: 0.0),
        ):
            stack.enter_context(patch.object(owner, name, value))
        if recorded.scripted:
            ScriptedPack.recorded, ScriptedPack.time = recorded, time
            stack.enter_context(patch.object(loop, "PackTraining", ScriptedPack))
            stack.enter_context(patch.object(loop, "score_in_full", lambda *_: None))
        stack.enter_context(patch.dict(RECORDERS))
        RECORDERS.pop("mlflow", None)
        stack.enter_context(patch.dict(os.environ, {"PELT_AUTOML_RECORD_CALLS": "1"}))
        yield


def live(recorded: Recorded, world: World, folder: Path, kill: Killer | None) -> None:
    """One life of a selection."""
    from pelt_automl.selection import Selection, settings_from

    options = world.options(**recorded.options)
    if recorded.ks:
        with machine(recorded, FakeTime()):
            k_curve(output=folder, **options | {"k": list(recorded.ks)})
        return
    earlier = calls_in(folder / "records.jsonl")
    limit = recorded.options.get("seconds")
    time = FakeTime(limit - earlier[-1].seconds_left if limit and earlier else OPENING if earlier else 0.0)
    with machine(recorded, time), Selection.open(settings_from(**options), folder, kill) as selection:  # type: ignore[arg-type]
        selection.prepare()
        try:
            selection.search()
        except NoTrialCompletedError:
            return
        if not recorded.scripted:
            selection.confirm()
            selection.explain()
            selection.recommend()


def in_a_child(work: Callable[[], None]) -> bool:
    """Whether it came to its end in a process of its own, and wasn't killed."""
    if (child := os.fork()) == 0:
        status = 1
        try:
            work()
            status = 0
        except Exception:  # noqa: BLE001 a child of a fork must not go on as its parent
            traceback.print_exc()
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise SystemExit("a selection failed")
    return os.WIFEXITED(status)


def files(name: str) -> list[str]:
    """The recordings of one name."""
    return [f"{name}-k-{k}.jsonl.gz" for k in RECORDED[name].ks] or [f"{name}.jsonl.gz"]


def make(name: str, world: World, into: Path = FOLDER) -> None:
    """Record one selection, from its first start to its end, in processes of its own."""
    recorded, folder = RECORDED[name], Path(tempfile.mkdtemp()) / "out"
    for kind, count in recorded.kills:
        if in_a_child(lambda kind=kind, count=count: live(recorded, world, folder, Killer(kind, count))):  # type: ignore[misc]
            print(f"{name}: it ended before there were {count} of {kind}")
            break
    else:
        in_a_child(lambda: live(recorded, world, folder, None))
    for own, file in zip(recorded.ks or ("",), files(name), strict=True):
        write((folder / f"k-{own}" if own else folder) / "records.jsonl", into / file, world)
    shutil.rmtree(folder.parent)


def write(records: Path, to: Path, world: World) -> None:
    """Records without what nobody needs, and without any place on this machine."""
    lines = []
    for line in records.read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        if event["event"] in DROPPED:
            continue
        event |= {key: empty for key, empty in {"traceback": "", "environment": {}}.items() if key in event}
        text = json.dumps(event, separators=(",", ":"), ensure_ascii=False)
        lines.append(text.replace(str(world.folder), "world").replace(str(records.parent), "selection"))
    with to.open("wb") as file, gzip.GzipFile(fileobj=file, mode="wb", filename="", mtime=0) as packed:
        packed.write(("\n".join(lines) + "\n").encode())


def read(path: Path) -> list[Event]:
    """The events of a recording."""
    return [from_json(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


def calls_in(records: Path) -> list[SchedulerCalled]:
    """The calls in a selection's own records."""
    lines = records.read_bytes().splitlines() if records.is_file() else []
    return [
        event for line in lines if line.startswith(b'{"event": "SchedulerCalled"') and isinstance(event := from_json(line), SchedulerCalled)
    ]


def counts(folder: Path = FOLDER) -> dict[str, list[int]]:
    """By rule: in how many calls it was consulted, contested and fired, over all recordings, and in how many recordings it fired."""
    found = {name: [0, 0, 0, 0] for name in RULES}
    for path in sorted(folder.glob("*.jsonl.gz")):
        calls = [event for event in read(path) if isinstance(event, SchedulerCalled)]
        for call in calls:
            for rule, level in call.rules.items():
                found[rule][0] += 1
                found[rule][1] += level in ("contested", "fired")
                found[rule][2] += level == "fired"
        for rule, numbers in found.items():
            numbers[3] += any(call.rules.get(rule) == "fired" for call in calls)
    return found


def table(folder: Path = FOLDER) -> str:
    """`counts` in Markdown."""
    rows = ["| rule | place | what it says | consulted | contested | fired | in recordings |", "|---|---|---|--:|--:|--:|--:|"]
    for name, (consulted, contested, fired, recordings) in counts(folder).items():
        place, says = RULES[name]
        rows.append(f"| {name} | `{place}` | {says} | {consulted} | {contested} | {fired} | {recordings} |")
    return "\n".join(rows)


def main(names: list[str]) -> None:
    if names == ["--table"]:
        print(table())
        return
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    torch.set_num_threads(1)
    os.environ["PELT_AUTOML_HOME"] = tempfile.mkdtemp()
    world = make_world(Path(tempfile.mkdtemp()) / "world")
    for name in names or RECORDED:
        make(name, world)
        print(*((file, (FOLDER / file).stat().st_size) for file in files(name)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
