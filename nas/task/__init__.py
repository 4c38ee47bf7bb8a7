"""The task: photographs with masks, batches of them, losses and scores."""

from nas.task.augmentation import AugmentConfig, augment, normalise
from nas.task.batches import batch_indices, generator
from nas.task.cache import open_photos
from nas.task.evaluation import Evaluation, evaluate
from nas.task.feed import Feed
from nas.task.folders import Pair, find_pairs, parse_data
from nas.task.losses import LossConfig, check_finite, get_loss, loss_names, multi_output_loss, progressive_polishing
from nas.task.photos import PhotoSet
from nas.task.quick import quick_scores
from nas.task.reading import DataError, Photograph, read_image, read_mask, resize, to_bytes
from nas.task.scores import Curves, FastScores, ImageScore, Scores, fast_scores
from nas.task.splits import split
from nas.task.synthetic import synthetic_set

__all__ = [
    "Feed",
    "PhotoSet",
    "synthetic_set",
    "open_photos",
    "find_pairs",
    "parse_data",
    "Pair",
    "read_image",
    "read_mask",
    "Photograph",
    "resize",
    "to_bytes",
    "DataError",
    "split",
    "generator",
    "batch_indices",
    "AugmentConfig",
    "augment",
    "normalise",
    "LossConfig",
    "progressive_polishing",
    "multi_output_loss",
    "get_loss",
    "loss_names",
    "evaluate",
    "Evaluation",
    "Scores",
    "Curves",
    "ImageScore",
    "FastScores",
    "fast_scores",
    "quick_scores",
    "check_finite",
]
