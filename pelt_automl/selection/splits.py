"""A selection's examples, tokenized: every text once, whatever splits it is in."""

from collections.abc import Sequence

import numpy as np

from pelt_automl.selection.question import Question
from pelt_automl.tasks import Examples
from pelt_automl.training.padding import by_length
from pelt_automl.training.tokens import Tokens, TokenStore


class Splits:
    """Made from a question alone; keeps what it has read, nothing that is decided."""

    def __init__(self, question: Question) -> None:
        self._question, self.seed, data = question, question.search.seed, question.data
        self._pool = TokenStore(data.pool, question.tokenized)
        self._select_from = self._pool if data.validation is None else TokenStore(data.validation, question.tokenized)
        self._latest: tuple[int, tuple[Tokens, Tokens]] | None = None
        self.report: tuple[Tokens, Examples] | None = None
        """The examples of the report split that finalists are scored on, once it is open in this process."""
        self.opened: Sequence[int] | None = None
        """Their indices in the report split."""

    def of(self, seed: int) -> tuple[Tokens, Tokens]:
        """Train and select of a split seed. Of the seeds only the latest is kept."""
        if self._latest is None or self._latest[0] != seed:
            self._latest = None  # not two at once
            train, select = self._question.data.indices(seed)
            self._latest = (seed, (self._pool.take(train), self._select_from.take(select)))
        return self._latest[1]

    @property
    def search(self) -> tuple[Tokens, Tokens]:
        """Train and select of the search."""
        return self.of(self.seed)

    @property
    def known(self) -> Tokens:
        """All that the search may read, train and select, shortest first."""
        train, select = self.search
        types = [*train.token_type_ids, *select.token_type_ids] if train.token_type_ids and select.token_type_ids else None
        labels, passages = np.concatenate([train.labels, select.labels]), train.passages + select.passages
        return by_length(Tokens(train.input_ids + select.input_ids, types, labels, passages=passages))

    def open_report(self, indices: Sequence[int]) -> tuple[Tokens, Examples]:
        """These examples of the report split, from now on."""
        self.opened, examples = indices, self._question.data.report.take(indices)
        self.report = self._question.tokenized(examples), examples
        return self.report
