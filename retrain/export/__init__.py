"""A trained network as files that run without this package; also `python -m retrain.export`."""

from retrain.export.exporting import export
from retrain.export.readme import FORMATS, Exported, ExportRow

__all__ = ["FORMATS", "Exported", "ExportRow", "export"]
