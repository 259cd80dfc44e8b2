import ast
from pathlib import Path

import pytest

from flows import wording
from flows.wording import first_sentence, in_a_flow

ROOT = Path(__file__).resolve().parents[2]
HOME = "Restart the worker with another PELT_AUTOML_HOME"
OUTPUT = "Choose another output, or restart the worker with another PELT_AUTOML_HOME"
OTHER_VERSION = (
    "{} holds a selection of another version of this program (behavior {}; this one has {}), "
    "and trainings of two versions can't be compared"
)
OTHER_SELECTION = "{} holds another selection ({}: other settings, data or program version)"
OTHER_DATA = "{} holds another selection: its data had the hash {}, the data now has {}. Bring back the data that it was started with"
DAMAGED = "{} doesn't begin as a selection's records do: it is damaged or something else."
NOT_EMPTY = "{} isn't empty and doesn't hold {} (it has {}{}); nothing was written."
NOT_OURS = "{} isn't a folder that this program made (there is no {} in it); move it away"
UNUSABLE = "the weights of {} can't be used ({}). They were trained already: put back a copy of {}"
UNKNOWN = "{} doesn't say which trial's weights it has; put back a copy of it"
OTHER_PROTOCOL = "{} holds runs of another protocol (other {}; see {})"
IN_FLOW = {
    f"{OTHER_DATA}, or choose another folder with --output": OTHER_DATA,
    "the folder {} can't be made ({}); choose another --output": f"the folder {{}} can't be made ({{}}). {HOME}",
    "the folder {} can't be read ({}); choose another --output": f"the folder {{}} can't be read ({{}}). {HOME}",
    "the folder {} can't be written ({}); choose another --output": f"the folder {{}} can't be written ({{}}). {HOME}",
    "can't write the selection's records to {}: {}; choose another --output": f"can't write the selection's records to {{}}: {{}}. {HOME}",
    "{} holds {}; choose another folder with --output": f"{{}} holds {{}}. {HOME}",
    "{} is a link to {}, which isn't there; choose another folder with --output": f"{{}} is a link to {{}}, which isn't there. {HOME}",
    "{} is a file; choose a folder with --output": f"{{}} is a file. {HOME}",
    "{} can't be locked ({}), as on some network folders; choose an --output on a local disk": (
        f"{{}} can't be locked ({{}}), as on some network folders. {HOME}"
    ),
    f"{DAMAGED} Choose another --output": f"{DAMAGED} {HOME}",
    f"{NOT_EMPTY} Choose a new or empty folder with --output, such as {{}}": f"{NOT_EMPTY} {HOME}",
    f"{OTHER_SELECTION}; choose another folder with --output": f"{OTHER_SELECTION}. {HOME}",
    f"{OTHER_PROTOCOL}; choose another --output": f"{OTHER_PROTOCOL}. {HOME}",
    f"{OTHER_VERSION}; choose another --output. Where that selection has ended, `pelt-automl report {{}}` still shows it": (
        f"{OTHER_VERSION}. {HOME}. Where that selection has ended, `pelt-automl report {{}}` still shows it"
    ),
    f"{NOT_OURS}, or choose another --output": NOT_OURS,
    "another process is working on this selection in {}; wait for it, or choose another --output": (
        "another process is working on this selection in {}; wait for it"
    ),
    f"{UNUSABLE}, or begin again with another --output": UNUSABLE,
    f"{UNKNOWN}, or begin again with another --output": UNKNOWN,
    "{}. Put back a copy of it, or begin again with another --output": "{}. Put back a copy of it",
}
"""Every text of the program that names --output, and what a flow says. {} is what differs."""
VALUES = ("it", "/data/my work, or other; v1. New")


@pytest.mark.parametrize(
    ("said", "in_flow"),
    [
        ("over the 3 of --max-latency-ms", "over the 3 of max_latency_ms"),
        ("`pelt-automl export --merged` writes it; more time (--seconds)", "`pelt-automl export --merged` writes it; more time (seconds)"),
        ("a half-open -- and a--b", "a half-open -- and a--b"),
    ],
)
def test_a_flow_names_its_parameters_as_such(said, in_flow):
    assert in_a_flow(said) == in_flow


def texts(tree):
    """Every text in the code, whole, with {} where a value is put in."""
    if isinstance(tree, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in tree.values)
    elif isinstance(tree, ast.Constant) and isinstance(tree.value, str):
        yield tree.value
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(tree, ast.JoinedStr) and isinstance(node, ast.Constant)):
            yield from texts(node)


def test_the_table_has_every_text_of_the_program_that_names_output():
    paths = [path for path in (ROOT / "pelt_automl").rglob("*.py") if path.name != "cli.py"]  # only the command line prints cli.py's
    found = {text for path in paths for text in texts(ast.parse(path.read_text())) if "--output" in text}
    assert found == set(IN_FLOW)


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("text", IN_FLOW)
def test_advice_about_output_is_advice_about_the_worker_in_a_flow(text, value):
    assert in_a_flow(text.replace("{}", value)) == IN_FLOW[text].replace("{}", value)


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("text", IN_FLOW)
def test_a_flow_that_has_output_names_it_too(monkeypatch, text, value):
    monkeypatch.setattr(wording, "_has_output", lambda: True)
    assert in_a_flow(text.replace("{}", value)) == IN_FLOW[text].replace(HOME, OUTPUT).replace("{}", value)


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("Recommended: lora, 81.3 accuracy (79.2 to 83.0). It leads.", "Recommended: lora, 81.3 accuracy (79.2 to 83.0)"),
        ("Best: head #1 (rate 0.0032), 1,925 parameters. 2 finalists were compared.", "Best: head #1 (rate 0.0032), 1,925 parameters"),
        ("Nothing was learned", "Nothing was learned"),
        ("It has 0.5 s. (See the report.)", "It has 0.5 s"),
        ("Lines\nbreak. Then more.", "Lines break"),
    ],
)
def test_the_first_sentence_of_a_verdict(statement, sentence):
    assert first_sentence(statement) == sentence
