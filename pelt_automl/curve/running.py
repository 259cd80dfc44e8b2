"""A curve under way: a selection at each K in a folder of its own, smallest K first, all within one time limit."""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import dropwhile
from pathlib import Path
from typing import Any, Literal, Unpack

from pelt_automl.backbones.loading import Backbone, check_model, load_outline
from pelt_automl.curve.report import write_curve_report
from pelt_automl.curve.result import KCurve, folder_of, history_at, read_curve
from pelt_automl.curve.settings import CurveSettings, curve_settings, in_words
from pelt_automl.curve.time_shares import expected_cost, next_share
from pelt_automl.curve.warm_start import best_configurations
from pelt_automl.errors import NoTrialCompletedError
from pelt_automl.home import expanded, home
from pelt_automl.log.events import Recorder, SelectionStarted
from pelt_automl.log.folder import check_output
from pelt_automl.option_types import CurveOptions
from pelt_automl.search.spaces import load_spaces
from pelt_automl.selection.environment import key_of
from pelt_automl.selection.field import field_of
from pelt_automl.selection.hiring import Provider
from pelt_automl.selection.inherited import Inherited
from pelt_automl.selection.process import process_restored
from pelt_automl.selection.selection import Selection
from pelt_automl.selection.text_length import text_length
from pelt_automl.tasks import TaskData, load_nested
from pelt_automl.timing.clock import Clock, seconds_used


class CurveRun:
    """One curve in its folder. What an earlier start has finished isn't done again."""

    def __init__(
        self,
        settings: CurveSettings,
        folder: Path,
        methods: tuple[str, ...],
        data: Mapping[int | None, TaskData],
        max_length: int,
        clock: Clock,
        display: Recorder | None = None,
        provider: Provider | None = None,
    ) -> None:
        """Use `CurveRun.open`. `data`: the task at each K; `max_length`: tokens that texts are cut to, the same at each K, by the largest;
        `clock`: of the whole curve.
        """
        self.settings, self.folder, self.methods, self.data, self.max_length = settings, folder, methods, data, max_length
        self.clock, self.display, self.provider = clock, display, provider
        self.missing: dict[str, str] = {}
        """K at which no trial came to anything, and why."""
        self._backbone: Backbone | None = None
        """Loaded by the first selection that needs it."""

    @staticmethod
    def open(
        settings: CurveSettings, folder: Path | None = None, display: Recorder | None = None, *, provider: Provider | None = None
    ) -> "CurveRun":
        """Check settings, search spaces and data for every K. `folder`: None for one in the program's home; `provider`: as in `Selection`.

        Raises what `Selection.open` raises, with everything that is wrong with any K at once, before a model is loaded.
        """
        started = time.monotonic()
        if folder:
            check_output(expanded(folder).absolute(), "curve")
        whole = settings.whole
        table, shape = load_outline(whole.model)
        methods, _ = field_of(whole.search.methods, table, shape, baselines=whole.search.baselines)
        spaces = load_spaces(whole.search.spaces, methods)
        tasks = load_nested(whole.task, settings.ks)
        table, shape = load_outline(whole.model, tokens=tasks[0].task_kind.reads_tokens)
        length = text_length(whole, tasks[-1], check_model(whole.model, shape), shape, methods).most
        methods, _ = field_of(whole.search.methods, table, shape, length, baselines=whole.search.baselines)
        if folder is None:
            key = key_of(whole, tasks[0].data_hash, spaces)
            named = [tasks[0].name, "k", *map(in_words, settings.ks), key[:8]]
            folder = home() / "selections" / re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(named))
        folder = expanded(folder).absolute()
        check_output(folder, "curve")
        used = sum(seconds_used(history_at(folder, k).events) for k in settings.ks)
        clock = Clock(whole.search.seconds, used=used, started=started)
        return CurveRun(settings, folder, methods, dict(zip(settings.ks, tasks, strict=True)), length, clock, display, provider)

    @property
    def ks(self) -> tuple[int | None, ...]:
        """Smallest first, the order to run them in."""
        return self.settings.ks

    @property
    def finished(self) -> bool:
        """Whether earlier starts have come to the end of every selection."""
        return all(self._ended(k) for k in self.ks)

    @contextmanager
    def at(self, k: int | None) -> Iterator[Selection]:
        """The selection at K, to be run inside; the curve's report is written after it.

        When no trial of it completed, that is kept in `missing`, and the curve goes on with the next K.
        """
        begun = self._begun_with(k)
        settings = self.settings.at(k, self.seconds_at(k), begun["training"]["max_length"] if begun else self.max_length)
        try:
            inherited = self._inherited(k)
            opened = Selection.open(settings, self.folder / folder_of(k), self.display, inherited=inherited, provider=self.provider)
            with opened as selection:
                try:
                    yield selection
                finally:
                    self.clock = self.clock.without(selection.waited)
                self._backbone = selection.loaded or self._backbone
        except NoTrialCompletedError as error:
            self.missing[in_words(k)] = str(error)
        self._report()

    def run(self) -> KCurve:
        """All selections. Raises `NoTrialCompletedError` when none of them came to a verdict."""
        for k in self.ks:
            with self.at(k) as selection:
                selection.run()
        return self.result()

    def result(self) -> KCurve:
        """What is known so far. Raises `NoTrialCompletedError` when that is nothing."""
        curve = read_curve(self.folder, self.ks, self.missing)
        if curve is None:
            causes = "; ".join(f"K = {k}: {why}" for k, why in self.missing.items())
            raise NoTrialCompletedError(f"no selection of the curve came to a verdict ({causes})")
        return curve

    def seconds_at(self, k: int | None) -> float | None:
        """The limit of the selection at K: the one it began with, else its share of what is left for it and the larger K."""
        if self.clock.limit is None:
            return None
        if begun := self._begun_with(k):
            limit: float | None = begun["search"]["seconds"]
            return limit
        to_come = [k, *(other for other in dropwhile(lambda other: other != k, self.ks) if other != k and not self._ended(other))]
        seed = self.settings.whole.search.seed
        costs = [expected_cost(self.data[other].sizes(seed), self.methods, self.settings.whole) for other in to_come]
        return next_share(self.clock.left, costs)

    def _begun_with(self, k: int | None) -> dict[str, Any]:
        """The settings of the selection at K; empty where it hasn't begun."""
        starts = history_at(self.folder, k).of_kind(SelectionStarted)
        return starts[0].settings if starts else {}

    def _inherited(self, k: int | None) -> Inherited:
        """The data, the model if it is loaded, and the best configurations of the next smaller K that has any."""
        for smaller in reversed(self.ks[: self.ks.index(k)]):
            if first := best_configurations(history_at(self.folder, smaller)):
                return Inherited(self.data[k], self._backbone, first, f"the best at K = {in_words(smaller)}")
        return Inherited(self.data[k], self._backbone)

    def _ended(self, k: int | None) -> bool:
        return history_at(self.folder, k).end is not None

    def _report(self) -> None:
        if curve := read_curve(self.folder, self.ks, self.missing):
            write_curve_report(curve)


def k_curve(
    *,
    k: Sequence[int | Literal["full"]] | str,
    output: Path | str | None = None,
    display: Recorder | None = None,
    **options: Unpack[CurveOptions],
) -> KCurve:
    """Run a selection at each K and return which method to use from which K on.

    `k` are two or more numbers, or ``"full"`` for all labeled examples; the other `options` are those of `pelt_automl.select`, where
    ``seconds`` limits all of it together. `output` is the folder to write to; the same call takes a curve up again.
    Raises the errors of `curve_settings` and `CurveRun.open`, and `NoTrialCompletedError`.
    """
    with process_restored():
        return CurveRun.open(curve_settings(k, **options), Path(output) if output else None, display).run()
