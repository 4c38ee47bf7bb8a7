"""Scores of trained networks on data sets; also `python -m retrain.evaluate`."""

from retrain.evaluate.report import markdown, write_report
from retrain.evaluate.score import Scored, load_predictors, parse_saliency, score

__all__ = [
    "Scored",
    "load_predictors",
    "markdown",
    "parse_saliency",
    "score",
    "write_report",
]
