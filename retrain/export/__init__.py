"""A trained network as files that run without this package; also `python -m retrain.export`."""

from retrain.export.exporting import FORMATS, Exported, ExportRow, export

__all__ = ["FORMATS", "Exported", "ExportRow", "export"]
