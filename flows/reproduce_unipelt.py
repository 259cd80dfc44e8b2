"""Flow "reproduce-unipelt": UniPELT's experiments on any backbone, its tables compared with what came out.

prefect deployment run reproduce-unipelt/default --param model=minilm --param 'tasks=["rte","cola"]' --param workers=2
"""

from typing import TYPE_CHECKING, Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from flows.clear_failures import step
from flows.conduct import concluded, conducted, run_log
from flows.flow_parameters import checked, with_parameters
from flows.places import places_of
from flows.run_page import not_in_the_way, reproduction_name, tag_this_run
from pelt_automl.home import home
from pelt_automl.settings import reproduction_options

if TYPE_CHECKING:
    from pelt_automl.reproduction import Reproduction, Table


@step
def train_open_cells(reproduction: "Reproduction") -> "Table":
    """Whatever is missing in the folder and nobody else is training."""
    return reproduction.run()


@flow(name="reproduce-unipelt", flow_run_name=reproduction_name)
@conducted
@with_parameters(reproduction_options())
def reproduce_unipelt(
    *,
    model: str | None = None,
    data_dir: str | None = None,
    output: str | None = None,
    seconds: float | None = None,
    retry_failed: bool = False,
    **parameters: Any,
) -> Any:  # a state that has a dictionary
    """Run the UniPELT paper's protocol on a model; what an earlier run has finished isn't done again.

    Args:
        model: Hub name of a pretrained encoder, a folder inside the worker's data folders, or ``minilm``; the paper's when it isn't given.
        data_dir: Folder with one folder a task, inside the worker's data folders.
        output: Name of the folder in ``reproductions`` of the program's home; the model's name when it isn't given.
        seconds: Limit on this run, with workers from the first on; another run with the same parameters resumes it.
        retry_failed: Whether runs that failed in an earlier flow run are trained again.
        **parameters: One for each knob of `pelt_automl.settings.reproduction_options`.

    Returns:
        Runs that are finished, those that the protocol has, and the folder.
    """
    from pelt_automl.reproduction import MODEL, Reproduction, markdown, protocol_from, terminal_text  # torch

    whole = {"model": model, "data_dir": data_dir, "output": output, "seconds": seconds, "retry_failed": retry_failed}
    protocol, own = checked(protocol_from, whole, **parameters, **whole)
    place, model = own.pop("output", None), own.pop("model", MODEL)
    tag_this_run([f"model:{model}"])
    folder, places = home() / "reproductions" / place if place else None, places_of(protocol.training)
    reproduction = Reproduction.open(protocol, model, output=folder, say=run_log().info, provider=places, **own)
    if places and reproduction.unfinished:
        places.check()
    table = train_open_cells(reproduction)
    not_in_the_way(create_markdown_artifact)(markdown(table), key="reproduced-unipelt", description=f"UniPELT's tables on {model}")
    statement = f"{table.finished} of {table.wanted} runs are finished, in {reproduction.folder.path}"
    answer = {"finished": table.finished, "wanted": table.wanted, "folder": str(reproduction.folder.path)}
    return concluded(f"{terminal_text(table)}\n\n{statement}", statement, answer)
