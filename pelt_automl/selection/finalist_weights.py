"""The trained weights of the finalists' runs, on disk and in a pack."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pelt_automl.design_space import Modification
from pelt_automl.errors import SelectionError
from pelt_automl.log.events import TrialEnded
from pelt_automl.methods import METHODS
from pelt_automl.modifications import Pack, PackTrial, pack_kind, without_reparameterization
from pelt_automl.selection.machine import Machine
from pelt_automl.selection.working_folders import kept_at
from pelt_automl.training.checkpoints import load_tensors
from pelt_automl.training.evaluation import Predictions, evaluate


def trained_pack(machine: Machine, runs: Sequence[TrialEnded]) -> Pack:
    """A pack of trained runs, in the form in which their weights are kept, in their order."""
    trials = [PackTrial(without_reparameterization(_changes(run)), run.seeds.initialization) for run in runs]
    pack = Pack(machine.backbone, trials, machine.data.outputs, machine.lower)
    for slot, run in enumerate(runs):
        path = kept_at(machine.folder, run)
        try:
            pack.load_weights(slot, load_tensors(path)[0])
        except (KeyError, RuntimeError) as error:
            raise SelectionError(
                f"the weights of {run.trial} can't be used ({error}). They were trained already: put back a copy of {path}, "
                "or begin again with another --output"
            ) from error
    return pack


def packs_of(machine: Machine, runs: Sequence[TrialEnded], most: int) -> list[list[TrialEnded]]:
    """Trained runs in packs of at most `most` that suit them (see `pack_kind`); those that can't share a pack stand alone, at the end."""
    kinds, alone = dict[tuple[object, ...], list[TrialEnded]](), list[list[TrialEnded]]()
    for run in runs:
        kind = pack_kind(_changes(run), machine.backbone.architecture, machine.backbone.shape)
        if kind is None:
            alone.append([run])
        else:
            kinds.setdefault(kind, []).append(run)
    return [same[start : start + most] for same in kinds.values() for start in range(0, len(same), most)] + alone


def logits_of(machine: Machine, runs: Sequence[TrialEnded]) -> list[NDArray[np.floating]]:
    """Logits of trained runs that can share a pack, for the report examples that are open."""
    tokens, _ = machine.splits.report or machine.splits.open_report([])
    return [evaluation.logits for evaluation in evaluate(trained_pack(machine, runs), [tokens] * len(runs))]


def predictions_of(machine: Machine, run: TrialEnded, logits: NDArray[np.floating]) -> Predictions:
    """What a trained run says by these logits for the report examples that are open, as the metric reads it."""
    kind = machine.data.task_kind
    scale = replace(kind.scale(machine.splits.of(run.seeds.split)[0].labels), threshold=run.threshold)
    tokens, _ = machine.splits.report or machine.splits.open_report([])
    return kind.read_by(machine.data.metric, logits, scale, tokens.texts_of_passages)


def _changes(run: TrialEnded) -> tuple[Modification, ...]:
    return METHODS[run.method].modifications(run.hyper_parameters)
