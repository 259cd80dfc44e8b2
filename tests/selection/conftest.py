"""Selections whose reports have no drawings: rendering them takes a good part of a tiny selection's time."""

from collections.abc import Iterator

import pytest

from tests.tiny_world import sketched


@pytest.fixture(scope="module", autouse=True)
def _without_drawings() -> Iterator[None]:
    """Figures are made of every selection as ever. `finished`, the tests of reports and those of commands render theirs."""
    with sketched():
        yield
