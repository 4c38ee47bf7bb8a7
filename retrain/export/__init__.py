"""A trained network as files that run without this package; also `python -m retrain.export`."""

from retrain.export.exporting import FORMATS, export
from retrain.export.readme import Exported, ExportRow

__all__ = ["FORMATS", "Exported", "ExportRow", "export"]
