"""A process of its own: loads winners under a ban on pickling, and says what each says of the select examples.

It reads a line with a family's folder, and prints a line with the logits, until there are no more lines: its imports take longest.
"""

import json
import sys
from pathlib import Path

import torch
import transformers  # noqa: F401 what its import does is not ours

from pelt_automl.training.checkpoints import WEIGHTS, load_config
from pelt_automl.training.evaluation import evaluate
from pelt_automl.training.predicting import load_predictor, trained_pack
from tests.conformance.no_pickling import no_pickling
from tests.tiny import learnable_tokens


def logits_of_winners(folder: Path) -> dict[str, list[list[float]]]:
    """By method: what the winners in a family's folder say of the select examples. The backbone is loaded once, with the first."""
    select, winners = learnable_tokens(16, seed=2), sorted((folder / "winners").iterdir())
    first = load_predictor(winners[0])
    packs = {winners[0].name: first.pack}
    for winner in winners[1:]:
        packs[winner.name] = trained_pack(load_config(winner), first.pack.backbone, winner / WEIGHTS)
    return {method: evaluate(pack, [select])[0].logits.tolist() for method, pack in packs.items()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    with no_pickling():
        for line in sys.stdin:
            print(json.dumps(logits_of_winners(Path(line.rstrip("\n")))), flush=True)
