"""What README, CONTRIBUTING and docs/ say exists, as far as a machine can tell: commands, options, files, names, figures, quotations."""

import ast
import inspect
import json
import re
import shlex
from dataclasses import fields
from pathlib import Path

import pytest
import typer
import yaml

import chaos.checker
import chaos.driver
import pelt_automl
import studies.simulate
import studies.start
import studies.table
from pelt_automl.cli import app
from pelt_automl.methods import METHODS, STANDARD
from pelt_automl.report import Recommendation
from pelt_automl.search.finalists import FAR_POINTS
from pelt_automl.settings import SearchSettings, SelectionSettings, TaskSettings, TrainingSettings, options, reproduction_options

ROOT = Path(__file__).resolve().parents[1]
MEASURED = {"benchmarks.md", "gate-validity.md", "selection-quality.md", "speed.md", "verdict.md"}
"""Pages of docs/ that quote commands of studies."""
OTHER_PROGRAMS = {"mlflow.md"}
"""Pages of docs/ whose shell blocks are of other programs, with addresses on this machine."""
PAGES = {
    name: (ROOT / name).read_text()
    for name in (
        "README.md",
        "CONTRIBUTING.md",
        *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")) if path.name not in MEASURED | OTHER_PROGRAMS),
    )
}
STUDIES = {
    "chaos.checker": chaos.checker.options(),
    "chaos.driver": chaos.driver.options(),
    "studies.table": studies.table.parser(),
    "studies.start": studies.start.parser(),
    "studies.simulate": studies.simulate.options(),
}
"""Programs that are run from a clone alone."""
STUDY_OPTIONS = {name for program in STUDIES.values() for name in re.findall(r"--[a-z-]+", program.format_help())} | {
    name for command in studies.table.commands().values() for name in re.findall(r"--[a-z-]+", command.format_help())
}
README, CONTRIBUTING = PAGES["README.md"], PAGES["CONTRIBUTING.md"]
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMANDS = typer.main.get_command(app).commands
OPTIONS = {
    name: {
        text
        for one in (command, *getattr(command, "commands", {}).values())
        for parameter in one.params
        for text in (*parameter.opts, *parameter.secondary_opts)
    }
    | {"--help"}
    for name, command in COMMANDS.items()
}
TARGETS = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
SOURCES = "\n".join(path.read_text() for folder in ("pelt_automl", "flows", "scripts") for path in (ROOT / folder).rglob("*.py"))
WRITTEN = {
    node.value
    for folder in ("pelt_automl", "flows", "scripts")
    for path in (ROOT / folder).rglob("*.py")
    for node in ast.walk(ast.parse(path.read_text()))
    if isinstance(node, ast.Constant) and isinstance(node.value, str)
}
"""Every text in the program: what it calls its files is among them, whole."""
SETTINGS = {field.name for kind in (TaskSettings, TrainingSettings, SearchSettings, SelectionSettings) for field in fields(kind)}
EXAMPLES = {
    "reviews.csv",
    "reviews-test.csv",
    "new.csv",
    "predicted.csv",
    "DIR/qnli/train.jsonl",
    "DIR/qnli/validation.jsonl",
    "DIR/glue/qnli",
}
"""Files of the reader's own."""

every_page = pytest.mark.parametrize("page", list(PAGES))


def blocks(page, *languages):
    return [body for language, body in FENCE.findall(PAGES[page]) if language in languages]


def inline_code(page):
    return re.findall(r"`([^`\n]+)`", FENCE.sub("", PAGES[page]))


def shell_lines():
    """Each command of a shell block as words, without comments and leading variables."""
    for page in PAGES:
        for block in blocks(page, "sh"):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                while words and re.fullmatch(r"[A-Z_]+=\S+", words[0]):
                    words = words[1:]
                if words:
                    yield tuple(words)


def flow_parameters(entrypoint):
    """The arguments of a flow, read off its file: importing Prefect takes seconds."""
    path, name = entrypoint.split(":")
    tree = ast.parse((ROOT / path).read_text())
    function = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name)
    made = function.args.kwarg and (
        reproduction_options() if "reproduction_options" in ast.unparse(function.decorator_list[-1]) else options()
    )
    return {argument.arg for argument in (*function.args.args, *function.args.kwonlyargs)} | set(made or ())


def flow_name(entrypoint):
    return re.search(r'@flow\(name="([\w-]+)"', (ROOT / entrypoint.split(":")[0]).read_text())[1]


def check_pelt_automl(words):
    assert words[0] in COMMANDS, f"there is no command {words[0]}"
    assert {word for word in words if word.startswith("-")} <= OPTIONS[words[0]]


def check_prefect(words):
    assert words[:2] == ("deployment", "run")
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    entrypoints = {f"{flow_name(entry['entrypoint'])}/{entry['name']}": entry["entrypoint"] for entry in deployments}
    given = {words[index + 1].partition("=")[0] for index, word in enumerate(words) if word == "--param"}
    assert given <= flow_parameters(entrypoints[words[2]])
    assert {word for word in words if word.startswith("-")} <= {"--param", "--watch"}


def test_the_pages_have_the_commands_to_check():
    lines = list(shell_lines())
    assert lines[0] == ("make", "demo")
    assert lines[1] == ("make", "test")
    assert {"pelt-automl", ".venv/bin/prefect", "source"} <= {words[0] for words in lines}


@pytest.mark.parametrize("words", sorted(set(shell_lines())), ids=" ".join)
def test_a_command_in_a_shell_block_exists_with_its_options(words):
    if words[0] == "make":
        assert set(words[1:]) <= TARGETS
    elif words[0] == "pelt-automl":
        check_pelt_automl(words[1:])
    elif words[0] == ".venv/bin/prefect":
        check_prefect(words[1:])
    elif words[:2] == (".venv/bin/python", "-m"):
        STUDIES[words[2]].parse_args(words[3:])
    else:
        assert words in {("source", ".venv/bin/activate"), (".ci/run",)}, f"what is {words[0]}?"


@every_page
def test_commands_options_and_variables_in_the_text_exist(page):
    everything = set().union(*OPTIONS.values()) | {"--watch", "--strict"} | STUDY_OPTIONS
    for code in inline_code(page):
        if code.startswith("make "):
            assert code.split()[1] in TARGETS, code
        if code.startswith("pelt-automl ") and not code.startswith("pelt-automl --"):
            check_pelt_automl(code.split()[1:])
        assert set(re.findall(r"(?<!\S)--[a-z-]+", code)) <= everything, code
        for variable in re.findall(r"(?:PELT_AUTOML|MLFLOW)_[A-Z_]+", code):
            assert variable in SOURCES, f"nothing reads {variable}"


@every_page
def test_files_in_the_text_are_in_the_repository_or_written_by_the_program(page):
    shape = re.compile(r"[\w./-]+(?:/|\.(?:py|ya?ml|toml|txt|md|html|jsonl?|csv|db|journal))")
    for code in inline_code(page):
        if shape.fullmatch(code) and code not in EXAMPLES:
            nearby = [ROOT / code, ROOT / "pelt_automl" / code, (ROOT / page).parent / code]
            names = {code, code.strip("/"), code.strip("/").split("/")[-1]}
            assert any(path.exists() for path in nearby) or names & WRITTEN, f"{page}: what is {code}?"


@every_page
def test_links_lead_to_files(page):
    links = re.findall(r"\]\(([^)]+)\)", FENCE.sub("", PAGES[page]))
    assert links
    for link in links:
        path, _, section = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), link
        if section:
            assert section in {heading.lower().replace(" ", "-") for heading in HEADING.findall(target.read_text())}, link


@every_page
def test_no_page_names_a_host(page):
    assert not re.search(r"https?:|www\.|\.(?:org|com|io|ai)\b", PAGES[page])


def python_blocks():
    return [ast.parse(block) for page in ("README.md", "docs/recommendation.md") for block in blocks(page, "python")]


def test_python_snippets_compile_and_use_what_there_is():
    recommended = {field.name for field in fields(Recommendation)}
    names = {"pelt_automl": {*pelt_automl.__all__}, "recommendation": recommended, "predictor": {*dir(pelt_automl.Predictor)}}
    snippets = python_blocks()
    assert len(snippets) >= 2
    for node in (node for tree in snippets for node in ast.walk(tree)):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in names:
            assert node.attr in names[ast.unparse(node.value)], ast.unparse(node)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pelt_automl.select":
            assert {keyword.arg for keyword in node.keywords} <= SETTINGS | set(inspect.signature(pelt_automl.select).parameters)
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "answer":
            assert ast.literal_eval(node.slice) in recommended


def test_the_page_of_methods_names_every_method_with_its_summary_and_source():
    page = (ROOT / "docs/methods.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in re.findall(r"^\| \**`.*\|$", page, re.MULTILINE)]
    assert rows == [[f"**`{name}`**" if name in STANDARD else f"`{name}`", m.summary, m.source] for name, m in METHODS.items()]


def test_the_defaults_that_the_pages_state_are_the_programs():
    training, search, page = TrainingSettings(), SearchSettings(), " ".join(PAGES["docs/comparison.md"].split())
    for statement in (
        f"batch size {training.batch_size},",
        f"warm-up over {training.warmup:.0%}".replace("%", " %"),
        f"at most {training.epochs:.0f} epochs or {training.max_steps:,} steps",
        f"trained from scratch on {search.finalist_seeds} fresh triples",
        f"more than {FAR_POINTS:g} points behind it",
    ):
        assert statement in page, statement
    assert (training.max_length, training.weight_decay, training.dropout) == (None, 0.0, 0.0)
    assert (search.equivalence, search.finalist_share) == (1.0, 0.5)
    [limit] = re.findall(r"The demo stops after (\d+) seconds", " ".join(README.split()))
    assert re.search(rf"--seconds {limit}\b", (ROOT / "Makefile").read_text())
    assert f"among {in_words(len(METHODS))}" in " ".join(README.split())
    assert yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"][0]["parameters"] == {"seconds": 900}


def in_words(number):
    tens, ones = divmod(number, 10)
    digits = ("", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    return {4: "forty", 5: "fifty", 6: "sixty"}[tens] + (f"-{digits[ones]}" if ones else "")


def test_readme_is_short():
    assert len(README.split()) <= 1200


def test_quoted_files_are_quoted_truly():
    quotes = re.findall(r"<!-- quoted: (\S+) -->\n```\w+\n(.*?)^```$", CONTRIBUTING, re.MULTILINE | re.DOTALL)
    assert [path for path, _ in quotes] == ["pelt_automl/methods/bitfit.py", "search_spaces/bitfit.yaml", "tests/methods/test_bitfit.py"]
    for path, text in quotes:
        assert text == (ROOT / path).read_text(), f"CONTRIBUTING quotes an older {path}"
    lines = re.findall(r"<!-- quoted line: (\S+) -->\n```\w+\n(.*?\n)```", CONTRIBUTING)
    assert [path for path, _ in lines] == ["pelt_automl/methods/__init__.py", "pelt_automl/scheduling/search.py"]
    for path, line in lines:
        assert line in (ROOT / path).read_text(), f"CONTRIBUTING quotes an older {path}"


def test_the_names_that_contributing_points_at_are_where_it_says():
    for path, names in {
        "pelt_automl/methods/__init__.py": ["METHODS"],
        "pelt_automl/modifications/pack.py": ["BY_LAYER", "WHOLE"],
        "pelt_automl/modifications/stacked.py": ["HookedModule", "add_weights", "attach"],
        "pelt_automl/design_space.py": ["class Form", "class Site", "def count("],
        "tests/conformance/test_starts.py": ["EXACT_BY_PAPER"],
        "tests/training/test_packing.py": ["MIXED"],
    }.items():
        text = (ROOT / path).read_text()
        assert all(name in text for name in names), path


def test_the_house_in_contributing_is_the_one_that_stands():
    [tree] = [block for block in blocks("CONTRIBUTING.md", "") if block.startswith("flows/")]
    drawn = {word for line in tree.splitlines() for word in re.findall(r"(?:^|\s)([a-z_]+(?:/|\.pyi?))", line)}
    package = {path.name + "/" * path.is_dir() for path in (ROOT / "pelt_automl").iterdir() if not path.name.startswith(("_", "py.", "."))}
    assert drawn == package | {"flows/", "pelt_automl/", "search_spaces/", "studies/", "chaos/", "tests/"}


def test_the_changelog_has_this_version():
    assert f"## [{pelt_automl.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_every_field_of_the_schema_is_described():
    schema = json.loads((ROOT / "docs/recommendation.schema.json").read_text())
    described = set(re.findall(r"`(\w+)`", FENCE.sub("", PAGES["docs/recommendation.md"])))
    assert set(schema["properties"]) | set(schema["$defs"]["standing"]["properties"]) <= described
