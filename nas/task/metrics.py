"""One map's scores, by pysodmetrics, the field's reference: every reported number comes from there.

Conventions are those of a `Protocol`; pysodmetrics' own is to stretch every prediction to 0..1 (min-max).

The library imports scipy and scikit-learn: import this module where maps are scored, not before.
"""

from __future__ import annotations

import math

import numpy as np
import py_sod_metrics as psm
from py_sod_metrics.utils import prepare_data

from nas.task.protocol import Protocol
from nas.task.scores import BETA2, ImageResult

__all__ = ["score_image"]


class _Smeasure(psm.Smeasure):
    """A mask whose centre is in the last row or column leaves quadrants without pixels. Their weight is 0, but
    the library's mean over nothing is NaN."""

    def ssim(self, pred: np.ndarray, gt: np.ndarray) -> float:
        return super().ssim(pred, gt) if pred.size else 0.0


def score_image(
    name: str, pred: np.ndarray, mask: np.ndarray, *, quick: bool = False, protocol: Protocol | None = None
) -> ImageResult:
    """Score one 8-bit prediction uint8[H, W] against a mask uint8[H, W]; quick: without wF, Sm and Em."""
    protocol = protocol or Protocol()
    binary = protocol.cut_mask(mask)  # pysodmetrics alone would cut at > 128
    stretched, gt = prepare_data(pred, binary.astype(np.uint8) * 255)
    raw = pred / 255.0
    fmeasures = {}
    # The library floors value * 255: a raw value must not fall below its own level.
    for kind, values in (("stretched", stretched), ("raw", np.minimum(raw * (1 + 1e-12), 1))):
        fmeasure = psm.FmeasureV2(
            {
                "precision": psm.PrecisionHandler(with_dynamic=True, with_adaptive=False),
                "recall": psm.RecallHandler(with_dynamic=True, with_adaptive=False),
                "f": psm.FmeasureHandler(with_dynamic=True, with_adaptive=True, beta=BETA2),
            }
        )
        fmeasure.step(values, gt, normalize=False)
        fmeasures[kind] = fmeasure.get_results()
    target = mask / 255.0 if protocol.mae_mask == "grey" else gt
    chosen = stretched if protocol.maps == "stretched" else raw
    weighted, structure, curve, adaptive = math.nan, math.nan, np.full(256, math.nan), math.nan
    if not quick:
        wfm, sm, em = psm.WeightedFmeasure(beta=1), _Smeasure(alpha=0.5), psm.Emeasure()
        for metric in (wfm, sm, em):
            metric.step(chosen, gt, normalize=False)
        weighted, structure = wfm.get_results()["wfm"], sm.get_results()["sm"]
        curve, adaptive = em.get_results()["em"]["curve"], em.get_results()["em"]["adp"]
    return ImageResult(
        name=name,
        precision=fmeasures["stretched"]["precision"]["dynamic"],
        recall=fmeasures["stretched"]["recall"]["dynamic"],
        fmeasure=fmeasures["stretched"]["f"]["dynamic"],
        precision_raw=fmeasures["raw"]["precision"]["dynamic"],
        recall_raw=fmeasures["raw"]["recall"]["dynamic"],
        fmeasure_raw=fmeasures["raw"]["f"]["dynamic"],
        avgF=float(fmeasures[protocol.maps]["f"]["adaptive"]),
        wF=float(weighted),
        Sm=float(structure),
        Em=curve,
        Em_adp=float(adaptive),
        MAE_raw=float(np.abs(raw - target).mean()),
        MAE_stretched=float(np.abs(stretched - target).mean()),
    )
