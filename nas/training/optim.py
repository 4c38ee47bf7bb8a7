"""Optimisers and schedules, shared by search and retraining."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from math import cos, floor, pi
from typing import Any, Literal

import torch
from torch import nn

from genotypes import UserError
from genotypes.errors import check_least
from nas.run.graphs import capturable

__all__ = [
    "OptimConfig",
    "OptimGroup",
    "check_groups",
    "check_patterns",
    "load_optimizer",
    "make_optimizer",
    "schedule",
    "set_progress",
]


@dataclass(frozen=True, kw_only=True)
class OptimGroup:
    """Parameters that are updated differently.

    Attributes:
        match: regular expression; the parameters whose names begin with a match.
        lr: factor on the learning rate.
        weight_decay: factor on the weight decay, on norms and biases too; none leaves it as it is without the group.
    """

    match: str
    lr: float = 1.0
    weight_decay: float | None = None

    def __post_init__(self) -> None:
        check_patterns("optimiser: groups", (self.match,))
        check_least(self, f"optimiser: group {self.match!r}: ", lr=0, weight_decay=0)


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """How weights are updated.

    Attributes:
        name: the optimiser.
        lr: learning rate of the cells at the schedule's peak.
        backbone_lr: factor on `lr` for the backbone.
        momentum: of SGD.
        betas: of Adam and AdamW.
        weight_decay: decoupled for AdamW, coupled else; not on norms and biases.
        groups: parameters with a rate or decay of their own; a parameter takes the first that matches.
        schedule: how the learning rate falls; `steps` divides it by 10 at each milestone. A triangle, as F3Net's, is
            `linear` with a warmup of 0.5.
        milestones: shares of the training at which `steps` divides, rising.
        warmup: share of the steps in which it rises linearly from 0.
        stairs: after the warm-up the rate changes only so many times in a training, evenly: once an epoch for a number
            of epochs; 0: every step.
        clip: largest norm of the gradient; 0 for no limit.
    """

    name: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: float = 2e-3
    backbone_lr: float = 1.0
    momentum: float = 0.9
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 1e-4
    groups: tuple[OptimGroup, ...] = ()
    schedule: Literal["poly", "cosine", "linear", "constant", "steps"] = "poly"
    milestones: tuple[float, ...] = ()
    warmup: float = 0.04
    stairs: int = 0
    clip: float = 5.0

    def __post_init__(self) -> None:
        check_least(self, "optimiser: ", backbone_lr=0, weight_decay=0, clip=0, stairs=0)
        if self.lr <= 0:
            raise UserError(f"optimiser: lr must be positive, not {self.lr}")
        if not all(0 <= decay < 1 for decay in (*self.betas, self.momentum)):
            raise UserError(f"optimiser: betas and momentum are decays in 0..1, not {self.betas} and {self.momentum}")
        if not 0 <= self.warmup < 1:
            raise UserError(f"optimiser: warmup is a share of the steps in 0..1, not {self.warmup}")
        rising = list(self.milestones) == sorted(set(self.milestones)) and all(0 < m < 1 for m in self.milestones)
        if not rising or (self.schedule == "steps") != bool(self.milestones):
            expected = "rising shares in 0..1 with the schedule `steps`, none with another"
            raise UserError(f"optimiser: milestones are {expected}; not {self.milestones} with {self.schedule!r}")

    def unused(self) -> dict[str, str]:
        """See `nas.options.unused_of`."""
        return {"betas" if self.name == "sgd" else "momentum": f"{self.name} has none"}


def check_patterns(what: str, patterns: tuple[str, ...], net: nn.Module | None = None) -> None:
    """UserError, beginning with `what`, for a pattern that is no regular expression or matches no parameter."""
    for pattern in patterns:
        try:
            compiled = re.compile(pattern)
        except re.error as error:
            raise UserError(f"{what}: {pattern!r} is no regular expression: {error}") from None
        if net is not None and not any(compiled.match(name) for name, _ in net.named_parameters()):
            example = next(name for name, _ in net.named_parameters())
            raise UserError(
                f"{what}: {pattern!r} matches no parameter of this network; their names are like {example!r}"
            )


def check_groups(cfg: OptimConfig, net: nn.Module) -> None:
    """UserError for a group that matches no parameter."""
    check_patterns("optimiser: groups", tuple(rule.match for rule in cfg.groups), net)


def make_optimizer(net: nn.Module, cfg: OptimConfig, *, scaled: bool = False) -> torch.optim.Optimizer:
    """An optimiser with four groups: cells and backbone, each with and without weight decay; and those of `cfg.groups`.

    Norm scales and biases (parameters of one dimension) are not decayed: that would pull them from where data put them.
    scaled: a gradient scaler calls it, and it must leave out a step itself without a value read: that is fused, too.
    Raises UserError for a group that matches nothing.
    """
    check_groups(cfg, net)
    kinds: dict[tuple[int, bool, bool], list[nn.Parameter]] = {}
    module = getattr(net, "backbone", None)
    backbone = {id(p) for p in module.parameters()} if isinstance(module, nn.Module) else set()
    for name, p in net.named_parameters():
        number = next((i for i, group in enumerate(cfg.groups) if re.match(group.match, name)), -1)
        kinds.setdefault((number, id(p) in backbone, p.ndim < 2), []).append(p)
    captured = capturable(next(net.parameters()).device)
    groups = []
    for index, inside, vector in sorted(kinds):
        rule = cfg.groups[index] if index >= 0 else OptimGroup(match="")
        decay = (0.0 if vector else 1.0) if rule.weight_decay is None else rule.weight_decay
        lr = cfg.lr * rule.lr * (cfg.backbone_lr if inside else 1.0)
        params = kinds[index, inside, vector]
        rate = torch.tensor(lr, device=params[0].device) if captured else lr
        groups.append({"params": params, "lr": rate, "peak": lr, "weight_decay": cfg.weight_decay * decay})
    # On a GPU all that changes from step to step is a tensor, so that a step can be captured in one graph.
    fused = captured or scaled
    if cfg.name == "sgd":
        sgd = torch.optim.SGD(groups, momentum=cfg.momentum, fused=True if fused else None)
        if fused and cfg.momentum:  # it takes all buffers or none, and makes none in a first step that is left out
            for group in sgd.param_groups:
                for p in group["params"]:
                    sgd.state[p]["momentum_buffer"] = torch.zeros_like(p)
        return sgd
    kind = torch.optim.AdamW if cfg.name == "adamw" else torch.optim.Adam
    how: dict[str, bool] = {"fused": True, "capturable": captured} if fused else {"foreach": True}
    return kind(groups, betas=cfg.betas, **how)


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """`optimizer.load_state_dict(state)`, but a learning rate that is a tensor stays the tensor that it was."""
    rates = [group["lr"] for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        if isinstance(rate, torch.Tensor):
            group["lr"] = rate.fill_(float(group["lr"]))


def schedule(name: str, warmup: float, milestones: tuple[float, ...]) -> Callable[[float], float]:
    """A function of progress in [0, 1) that gives the factor on the learning rate, in [0, 1].

    poly: (1 - t)^0.9 (Liu et al., ParseNet, 2015); cosine: Loshchilov and Hutter, ICLR 2017; t: after the warm-up.
    steps: a tenth from each milestone on, which are shares of the whole.
    """
    shapes = {
        "poly": lambda t: (1 - t) ** 0.9,
        "cosine": lambda t: (1 + cos(pi * t)) / 2,
        "linear": lambda t: 1 - t,
        "constant": lambda t: 1.0,
    }

    def factor(progress: float) -> float:
        if progress < warmup:
            return progress / warmup
        if name == "steps":  # not worked back from t, which rounding may put before its milestone
            return 0.1 ** sum(progress >= milestone for milestone in milestones)
        return shapes[name]((progress - warmup) / (1 - warmup))

    return factor


def set_progress(optimizer: torch.optim.Optimizer, cfg: OptimConfig, progress: float) -> float:
    """Set every group's learning rate for `progress` in [0, 1); returns the factor."""
    if cfg.stairs and progress >= cfg.warmup:  # a rate that keeps the warm-up's 0 for an epoch trains nothing
        # The small number: a step that begins an epoch is not to fall below it by rounding.
        progress = max(cfg.warmup, floor(progress * cfg.stairs + 1e-9) / cfg.stairs)
    factor = schedule(cfg.schedule, cfg.warmup, cfg.milestones)(progress)
    for group in optimizer.param_groups:
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(group["peak"] * factor)
        else:
            group["lr"] = group["peak"] * factor
    return factor
