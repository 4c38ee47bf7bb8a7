"""One map's scores, by the formulas of pysodmetrics, the field's reference.

Conventions are those of a `Protocol`; pysodmetrics' own is to stretch every prediction to 0..1 (min-max).

The library imports scipy and scikit-learn: import this module where maps are scored, not before.
"""

import math
from typing import NamedTuple

import numpy as np
import py_sod_metrics as psm

from nas.task.protocol import Protocol
from nas.task.scores import BETA2, ImageResult

__all__ = ["score_image"]

_PRECISION, _RECALL = psm.PrecisionHandler(True, False), psm.RecallHandler(True, False)
_F = psm.FmeasureHandler(True, True, beta=BETA2)


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
    gt = protocol.cut_mask(mask)  # pysodmetrics alone would cut at > 128
    inside, total = np.bincount(pred[gt], minlength=256), np.bincount(pred.ravel(), minlength=256)
    raw = np.arange(256) / 255  # what each level means
    low, high = raw[pred.min()], raw[pred.max()]
    stretched = ((raw - low) / (high - low)).clip(0, 1) if high > low else raw
    # The library floors value * 255: a raw value must not fall below its own level.
    floored = {"raw": np.minimum(raw * (1 + 1e-12), 1), "stretched": stretched}
    found = {maps: _fmeasures(values, inside, total - inside) for maps, values in floored.items()}
    weighted, structure, curve, adaptive = math.nan, math.nan, np.full(256, math.nan), math.nan
    if not quick:
        values = (stretched if protocol.maps == "stretched" else raw)[pred]
        wfm, sm, em = psm.WeightedFmeasure(beta=1), _Smeasure(alpha=0.5), psm.Emeasure()
        for metric in (wfm, sm, em):
            metric.step(values, gt, normalize=False)
        weighted, structure = wfm.get_results()["wfm"], sm.get_results()["sm"]
        curve, adaptive = em.get_results()["em"]["curve"], em.get_results()["em"]["adp"]

    def mae(values: np.ndarray) -> float:
        if protocol.mae_mask == "grey":
            return float(np.abs(values[pred] - mask / 255.0).mean())
        return float(((total - inside) @ values + inside @ (1 - values)) / pred.size)

    return ImageResult(
        name=name,
        precision=found["stretched"].precision,
        recall=found["stretched"].recall,
        fmeasure=found["stretched"].fmeasure,
        precision_raw=found["raw"].precision,
        recall_raw=found["raw"].recall,
        fmeasure_raw=found["raw"].fmeasure,
        avgF=found[protocol.maps].adaptive,
        wF=float(weighted),
        Sm=float(structure),
        Em=curve,
        Em_adp=float(adaptive),
        MAE_raw=mae(raw),
        MAE_stretched=mae(stretched),
    )


class _Fmeasures(NamedTuple):
    """Over "value >= 255, 254, ..., 0", and at twice the mean value."""

    precision: np.ndarray
    recall: np.ndarray
    fmeasure: np.ndarray
    adaptive: float


def _fmeasures(values: np.ndarray, inside: np.ndarray, outside: np.ndarray) -> _Fmeasures:
    """As `psm.FmeasureV2`, of what each of 256 levels means and how many pixels of object and background have it.

    The library sorts all pixels in each of its histograms.
    """
    bins = (values * 255).astype(int)
    counts = {}
    for kind, pixels in (("tp", inside), ("fp", outside)):
        counts[kind] = np.cumsum(np.bincount(bins, pixels, minlength=256)[::-1])
    above = values >= min(2 * ((inside + outside) @ values) / (inside.sum() + outside.sum()), 1)
    adaptive = {"tp": inside[above].sum(), "fp": outside[above].sum()}
    counts, adaptive = ({**c, "fn": inside.sum() - c["tp"], "tn": outside.sum() - c["fp"]} for c in (counts, adaptive))
    return _Fmeasures(_PRECISION(**counts), _RECALL(**counts), _F(**counts), float(_F(**adaptive)))
