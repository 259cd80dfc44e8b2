"""What has to lie in a model's folder, checked before anything of it is loaded. No torch."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pelt_automl.errors import BackboneError, all_problems
from pelt_automl.log.folder import RECORDS

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"

OTHER_WEIGHTS = ("*.bin", "*.bin.index.json", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack", "*.gguf", "*.onnx", "*.safetensors")
"""Files that may hold weights in another form, or under another name."""

LFS_POINTER = b"version https://git-lfs"
"""What a file that Git LFS hasn't fetched begins with."""

_DAMAGED = (OSError, ValueError, KeyError, TypeError, AttributeError)
"""What comes of reading an index that isn't one."""

_SAVED = "give a folder that save_pretrained has written"


def check_config(folder: Path) -> None:
    """Raises `BackboneError` for a folder without a configuration that can be read."""
    path = folder / CONFIG
    if not path.is_file():
        raise BackboneError(_without_config(folder))
    if problem := _pointer(path):
        raise BackboneError(problem)
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BackboneError(f"{path} is damaged ({error}); download the model again, or {_SAVED}") from error
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise BackboneError(f"{path} names no model_type, so that nobody knows how to build the model; {_SAVED}")


def _without_config(folder: Path) -> str:
    """What is there in place of a model."""
    if not any(folder.iterdir()):
        return f"the folder {folder} is empty; {_SAVED}"
    if (folder / "adapter_config.json").is_file():
        return f"the folder {folder} holds a peft adapter, not a model; give the model that it was trained on"
    if (folder / "pelt_config.json").is_file() or (folder / RECORDS).is_file():
        return f"the folder {folder} holds what pelt-automl has trained, not a pretrained model; give the model that it was trained on"
    below = sorted(path.parent for path in folder.glob("*/config.json"))
    near = f" (there is one in {below[0]})" if below else ""
    return f"the folder {folder} has no config.json{near}; {_SAVED}"


def weight_problems(folder: Path) -> list[str]:
    """What is wrong with the files of weights: none in safetensors, a part missing, or one that was cut off. Empty for sound ones."""
    if (folder / WEIGHTS).is_file():
        return _unreadable([folder / WEIGHTS])
    if not (folder / INDEX).is_file():
        return [_no_safetensors(folder)]
    try:
        names = sorted(set(json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values()))
    except _DAMAGED as error:
        return [_pointer(folder / INDEX) or f"{folder / INDEX} is damaged ({error}); download it again"]
    missing = [name for name in names if not (folder / name).is_file()]
    lacking = [f"{folder} lacks {len(missing)} of the {len(names)} files of weights: {', '.join(missing[:5])}; download them"]
    return (lacking if missing else []) + _unreadable(folder / name for name in names if name not in missing)


def tensor_names(folder: Path) -> set[str]:
    """Names of all weights in the safetensors files of a folder; empty where they can't be read."""
    from safetensors import SafetensorError, safe_open

    names: set[str] = set()
    try:
        for path in weight_files(folder):
            with safe_open(path, framework="np") as file:
                names |= set(file.keys())
    except (SafetensorError, *_DAMAGED):
        return set()
    return names


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that a model is loaded from, in the order of their names."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if not (folder / INDEX).is_file():
        return []
    index: dict[str, Any] = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    return [folder / name for name in sorted(set(index["weight_map"].values()))]


def _unreadable(paths: Iterable[Path]) -> list[str]:
    """Safetensors says in its header how long the file has to be, so that nothing has to be read but that."""
    from safetensors import SafetensorError, safe_open

    problems = []
    for path in paths:
        try:
            with safe_open(path, framework="np"):
                pass
        except (OSError, SafetensorError) as error:
            size = path.stat().st_size
            problems.append(
                _pointer(path)
                or f"{path} is damaged or was cut off: it has {size:,} bytes and can't be read ({error}); copy or download it again"
            )
    return problems


def _pointer(path: Path) -> str | None:
    with path.open("rb") as file:
        if file.read(len(LFS_POINTER)) != LFS_POINTER:
            return None
    return f"{path} is a pointer of Git LFS, not the file itself; fetch it with `git lfs pull`"


def _no_safetensors(folder: Path) -> str:
    there = sorted({path.name for pattern in OTHER_WEIGHTS for path in folder.glob(pattern)} - {"training_args.bin"})
    if not there:
        return f"{folder} has no weights: {WEIGHTS} is expected; download it, or {_SAVED}"
    found = f"{folder} has no {WEIGHTS}, only {', '.join(there[:5])}"
    if any(name.startswith("pytorch_model") for name in there):
        return (
            f"{found}. Files of pickle can run any program when they are read, so they aren't read here. If you trust where it comes from, "
            f'convert it once: python -c "from transformers import AutoModel, AutoTokenizer as T; d = {str(folder)!r}; '
            "AutoModel.from_pretrained(d).save_pretrained(d + '-safe'); T.from_pretrained(d).save_pretrained(d + '-safe')\", "
            f"and give {folder}-safe"
        )
    return f"{found}; load it where it comes from and write it with save_pretrained, which makes {WEIGHTS}"


def check_folder(folder: Path, more: Iterable[str] = ()) -> None:
    """Raises `BackboneError` with everything that is wrong with the weights, and with `more`, at once."""
    if problems := [*weight_problems(folder), *more]:
        raise BackboneError(problems[0] if len(problems) == 1 else all_problems(f"the model in {folder}", problems))
