"""The task: photographs with masks, batches of them, losses and scores."""

from nas.task.augmentation import (
    AugmentConfig,
    at_size,
    augment,
    draw,
    network_input,
    normalise,
    pixels,
    target,
)
from nas.task.batches import SEEDS_APART, Batch, Batches, Samples, batch_indices, generator
from nas.task.cache import PhotoOptions, open_photos
from nas.task.evaluation import Evaluation, evaluate, evaluate_maps, evaluate_protocols, open_test_sets
from nas.task.folders import Pair, find_pairs, parse_data
from nas.task.losses import LOSSES, LossConfig, get_loss, multi_output_loss
from nas.task.photos import NativeSet, PhotoSet
from nas.task.protocol import PROTOCOLS, Protocol, get_protocol
from nas.task.reading import DataError, Photograph, Picture, read_image, read_mask, read_picture, resize, write_png
from nas.task.scores import Curves, FastScores, ImageScore, Scores, fast_scores
from nas.task.splits import evenly, hold_out, split
from nas.task.synthetic import synthetic_set

__all__ = [
    "Batch",
    "Batches",
    "PhotoOptions",
    "PhotoSet",
    "NativeSet",
    "Samples",
    "synthetic_set",
    "open_photos",
    "find_pairs",
    "parse_data",
    "Pair",
    "read_image",
    "read_picture",
    "read_mask",
    "Photograph",
    "Picture",
    "resize",
    "write_png",
    "PROTOCOLS",
    "Protocol",
    "get_protocol",
    "DataError",
    "hold_out",
    "split",
    "SEEDS_APART",
    "generator",
    "batch_indices",
    "AugmentConfig",
    "draw",
    "at_size",
    "augment",
    "network_input",
    "normalise",
    "pixels",
    "target",
    "LOSSES",
    "LossConfig",
    "multi_output_loss",
    "get_loss",
    "evaluate",
    "evenly",
    "evaluate_maps",
    "evaluate_protocols",
    "open_test_sets",
    "Evaluation",
    "Scores",
    "Curves",
    "ImageScore",
    "FastScores",
    "fast_scores",
]
