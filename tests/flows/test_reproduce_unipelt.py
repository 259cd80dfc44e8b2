"""The flow's own part: parameters become a protocol and a place, and only those that may be."""

import json

import jsonschema
import pytest
from prefect.exceptions import ParameterTypeError

from flows import reproduce_unipelt as module
from flows.flow_parameters import checked
from flows.reproduce_unipelt import reproduce_unipelt
from pelt_automl.errors import SettingsError
from pelt_automl.execution.certificates import Certificates
from pelt_automl.home import home
from pelt_automl.reproduction import Reproduction
from tests.reproduction.tiny_glue import write_glue


@pytest.fixture
def roots(world, tmp_path, monkeypatch):
    """The folder that the flow may read: a tiny GLUE, and a model beside it."""
    write_glue(tmp_path / "data" / "glue")
    (tmp_path / "data" / "model").symlink_to(world.model)
    monkeypatch.setenv("PELT_AUTOML_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("PELT_AUTOML_DATA_ROOTS", str(world.model.parent))
    return tmp_path


@pytest.fixture
def plain(monkeypatch):
    """The flow's function without a server: its step is called as it is, and what it leaves in the UI is kept."""
    left = []
    monkeypatch.setattr(module, "train_open_cells", lambda reproduction: reproduction.run())
    monkeypatch.setattr(module, "create_markdown_artifact", lambda text, key, description: left.append((key, text)))
    return left


def test_the_flow_trains_the_open_cells_of_its_folder_and_leaves_the_table(roots, world, plain):
    options = {"tasks": ["cola"], "ks": [16], "seeds": [0], "methods": ["lora"], "epochs": 2.0, "evaluations": 1, "data_dir": "glue"}
    ended = reproduce_unipelt.fn(model=str(world.model), output="mine", **options)
    folder = home() / "reproductions" / "mine"
    assert ended.data == {"finished": 1, "wanted": 1, "folder": str(folder)}
    assert ended.message == f"1 of 1 runs are finished, in {folder}"
    [run] = [json.loads(line) for line in (folder / "runs" / "cola-k16-seed0.jsonl").read_text().splitlines()]
    assert (run["method"], run["k"], run["steps"]) == ("lora", 16, 2)
    assert [key for key, _ in plain] == ["reproduced-unipelt"]
    assert "1 of 1 runs" in plain[0][1]


@pytest.mark.parametrize("finished", [False, True])
def test_workers_are_places_of_the_pool_which_has_to_be_there_if_anything_is_to_be_trained(roots, world, plain, monkeypatch, finished):
    asked = []

    class Places:
        listen, certificates = "tls://127.0.0.1:0", Certificates.temporary()

        def check(self):
            asked.append("check")
            raise SettingsError("nobody works on the pool 'gpu'")

    monkeypatch.setattr(module, "places_of", lambda training: asked.append(training.workers) or Places())
    monkeypatch.setattr(Reproduction, "unfinished", not finished)
    if finished:
        monkeypatch.setattr(module, "train_open_cells", Reproduction.write_tables)
    options = {"tasks": ["cola"], "ks": [16], "seeds": [0], "methods": ["lora"], "data_dir": "glue", "workers": 3}
    ended = reproduce_unipelt.fn(model=str(world.model), output="mine", **options)
    assert asked == ([3] if finished else [3, "check"])
    assert ended.type.value == ("COMPLETED" if finished else "FAILED")


def test_names_and_paths_from_outside_are_checked_all_at_once(roots):
    with pytest.raises(SettingsError) as caught:
        reproduce_unipelt.fn.__wrapped__(tasks=["rte", "../x"], methods=["a b"], epochs=0, output="../elsewhere", data_dir="/etc")
    said = str(caught.value)
    assert said.startswith("the request has 5 problems:")
    for part in ("tasks has '../x'", "no method 'a b'", "epochs is 0", "output '../elsewhere'", "data_dir '/etc' lies outside"):
        assert part in said


@pytest.mark.parametrize("output", ["..", ".hidden", "a/b", "/tmp/x", "a\n", ""])
def test_a_flow_writes_to_no_place_but_the_programs_home(output, roots):
    with pytest.raises(SettingsError, match="isn't a folder's name"):
        checked(dict, output=output)


WRONG = {"ks": [8], "tasks": ["wnli"], "epochs": 0, "seeds": ["full"], "precision": "fp8"}


@pytest.mark.parametrize("wrong", WRONG)
def test_the_schema_has_the_protocols_kinds_and_bounds(wrong):
    right = {"ks": [100, "full"], "seeds": [0, 1], "epochs": 50, "tasks": ["rte"], "precision": "fp32"}
    jsonschema.validate(right, reproduce_unipelt.parameters.model_dump())
    reproduce_unipelt.validate_parameters(right)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(right | {wrong: WRONG[wrong]}, reproduce_unipelt.parameters.model_dump())
    with pytest.raises(ParameterTypeError, match=wrong):
        reproduce_unipelt.validate_parameters(right | {wrong: WRONG[wrong]})
