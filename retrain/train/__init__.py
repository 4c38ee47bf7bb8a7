"""Training a decided network from its genotype; also `python -m retrain.train`."""

from retrain.train.config import TrainConfig, TrainingOptions, from_search
from retrain.train.setup import TrainSetup, open_training, training_photos
from retrain.train.training import TrainResult, train

__all__ = [
    "TrainConfig",
    "TrainResult",
    "TrainSetup",
    "TrainingOptions",
    "from_search",
    "open_training",
    "train",
    "training_photos",
]
