"""Kinds of trials: those that can share a pack have the same one."""

from collections.abc import Hashable

ALONE = "alone"
"""In the kind of a trial that can't share a pack, with its name."""


def is_alone(kind: Hashable | None) -> bool:
    """Whether a trial of this kind has a pack for itself."""
    return isinstance(kind, tuple) and ALONE in kind
