"""A selection from settings to recommendation: what the command line, Python and the flows call."""

from pelt_automl.options import settings_from
from pelt_automl.selection.asked import Asked, asked_of
from pelt_automl.selection.selection import Selection, select

__all__ = ["Asked", "Selection", "asked_of", "select", "settings_from"]
