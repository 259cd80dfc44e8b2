"""A whole small world in a folder: a pretrained encoder with its tokenizer, and labeled files that it can learn. No download."""

import csv
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pelt_automl.log.codec import read
from pelt_automl.log.events import Event, Progress
from pelt_automl.log.outputs import Outputs
from pelt_automl.settings import SearchSettings
from tests.tiny import VOCABULARY, tiny_model

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
SIGNALS = ("good", "bad", "odd")
"""The word that tells the class: positive, negative, or (third class) neither."""
CLASSES = ("positive", "negative", "neither")
FILLERS = tuple(f"word{number}" for number in range(VOCABULARY - len(SPECIAL) - len(SIGNALS)))

QUICK = {"precision": "fp32", "threads": 1, "batch_size": 8, "epochs": 10, "seed": 0, "pack_size": 4}
"""Options of selections that take seconds; the pack size as given, so that two of them find the same."""


def word_tokenizer() -> Any:
    """One token a word of the tiny vocabulary, between BERT's special tokens."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = {word: number for number, word in enumerate((*SPECIAL, *SIGNALS, *FILLERS))}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def write_model(folder: Path) -> Path:
    """A tiny BERT whose first token has seen the signal words, in the files that `save_pretrained` writes."""
    pretrained_model().save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    return folder


def pretrained_model() -> Any:
    """A tiny BERT whose first token has seen the signal words."""
    model = tiny_model("bert")
    _pretrain(model)
    return model


def _pretrain(model: Any, steps: int = 60) -> None:
    """Which signal word is there? Half learned, so that even the head alone can learn the rest of it."""
    torch.manual_seed(1)
    head = torch.nn.Linear(16, len(SIGNALS))
    optimizer = torch.optim.Adam([*model.parameters(), *head.parameters()], lr=5e-3)
    first = len(SPECIAL)
    model.train()
    for _ in range(steps):
        ids = torch.randint(first + len(SIGNALS), VOCABULARY, (32, 8))
        labels = torch.randint(0, len(SIGNALS), (32,))
        ids[:, 0], ids[:, -1] = 2, 3
        ids[torch.arange(32), torch.randint(1, 7, (32,))] = first + labels
        loss = torch.nn.functional.cross_entropy(head(model(input_ids=ids).pooler_output), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def sentences(count: int, classes: int = 2, seed: int = 0) -> list[tuple[str, int]]:
    """Different sentences of 4 to 8 words with their class, classes in turn."""
    random = np.random.default_rng(seed)
    found: list[tuple[str, int]] = []
    for number in range(count):
        words = [FILLERS[i] for i in random.integers(0, len(FILLERS), random.integers(3, 8))]
        words.insert(int(random.integers(0, len(words) + 1)), SIGNALS[number % classes])
        found.append((" ".join(words), number % classes))
    assert len({text for text, _ in found}) == count
    return found


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


@dataclass(frozen=True)
class World:
    """What a selection needs."""

    folder: Path
    model: Path
    train: Path
    """120 rows of two classes."""
    test: Path
    """60 rows more, without those of train."""

    def options(self, **more: Any) -> dict[str, Any]:
        """Options of a quick selection of three methods without baselines, with no more seeds than the least."""
        own = {"train": self.train, "test": self.test, "text_columns": ["text"], "label_column": "label", "model": str(self.model)}
        seeds = more.get("finalist_seeds", SearchSettings.finalist_seeds)
        few = {"k": 60, "methods": ["lora", "unipelt-apl", "head"], "baselines": [], "trials": 3, "most_seeds": seeds}
        return QUICK | own | few | more


def make_world(folder: Path) -> World:
    rows = [(text, CLASSES[label]) for text, label in sentences(180)]
    model = write_model(folder / "model")
    train = write_csv(folder / "reviews.csv", ["text", "label"], rows[:120])
    return World(folder, model, train, write_csv(folder / "test.csv", ["text", "label"], rows[120:]))


class Killed(BaseException):
    """Stands for kill -9: nothing in the program catches it."""


@dataclass
class Watcher:
    """A display that keeps what it is told, and can kill."""

    events: list[Event] = field(default_factory=list)
    progress: list[Progress] = field(default_factory=list)
    kill: Callable[["Watcher"], bool] = lambda _: False

    def record(self, event: Event) -> None:
        if isinstance(event, Progress):
            self.progress.append(event)
        else:
            self.events.append(event)
        if self.kill(self):
            raise Killed


def records_of(folder: Path) -> list[Event]:
    return list(read(folder / "records.jsonl"))


def outputs_of(folder: Path, event: Any) -> list[Any]:
    """What a selection's event refers to."""
    found = Outputs(folder / "outputs").get(event.outputs)
    return found if isinstance(found, list) else found.tolist()


def of(events: Sequence[Event], kind: type[Any]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def losses(trial: Any) -> list[float]:
    """Of its curve; before the first step there is none."""
    return [point.train_loss for point in trial.curve if point.train_loss is not None]


def counted(names: Sequence[str]) -> dict[str, int]:
    """Names that occur more than once."""
    return {name: count for name, count in Counter(names).items() if count > 1}


@dataclass(frozen=True)
class Finished:
    """A selection that has come to its end, and what was seen on the way."""

    world: World
    home: Path
    folder: Path
    recommendation: Any
    tokenized: list[tuple[frozenset[str], int]]
    """Texts that were tokenized, and how many events had happened by then."""

    def copy(self, to: Path) -> Path:
        """For a test that changes something."""
        return Path(shutil.copytree(self.folder, to))


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def finished(world: World, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """One whole selection, MLflow included; never to be changed."""
    import pelt_automl
    from pelt_automl.report import plots, svg
    from pelt_automl.selection import question

    home, tokenized, watcher = tmp_path_factory.mktemp("finished"), [], Watcher()
    tokenize = question.tokenize

    def watched(examples: Any, *others: Any, **named: Any) -> Any:
        tokenized.append((frozenset(text for texts in examples.texts for text in texts), len(watcher.events)))
        return tokenize(examples, *others, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PELT_AUTOML_HOME", str(home))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setattr(question, "tokenize", watched)
        patch.setattr(plots, "as_svg", svg.as_svg)  # it may be the first test of a module whose own selections are `sketched` that asks
        recommendation = pelt_automl.select(output=home / "selections" / "reviews", display=watcher, **world.options())
    return Finished(world, home, home / "selections" / "reviews", recommendation, tokenized)


@pytest.fixture
def without_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two seconds less a selection."""
    from pelt_automl.recorders import RECORDERS

    monkeypatch.delitem(RECORDERS, "mlflow")


@contextmanager
def sketched() -> Iterator[None]:
    """While active, a report's figures are made, and not rendered: each has its name in place of a drawing."""
    from pelt_automl.report import plots

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "as_svg", lambda _, name: f'<svg id="{name}"></svg>')
        yield


@pytest.fixture
def nothing_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    """No data set has taught anything: each method's default comes first, then its search space's own list."""
    from pelt_automl.search.shipped import VERSION, Portfolio
    from pelt_automl.selection import portfolio_phase

    monkeypatch.setattr(portfolio_phase, "shipped_portfolio", lambda: Portfolio(VERSION, "", (), ()))
