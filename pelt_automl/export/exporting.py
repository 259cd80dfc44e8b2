"""From a selection's folder to a folder that other programs load: refused as a whole, or written as a whole."""

import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from pelt_automl.backbones.loading import Backbone
from pelt_automl.backbones.quiet import quiet
from pelt_automl.durable import full_disk_as_os_error, sync, sync_tree
from pelt_automl.errors import SettingsError, all_problems
from pelt_automl.export.classification import model_class
from pelt_automl.export.merged import why_not_merged, write_merged
from pelt_automl.export.peft_folder import NAMES, why_not_peft, write_peft
from pelt_automl.home import expanded
from pelt_automl.modifications import Pack
from pelt_automl.modifications.merging import is_prompt
from pelt_automl.tasks.kinds import KINDS
from pelt_automl.training.checkpoints import TrainedConfig, WinnerForm, load_config
from pelt_automl.training.predicting import TrainedPredictor, load_predictor, winner_of

Kind = Literal["merged", "peft"]

READ_FIRST = ("config.json", "adapter_config.json")
"""Without these nothing reads the folder: they come last."""


WhyNot = Callable[[TrainedConfig, Backbone], list[str]]
"""Every reason why a trained winner can't be written so."""
Write = Callable[[Pack, TrainedConfig, Any, Path], float]
"""Writes it, and gives the largest difference of an output after reading it again."""

FORMATS: dict[Kind, tuple[WhyNot, Write]] = {"merged": (why_not_merged, write_merged), "peft": (why_not_peft, write_peft)}
"""The kinds of folders."""

NO_MODEL: dict[WinnerForm, str] = {
    "apart": "it reads the two texts of a pair one by one and compares them, and transformers' and peft's models read them together",
    "words": "it counts words and has no pretrained model that transformers or peft could load",
    "neighbors": "it compares a text with the train examples that it keeps, which no model of transformers or peft does",
}
"""Why a contender of this form is a folder for no other program."""


INSTEAD = "Predict with it (`pelt-automl predict`) or serve it (`mlflow models serve`)"
"""What can be done with any winner."""


@dataclass(frozen=True)
class Exported:
    """What was written."""

    kind: Kind
    folder: Path
    trained: TrainedConfig
    difference: float
    """Largest difference of an output between the trained method and what was read again, in the labels' unit for regression."""
    backbone: str
    """Folder or Hub name that the pretrained model was loaded from."""

    def described(self) -> str:
        """What it is, how exact it is, and how to load it."""
        t, at = self.trained, repr(str(self.folder))
        note = "" if t.precision == "fp32" else f" The training computed in {t.precision}, so that predictions may differ in its rounding."
        if KINDS[t.kind].fitted_as == "labels":
            note += f" Its outputs are a logit for each label: one is predicted from a probability (sigmoid) of {t.scale.threshold:g} on."
        if KINDS[t.kind].reads_tokens:
            note += f" A passage of more than {t.max_length} tokens has to be given to it in windows."
            if t.scale.threshold:
                note += f" It answers where its best piece, compared with no answer, has a probability of {t.scale.threshold:g} or more."
        if self.kind == "peft" and any(map(is_prompt, t.modifications)):
            note += (
                " With a prompt of peft the model doesn't see padding: give it one text at a time, or texts of the same number of tokens."
            )
        snippet = (
            f"from transformers import {model_class(t)}, AutoTokenizer\n"
            f"model = {model_class(t)}.from_pretrained({at})\n"
            f"tokenizer = AutoTokenizer.from_pretrained({at})"
        )
        if self.kind == "peft":
            snippet = (
                "from peft import PeftModel\n"
                f"from transformers import AutoConfig, {model_class(t)}, AutoTokenizer\n"
                f"tokenizer = AutoTokenizer.from_pretrained({at})\n"
                f"config = AutoConfig.from_pretrained({str(self.folder / NAMES)!r})  # with the names of the classes\n"
                f"base = {model_class(t)}.from_pretrained({self.backbone!r}, config=config, dtype='float32')\n"
                f"model = PeftModel.from_pretrained(base, {at})"
            )
        return (
            f"{t.method} on {t.backbone['name']} written to {self.folder}, in fp32. Read again, it gives the same outputs on random "
            f"tokens (largest difference {self.difference:.1g}).{note}\nLoad it with:\n\n{snippet}"
        )


def export_winner(selection: Path, output: Path, *, merged: bool, peft: bool, model: str | None = None) -> Exported:
    """Write the winner of a selection (its folder, or its ``winner`` folder) as one of `FORMATS` into the new folder `output`.

    `model`: where the pretrained model is now, when that isn't where it was. Weights are read and written in fp32, whatever the training
    computed in. Raises `SettingsError` with everything that is in the way, and the errors of `load_predictor`; nothing is written then.
    """
    if merged == peft:
        raise SettingsError("say what to write: --merged (a plain transformers folder) or --peft (a folder of HF peft), one of the two")
    kind: Kind = "merged" if merged else "peft"
    if reason := NO_MODEL.get((config := load_config(winner_of(selection))).form):
        raise SettingsError(f"{config.method} can't be exported: {reason}. {INSTEAD}, or select again with --baselines none")
    predictor = load_predictor(winner_of(selection), precision="fp32", device=torch.device("cpu"), model=model)
    trained, backbone = predictor.config, predictor.pack.backbone
    output = expanded(output).absolute()
    why_not, write = FORMATS[kind]
    refused = why_not(trained, backbone)
    if problems := _why_not_there(output) + refused:
        said = all_problems(f"export of {trained.method} on {backbone.name} with --{kind} to {output}", problems)
        raise SettingsError(said + (f"\n{INSTEAD}." if refused else ""))
    with quiet(), warnings.catch_warnings(action="ignore"):
        return Exported(kind, output, trained, _write(predictor, write, output), backbone.location)


def _why_not_there(output: Path) -> list[str]:
    """Why nothing can be written there. `output`: absolute."""
    try:
        if output.is_dir():
            return ["the folder isn't empty; name a new one"] if any(output.iterdir()) else []
        if output.is_symlink() or output.exists():
            return ["there is a file of that name; name a new folder"]
    except OSError as error:
        return [f"the folder can't be read ({error.strerror}); name another one"]
    return []


def _write(predictor: TrainedPredictor, write: Write, output: Path) -> float:
    """Write to a folder of another name, and move it into place when it has proved right: what is there is whole."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(predictor.pack.backbone.location, trust_remote_code=False, local_files_only=True)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        stays = output.is_dir()  # it may be a link, a mounted disk, or the folder that a terminal is in
        with tempfile.TemporaryDirectory(prefix=".export-", dir=output if stays else output.parent) as place:
            unfinished = Path(place) / output.name
            unfinished.mkdir()
            with full_disk_as_os_error(output):
                difference = write(predictor.pack, predictor.config, config, unfinished)
            sync_tree(unfinished)
            if stays:
                for path in sorted(unfinished.iterdir(), key=lambda path: path.name in READ_FIRST):
                    path.rename(output / path.name)
            else:
                unfinished.rename(output)
        sync(output)
        sync(output.parent)
    except OSError as error:
        raise SettingsError(f"the export can't be written to {output} ({error.strerror or error}); name another folder") from error
    return difference
