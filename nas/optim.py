"""Optimisers and schedules, shared by search and retraining."""

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, pi
from typing import Literal

import torch
from torch import nn

from genotypes import UserError

__all__ = ["OptimConfig", "make_optimizer", "schedule", "set_progress"]


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """How weights are updated.

    Attributes:
        name: the optimiser.
        lr: learning rate of the cells at the schedule's peak.
        backbone_lr: factor on `lr` for the backbone.
        momentum: of SGD; Adam and AdamW use 0.9 and 0.999.
        weight_decay: decoupled for AdamW, coupled else; not on norms and biases.
        schedule: how the learning rate falls.
        warmup: share of the steps in which it rises linearly from 0.
        clip: largest norm of the gradient; 0 for no limit.
    """

    name: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: float = 2e-3
    backbone_lr: float = 1.0
    momentum: float = 0.9
    weight_decay: float = 1e-4
    schedule: Literal["poly", "cosine", "constant"] = "poly"
    warmup: float = 0.04
    clip: float = 5.0

    def __post_init__(self) -> None:
        if self.lr <= 0 or self.backbone_lr < 0 or self.weight_decay < 0 or self.clip < 0:
            raise UserError("optimiser: lr must be positive; backbone_lr, weight_decay and clip not negative")
        if not 0 <= self.warmup < 1:
            raise UserError(f"optimiser: warmup is a share of the steps in 0..1, not {self.warmup}")


def make_optimizer(net: nn.Module, cfg: OptimConfig) -> torch.optim.Optimizer:
    """An optimiser with four groups: cells and backbone, each with and without weight decay.

    Norm scales and biases (parameters of one dimension) are not decayed: that would pull them from where data put them.
    """
    groups = []
    backbone = {id(p) for p in net.backbone.parameters()} if getattr(net, "backbone", None) is not None else set()
    for inside, factor in ((False, 1.0), (True, cfg.backbone_lr)):
        for vector, decay in ((False, cfg.weight_decay), (True, 0.0)):
            params = [p for p in net.parameters() if (id(p) in backbone) == inside and (p.ndim < 2) == vector]
            if params:
                groups.append({"params": params, "lr": cfg.lr * factor, "peak": cfg.lr * factor, "weight_decay": decay})
    if cfg.name == "sgd":
        return torch.optim.SGD(groups, momentum=cfg.momentum)
    return {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[cfg.name](groups, foreach=True)


def schedule(name: str, warmup: float) -> Callable[[float], float]:
    """A function of progress in [0, 1) that gives the factor on the learning rate, in [0, 1].

    poly: (1 - t)^0.9 (Liu et al., ParseNet, 2015); cosine: Loshchilov and Hutter, ICLR 2017; t: after the warm-up.
    """
    shapes = {"poly": lambda t: (1 - t) ** 0.9, "cosine": lambda t: (1 + cos(pi * t)) / 2, "constant": lambda t: 1.0}

    def factor(progress: float) -> float:
        if progress < warmup:
            return progress / warmup
        return shapes[name]((progress - warmup) / (1 - warmup))

    return factor


def set_progress(optimizer: torch.optim.Optimizer, cfg: OptimConfig, progress: float) -> float:
    """Set every group's learning rate for `progress` in [0, 1); returns the factor."""
    factor = schedule(cfg.schedule, cfg.warmup)(progress)
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factor
    return factor
