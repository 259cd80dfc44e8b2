"""The program's sentences as a flow says them: its parameters have no dashes, and most flows find their folder themselves."""

import re

from prefect.context import FlowRunContext

HOME_ADVICE = "restart the worker with another PELT_AUTOML_HOME"
CHOICE = re.compile(r"(, or |[;.] )[A-Za-z' ]*--output(?:, such as .*| [a-z ]+)?", re.DOTALL)
"""The clause that tells a person at the command line to choose another folder. What comes after "such as" is a path, up to the end."""
OPTION = re.compile(r"(?<![\w-])--([a-z][a-z-]*)")
COMMAND = re.compile(r"pelt-automl [a-z-]+(?: --[a-z-]+)*")


def in_a_flow(text: str) -> str:
    """`text` without options of the command line: ``--max-latency-ms`` is ``max_latency_ms``; commands that are quoted whole stay."""
    text = CHOICE.sub(_other_folder, text)
    parts, end = [], 0
    for quoted in COMMAND.finditer(text):
        parts += [OPTION.sub(_parameter, text[end : quoted.start()]), quoted[0]]
        end = quoted.end()
    return "".join([*parts, OPTION.sub(_parameter, text[end:])])


def _other_folder(choice: re.Match[str]) -> str:
    """What a person at the worker can do; nothing where the text names another way out already."""
    if choice[1] == ", or ":
        return ""
    return f". Choose another output, or {HOME_ADVICE}" if _has_output() else f". {HOME_ADVICE[0].upper()}{HOME_ADVICE[1:]}"


def _has_output() -> bool:
    run = FlowRunContext.get()
    return bool(run and run.flow and "output" in run.flow.parameters.properties)


def _parameter(found: re.Match[str]) -> str:
    return found[1].replace("-", "_")


def first_sentence(text: str) -> str:
    """The first sentence of a verdict, without its full stop; a point within a number or name ends none."""
    return re.split(r"(?<=[.!?])\s+(?=[A-Z0-9(])", " ".join(text.split()), maxsplit=1)[0].removesuffix(".")
