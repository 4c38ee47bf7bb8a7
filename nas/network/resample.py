"""The resampling steps of the genotype language, on tensors [B, C, H, W]."""

import torch
import torch.nn.functional as F

__all__ = ["resample"]


def resample(x: torch.Tensor, step: str, size: tuple[int, int]) -> torch.Tensor:
    """One step of `genotypes.vocabulary.RESAMPLES`; size: (H, W) of the destination, for bilinear and nearest.

    Pools that round down leave at least one pixel: MINet halves its coarsest feature, one pixel of a small photo.
    """
    if step in ("bilinear", "nearest"):
        if tuple(x.shape[-2:]) == tuple(size):
            return x  # both are the identity then; skipping them costs nothing and is exact
        corners = {"align_corners": False} if step == "bilinear" else {}
        return F.interpolate(x, size=size, mode=step, **corners)
    h, w = x.shape[-2:]
    if step == "avg2":
        return F.avg_pool2d(x, (min(2, h), min(2, w)))
    if step == "avg2_ceil":
        return F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)
    if step in ("max2", "max4"):
        k = int(step[3:])
        return F.max_pool2d(x, (min(k, h), min(k, w)))
    raise ValueError(f"unknown resampling {step!r}")
