import os
import re
from contextlib import nullcontext

import jsonschema
import pytest

from flows.flow_parameters import checked_settings, inside
from flows.select_pelt import select_pelt
from pelt_automl.errors import SettingsError
from pelt_automl.methods import METHODS
from pelt_automl.settings import is_curve, options


@pytest.fixture
def roots(tmp_path, monkeypatch):
    """Two allowed data folders, and one that isn't."""
    for name in ("data", "more", "secret"):
        (tmp_path / name).mkdir()
    (tmp_path / "more" / "train.csv").write_text("text,label\n")
    monkeypatch.setenv("PELT_AUTOML_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("PELT_AUTOML_DATA_ROOTS", os.pathsep.join([str(tmp_path / "more"), ""]))
    return tmp_path


def test_parameters_become_settings_and_what_is_not_given_keeps_the_programs_default(roots):
    settings = checked_settings(
        task="qnli", data_dir=str(roots / "data"), k=100, methods=["lora", "unipelt-apl"], seconds=60.0, metric=None
    )
    assert settings.task.task == "qnli"
    assert settings.task.data_dir == roots / "data"
    assert settings.task.k == 100
    assert settings.task.metric is None
    assert settings.search.methods == ("lora", "unipelt-apl")
    assert settings.search.seconds == 60.0


def test_baselines_are_named_left_to_the_default_or_left_out(roots):
    assert checked_settings(task="qnli", baselines=["probe"]).search.baselines == ("probe",)
    assert checked_settings(task="qnli", baselines=["none"]).search.baselines == ()
    every = ("probe", "bag-of-words", "neighbors")
    assert checked_settings(task="qnli", baselines=[]).search.baselines == checked_settings(task="qnli").search.baselines == every
    assert checked_settings(task="qnli", baselines="probe,neighbors").search.baselines == ("probe", "neighbors")
    with pytest.raises(SettingsError, match="there are probe, bag-of-words, neighbors, or none"):
        checked_settings(task="qnli", baselines=["nothing"])


def test_a_relative_path_is_looked_for_in_each_root(roots):
    settings = checked_settings(train="train.csv", text_columns=["text"], label_column=["bug", "billing"])
    assert settings.task.train == roots / "more" / "train.csv"
    assert settings.task.label_column == "bug,billing"


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "data/../../secret", "~/.ssh/id_rsa", "~nosuchuser/x"])
def test_a_path_never_leaves_the_roots(roots, path):
    with pytest.raises(SettingsError, match="lies outside the folders that flows may read"):
        checked_settings(task="qnli", data_dir=path)


def test_a_link_out_of_the_roots_is_followed_before_it_is_judged(roots):
    (roots / "data" / "innocent").symlink_to(roots / "secret")
    with pytest.raises(SettingsError, match="lies outside"):
        inside("innocent", [roots / "data"])


def test_a_folder_whose_name_only_begins_like_a_root_is_outside(roots):
    (roots / "data-secret").mkdir()
    with pytest.raises(SettingsError, match="lies outside"):
        inside(str(roots / "data-secret"), [roots / "data"])


def test_without_roots_no_path_is_read(monkeypatch):
    monkeypatch.delenv("PELT_AUTOML_DATA_DIR", raising=False)
    monkeypatch.delenv("PELT_AUTOML_DATA_ROOTS", raising=False)
    with pytest.raises(SettingsError, match="set PELT_AUTOML_DATA_DIR or PELT_AUTOML_DATA_ROOTS"):
        checked_settings(task="qnli", data_dir="/data")


@pytest.mark.parametrize("task", ["../qnli", "a/b", "hf:..", "hf:../..", "hf:owner", "", "a b", "qnli\n", "hf:o/n:../x", ".hidden"])
def test_what_is_no_tasks_name_is_refused(task, roots):
    with pytest.raises(SettingsError, match="isn't a task's name"):
        checked_settings(task=task)


@pytest.mark.parametrize("task", ["qnli", "pydoc-match", "stsb", "hf:owner/name", "hf:my-org/data.set_1:config-2"])
def test_tasks_names_are_let_through(task, roots):
    settings = checked_settings(task=task, **({"text_columns": ["a"], "label_column": "b"} if ":" in task else {}))
    assert settings.task.task == task


@pytest.mark.parametrize("model", ["minilm", "bert-base-uncased", "sentence-transformers/all-MiniLM-L6-v2"])
def test_models_names_are_let_through(model, roots):
    assert checked_settings(task="qnli", model=model).model == model


@pytest.mark.parametrize("model", ["/etc", "../model", "~/model", "a/../../b"])
def test_a_models_folder_has_to_lie_in_the_roots(model, roots):
    with pytest.raises(SettingsError, match=re.escape(f"model '{model}' lies outside")):
        checked_settings(task="qnli", model=model)


def test_a_models_folder_in_a_root_becomes_its_path(roots):
    (roots / "data" / "tiny").mkdir()
    assert checked_settings(task="qnli", model="./tiny").model == str(roots / "data" / "tiny")


def test_a_models_name_with_other_characters_is_refused(roots):
    with pytest.raises(SettingsError, match="isn't a model's name"):
        checked_settings(task="qnli", model="https:evil")


def test_everything_that_is_wrong_is_said_at_once(roots):
    with pytest.raises(SettingsError) as caught:
        checked_settings(task="a b", data_dir="/etc", methods=["lora", "../x"])
    assert str(caught.value).splitlines() == [
        "the request has 3 problems:",
        "  - task 'a b' isn't a task's name: letters, digits, - and _, or hf:owner/name[:config]",
        f"  - data_dir '/etc' lies outside the folders that flows may read: {roots}/data, {roots}/more",
        f"  - unknown method '../x'; there are {', '.join(METHODS)}, or all",
    ]


def test_the_flow_has_a_parameter_for_every_option_with_its_type_default_bounds_choices_unit_and_help():
    shown = select_pelt.parameters.model_dump()["properties"]
    assert shown.pop("output")["default"] is None
    assert set(shown) == set(options())
    assert all(shown[name]["description"] == knob.help for name, knob in options().items())
    assert (
        shown["epochs"].items() >= {"type": "number", "default": 20.0, "exclusiveMinimum": 0, "maximum": 1000000, "unit": "passes"}.items()
    )
    assert shown["sampler"].items() >= {"enum": ["tpe", "gp", "cmaes", "random"], "default": "tpe", "type": "string"}.items()
    assert shown["rungs"]["default"] == [0.25, 0.5]
    assert shown["rungs"]["unit"] == "share of the training"
    assert shown["methods"]["anyOf"][0]["items"]["enum"] == [*METHODS, "all"]
    assert (shown["race"]["type"], shown["race"]["default"]) == ("boolean", True)


@pytest.mark.parametrize(
    ("given", "fits"),
    [
        ({"epochs": 3}, True),
        ({"epochs": 0}, False),
        ({"sampler": "grid"}, False),
        ({"methods": ["lora", "head"]}, True),
        ({"methods": ["all"]}, True),
        ({"methods": ["lorra"]}, False),
        ({"k": "full"}, True),
        ({"k": [50, 100, "full"]}, True),
        ({"k": "100"}, True),
        ({"k": 3}, False),
        ({"k": "many"}, False),
        ({"rungs": ["none"], "baselines": ["none"], "seconds": None}, True),
        ({"rungs": [1.5]}, False),
        ({"race": "no"}, False),
        ({"threads": 0}, False),
    ],
)
def test_prefects_server_takes_what_the_settings_take_and_refuses_what_they_refuse(given, fits):
    assert jsonschema.Draft202012Validator(select_pelt.parameters.model_dump()).is_valid(given) == fits
    with nullcontext() if fits and not is_curve(given.get("k")) else pytest.raises(SettingsError):
        checked_settings(task="qnli", **given)


def test_prefects_server_says_what_a_wrong_k_could_be():
    with pytest.raises(jsonschema.ValidationError, match=re.escape("'many' does not match '^(full|[0-9.]+)$'")):
        jsonschema.validate({"k": "many"}, select_pelt.parameters.model_dump(), jsonschema.Draft202012Validator)


@pytest.mark.parametrize("name", ["task", "model", "data_dir", "methods", "output", "k"])
@pytest.mark.parametrize("value", [5, {"a": 1}, True], ids=str)
def test_a_value_of_another_kind_is_one_clear_message(name, value, roots):
    with pytest.raises(SettingsError, match=f"{name} |option 'output'"):
        checked_settings(**{"task": "qnli", name: value})


def test_a_folder_where_the_worker_works_does_not_change_what_a_flow_means(roots, monkeypatch):
    monkeypatch.chdir(roots)
    (roots / "minilm").mkdir()
    assert checked_settings(task="qnli", model="minilm").model == "minilm", "the alias is the alias"
    (roots / "owner" / "name").mkdir(parents=True)
    (roots / "bert-base").mkdir()
    for model in ("owner/name", "bert-base"):
        with pytest.raises(
            SettingsError, match=f"model '{model}' is a Hub name, but the worker's working directory has a folder of this name"
        ):
            checked_settings(task="qnli", model=model)
    (roots / "data" / "bert-base").mkdir()
    assert checked_settings(task="qnli", model="./bert-base").model == str(roots / "data" / "bert-base")
