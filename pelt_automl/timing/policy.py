"""Every constant of the policy for time, in one place, so that it can be read, varied and tested."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class DevicePolicy:
    """What depends on the kind of device."""

    pack: int
    """Trials in a pack where nothing is known of this machine's packs, as far as memory allows."""
    largest_pack: int
    """Trials in a pack at most: what was seen isn't believed much further."""
    measured_pack: int
    """Trials in the pack that is measured before the first training."""
    flops: float
    """Floating-point operations a second that are assumed where nothing is known: for people, and for nothing that decides."""


@dataclass(frozen=True)
class Policy:
    """The constants. Shares are between 0 and 1; what a share is of, its line says."""

    # ---------------------------------------------------------------- the plan
    few_finalists: int = 3
    """Finalists: a fixed default, the leader and the runner-up. A limit that allows them is said to be enough."""
    fewest_finalists: int = 2
    """Finalists that are trained on fresh seeds, or none: one alone is compared with nothing."""
    fewest_seeds: int = 2
    """Seeds of a finalist, where time is very short: fewer tell nothing of their spread."""
    search_reserve: float = 0.2
    """Share of the search's time that its plan leaves free: trials come in packs, and little is known of the speed."""
    # ---------------------------------------------------------------- trainings
    evaluation_cost: float = 0.5
    """Seconds to evaluate an example over seconds to train on one: forward against forward and backward. Measured: 0.3 to 0.5."""
    evaluation_share: float = 0.25
    """Share of a training's cost that its evaluations have at most."""
    most_evaluations: int = 8
    """Evaluations in a training."""
    fewest_select: int = 50
    """Examples of select that an evaluation looks at, if it has as many, however short the training is."""
    dear: float = 2.0
    """Seconds of a training that changes the backbone itself over those of one that shares a pack: it computes all weights' gradients."""
    # ---------------------------------------------------------------- the search
    ahead: int = 2
    """Trials that a method may be ahead of another, whose own wait for a pack of their kind."""
    first: int = 2
    """Methods that always begin, however short the time is: with fewer there is nothing to compare. Trainings are shortened for them alone.
    """
    nothing: float = 0.05
    """Share of the time limit that is spent on finishing trials near their ends when the time is up: stopping those saves nothing."""
    last_reserve: float = 0.15
    """Share of the time limit that is kept for the end even when no trial has a score yet, at least."""
    last_half: float = 0.5
    """Share of the time that was left when the plan was made, which is kept then at most: what isn't trained can't be scored either."""
    # ---------------------------------------------------------------- the finals and the end
    ample: float = 1.3
    """Time left over what the least seeds are predicted to take, from which on they train together: packs are fuller than one by one."""
    second: float = 0.5
    """Share of the runner-up's training that there has to be time for, after the leader's: what is cut off later can be compared."""
    room_for_another: int = 3
    """Runs for whose scoring time is kept when the leader is scored first: the runner-up's, and what training it takes."""
    fewest_report: int = 500
    """Examples of the report split that time is kept for, if it has as many."""
    fewest_scored: int = 50
    """Examples of the report split that are scored however little time is left."""
    few_scored: int = 250
    """Examples of the report split for which measuring, the time kept for writing and `late` are given up: an interval needs them."""
    late: float = 0.05
    """Share of the time limit, or of the time spent if that is more, by which scoring these may be late."""
    scoring: float = 0.8
    """Share of the time left that scoring is planned for: the speed is known from few examples."""
    more_scored: float = 1.25
    """Report examples of a second look over those of the first, at least: where scoring was faster than was thought."""
    evidence_examples: int = 200
    """Examples of select on which gates are measured and submodules switched off."""
    cost_seconds: float = 2.0
    """Seconds kept for measuring what a finalist costs."""
    cost_share: float = 0.03
    """Share of the time limit that those of all finalists are of at most."""
    writing: float = 4.0
    """Seconds kept for the verdict and the report at the very end, where this machine hasn't shown what they take."""
    # ---------------------------------------------------------------- before the first training
    measured_steps: int = 2
    """Steps of the pack that is measured: the first one builds it and warms up thread pools, kernels and caches, and doesn't count."""
    measured: float = 0.05
    """Share of the time left, after which no further step is measured."""
    worth: float = 1.05
    """A trial's step in a pack over that in the best one, at most: in a smaller pack less waits for its neighbors."""
    shown: int = 3
    """Steps of packs of a size, from which on their median is remembered."""
    bucket: int = 32
    """Tokens: of a typical text's length, a multiple of it counts, so that the same task finds what is remembered."""
    busy: float = 0.5
    """Change of the load by others (the last minute's mean of running processes), over cores, after which threads are chosen again."""
    pause: float = 30.0
    """Seconds between two looks at the load."""
    devices: Mapping[str, DevicePolicy] = field(
        default_factory=lambda: {"cpu": DevicePolicy(4, 8, 2, 5e10), "cuda": DevicePolicy(16, 32, 16, 5e13)}
    )
    """By torch's name of the kind of device."""

    def device(self, kind: str) -> DevicePolicy:
        """A device's; of a kind that isn't known, a GPU's."""
        return self.devices.get(kind, self.devices["cuda"])


POLICY = Policy()
