"""What to do with the choice: train, evaluate, predict, export, and the authors' checkpoints."""

from retrain.authors import import_authors

__all__ = ["import_authors"]
