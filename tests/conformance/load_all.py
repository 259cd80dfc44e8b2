"""A process of its own: loads every winner below a folder, under a ban on pickling, and prints what each says of the select examples."""

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


def main(folder: Path) -> None:
    """One JSON object: logits by family and method. A family's backbone is loaded once, with its first winner."""
    torch.set_num_threads(1)
    select, logits = learnable_tokens(16, seed=2), {}
    for family in sorted(folder.iterdir()):
        winners = sorted((family / "winners").iterdir())
        first = load_predictor(winners[0])
        packs = {winners[0].name: first.pack}
        for winner in winners[1:]:
            packs[winner.name] = trained_pack(load_config(winner), first.pack.backbone, winner / WEIGHTS)
        logits[family.name] = {method: evaluate(pack, [select])[0].logits.tolist() for method, pack in packs.items()}
    print(json.dumps(logits))


if __name__ == "__main__":
    with no_pickling():
        main(Path(sys.argv[1]))
