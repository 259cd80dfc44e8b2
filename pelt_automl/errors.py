"""What can go wrong, as one root with few children.

Each child also is the built-in it stands for, so ``except ValueError`` works for callers who don't know this package. The message
says what was expected, what came, and what to do; the command line prints it without a traceback and ends with code 2.
"""

from collections.abc import Sequence


class PeltError(Exception):
    """The root of every error that `pelt_automl` raises on purpose."""


class SettingsError(PeltError, ValueError):
    """A setting, or a combination of settings, that can't be carried out. `problems` has each of what is wrong by itself."""

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems) or (message,)


class TaskError(PeltError, ValueError):
    """A text task that isn't known, can't be reached, or whose data can't be used."""


class BackboneError(PeltError, ValueError):
    """A pretrained model that isn't known, can't be reached, or lacks a site that a method needs."""


class SearchSpaceError(PeltError, ValueError):
    """A search-space file with one or more problems, all of them in the message."""


class SelectionError(PeltError, RuntimeError):
    """A selection that can't be started, taken up again or read."""


class NoTrialCompletedError(SelectionError):
    """Every trial of a selection failed, so that there is nothing to recommend."""


def all_problems(what: str, problems: Sequence[str]) -> str:
    """One message for everything that is wrong with `what`: a line each when there are several."""
    if len(problems) == 1:
        return f"{what}: {problems[0]}"
    return f"{what} has {len(problems)} problems:\n" + "\n".join(f"  - {problem}" for problem in problems)
