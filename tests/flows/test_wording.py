import ast
import inspect
import re
from pathlib import Path

import pytest

from flows.select_pelt import select_pelt
from flows.wording import first_sentence, in_a_flow

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("said", "in_flow"),
    [
        (
            "another process is working on this selection in /x; wait for it, or choose another --output",
            "another process is working on this selection in /x; wait for it",
        ),
        (
            "the folder /x can't be made (Permission denied); choose another --output",
            "the folder /x can't be made (Permission denied); restart the worker with another PELT_AUTOML_HOME",
        ),
        (
            "/x holds a single selection; choose another folder for the curve with --output",
            "/x holds a single selection; restart the worker with another PELT_AUTOML_HOME",
        ),
        ("no trial has a score; give more --seconds, with a new --output", "no trial has a score; give more seconds"),
        ("over the 3 of --max-latency-ms", "over the 3 of max_latency_ms"),
        ("`pelt-automl export --merged` writes it; more time (--seconds)", "`pelt-automl export --merged` writes it; more time (seconds)"),
        ("a half-open -- and a--b", "a half-open -- and a--b"),
    ],
)
def test_a_flow_names_its_parameters_and_no_option_that_it_has_not(said, in_flow):
    assert in_a_flow(said) == in_flow


def texts_of_errors():
    """Every piece of text in the program's own folders that names an option of `select`."""
    for folder in ("selection", "curve", "search", "recorders", "tasks", "backbones", "recommendation", "training"):
        for path in (ROOT / "pelt_automl" / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.search(r"(?<![\w-])--[a-z]", node.value):
                    yield node.value


def test_no_text_of_the_program_names_output_in_a_flow():
    texts = [text for text in texts_of_errors() if "--output" in text]
    assert len(texts) > 3
    for text in texts:
        assert "output" not in in_a_flow(text), text
    assert "output" not in inspect.signature(select_pelt.fn).parameters


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
