"""Scores of a data set: what they are called, how images' results become them, and fast ones while a network trains."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from nas.task.protocol import Protocol

__all__ = ["BETA2", "Curves", "FastScores", "ImageResult", "ImageScore", "Scores", "fast_scores", "merge"]

BETA2 = 0.3


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What papers report, over one data set, under one `Protocol`.

    Attributes:
        maxF: F (beta² = 0.3) of precision and recall averaged over the data set, at the best threshold; of maps
            stretched to 0..1 (min-max), as pysodmetrics does.
        maxF_raw: the same of the maps as they are.
        maxF_img, maxF_img_raw: the images' F averaged at each threshold, at the best one; stretched, and raw.
        avgF: F at the adaptive threshold (twice the prediction's mean), averaged over images.
        wF: weighted F (Margolin 2014), beta² = 1.
        Sm: structure measure, alpha = 0.5.
        Em_max, Em_mean, Em_adp: enhanced alignment: best and mean threshold, and adaptive threshold.
        MAE_raw: mean absolute error of the maps as they are.
        MAE_stretched: the same of maps stretched to 0..1 (pysodmetrics' convention).
        count: images.

    wF, Sm and Em are NaN after a quick evaluation.
    """

    maxF: float
    maxF_raw: float
    maxF_img: float
    maxF_img_raw: float
    avgF: float
    wF: float
    Sm: float
    Em_max: float
    Em_mean: float
    Em_adp: float
    MAE_raw: float
    MAE_stretched: float
    count: int

    def plain(self) -> dict[str, float | None]:
        """By name, None for NaN, which JSON does not know."""
        return {name: None if math.isnan(value) else value for name, value in asdict(self).items()}


@dataclass(frozen=True, kw_only=True)
class Curves:
    """float64[thresholds] each, highest threshold first: precision and recall averaged over images, their F, and the
    images' averaged F (`F_img`), of stretched and of raw maps, and enhanced alignment (`Em`, NaN after a quick
    evaluation)."""

    precision: np.ndarray
    recall: np.ndarray
    F: np.ndarray
    F_img: np.ndarray
    precision_raw: np.ndarray
    recall_raw: np.ndarray
    F_raw: np.ndarray
    F_img_raw: np.ndarray
    Em: np.ndarray


class ImageScore(NamedTuple):
    """One image's row; maxF: at the image's own best threshold. wF, Sm and Em_mean are NaN after a quick evaluation."""

    name: str
    MAE_raw: float
    MAE_stretched: float
    maxF: float
    avgF: float
    wF: float
    Sm: float
    Em_mean: float


class FastScores(NamedTuple):
    """What `fast_scores` gives; the conventions of `Scores`."""

    maxF: float
    MAE_raw: float
    MAE_stretched: float


class ImageResult(NamedTuple):
    """All that pysodmetrics says of one image; data set scores are means over these, in the images' order."""

    name: str
    precision: np.ndarray
    recall: np.ndarray
    fmeasure: np.ndarray
    precision_raw: np.ndarray
    recall_raw: np.ndarray
    fmeasure_raw: np.ndarray
    avgF: float
    wF: float
    Sm: float
    Em: np.ndarray
    Em_adp: float
    MAE_raw: float
    MAE_stretched: float

    def row(self) -> ImageScore:
        """The image's line in a report."""
        best, alignment = float(self.fmeasure.max()), float(self.Em.mean())
        return ImageScore(self.name, self.MAE_raw, self.MAE_stretched, best, self.avgF, self.wF, self.Sm, alignment)


def merge(results: Sequence[ImageResult], protocol: Protocol | None = None) -> tuple[Scores, Curves]:
    """Means over images. The order of `results` decides the last bit, so callers keep the data set's order."""

    pick = (protocol or Protocol()).pick

    def mean(field: str) -> np.ndarray:
        return np.mean(np.array([getattr(r, field) for r in results], dtype=np.float64), axis=0)

    means = {name: pick(mean(name)) for name in ("precision", "recall", "precision_raw", "recall_raw")}
    curves = Curves(
        F=_f(means["precision"], means["recall"]),
        F_img=pick(mean("fmeasure")),
        F_raw=_f(means["precision_raw"], means["recall_raw"]),
        F_img_raw=pick(mean("fmeasure_raw")),
        Em=mean("Em"),
        **means,
    )
    scores = Scores(
        maxF=float(curves.F.max()),
        maxF_raw=float(curves.F_raw.max()),
        maxF_img=float(curves.F_img.max()),
        maxF_img_raw=float(curves.F_img_raw.max()),
        Em_max=float(curves.Em.max()),
        Em_mean=float(curves.Em.mean()),
        count=len(results),
        **{name: float(mean(name)) for name in ("avgF", "wF", "Sm", "Em_adp", "MAE_raw", "MAE_stretched")},
    )
    return scores, curves


def _f(precision: np.ndarray, recall: np.ndarray) -> np.ndarray:
    bottom = BETA2 * precision + recall
    return np.divide((1 + BETA2) * precision * recall, bottom, out=np.zeros_like(bottom), where=bottom > 0)


def fast_scores(probs: Tensor, masks: Tensor, *, chunk: int = 64) -> FastScores:
    """maxF and MAE by histograms on the tensors' device, for watching a training: equal to `Scores` of the same data.

    Args:
        probs: float[N, 1, H, W] in 0..1.
        masks: uint8[N, 1, H, W] (object where > 127) or float of zeros and ones, at the same size.
        chunk: images at a time.
    """
    if probs.shape != masks.shape or len(probs) == 0:
        raise ValueError(f"probs {list(probs.shape)} and masks {list(masks.shape)} must be alike and not empty")
    return fast_scores_of(list(zip(probs.split(chunk), masks.split(chunk), strict=True)))


def fast_scores_of(parts: Sequence[tuple[Tensor, Tensor]]) -> FastScores:
    """The same of several (probs, masks), which may differ in size."""
    n, device = sum(len(p) for p, _ in parts), parts[0][0].device
    sums = torch.zeros(2, 256, dtype=torch.float64, device=device)
    errors = torch.zeros(2, dtype=torch.float64, device=device)  # of raw maps, of stretched ones
    for p, g in parts:
        gt = (g > 127 if g.dtype == torch.uint8 else g > 0.5).flatten(1)
        p = torch.floor(p.detach().float().flatten(1).clamp(0, 1) * 255 + 0.5).double() / 255
        errors[0] += (p - gt.double()).abs().mean(1).sum()
        low, high = p.amin(1, keepdim=True), p.amax(1, keepdim=True)
        p = torch.where(high > low, (p - low) / (high - low).clamp(min=1e-12), p)
        errors[1] += (p - gt.double()).abs().mean(1).sum()
        # One histogram for each image: of its 256 levels outside the object, then of those inside.
        bins = (p * 255).long() + 256 * gt + 512 * torch.arange(len(p), device=p.device)[:, None]
        outside, hits = torch.bincount(bins.flatten(), minlength=512 * len(p)).view(-1, 2, 256).unbind(1)
        chosen, right = (outside + hits).flip(1).cumsum(1).double(), hits.flip(1).cumsum(1).double()
        sums[0] += (right / chosen.clamp(min=1)).sum(0)
        sums[1] += (right / gt.sum(1, keepdim=True).clamp(min=1)).sum(0)
    precision, recall = (sums / n).cpu().numpy()
    raw, stretched = errors.tolist()
    return FastScores(float(_f(precision, recall).max()), raw / n, stretched / n)
