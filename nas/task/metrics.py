"""One map's scores, by the formulas of pysodmetrics, the field's reference.

Conventions are those of a `Protocol`; pysodmetrics' own is to stretch every prediction to 0..1 (min-max).

The library imports OpenCV, scipy and scikit-image: import this module where maps are scored, not before.
"""

import math
import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import NamedTuple

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter

from nas.task.protocol import Protocol
from nas.task.scores import BETA2, ImageResult

__all__ = ["score_image"]


def _modules(package: str, *names: str) -> list[ModuleType]:
    """Modules of a package, without its own code where it has not run yet; sys.modules is left as it was.

    pysodmetrics' imports scikit-learn, a second at the start of each command, for a measure that nobody takes here.
    """
    loaded = package in sys.modules
    if not loaded:
        spec = find_spec(package)
        assert spec is not None  # a requirement of ours
        sys.modules[package] = module_from_spec(spec)  # where to look for the modules is all that it knows
    try:
        return [import_module(f"{package}.{name}") for name in names]
    finally:
        if not loaded:  # whoever imports the package gets it whole
            for name in [name for name in sys.modules if name.partition(".")[0] == package]:
                del sys.modules[name]


_fmeasure, _sod = _modules("py_sod_metrics", "fmeasurev2", "sod_metrics")
_PRECISION, _RECALL = _fmeasure.PrecisionHandler(True, False), _fmeasure.RecallHandler(True, False)
_F = _fmeasure.FmeasureHandler(True, True, beta=BETA2)
_EPS = np.spacing(1)  # the library's


class _Smeasure(_sod.Smeasure):  # type: ignore[name-defined]
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
    means = {"raw": raw, "stretched": stretched}
    found = {maps: _fmeasures(levels, inside, total - inside) for maps, levels in means.items()}
    weighted, structure, curve, adaptive = math.nan, math.nan, np.full(256, math.nan), math.nan
    if not quick:
        levels = means[protocol.maps]
        values = levels[pred]
        weighted, structure = _weighted_fmeasure(values, gt), _Smeasure(alpha=0.5).cal_sm(values, gt)
        curve, adaptive = _emeasures(levels, inside, total - inside, values, gt)

    def mae(levels: np.ndarray) -> float:
        if protocol.mae_mask == "grey":
            return float(np.abs(levels[pred] - mask / 255.0).mean())
        return float(((total - inside) @ levels + inside @ (1 - levels)) / pred.size)

    return ImageResult(
        name=name,
        precision=found["stretched"].precision,
        recall=found["stretched"].recall,
        fmeasure=found["stretched"].fmeasure,
        precision_raw=found["raw"].precision,
        recall_raw=found["raw"].recall,
        fmeasure_raw=found["raw"].fmeasure,
        avgF=found[protocol.maps].adaptive,
        wF=weighted,
        Sm=float(structure),
        Em=curve,
        Em_adp=adaptive,
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
    counts = dict(zip(("tp", "fp"), _at_least(values, inside, outside), strict=True))
    above = values >= min(2 * ((inside + outside) @ values) / (inside.sum() + outside.sum()), 1)
    adaptive = {"tp": inside[above].sum(), "fp": outside[above].sum()}
    counts, adaptive = ({**c, "fn": inside.sum() - c["tp"], "tn": outside.sum() - c["fp"]} for c in (counts, adaptive))
    return _Fmeasures(_PRECISION(**counts), _RECALL(**counts), _F(**counts), float(_F(**adaptive)))


def _at_least(values: np.ndarray, *pixels: np.ndarray) -> list[np.ndarray]:
    """How many of these pixels have at least the value 255, 254, ..., 0."""
    bins = (values * 255).astype(int)
    return [np.cumsum(np.bincount(bins, each, minlength=256)[::-1]) for each in pixels]


def _emeasures(
    levels: np.ndarray, inside: np.ndarray, outside: np.ndarray, values: np.ndarray, gt: np.ndarray
) -> tuple[np.ndarray, float]:
    """As `psm.Emeasure`: the curve, of counts as in `_fmeasures`, and the adaptive one."""
    em = _sod.Emeasure()
    em.gt_fg_numel, em.gt_size = int(inside.sum()), gt.size
    hits, misses = _at_least(levels, inside, outside)
    above = hits + misses
    if em.gt_fg_numel == 0:
        aligned = gt.size - above
    elif em.gt_fg_numel == gt.size:
        aligned = above
    else:
        parts = em.generate_parts_numel_combinations(hits, misses, above, gt.size - above)
        aligned = sum(
            count * (2 * a * b / (a**2 + b**2 + _EPS) + 1) ** 2 / 4 for count, (a, b) in zip(*parts, strict=True)
        )
    # The library divides by the pixels less one, which of a single pixel is nothing.
    library, divisor = gt.size - 1 + _EPS, max(gt.size - 1, 1)
    return aligned / divisor, float(em.cal_adaptive_em(values, gt)) * (library / divisor)


def _weighted_fmeasure(values: np.ndarray, gt: np.ndarray) -> float:
    """As `psm.WeightedFmeasure(beta=1)`, without what has no effect (Margolin et al., CVPR 2014, section 4).

    Errors are smoothed for the object's pixels alone, and weights by distance are the background's alone.
    """
    if not gt.any():
        return 0.0
    error = np.abs(values - gt)
    distance, nearest = distance_transform_edt(~gt, return_indices=True)
    rows, cols = (np.flatnonzero(gt.any(axis)) for axis in (1, 0))
    around = slice(max(rows[0] - 3, 0), rows[-1] + 4), slice(max(cols[0] - 3, 0), cols[-1] + 4)
    # In the background the error of the nearest pixel of the object, so that its edge is smoothed by its own errors.
    smooth = gaussian_filter(error[tuple(nearest[(slice(None), *around)])], sigma=5, radius=3, mode="constant")
    inside = np.minimum(error[around], smooth)[gt[around]]
    outside = error[~gt] * (2 - np.exp(math.log(0.5) / 5 * distance[~gt]))
    hits = inside.size - inside.sum()
    precision, recall = hits / (hits + outside.sum() + _EPS), 1 - inside.mean()
    return float(2 * recall * precision / (recall + precision + _EPS))
