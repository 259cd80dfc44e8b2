"""The folder for state that isn't given a path of its own, and what ``~`` stands for."""

import os
from pathlib import Path

from pelt_automl.errors import SettingsError


def expanded(path: str | Path) -> Path:
    """The path with ``~`` or ``~user`` at its beginning replaced by that home folder.

    Raises `SettingsError` when there is no such user, or nobody knows where the home is.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        user = Path(path).parts[0].removeprefix("~")
        what = f"there is no user {user!r}; a folder that is called so is ./{path}" if user else "there is no home folder; set HOME"
        raise SettingsError(f"{path}: {what}") from error


def home() -> Path:
    """The one folder for state that isn't given a path of its own: ``$PELT_AUTOML_HOME``, else ``./pelt-home``."""
    return expanded(os.environ.get("PELT_AUTOML_HOME", "pelt-home")).absolute()
