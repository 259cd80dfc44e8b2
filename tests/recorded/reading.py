"""What is in the recordings: a selection's own events, and the calls of the scheduler that there was before `scheduling/search.py`."""

import gzip
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pelt_automl.log.codec import from_json
from pelt_automl.log.events import KINDS, Event

FOLDER = Path(__file__).parent
PATHS = sorted(FOLDER.glob("*.jsonl.gz"))

RuleLevel = Literal["consulted", "contested", "fired"]
"""``contested``: what a rule looks at was there, so that either outcome was possible. ``fired``: it changed the outcome."""


@dataclass(frozen=True)
class TrialSeen:
    """A trial under way, as a scheduler sees it when it is called."""

    trial: str
    method: str
    number: int
    is_default: bool
    where: str
    """``given`` (it waits for a pack, or is in one), ``left over``, ``going on``, ``paused``, ``cut off``; of the finals ``to do``."""
    state: str
    step: int
    """Optimizer steps, as of its last evaluation."""
    seconds: float
    """Its share of its packs' time so far."""
    evaluated: bool
    """Whether it has a score beyond its untouched start."""
    score: float | None
    """The last on its curve."""
    pack_kind: str
    """What trials that share its packs have in common; ``alone`` for one that can't share any."""


@dataclass(frozen=True)
class Comparison:
    """Who was compared with whom at a rung, and who goes on."""

    method: str
    rung: int
    scores: dict[str, float]
    """Of those that are judged, by trial."""
    others: dict[str, float]
    """Of those that they are compared with in addition, by trial."""
    share: float
    """Of all of them that may go on."""
    promoted: list[str]


@dataclass(frozen=True)
class SchedulerCalled(Event):
    """A call of the scheduler of packs: what it was asked, what it knew then, what it said, and by which rules.

    README.md here says more.
    """

    call: Literal["start", "next", "judge", "ended", "expired", "finish"]
    """``start``: it was made; ``expired``: the search's time is up; ``finish``: it ends what is still under way."""
    stage: Literal["search", "finalist"]
    trial: str
    """That is judged or has ended; empty for the others."""
    limit: float | None
    """Seconds of the whole selection."""
    seconds_left: float | None
    """Before the call; None without a limit."""
    reserve: float
    """Seconds that are kept for what comes after this phase."""
    waiting: list[str]
    """Trials that wait for a pack of another kind than is being filled."""
    under_way: list[TrialSeen]
    asked: dict[str, int]
    """Trials asked for so far, by method."""
    seconds_a_training: dict[str, float]
    """Expected for a full training, by method."""
    given: str | None
    """The trial that `next` gave."""
    why: str
    """Why `next` gave it, or nothing; the state and cause of a trial that was judged or has ended, after the call."""
    comparisons: list[Comparison]
    promoted: list[str]
    """In this call."""
    ended: dict[str, str]
    """State and cause of the trials that were ended in this call."""
    left_race: list[str]
    """Methods that left in this call."""
    rules: dict[str, RuleLevel]
    """Those that were looked at since the call before."""
    hyper_parameters: dict[str, Any] = field(default_factory=dict)
    """Of the trial that `next` gave, where it is a new one."""
    about: dict[str, Any] = field(default_factory=dict)
    """What doesn't change: with ``start``."""
    time: float = field(default=0.0, kw_only=True)


def read(path: Path) -> list[Event]:
    """The events of a recording, oldest first."""
    kinds = KINDS | {"SchedulerCalled": SchedulerCalled}
    return [from_json(line, kinds) for line in gzip.decompress(path.read_bytes()).splitlines()]
