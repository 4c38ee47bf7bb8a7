"""Losses between logits float[B, 1, H, W] and masks float[B, 1, H, W] of zeros and ones, or a teacher's graded maps.

Every loss computes in float32 at least, also under autocast: sums over an image overflow half precision.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from genotypes import Record, Registry, UserError
from nas.run.distributed import gathered

__all__ = [
    "LOSSES",
    "LossConfig",
    "bce",
    "boundary",
    "cel",
    "get_loss",
    "iou",
    "multi_output_loss",
    "soft_iou",
]

_EPS = 1e-6
_MEANS = {"bce", "bce_sum", "iou", "soft_iou"}  # means over images: equal parts of a batch average to the whole's
LossFunction = Callable[[Tensor, Tensor], Tensor]
LOSSES = Registry("loss", Record)  # name -> a `LossFunction` that gives a scalar and reads no tensor's value


def get_loss(name: str) -> LossFunction:
    """The loss of this name; UserError, listing those that exist, if there is none."""
    return LOSSES[name].load()


@LOSSES.register("bce")
def bce(logits: Tensor, masks: Tensor) -> Tensor:
    """Binary cross entropy, mean over all pixels."""
    logits, masks = _precise(logits, masks)
    return F.binary_cross_entropy_with_logits(logits, masks)


@LOSSES.register("bce_sum")
def bce_sum(logits: Tensor, masks: Tensor) -> Tensor:
    """Binary cross entropy summed over an image's pixels, mean over the batch, as CSF's authors train."""
    return bce(logits, masks) * logits.shape[-2] * logits.shape[-1]


@LOSSES.register("iou")
def iou(logits: Tensor, masks: Tensor) -> Tensor:
    """Soft intersection over union of each image, 1 - (I + 1) / (U + 1), mean over the batch.

    The added pixel (as in F3Net, AAAI 2020) keeps an empty mask's loss and gradient tame.
    """
    logits, masks = _precise(logits, masks)
    probs = logits.sigmoid()
    both = (probs * masks).sum((1, 2, 3))
    either = (probs + masks).sum((1, 2, 3)) - both
    return (1 - (both + 1) / (either + 1)).mean()


@LOSSES.register("soft_iou")
def soft_iou(logits: Tensor, maps: Tensor) -> Tensor:
    """Jaccard metric loss (Wang et al., NeurIPS 2023, arXiv 2302.05666), mean over the batch, for graded maps.

    |I| = (sum - difference) / 2, |U| = (sum + difference) / 2: `iou` on zeros and ones, and on graded maps least where
    the prediction equals them, which `iou` is not: it asks for more than the map says.
    """
    logits, maps = _precise(logits, maps)
    probs = logits.sigmoid()
    total, apart = (probs + maps).sum((1, 2, 3)), (probs - maps).abs().sum((1, 2, 3))
    return (1 - (total - apart + 2) / (total + apart + 2)).mean()


@LOSSES.register("cel")
def cel(logits: Tensor, masks: Tensor) -> Tensor:
    """Consistency-enhanced loss of MINet (CVPR 2020, section 3.3): sums run over the whole batch."""
    logits, masks = _precise(logits, masks)
    probs = logits.sigmoid()
    total = probs.sum() + masks.sum()
    return (total - 2 * (probs * masks).sum()) / (total + _EPS)


@LOSSES.register("boundary")
def boundary(logits: Tensor, masks: Tensor, *, inner: int = 3, reach: int = 5) -> Tensor:
    """1 - F1 between the boundaries of prediction and mask (Bokhovkin & Burnaev 2019, arXiv 1905.07852).

    A boundary is `b(y) = maxpool_inner(1 - y) - (1 - y)`; it matches within `maxpool_reach(b)`. Precision and
    recall belong to one image. Images whose mask has no boundary (empty or full) contribute nothing: the mean is over
    the others, and 0 if there are none. A mask and its complement share their boundary, so this loss needs another
    beside it (BCE) to tell inside from outside.

    Args:
        logits, masks: float[B, 1, H, W].
        inner: width of the window that finds the boundary (odd).
        reach: width of the window of tolerance (odd); 5 suits 256 px.
    """
    logits, masks = _precise(logits, masks)
    edge_p, edge_g = _edges(logits.sigmoid(), inner), _edges(masks, inner)
    near_p, near_g = _widest(edge_p, reach), _widest(edge_g, reach)
    length_p, length_g = edge_p.sum((1, 2, 3)), edge_g.sum((1, 2, 3))
    precision = (edge_p * near_g).sum((1, 2, 3)) / (length_p + _EPS)
    recall = (edge_g * near_p).sum((1, 2, 3)) / (length_g + _EPS)
    f1 = 2 * precision * recall / (precision + recall + _EPS)
    counts = (length_g > 0).to(f1.dtype)
    return ((1 - f1) * counts).sum() / counts.sum().clamp(min=1)


def _edges(y: Tensor, width: int) -> Tensor:
    return _widest(1 - y, width) - (1 - y)


def _widest(y: Tensor, width: int) -> Tensor:
    return F.max_pool2d(y, width, stride=1, padding=width // 2)


def _precise(logits: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    if logits.shape != masks.shape:
        raise ValueError(f"logits {list(logits.shape)} and masks {list(masks.shape)} differ in shape")
    logits = logits if logits.dtype == torch.float64 else logits.float()
    return logits, masks.to(logits.dtype)


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """A weighted sum of losses over every output of a network.

    Attributes:
        terms: weight of each loss, by name.
        side_weights: weight of each output, finest first. Further outputs get the last weight; weights beyond the last
            output are not used.
        teacher: share of a teacher's maps in the loss, where they are given; the rest is that of the masks.
        teacher_terms: weight of each loss against the teacher's maps, by name.
    """

    terms: dict[str, float] = field(default_factory=lambda: {"bce": 1.0, "iou": 1.0})
    side_weights: tuple[float, ...] = (1.0, 0.8, 0.6)
    teacher: float = 0.5
    teacher_terms: dict[str, float] = field(default_factory=lambda: {"bce": 1.0, "soft_iou": 1.0})

    def __post_init__(self) -> None:
        if not self.terms or not self.side_weights or not self.teacher_terms:
            raise UserError("a loss needs at least one term, also of the teacher, and one side weight")
        if not 0 <= self.teacher <= 1:
            raise UserError(f"teacher is the share of its maps in the loss, in 0..1, not {self.teacher}")
        for name, weight in (*self.terms.items(), *self.teacher_terms.items()):
            get_loss(name)
            if weight < 0:
                raise UserError(f"loss weights must not be negative, got {name}: {weight}")
        for kind, terms in (("terms", self.terms), ("teacher_terms", self.teacher_terms)):
            if not any(terms.values()):  # nothing would be learnt
                raise UserError(f"loss: one of {kind} must weigh more than 0, got {terms}")
        if any(w < 0 for w in self.side_weights):
            raise UserError(f"side weights must not be negative, got {self.side_weights}")
        if not self.side_weights[0]:
            raise UserError(f"the first side weight is the used output's and must be above 0, got {self.side_weights}")

    @staticmethod
    def without_teacher(prefix: str) -> dict[str, str]:
        """What has no effect without a teacher, see `nas.options.unused_of`."""
        return dict.fromkeys((f"{prefix}teacher", f"{prefix}teacher_terms"), "it needs --teacher")


def multi_output_loss(outputs: Sequence[Tensor], masks: Tensor, cfg: LossConfig) -> Tensor:
    """Sum over outputs (finest first) and terms of side weight x term weight x loss: a scalar.

    Args:
        outputs: logits float[B, 1, H, W] each, all at the mask's size.
        masks: float[B, 1, H, W] of zeros and ones; float[B, 2, H, W] with a teacher's maps in 0..1 behind them. Then
            the loss is (1 - `cfg.teacher`) x that of the masks + `cfg.teacher` x that of the maps.
        cfg: terms and weights; a weight of 0 skips the computation.
    """
    if not outputs:
        raise ValueError("the network gave no outputs")
    if masks.shape[1] == 1:
        return _weighted(outputs, masks, cfg.terms, cfg)
    masks, maps = masks.split(1, dim=1)
    total = outputs[0].new_zeros((), dtype=torch.float32)
    if cfg.teacher < 1:
        total = total + (1 - cfg.teacher) * _weighted(outputs, masks, cfg.terms, cfg)
    if cfg.teacher > 0:
        total = total + cfg.teacher * _weighted(outputs, maps, cfg.teacher_terms, cfg)
    return total


def _weighted(outputs: Sequence[Tensor], masks: Tensor, terms: Mapping[str, float], cfg: LossConfig) -> Tensor:
    if not terms.keys() <= _MEANS:
        outputs, masks = gathered(outputs, masks)
    total = outputs[0].new_zeros((), dtype=torch.float32)
    for i, logits in enumerate(outputs):
        side = cfg.side_weights[min(i, len(cfg.side_weights) - 1)]
        for name, weight in terms.items():
            if side * weight:
                total = total + side * weight * get_loss(name)(logits, masks)
    return total
