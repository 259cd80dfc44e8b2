"""The champion is a model: loaded in a new process, and served."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest

import pelt_automl
from pelt_automl.tasks.files import read_table

LOAD = """
import sys
import mlflow
import pandas as pd
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/pelt-reviews@champion")
print(model.metadata.signature.inputs.input_names(), model.input_example.columns.tolist())
print(*model.predict(pd.DataFrame({"text": sys.argv[4:]}))["prediction"], sep="\\n")
print(model.predict(pd.DataFrame({"text": ["", sys.argv[4]]}))["prediction"].isna().tolist())
moved = mlflow.pyfunc.load_model("models:/pelt-reviews@champion", model_config={"model": sys.argv[2]})
print(moved.predict(pd.DataFrame({"text": sys.argv[4:5]}))["prediction"][0])
try:
    mlflow.pyfunc.load_model("models:/pelt-reviews@champion", model_config={"model": sys.argv[3]})
except Exception as error:
    print(error)
"""


def environment(uri):
    own = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    own |= {"MLFLOW_TRACKING_URI": uri, "MLFLOW_DISABLE_TELEMETRY": "true", "OMP_NUM_THREADS": "1"}
    # MLflow starts uvicorn by its name: as in an environment that is activated.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return own | {"PATH": path, "PYTHONPATH": os.pathsep.join(sys.path)}


def answer_of(address, rows):
    body = json.dumps({"dataframe_records": rows}).encode()
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    return json.loads(urllib.request.urlopen(request, timeout=60).read())


@pytest.mark.stack
@pytest.mark.timeout(600)
def test_the_champion_is_loaded_in_a_new_process_and_served_and_answers_as_the_winner_does(finished, tmp_path):
    """Expensive, and so one test: two processes that load torch."""
    uri = f"sqlite:///{finished.home / 'mlflow.db'}"
    texts = [row["text"] for row in read_table(finished.world.test).rows][:6]
    expected = pelt_automl.load(finished.folder).predict(texts)

    moved = shutil.copytree(finished.world.model, tmp_path / "moved")
    loaded = subprocess.run(
        [sys.executable, "-c", LOAD, uri, moved, tmp_path / "nowhere", *texts],
        env=environment(uri),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert loaded.returncode == 0, loaded.stderr
    said = loaded.stdout.splitlines()
    assert said[:-1] == ["['text'] ['text']", *expected, "[True, False]", expected[0]]
    assert "nowhere" in said[-1]
    assert "model_config={'model': FOLDER}" in said[-1]

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/pelt-reviews@champion", "--env-manager", "local"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(command, env=environment(uri), cwd=tmp_path, stdout=log, stderr=log, start_new_session=True)
        try:
            deadline = time.monotonic() + 240
            while True:
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5).read()
                    break
                except OSError:
                    assert server.poll() is None, (tmp_path / "log").read_text()
                    assert time.monotonic() < deadline, (tmp_path / "log").read_text()
                    time.sleep(0.3)
            answer = answer_of(f"http://127.0.0.1:{port}/invocations", [{"text": text} for text in texts])
            assert answer == {"predictions": [{"prediction": prediction} for prediction in expected]}
        finally:
            with suppress(ProcessLookupError):
                os.killpg(server.pid, 9)
            server.wait()
