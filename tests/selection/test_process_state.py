"""A call from another program leaves that program's process as it found it."""

import json
import logging
import platform
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from pelt_automl.selection.process import process_restored

ROOT = Path(__file__).resolve().parents[2]
STATE = """
import ctypes, json, locale, logging, os, random, signal, sys, threading, warnings
import numpy as np, torch

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "a", "b", "c", "d", "e")]

def mapped():
    "Whether a large piece of memory is a mapping of its own, as it is by default."
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallinfo2"):
        return None
    library.mallinfo2.restype, library.malloc.restype = Info, ctypes.c_void_p
    before = library.mallinfo2().hblks
    piece = ctypes.c_void_p(library.malloc(ctypes.c_size_t(256 * 2**20)))
    after = library.mallinfo2().hblks
    library.free(piece)
    return after - before

def state():
    import datasets, huggingface_hub, optuna, transformers
    root = logging.getLogger()
    return {
        "environment": dict(os.environ),
        "threads": [torch.get_num_threads(), torch.get_num_interop_threads()],
        "large pieces": mapped(),
        "torch": [str(torch.get_default_dtype()), torch.is_grad_enabled(), torch.are_deterministic_algorithms_enabled(),
                  torch.get_float32_matmul_precision(), torch.backends.mkldnn.enabled, str(torch.get_default_device())],
        "random": [torch.get_rng_state().sum().item(), str(np.random.get_state()[1].sum()), hash(random.getstate())],
        "optuna": optuna.logging.get_verbosity(),
        "transformers": [transformers.logging.get_verbosity(), transformers.logging.is_progress_bar_enabled()],
        "hub": huggingface_hub.utils.are_progress_bars_disabled(),
        "datasets": [datasets.logging.get_verbosity(), datasets.is_progress_bar_enabled()],
        "root logger": [root.level, [repr(handler) for handler in root.handlers], root.disabled],
        "loggers": {name: [logging.getLogger(name).level, logging.getLogger(name).disabled] for name in
                    ("mine", "alembic", "mlflow", "mlflow.store", "mlflow.tracking", "urllib3.connectionpool", "torch", "peft")},
        "warnings": [repr(one) for one in warnings.filters],
        "warnings' printer": repr(warnings.showwarning),
        "signals": {str(one): repr(signal.getsignal(one)) for one in signal.valid_signals()},
        "hooks": [repr(sys.excepthook), repr(threading.excepthook), repr(sys.stdout), repr(sys.stderr)],
        "place": [os.getcwd(), sys.path[:], locale.setlocale(locale.LC_ALL), os.umask(0o22)],
        "recursion": sys.getrecursionlimit(),
    }
"""
PROGRAM = """
import mlflow, sklearn.linear_model, scipy.stats, pandas, matplotlib.pyplot, peft, transformers.models.bert
import pelt_automl, pelt_automl.selection, pelt_automl.export
torch.set_num_threads(3)
logging.getLogger("mine").setLevel(logging.DEBUG)
optuna_before = __import__("optuna").logging.get_verbosity()
before = state()
options = json.loads(sys.argv[1])
found = pelt_automl.select(output=sys.argv[2], **options)
after = {"select": state()}
predictor = pelt_automl.load(sys.argv[2])
after["load"] = state()
predictor.predict(["good word1 word2", "bad word3"])
after["predict"] = state()
try:
    pelt_automl.select(output=sys.argv[2], **{**options, "label_column": "nowhere"})
except pelt_automl.PeltError:
    after["an error"] = state()
print(json.dumps({call: {part: [before[part], own[part]] for part in before if own[part] != before[part]} for call, own in after.items()}))
"""


@pytest.mark.slow
def test_a_selection_a_load_and_a_prediction_leave_the_process_as_it_was(world, tmp_path):
    """In a process of its own, with MLflow's database still to be made."""
    options = world.options(methods=["head", "lora"], trials=2, finalist_seeds=1, epochs=2)
    plain = json.dumps(options, default=str)
    program = [sys.executable, "-c", STATE + PROGRAM, plain, str(tmp_path / "out")]
    done = subprocess.run(program, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "out" / "winner").is_dir()
    changed = json.loads(done.stdout.splitlines()[-1])
    assert changed == {"select": {}, "load": {}, "predict": {}, "an error": {}}


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_the_state_that_is_compared_would_show_a_change():
    program = STATE + (
        "before = state()\n"
        "from pelt_automl.training.memory import kept_pages\n"
        "import warnings\n"
        "torch.set_num_threads(7)\n"
        "os.environ['MLFLOW_X'] = '1'\n"
        "warnings.simplefilter('error')\n"
        "with kept_pages():\n"
        "    own = state()\n"
        "print(json.dumps(sorted(part for part in before if own[part] != before[part])))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == ["environment", "large pieces", "threads", "warnings"]


def test_the_last_of_several_to_end_restores_what_the_first_found():
    root, threads = logging.getLogger(), torch.get_num_threads()
    level = root.level
    inside, may_end = threading.Event(), threading.Event()

    def other():
        with process_restored():
            inside.set()
            may_end.wait(10)

    with process_restored():
        root.setLevel(level + 5)
        torch.set_num_threads(threads + 1)
        thread = threading.Thread(target=other)
        thread.start()
        assert inside.wait(10)
    assert torch.get_num_threads() == threads, "each thread has its own number"
    assert root.level == level + 5, "the other one is still at work"
    may_end.set()
    thread.join()
    assert root.level == level


def test_an_error_restores_too():
    threads = torch.get_num_threads()

    def fail():
        with process_restored():
            torch.set_num_threads(threads + 1)
            raise KeyError("made to fail")

    with pytest.raises(KeyError, match="made to fail"):
        fail()
    assert torch.get_num_threads() == threads
