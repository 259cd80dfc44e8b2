"""How fast devices are, as their own pieces of work show. Nobody's word is taken for it, and nothing is measured beforehand."""

from collections import defaultdict
from collections.abc import Hashable
from dataclasses import dataclass, field

SLOW = 2.0
"""Times that a device takes longer than another from which on it counts as slower: what is below may be chance."""


@dataclass
class Paces:
    """Seconds of a trial's step, by device and kind of pack."""

    _seconds: defaultdict[tuple[str, Hashable], float] = field(default_factory=lambda: defaultdict(float))
    _steps: defaultdict[tuple[str, Hashable], int] = field(default_factory=lambda: defaultdict(int))

    def learn(self, device: str, kind: Hashable, seconds: float, steps: int) -> None:
        """A piece of work has taken so long for so many steps, each trial's counted."""
        if steps > 0:
            self._seconds[device, kind] += seconds
            self._steps[device, kind] += steps

    def known(self, device: str, kind: Hashable) -> float | None:
        """Seconds of a step as this device has shown itself."""
        steps = self._steps.get((device, kind))
        return self._seconds[device, kind] / steps if steps else None

    def slower(self, device: str) -> float:
        """How many times longer it takes than the fastest, by the kind on which it looks best; 1 below `SLOW`, and if nobody knows."""
        ratios = []
        for own, kind in self._steps:
            best = self._best(kind)
            if own == device and len([1 for _, other in self._steps if other == kind]) > 1 and best:
                ratios.append((self.known(device, kind) or best) / best)
        least = min(ratios, default=1.0)
        return least if least > SLOW else 1.0

    def expected(self, device: str, kind: Hashable) -> float | None:
        """Seconds of a step there: as it has shown, else by how much slower it is than the fastest; None for a kind that nobody knows."""
        fastest = [(self.known(own, kind) or 0.0) / self.slower(own) for own, other in self._steps if other == kind]
        return self.known(device, kind) or (min(fastest) * self.slower(device) if fastest else None)

    def _best(self, kind: Hashable) -> float | None:
        return min((self._seconds[own] / steps for own, steps in self._steps.items() if own[1] == kind), default=None)
