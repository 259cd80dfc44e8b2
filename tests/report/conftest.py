"""The made-up selection of the verdict's tests."""

from tests.verdict.conftest import events, folder, save_selection

__all__ = ["events", "folder", "save_selection"]
