"""Scores of a data set: what they are called, how images' results become them, and fast ones while a network trains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

__all__ = ["BETA2", "Curves", "FastScores", "ImageResult", "ImageScore", "Scores", "fast_scores", "merge"]

BETA2 = 0.3


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What papers report, over one data set.

    Attributes:
        maxF: F (beta² = 0.3) of precision and recall averaged over the data set, at the best of 256 thresholds.
        maxF_img: the images' F averaged at each threshold, at the best one.
        avgF: F at the adaptive threshold (twice the prediction's mean), averaged over images.
        wF: weighted F (Margolin 2014), beta² = 1.
        Sm: structure measure, alpha = 0.5.
        Em_max, Em_mean, Em_adp: enhanced alignment: best and mean threshold, and adaptive threshold.
        MAE: mean absolute error of predictions stretched to 0..1 (pysodmetrics' convention).
        MAE_raw: the same without stretching.
        count: images.

    wF, Sm and Em are NaN after a quick evaluation.
    """

    maxF: float
    maxF_img: float
    avgF: float
    wF: float
    Sm: float
    Em_max: float
    Em_mean: float
    Em_adp: float
    MAE: float
    MAE_raw: float
    count: int


@dataclass(frozen=True, kw_only=True)
class Curves:
    """float64[256] each, over thresholds 255, 254, ..., 0: precision and recall averaged over images, their F, and the
    images' averaged F (`F_img`) and enhanced alignment (`Em`, NaN after a quick evaluation)."""

    precision: np.ndarray
    recall: np.ndarray
    F: np.ndarray
    F_img: np.ndarray
    Em: np.ndarray


class ImageScore(NamedTuple):
    """One image's row: to find the worst."""

    name: str
    MAE_raw: float
    avgF: float


class FastScores(NamedTuple):
    """What `fast_scores` gives; the conventions of `Scores`."""

    maxF: float
    MAE: float
    MAE_raw: float


class ImageResult(NamedTuple):
    """All that pysodmetrics says of one image; data set scores are means over these, in the images' order."""

    name: str
    precision: np.ndarray
    recall: np.ndarray
    fmeasure: np.ndarray
    avgF: float
    wF: float
    Sm: float
    Em: np.ndarray
    Em_adp: float
    MAE: float
    MAE_raw: float


def merge(results: Sequence[ImageResult]) -> tuple[Scores, Curves]:
    """Means over images. The order of `results` decides the last bit, so callers keep the data set's order."""

    def mean(field: str) -> np.ndarray:
        return np.mean(np.array([getattr(r, field) for r in results], dtype=np.float64), axis=0)

    curves = Curves(
        precision=mean("precision"),
        recall=mean("recall"),
        F=_f(mean("precision"), mean("recall")),
        F_img=mean("fmeasure"),
        Em=mean("Em"),
    )
    scores = Scores(
        maxF=float(curves.F.max()),
        maxF_img=float(curves.F_img.max()),
        avgF=float(mean("avgF")),
        wF=float(mean("wF")),
        Sm=float(mean("Sm")),
        Em_max=float(curves.Em.max()),
        Em_mean=float(curves.Em.mean()),
        Em_adp=float(mean("Em_adp")),
        MAE=float(mean("MAE")),
        MAE_raw=float(mean("MAE_raw")),
        count=len(results),
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
    n, sums = len(probs), torch.zeros(2, 256, dtype=torch.float64, device=probs.device)
    mae = mae_raw = 0.0
    for p, g in zip(probs.split(chunk), masks.split(chunk), strict=True):
        gt = (g > 127 if g.dtype == torch.uint8 else g > 0.5).flatten(1)
        p = torch.floor(p.detach().float().flatten(1).clamp(0, 1) * 255 + 0.5).double() / 255
        mae_raw += (p - gt.double()).abs().mean(1).sum().item()
        low, high = p.amin(1, keepdim=True), p.amax(1, keepdim=True)
        p = torch.where(high > low, (p - low) / (high - low).clamp(min=1e-12), p)
        mae += (p - gt.double()).abs().mean(1).sum().item()
        bins = (p * 255).long() + 256 * torch.arange(len(p), device=p.device)[:, None]
        counts = torch.bincount(bins.flatten(), minlength=256 * len(p)).view(-1, 256)
        hits = torch.bincount(bins[gt], minlength=256 * len(p)).view(-1, 256)
        chosen, right = counts.flip(1).cumsum(1).double(), hits.flip(1).cumsum(1).double()
        sums[0] += (right / chosen.clamp(min=1)).sum(0)
        sums[1] += (right / gt.sum(1, keepdim=True).clamp(min=1)).sum(0)
    precision, recall = (sums / n).cpu().numpy()
    return FastScores(float(_f(precision, recall).max()), mae / n, mae_raw / n)
