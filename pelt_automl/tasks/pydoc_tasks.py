"""The embedded tasks: small, real, and there without any download.

``pydoc-match``: does the summary describe this callable? Each callable occurs once. Two of a module form a couple, and either both
keep their own summaries (label 1) or they swap them (label 0, a hard negative). Both names are masked in both summaries, so that
neither a word nor the number of masks tells the label: a bag of words stays at chance by construction. Only the names as they are
written are masked, not their parts: with every part masked, MiniLM's embeddings told the labels at AUC 0.61 instead of 0.70, too
little for methods to differ.

``pydoc-topic``: from which library does this sentence come? Names of libraries, their aliases and their best known types are masked.

``pydoc-arguments``: which kinds of arguments does this callable take? An example has any number of the labels, one at least. The name and
the summary are shown, the signature isn't.

In all, a module is either in train or in report, and no summary of report occurs in train, masked as it is.
"""

import re
from collections import abc, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pelt_automl.errors import SettingsError, TaskError
from pelt_automl.settings import TaskSettings
from pelt_automl.tasks.examples import Examples, RawTask, TaskInfo, digest
from pelt_automl.tasks.kinds import KINDS
from pelt_automl.tasks.pydoc import Callable, harvest, library_versions

MASK = "it"
REPORT_IN = 3
"""Every third module is reported on."""
FEWEST = 500
"""Fewer rows than this mean that the libraries' sources aren't there."""
TOPICS = ("pandas", "python", "scikit-learn", "scipy", "torch")
_GIVEAWAYS = re.compile(
    r"[\w.]*\b(numpy|np|ndarrays?|pandas|pd|dataframes?|series|c?python|py|scikit[- ]learn|sklearn|scikit|scipy|sp|pytorch|torch"
    r"|(py)?tensors?|estimators?|nn|autograd|stdlib)\b[\w.]*",
    re.IGNORECASE,
)

Row = tuple[tuple[str, ...], Any]
"""Texts and label."""
ARGUMENTS = {
    "anything": "args kwargs params",
    "array": "a b x y X Y A arr array arrays input data values x1 x2 ar mat tensor",
    "axis": "axis axes dim",
    "dtype": "dtype type",
    "file": "path file filename fp encoding stream",
    "function": "func f fun fn function callback",
    "name": "name key names",
    "number": "n k m size shape n_components n_jobs num",
    "random": "random_state seed rng generator",
}
"""By kind of argument, what such arguments are called."""


@dataclass(frozen=True)
class PydocTask:
    """An embedded task: a `TextTask`."""

    info: TaskInfo
    labels: tuple[str, ...]
    text_columns: tuple[str, ...]
    make: abc.Callable[[Sequence[list[Callable]]], list[Row]]

    def read(self, settings: TaskSettings) -> RawTask:
        """Rows from the libraries that are installed.

        Raises `SettingsError` when the settings contradict the task, `TaskError` when the libraries' sources aren't there.
        """
        if settings.kind not in (None, self.info.kind) or settings.text_columns or settings.label_column or settings.group_column:
            raise SettingsError(f"{self.info.name} is a {self.info.kind} task with columns of its own; leave kind and columns out")
        train, report = (self._examples(modules) for modules in _sides(harvest()))
        train = without_texts_of(report, train)
        versions = ", ".join(f"{name} {version}" for name, version in library_versions().items())
        if len(train) < FEWEST or len(KINDS[self.info.kind].names_in(train.labels)) < len(self.labels):
            raise TaskError(f"{self.info.name} needs the sources of {', '.join(TOPICS)}, but found {len(train)} rows in {versions}")
        return RawTask(
            name=self.info.name,
            kind=self.info.kind,
            labels=self.labels,
            metric=self.info.metric,
            text_columns=self.text_columns,
            train=train,
            report=report,
            report_source=f"every third module of {versions}",
        )

    def _examples(self, modules: Sequence[list[Callable]]) -> Examples:
        """In an order of their hashes, which shows nothing; masked texts that repeat another are left out."""
        rows = sorted(dict(self.make(modules)).items(), key=lambda row: digest([list(row[0])]))
        return Examples(tuple(texts for texts, _ in rows), tuple(label for _, label in rows))


def without_texts_of(report: Examples, train: Examples) -> Examples:
    """`train` without examples whose last text stands in `report`: summaries that differ in a name alone are the same once it is masked."""
    told = {texts[-1] for texts in report.texts}
    return train.take([index for index, texts in enumerate(train.texts) if texts[-1] not in told])


def _sides(callables: Sequence[Callable]) -> tuple[list[list[Callable]], list[list[Callable]]]:
    """The callables by module: those to train on, and those to report on."""
    by_module: dict[str, list[Callable]] = defaultdict(list)
    for item in callables:
        by_module[item.module].append(item)
    sides: tuple[list[list[Callable]], list[list[Callable]]] = ([], [])
    for module, members in sorted(by_module.items()):
        sides[int(digest([module])[:8], 16) % REPORT_IN == 0].append(members)
    return sides


def _match_rows(modules: Sequence[list[Callable]]) -> list[Row]:
    rows = list[Row]()
    for number, (one, other) in enumerate(couple for members in modules for couple in _couples(members)):
        names, label = names_of(one) | names_of(other), number % 2
        told = (one, other) if label else (other, one)
        rows += [
            ((f"{item.module}.{item.name}{item.signature}", mask_names(summary.summary, names)), label)
            for item, summary in zip((one, other), told, strict=True)
        ]
    return rows


def _couples(members: Sequence[Callable]) -> Iterator[tuple[Callable, Callable]]:
    """A module's callables two by two, each with the one left that shares the fewest words with it: `set_x` and `get_x` fit each other's
    summaries, so that swapping those would make no wrong pair.
    """
    left = sorted(members, key=lambda item: digest([item.name, item.summary]))
    while len(left) > 1:
        one = left.pop(0)
        other = min(left, key=lambda item: len(_words(one) & _words(item)))
        left.remove(other)
        yield one, other


def _words(item: Callable) -> set[str]:
    return set(re.findall(r"[a-z]+", f"{item.name} {item.summary}".lower()))


def names_of(item: Callable) -> frozenset[str]:
    """What a callable is called, in lower case: ``KMeans.fit`` gives kmeans and fit."""
    return frozenset(part.lower() for part in item.name.split("."))


def mask_names(text: str, names: frozenset[str]) -> str:
    """The text with `MASK` in place of each of the names, whatever their case."""
    return re.sub(r"\w+", lambda match: MASK if match[0].lower() in names else match[0], text)


def _topic_rows(modules: Sequence[list[Callable]]) -> list[Row]:
    """As many sentences of each library as the one with the fewest has."""
    by_library: dict[str, list[Row]] = {name: [] for name in TOPICS}
    for item in (item for members in modules for item in members if item.library in by_library):
        by_library[item.library].append(((_GIVEAWAYS.sub(MASK, item.summary),), TOPICS.index(item.library)))
    fewest = min(map(len, by_library.values()))
    return [row for rows in by_library.values() for row in sorted(rows, key=lambda row: digest([list(row[0])]))[:fewest]]


def _argument_rows(modules: Sequence[list[Callable]]) -> list[Row]:
    """Callables that take arguments of one of the kinds at least."""
    rows, kinds = list[Row](), [frozenset(names.split()) for names in ARGUMENTS.values()]
    for item in (item for members in modules for item in members):
        taken = set(re.findall(r"[(,]\s*\*{0,2}(\w+)", item.signature))
        label = tuple(int(not taken.isdisjoint(names)) for names in kinds)
        if any(label):
            rows.append(((f"{item.name.split('.')[-1]}: {item.summary}",), label))
    return rows


PYDOC_MATCH = PydocTask(
    TaskInfo("pydoc-match", "Does the summary describe this Python callable?", "classification", "accuracy", "embedded"),
    labels=("no", "yes"),
    text_columns=("callable", "summary"),
    make=_match_rows,
)
PYDOC_TOPIC = PydocTask(
    TaskInfo("pydoc-topic", "Which library does this sentence document?", "classification", "accuracy", "embedded"),
    labels=TOPICS,
    text_columns=("sentence",),
    make=_topic_rows,
)
PYDOC_ARGUMENTS = PydocTask(
    TaskInfo("pydoc-arguments", "Which kinds of arguments does this callable take?", "multi-label", "micro_f1", "embedded"),
    labels=tuple(ARGUMENTS),
    text_columns=("callable",),
    make=_argument_rows,
)
