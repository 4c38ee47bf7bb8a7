"""The guard against collapse: notices a differentiable search that runs into degenerate genotypes, and stops it."""

from nas.guard.curvature import dominant_eigenvalue
from nas.guard.rule import CollapseGuard, GuardConfig, Stop, shares

__all__ = ["CollapseGuard", "GuardConfig", "Stop", "dominant_eigenvalue", "shares"]
