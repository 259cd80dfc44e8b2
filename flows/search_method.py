"""Flow "search-method": what one worker does of a search.

It joins the studies of the selection that the other parameters describe and searches the methods named, nothing else. A method that
another process is searching is refused: `Selection` holds a lock a method.

    prefect deployment run search-method/default --param task=qnli --param 'search_methods=["lora"]' --watch
"""

from typing import Any, Literal

from prefect import flow, get_run_logger, tags

from flows.clear_failures import clear_failure
from flows.flow_parameters import check_methods, checked_settings
from flows.run_display import LogDisplay
from flows.run_page import run_tags, search_name, tag_this_run
from flows.select_pelt import prepare, search
from pelt_automl.config import SearchSettings, SelectionSettings, TaskSettings
from pelt_automl.selection import Selection


@flow(name="search-method", flow_run_name=search_name)
@clear_failure
def search_method(
    search_methods: list[str],
    task: str | None = None,
    data_dir: str | None = None,
    train: str | None = None,
    validation: str | None = None,
    test: str | None = None,
    text_columns: list[str] | None = None,
    label_column: str | None = None,
    kind: Literal["classification", "regression"] | None = None,
    metric: str | None = None,
    k: int | Literal["full"] | list[int | Literal["full"]] | None = None,
    protocol: Literal["strict", "paper"] = TaskSettings.protocol,
    model: str = SelectionSettings.model,
    methods: list[str] | None = None,
    trials: int = SearchSettings.trials,
    seconds: float | None = None,
    seed: int = SearchSettings.seed,
    equivalence: float = SearchSettings.equivalence,
    prefer: Literal["params", "latency", "time", "score"] = SearchSettings.prefer,
    max_trainable: int | None = None,
    max_latency_ms: float | None = None,
    max_memory: float | None = None,
) -> dict[str, Any]:
    """Search some methods of a selection.

    Args:
        search_methods: The methods that this run searches; they must be among the selection's.
        task: As in ``select-pelt``, like all that follow: together they say which selection it is.
        data_dir: See ``select-pelt``.
        train: See ``select-pelt``.
        validation: See ``select-pelt``.
        test: See ``select-pelt``.
        text_columns: See ``select-pelt``.
        label_column: See ``select-pelt``.
        kind: See ``select-pelt``.
        metric: See ``select-pelt``.
        k: See ``select-pelt``.
        protocol: See ``select-pelt``.
        model: See ``select-pelt``.
        methods: The methods that the selection compares, as in ``select-pelt``.
        trials: See ``select-pelt``.
        seconds: See ``select-pelt``.
        seed: See ``select-pelt``.
        equivalence: See ``select-pelt``.
        prefer: See ``select-pelt``.
        max_trainable: See ``select-pelt``.
        max_latency_ms: See ``select-pelt``.
        max_memory: See ``select-pelt``.

    Returns:
        The selection's name and folder, and what was searched.
    """
    check_methods(search_methods)
    settings = checked_settings(**{name: value for name, value in locals().items() if name != "search_methods"})
    tag_this_run(run_tags(settings))
    with tags(*run_tags(settings)), Selection.open(settings, display=LogDisplay(get_run_logger()), joining=True) as selection:
        prepare(selection)
        search(selection, search_methods)
        return {"selection": selection.name, "folder": str(selection.folder), "searched": search_methods}
