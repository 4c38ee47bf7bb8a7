"""Scores of saliency maps. Every reported number comes from pysodmetrics, the field's reference.

Conventions (each named in `Scores`): predictions are resized to the mask's own size (bilinear, on probabilities) and
quantised to 8 bits by rounding half up, masks are binarised at > 127, and pysodmetrics then stretches every prediction
to 0..1 (min-max), except for `MAE_raw`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import py_sod_metrics as psm
import torch
from PIL import Image
from py_sod_metrics.utils import prepare_data
from torch import Tensor

__all__ = ["Curves", "FastScores", "ImageScore", "Scores", "fast_scores"]

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
    count: int


class _Smeasure(psm.Smeasure):
    """A mask whose centre is in the last row or column leaves quadrants without pixels. Their weight is 0, but
    the library's mean over nothing is NaN."""

    def ssim(self, pred: np.ndarray, gt: np.ndarray) -> float:
        return super().ssim(pred, gt) if pred.size else 0.0


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


def to_bytes(probs: np.ndarray, height: int, width: int) -> np.ndarray:
    """Probabilities float32[h, w] as uint8[height, width]: what a saved map holds."""
    if probs.shape != (height, width):
        picture = Image.fromarray(np.ascontiguousarray(probs, np.float32))
        probs = np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))
    return np.floor(probs.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def score_image(name: str, pred: np.ndarray, mask: np.ndarray, *, quick: bool = False) -> ImageResult:
    """Score one 8-bit prediction uint8[H, W] against a mask uint8[H, W]."""
    binary = mask > 127  # pysodmetrics alone would cut at > 128
    pred_01, gt = prepare_data(pred, binary.astype(np.uint8) * 255)
    fmeasure = psm.FmeasureV2(
        {
            "precision": psm.PrecisionHandler(with_dynamic=True, with_adaptive=False),
            "recall": psm.RecallHandler(with_dynamic=True, with_adaptive=False),
            "f": psm.FmeasureHandler(with_dynamic=True, with_adaptive=True, beta=BETA2),
        }
    )
    mae, mae_raw = psm.MAE(), psm.MAE()
    fmeasure.step(pred_01, gt, normalize=False)
    mae.step(pred_01, gt, normalize=False)
    mae_raw.step(pred / 255.0, gt, normalize=False)
    weighted, structure, curve, adaptive = math.nan, math.nan, np.full(256, math.nan), math.nan
    if not quick:
        wfm, sm, em = psm.WeightedFmeasure(beta=1), _Smeasure(alpha=0.5), psm.Emeasure()
        for metric in (wfm, sm, em):
            metric.step(pred_01, gt, normalize=False)
        weighted, structure = wfm.get_results()["wfm"], sm.get_results()["sm"]
        curve, adaptive = em.get_results()["em"]["curve"], em.get_results()["em"]["adp"]
    results = fmeasure.get_results()
    return ImageResult(
        name=name,
        precision=results["precision"]["dynamic"],
        recall=results["recall"]["dynamic"],
        fmeasure=results["f"]["dynamic"],
        avgF=float(results["f"]["adaptive"]),
        wF=float(weighted),
        Sm=float(structure),
        Em=curve,
        Em_adp=float(adaptive),
        MAE=float(mae.get_results()["mae"]),
        MAE_raw=float(mae_raw.get_results()["mae"]),
    )


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
    return FastScores(float(_f(precision, recall).max()), mae / n, mae_raw / n, n)
