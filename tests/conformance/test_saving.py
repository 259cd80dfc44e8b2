"""What is written of every method on every family: small, complete, the same in another process."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from pelt_automl.design_space import modification_from_dict
from pelt_automl.methods import METHODS
from pelt_automl.modifications import without_reparameterization
from pelt_automl.training.checkpoints import TOKENIZER, TrainedConfig, load_config, load_progress
from tests.conformance.laboratory import config_of, methods_on, modifications_of

every_method = pytest.mark.parametrize("method", list(METHODS))

BYTES, SLACK = 4, 64 * 1024
"""Of a parameter; of the configuration and the files' headers."""


@every_method
def test_modifications_and_configurations_come_back_from_json_as_they_were(method):
    for modifications in (METHODS[method].modifications({}), without_reparameterization(modifications_of(method))):
        for modification in modifications:
            assert modification_from_dict(json.loads(json.dumps(asdict(modification)))) == modification
    config = config_of(method, {"name": "tiny", "location": "/nowhere", "sha256": "00"})
    assert TrainedConfig.from_json(config.to_json()) == config


@pytest.fixture(scope="session")
def another_process():
    """It has seen nothing of the trainings; returns the logits of a folder's winners. One for all families: most of it is its imports."""
    root = Path(__file__).parents[2]
    command, pipe = [sys.executable, "-m", "tests.conformance.load_all"], subprocess.PIPE
    environment = os.environ | {"PYTHONPATH": str(root)}
    with subprocess.Popen(command, cwd=root, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:

        def logits(folder):
            print(folder, file=process.stdin, flush=True)
            answer = process.stdout.readline()
            assert answer, process.stderr.read()
            return json.loads(answer)

        yield logits
        process.stdin.close()


@pytest.mark.whole
def test_another_process_loads_every_winner_and_gets_its_logits(lab, written, another_process):
    loaded = another_process(written)
    assert loaded.keys() == set(methods_on(lab.family))
    distances = {method: np.abs(np.array(own, dtype=np.float32) - lab.logits(method)).max() for method, own in loaded.items()}
    assert {method: distance for method, distance in distances.items() if not distance < 1e-5} == {}


def test_a_winner_is_smaller_than_twice_its_parameters(lab, written):
    problems = []
    for method in methods_on(lab.family):
        folder = written / "winners" / method
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and TOKENIZER not in path.parts)
        most = 2 * BYTES * _numbers(lab.weights(method)) + SLACK
        if not size < most:
            problems.append(f"{method}: {size} bytes, at most {most}")
    assert problems == []


def test_a_paused_training_is_as_large_as_its_weights_two_moments_and_the_best_weights_so_far(lab, written):
    """And what a method needs beside them to go on: AdaLoRA's importance of each rank, two numbers a weight."""
    problems = []
    for method, run in lab.together.items():
        size = (written / "paused" / f"{method}.safetensors").stat().st_size
        trained, kept = _numbers(lab.weights(method)), _numbers(run.progress.best_weights)
        state = _numbers({name: own for name, own in lab.continuation(method).items() if name.startswith("state/")})
        if not size < (3 * trained + kept + state) * BYTES + 2 * SLACK or state > 2 * trained + 100:
            problems.append(f"{method}: {size} bytes for {trained} trained, {kept} kept and {state} further numbers")
    assert problems == []


def _numbers(tensors):
    return sum(own.numel() for own in tensors.values())


def test_a_paused_training_comes_back_as_it_was(lab, written):
    for method, run in lab.together.items():
        again = load_progress(written / "paused" / f"{method}.safetensors")
        for ours, theirs in ((again.best_weights, run.progress.best_weights), (again.continuation, run.progress.continuation)):
            assert ours.keys() == theirs.keys(), method
            assert all(ours[name].equal(theirs[name]) for name in ours), method
        assert _rest(again) == _rest(run.progress), method


def _rest(progress):
    return {name: value for name, value in asdict(progress).items() if name not in ("best_weights", "continuation")}


def test_only_json_and_safetensors_are_written(written):
    kinds = {path.suffix for path in written.rglob("*") if path.is_file()}
    assert kinds == {".json", ".safetensors"}
    assert load_config(written / "winners" / "lora").method == "lora"
