"""One map's scores, by pysodmetrics, the field's reference: every reported number comes from there.

Conventions (each named in `Scores`): predictions are resized to the mask's own size (bilinear, on probabilities) and
quantised to 8 bits by rounding half up, masks are binarised at > 127, and pysodmetrics then stretches every prediction
to 0..1 (min-max), except for `MAE_raw`.

The library imports scipy and scikit-learn: import this module where maps are scored, not before.
"""

from __future__ import annotations

import math

import numpy as np
import py_sod_metrics as psm
from py_sod_metrics.utils import prepare_data

from nas.task.scores import BETA2, ImageResult

__all__ = ["score_image"]


class _Smeasure(psm.Smeasure):
    """A mask whose centre is in the last row or column leaves quadrants without pixels. Their weight is 0, but
    the library's mean over nothing is NaN."""

    def ssim(self, pred: np.ndarray, gt: np.ndarray) -> float:
        return super().ssim(pred, gt) if pred.size else 0.0


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
