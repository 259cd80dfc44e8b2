"""`pelt-automl doctor`: what is there and what isn't, each with a remedy, and an exit code that a script can use."""

import json
import os
import re
import sys
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from pelt_automl import cli, doctor, hub

NAMES = (
    "Python",
    "versions",
    "device",
    "precision",
    "threads",
    "memory",
    "home",
    "disk",
    "data",
    "embedded model",
    "hub",
    "Prefect",
    "MLflow",
)
VARIABLES = ("PREFECT_API_URL", "MLFLOW_TRACKING_URI", "HF_HUB_CACHE", "HF_HOME", "HF_ENDPOINT")


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch, tmp_path):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("PELT_AUTOML_PREFECT_PORT", "9")  # nobody answers there


@pytest.fixture
def server():
    """A server that is healthy at /health and /api/health."""

    class Healthy(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path in ("/health", "/api/health") else 404)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Healthy) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_address[1]}"
        serving.shutdown()


def typed(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["pelt-automl", "doctor", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr()
    return ended.value.code, said.out, said.err


def only(check):
    """The results of one check by name."""
    return {found.name: found for found in doctor._guarded(check)}


def test_a_sound_machine_is_called_so_in_text_and_in_json(monkeypatch, capsys):
    code, out, err = typed(monkeypatch, capsys)
    assert (code, err) == (0, "")
    assert "Everything that is needed works." in out
    code, out, _ = typed(monkeypatch, capsys, "--json")
    said = json.loads(out)
    assert (code, said["works"]) == (0, True)
    found = {check["name"]: check for check in said["checks"]}
    assert list(found) == list(NAMES)
    assert found["precision"]["found"].split(" ")[0] in ("bf16", "fp32")
    assert "ms for 2 layers" in found["precision"]["found"]
    assert "torch 2." in found["versions"]["found"]
    assert found["Python"]["found"].startswith(".".join(map(str, sys.version_info[:3])))
    assert found["hub"]["state"] == "warning", "it is offline here"
    assert all(bool(check["remedy"]) is (check["state"] != "ok") for check in found.values())


def test_a_problem_ends_with_one_and_says_what_to_do(monkeypatch, capsys, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(doctor, "CHECKS", (doctor._home, doctor._data))
    monkeypatch.setenv("PELT_AUTOML_HOME", str(tmp_path / "file" / "home"))
    monkeypatch.setenv("PELT_AUTOML_DATA_DIR", str(tmp_path / "nowhere"))
    code, out, _ = typed(monkeypatch, capsys)
    assert code == 1
    assert f"problem  home  {tmp_path / 'file'} is a file\n               -> set PELT_AUTOML_HOME" in out
    assert f"problem  data  PELT_AUTOML_DATA_DIR is {tmp_path / 'nowhere'}, which isn't a folder" in out
    assert "2 of 2 checks found a problem." in out
    code, out, _ = typed(monkeypatch, capsys, "--json")
    assert (code, json.loads(out)["works"]) == (1, False)


def test_nothing_is_made_where_nothing_is(monkeypatch, tmp_path):
    monkeypatch.setenv("PELT_AUTOML_HOME", str(tmp_path / "a" / "b"))
    assert only(doctor._home)["home"].found.endswith(", made when it is first needed")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("free", "state"), [(0.5, "problem"), (3.0, "warning"), (50.0, "ok")])
def test_a_full_disk_and_little_memory_are_said(monkeypatch, free, state):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: type("Usage", (), {"free": free * 1e9}))
    monkeypatch.setattr("pelt_automl.training.memory.free_on_host", lambda: free * 1e9)
    for check in (only(doctor._home)["disk"], only(doctor._memory)["memory"]):
        assert (check.state, bool(check.remedy)) == (state, state != "ok")
        assert f"{free:.1f} GB free" in check.found


def test_servers_that_nobody_named_may_be_away_and_those_that_somebody_named_may_not(monkeypatch):
    found = only(doctor._servers)
    assert [check.state for check in found.values()] == ["ok", "ok"]
    assert "not running" in found["Prefect"].found
    assert "no server is needed: sqlite:///" in found["MLflow"].found
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:9")
    found = only(doctor._servers)
    assert [check.state for check in found.values()] == ["problem", "problem"]
    assert "PREFECT_API_URL is http://127.0.0.1:9/api, where nobody answers" in found["Prefect"].found
    assert "secret" not in str(found)


def test_servers_that_answer_are_named_and_those_off_loopback_are_warned_of(monkeypatch, server):
    monkeypatch.setenv("PREFECT_API_URL", f"{server}/api/")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    assert {name: (check.state, check.found) for name, check in only(doctor._servers).items()} == {
        "Prefect": ("ok", f"{server}/api answers, on loopback"),
        "MLflow": ("ok", f"{server} answers, on loopback"),
    }
    monkeypatch.setattr(doctor.socket, "getaddrinfo", lambda *_: [(2, 1, 6, "", ("192.0.2.7", 0))])
    monkeypatch.setattr(doctor, "_answers", lambda _: True)
    assert {check.state for check in only(doctor._servers).values()} == {"warning"}
    assert "bind it to 127.0.0.1" in only(doctor._servers)["MLflow"].remedy


def test_without_hub_and_models_there_is_a_problem_and_with_one_of_them_there_is_none(monkeypatch, tmp_path):
    monkeypatch.setattr("pelt_automl.backbones.sources.MINILM_PACKAGE", "no_such_package")
    monkeypatch.setattr(hub, "is_reachable", lambda: False)
    assert {name: check.state for name, check in only(doctor._models).items()} == {"embedded model": "warning", "hub": "problem"}
    (tmp_path / "hub" / "models--google-bert--bert-base-uncased").mkdir(parents=True)
    cached = only(doctor._models)["hub"]
    assert cached.state == "warning"
    assert "(offline mode is on): cache only; 1 models in its cache (google-bert/bert-base-uncased)" in cached.found
    monkeypatch.setattr(hub, "is_reachable", lambda: True)
    assert only(doctor._models)["hub"].state == "ok"


def test_a_library_that_is_missing_and_a_check_that_breaks_are_problems_and_the_others_go_on(monkeypatch):
    monkeypatch.setattr(doctor, "requires", lambda _: ["torch>=2", "no-such-library>=3"])

    def _broken():
        raise RuntimeError("made to fail")
        yield

    monkeypatch.setattr(doctor, "CHECKS", (_broken, doctor._libraries, doctor._python))
    found = {check.name: check for check in doctor.checks()}
    assert found["broken"].found == "RuntimeError: made to fail"
    assert found["libraries"].remedy == "pip install 'no-such-library>=3'"
    assert "torch 2." in found["versions"].found
    assert found["Python"].state == "ok"
    assert not doctor.works(list(found.values()))


DECLARED = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]["dependencies"]
"""What an installation of this version needs; that of the developer's own environment may be of an earlier day."""


@pytest.mark.parametrize("needed", DECLARED)
def test_every_library_that_the_program_declares_is_looked_for(monkeypatch, needed):
    name = re.match(r"[\w-]+", needed)[0]

    def without(asked):
        if asked == name:
            raise PackageNotFoundError(asked)
        return version(asked)

    monkeypatch.setattr(doctor, "requires", lambda _: DECLARED)
    monkeypatch.setattr(doctor, "version", without)
    check = only(doctor._libraries)["libraries"]
    assert (check.state, check.found) == ("problem", f"{name} isn't installed")
    assert check.remedy.startswith(f"pip install '{name}")


def test_a_library_that_is_too_old_or_too_new_is_a_problem_and_an_early_build_is_none(monkeypatch):
    installed = {"transformers": "4.20.0", "optuna": "6.1", "torch": "2.12.0a0+cpu"}
    monkeypatch.setattr(doctor, "version", lambda name: installed.get(name) or version(name))
    check = only(doctor._libraries)["libraries"]
    assert "transformers is 4.20.0, and <6,>=5 is needed" in check.found
    assert "optuna is 6.1, and <6,>=5 is needed" in check.found
    assert "torch" not in check.found
    assert "'transformers<6,>=5'" in check.remedy


def test_what_only_extras_and_other_systems_need_may_be_away(monkeypatch):
    others = ["torch>=2", "no-such-library; extra == 'dev'", "no-such-library; python_version < '3'"]
    monkeypatch.setattr(doctor, "requires", lambda _: others)
    assert list(only(doctor._libraries)) == ["versions"]


def test_a_program_that_is_not_installed_is_a_problem(monkeypatch):
    def away(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(doctor, "version", away)
    assert only(doctor._libraries)["libraries"].found.startswith("pelt-automl isn't installed")


def test_no_check_shows_the_password_of_the_hub(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://user:secret@127.0.0.1:9")
    for answers in (False, True):
        monkeypatch.setattr(hub, "is_reachable", lambda answers=answers: answers)
        check = only(doctor._models)["hub"]
        assert check.found.startswith("http://127.0.0.1:9 ")
        assert "secret" not in str(check)

    def _broken():
        raise OSError("no route to http://user:secret@127.0.0.1:9")
        yield

    assert "secret" not in str(only(_broken))


def test_all_checks_together_make_no_file_and_no_folder(monkeypatch, tmp_path):
    place = tmp_path / "empty"
    place.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.setenv("HOME", str(place))
    monkeypatch.delenv("PELT_AUTOML_HOME")
    monkeypatch.setenv("HF_HUB_CACHE", str(place / "hub"))
    assert [check.name for check in doctor.checks()] == list(NAMES)
    assert list(place.iterdir()) == []
    monkeypatch.setenv("PELT_AUTOML_HOME", str(place / "home"))
    doctor.checks()
    assert list(place.iterdir()) == []


def test_a_busy_processor_is_said(monkeypatch):
    monkeypatch.setattr("pelt_automl.backbones.layer_speed.layer_seconds", lambda *_: {2: 1.7, 1: 0.4})
    monkeypatch.setattr("pelt_automl.backbones.layer_speed.precision_speeds", lambda *_, **__: None)
    monkeypatch.setattr("pelt_automl.backbones.layer_speed.thread_choices", lambda _: (2, 1))
    found = only(doctor._speed)
    assert found["threads"].found == f"1 of 2 (1,700 ms with 2; 400 ms with 1; load {os.getloadavg()[0]:.1f})"
    assert (found["threads"].state, found["precision"].remedy) == ("warning", "say --precision fp32")
