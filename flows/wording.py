"""The program's sentences as a flow says them: its parameters have no dashes, and most flows find their folder themselves."""

import re

from prefect.context import FlowRunContext

HOME_ADVICE = "restart the worker with another PELT_AUTOML_HOME"
"""In place of "choose another --output"."""
WHERE = r"(?:choose )?another (?:folder\b[^,;.]* )?(?:with )?--output"
NOT_HERE = re.compile(rf",? or {WHERE}|, with an? (?:new|other) --output")
OPTION = re.compile(r"(?<![\w-])--([a-z][a-z-]*)")
COMMAND = re.compile(r"pelt-automl [a-z-]+(?: --[a-z-]+)*")


def in_a_flow(text: str) -> str:
    """`text` without options of the command line: ``--max-latency-ms`` is ``max_latency_ms``; commands that are quoted whole stay."""
    if not _has_output():
        text = re.sub(WHERE, HOME_ADVICE, NOT_HERE.sub("", text)).replace("--output", "PELT_AUTOML_HOME")
    parts, end = [], 0
    for quoted in COMMAND.finditer(text):
        parts += [OPTION.sub(_parameter, text[end : quoted.start()]), quoted[0]]
        end = quoted.end()
    return "".join([*parts, OPTION.sub(_parameter, text[end:])])


def _has_output() -> bool:
    run = FlowRunContext.get()
    return bool(run and run.flow and "output" in run.flow.parameters.properties)


def _parameter(found: re.Match[str]) -> str:
    return found[1].replace("-", "_")


def first_sentence(text: str) -> str:
    """The first sentence of a verdict, without its full stop; a point within a number or name ends none."""
    return re.split(r"(?<=[.!?])\s+(?=[A-Z0-9(])", " ".join(text.split()), maxsplit=1)[0].removesuffix(".")
