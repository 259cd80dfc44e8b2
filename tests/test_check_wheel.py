"""What the check of the wheel would not let through. The check itself is a step of `.ci/run`: installing takes minutes."""

import importlib.util
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("check_wheel", ROOT / "scripts" / "check_wheel.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def wheel_of(path, names):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, "")
    return path


@pytest.fixture
def whole():
    """The names in a sound wheel."""
    modules = [path for path in (ROOT / "pelt_automl").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    spaces = [f"pelt_automl/search_spaces/{path.name}" for path in (ROOT / "search_spaces").iterdir() if path.suffix in (".yaml", ".json")]
    return [*(str(path.relative_to(ROOT)) for path in modules), *spaces, "pelt_automl-0.1.0.dist-info/METADATA"]


def test_a_sound_wheel_passes(script, tmp_path, whole):
    assert script.check_contents(wheel_of(tmp_path / "sound.whl", whole)) is None, "nothing is said of it"


@pytest.mark.parametrize("stray", ["tests/tiny.py", "flows/select_pelt.py", "search_spaces/lora.yaml", "conftest.py"])
def test_another_package_beside_it_is_refused(script, tmp_path, whole, stray):
    with pytest.raises(script.WheelError, match=f"would put {stray.partition('/')[0]} beside the package"):
        script.check_contents(wheel_of(tmp_path / "stray.whl", [*whole, stray]))


@pytest.mark.parametrize("lost", ["pelt_automl/py.typed", "pelt_automl/search_spaces/lora.yaml", "pelt_automl/cli.py"])
def test_a_file_that_was_not_packed_is_named(script, tmp_path, whole, lost):
    with pytest.raises(script.WheelError, match=f"lacks {lost}"):
        script.check_contents(wheel_of(tmp_path / "lacking.whl", [name for name in whole if name != lost]))


def test_a_command_that_fails_is_an_error_with_what_it_printed_and_the_checkout_is_out_of_its_sight(script, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PELT_AUTOML_HOME", "/somewhere")
    shown = script.run(["env"], tmp_path)
    assert "PYTHONPATH" not in shown
    assert "PELT_AUTOML_HOME" not in shown
    with pytest.raises(script.WheelError, match=r"ended with 3:\nmade to fail"):
        script.run(["sh", "-c", "echo made to fail; exit 3"], tmp_path)
