"""Training a decided network from its genotype; also `python -m retrain.train`."""

from retrain.train.config import TrainConfig
from retrain.train.inputs import Inputs, open_inputs
from retrain.train.loop import TrainResult, train

__all__ = ["Inputs", "TrainConfig", "TrainResult", "open_inputs", "train"]
