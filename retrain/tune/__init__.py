"""Which settings of a recipe train a network best, by an Optuna study; also `python -m retrain.tune`."""

from retrain.tune.config import TuneConfig
from retrain.tune.settings import candidates, changed
from retrain.tune.study import TuneSetup, open_tuning, tune

__all__ = ["TuneConfig", "TuneSetup", "candidates", "changed", "open_tuning", "tune"]
