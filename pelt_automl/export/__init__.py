"""A trained winner for programs without this package: a plain transformers folder, or a folder of HF peft."""

from pelt_automl.export.exporting import FORMATS, Exported, export_winner

__all__ = ["FORMATS", "Exported", "export_winner"]
