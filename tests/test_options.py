"""Whatever lists the options is made from the settings: a knob that is added there is everywhere."""

import importlib.util
import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args, get_type_hints

import pytest
import typer
from prefect import Flow

import pelt_automl
from flows.flow_parameters import with_parameters
from flows.task_files import read_task_file
from pelt_automl import settings
from pelt_automl.cli import _option
from pelt_automl.errors import SettingsError
from pelt_automl.options import settings_from
from pelt_automl.selection import select

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("options_script", ROOT / "scripts" / "options.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_and_the_types_are_up_to_date(script):
    assert script.PAGE.read_text() == script.page(), "run: python scripts/options.py"
    assert script.TYPES.read_text() == script.types(), "run: python scripts/options.py"


@dataclass(frozen=True)
class Warmer(settings.TrainingSettings):
    warmth: int = settings.knob(7, "Warmth of the training.", settings.TRAINING, unit="degrees", low=1, high=9)


@pytest.fixture
def _warmer(monkeypatch):
    monkeypatch.setitem(settings.PARTS, "training", Warmer)


@pytest.mark.usefixtures("_warmer")
def test_a_new_knob_is_an_option_of_python():
    assert settings_from(task="qnli").training.warmth == 7
    with pytest.raises(SettingsError, match=r"^warmth is 12; it must be from 1 to 9 degrees$"):
        settings_from(task="qnli", warmth=12)


@pytest.mark.usefixtures("_warmer")
def test_a_new_knob_is_an_option_of_the_command_line(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    app, given = typer.Typer(), {}
    app.command()(settings.taking(map(_option, settings.options().values()))(lambda **options: given.update(options)))
    app(["--task", "qnli", "--warmth", "3"], standalone_mode=False)
    assert settings_from(**given).training.warmth == 3
    app(["--help"], standalone_mode=False)
    assert "Warmth of the training. (from 1 to 9 degrees) [default: 7]" in " ".join(capsys.readouterr().out.split())


@pytest.mark.usefixtures("_warmer")
def test_a_new_knob_is_a_parameter_of_the_flow():
    @with_parameters(settings.options())
    def work(**parameters):
        """Works."""

    bounds = {"type": "integer", "default": 7, "minimum": 1, "maximum": 9, "unit": "degrees"}
    shown = Flow(work, name="work").parameters.model_dump()["properties"]["warmth"]
    assert shown.items() >= (bounds | {"description": "Warmth of the training."}).items()


@pytest.mark.usefixtures("_warmer")
def test_a_new_knob_is_a_field_of_task_files(tmp_path, monkeypatch):
    monkeypatch.setattr("flows.task_files.asked_of", lambda asked: asked)
    file = tmp_path / "qnli.yaml"
    file.write_text("task: qnli\nwarmth: 3\n")
    assert read_task_file(file).asked.training.warmth == 3
    file.write_text("task: qnli\nwarmth: 12\n")
    with pytest.raises(SettingsError, match=r"task file qnli.yaml: warmth is 12; it must be from 1 to 9 degrees"):
        read_task_file(file)


@pytest.mark.usefixtures("_warmer")
def test_a_new_knob_is_in_the_page_and_in_the_types(script):
    assert "| `--warmth` | a whole number, from 1 to 9 degrees | 7 | Warmth of the training. |" in script.page()
    assert '    warmth: int | None\n    """Warmth of the training."""' in script.types()


def test_python_takes_settings_or_options_and_says_so():
    asked = settings_from(task="qnli")
    with pytest.raises(SettingsError, match="give either SelectionSettings or options such as task='qnli'"):
        select(asked, task="rte")
    with pytest.raises(SettingsError, match="give either SelectionSettings or options such as task='qnli'; 'qnli' came"):
        select("qnli")
    assert [*inspect.signature(select).parameters][:3] == ["settings", "output", "display"]


def test_the_types_of_the_options_are_there_at_run_time_too():
    hints = {function.__name__: get_type_hints(function) for function in (pelt_automl.select, pelt_automl.k_curve)}
    (selected,), (curved,) = (get_args(hints[name]["options"]) for name in ("select", "k_curve"))
    assert set(selected.__annotations__) == set(settings.options())
    assert set(settings.options()) - set(curved.__annotations__) == {"k"}
    assert selected.__annotations__["precision"] == Literal["auto", "bf16", "fp32"] | None
    assert selected.__annotations__["epochs"] == float | None
