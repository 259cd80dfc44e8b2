"""UniPELT's experiments again: its protocol on any backbone, and its tables next to what came out."""

from pelt_automl.reproduction.protocol import MODEL, Protocol, protocol_from
from pelt_automl.reproduction.rendering import markdown, terminal_text
from pelt_automl.reproduction.running import Reproduction
from pelt_automl.reproduction.table import Table

__all__ = ["MODEL", "Protocol", "Reproduction", "Table", "markdown", "protocol_from", "terminal_text"]
