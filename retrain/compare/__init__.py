"""Genotypes side by side under one recipe; also `python -m retrain.compare`."""

from retrain.compare.config import CompareConfig
from retrain.compare.entries import Entry, read_entries
from retrain.compare.runs import Training, compare, plan_comparison
from retrain.compare.table import rows

__all__ = ["CompareConfig", "Entry", "Training", "compare", "plan_comparison", "read_entries", "rows"]
