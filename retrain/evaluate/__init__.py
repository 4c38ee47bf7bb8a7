"""Scores of trained networks on data sets; also `python -m retrain.evaluate`."""

from retrain.evaluate.report import markdown, scores_csv, worst_csv, write_report
from retrain.evaluate.score import Scored, load_networks, score

__all__ = ["Scored", "load_networks", "markdown", "score", "scores_csv", "worst_csv", "write_report"]
