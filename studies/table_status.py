"""How much of the grid is recorded, and how many hours the rest takes by the seconds seen."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from studies.table_grid import ROUNDS, K, Training


@dataclass
class Seconds:
    """Processor seconds of a training, evaluation included: the mean of all, times what its method, task and K make of it."""

    seen: list[float] = field(default_factory=list)
    by: dict[tuple[str, object], list[float]] = field(default_factory=lambda: defaultdict(list))

    @staticmethod
    def of(rows: Iterable[Mapping[str, Any]]) -> "Seconds":
        """From recorded trainings."""
        found = Seconds()
        for row in rows:
            own = row["processor_seconds"] + row["report_processor_seconds"]
            found.seen.append(own)
            for name in ("method", "task", "k"):
                found.by[name, row[name]].append(own)
        return found

    def expected(self, training: Training) -> float:
        """Of one that isn't recorded. Of a K that nobody has seen, in proportion to the steps."""
        mean = fmean(self.seen) or 1.0
        parts = [("method", training.configuration.method), ("task", training.task)]
        shares = [fmean(self.by[part]) / mean for part in parts if part in self.by]
        larger = ("k", training.k) not in self.by
        product = mean * (training.k / K if larger else 1.0)
        for share in shares:
            product *= share
        return product


def status_text(wanted: Sequence[Training], done: Collection[str], model: str, sources: Mapping[str, str], seconds: Seconds) -> str:
    """A table by round, one by source, and the hours left. `sources`: by task."""
    finished = [own for own in wanted if own.key(model) in done]
    missing = [own for own in wanted if own.key(model) not in done]
    lines = [f"{len(finished):,} of {len(wanted):,} trainings are recorded", ""]
    lines += _counted("round", [own.round for own in wanted], [own.round for own in finished], ROUNDS)
    names = dict.fromkeys(sources.values())
    lines += ["", *_counted("source", [sources[own.task] for own in wanted], [sources[own.task] for own in finished], names)]
    if missing and not seconds.seen:
        lines += ["", "How long the rest takes isn't known yet."]
    elif missing:
        left = sum(seconds.expected(own) for own in missing) / 3600
        lines += ["", f"The rest takes about {left:.1f} processor hours, by {len(seconds.seen):,} trainings seen."]
    return "\n".join(lines)


def _counted(title: str, wanted: Iterable[str], finished: Iterable[str], order: Iterable[str]) -> list[str]:
    all_of, done = Counter(wanted), Counter(finished)
    rows = [(title, "recorded", "of"), *((name, f"{done[name]:,}", f"{all_of[name]:,}") for name in order if all_of[name])]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}" for a, b, c in rows]
