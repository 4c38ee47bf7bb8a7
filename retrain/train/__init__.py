"""Training a decided network from its genotype; also `python -m retrain.train`."""

from retrain.train.config import TrainConfig, from_search
from retrain.train.inputs import Inputs, open_inputs
from retrain.train.loop import TrainResult, train

__all__ = ["Inputs", "from_search", "TrainConfig", "TrainResult", "open_inputs", "train"]
