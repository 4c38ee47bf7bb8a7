"""How a genotype is scored before anything is retrained: with the supernet's weights, or by a short training."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from nas.command import to_dict
from nas.network import Network, build
from nas.optim import descend, make_optimizer, set_progress
from nas.run import seeded
from nas.search.config import SearchConfig
from nas.search.held_out import judge, score_held_out
from nas.search.inputs import Inputs
from nas.task import multi_output_loss
from nas.trials import Report

__all__ = ["Scorer", "make_scorer", "scored"]

# (choices, report) -> loss, maxF and MAE on the held-out part
Scorer = Callable[[Mapping[str, str], Report], dict[str, float]]
_REPORTS = 4  # intermediate values of a short training, for pruners


def make_scorer(cfg: SearchConfig, net: Network, inputs: Inputs, *, inherited: bool) -> Scorer:
    """The scorer of a search. inherited: with the weights of `net`, a trained supernet."""
    if inherited:
        return lambda choices, report: judge(net, choices, inputs, cfg)
    return lambda choices, report: _train_briefly(cfg, inputs, choices, report)


def _train_briefly(cfg: SearchConfig, inputs: Inputs, choices: Mapping[str, str], report: Report) -> dict[str, float]:
    """Train a genotype's own network for `score_steps` steps on the weights' share of the photographs."""
    with seeded(cfg.seed):
        net = build(inputs.space.decide(choices), cfg.backbone_weights)
    net = net.to(inputs.device, memory_format=torch.channels_last)
    optimizer = make_optimizer(net, cfg.optim)
    scores: dict[str, float] = {}
    for step in range(cfg.score_steps):
        set_progress(optimizer, cfg.optim, step / cfg.score_steps)
        x, y = inputs.train(step)
        net.train()
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=cfg.precision == "bf16"):
            outputs = net(x)
        loss = multi_output_loss(outputs, y, cfg.loss)
        if not torch.isfinite(loss):
            return {"loss": math.inf, "maxF": 0.0, "MAE": 1.0}  # this genotype diverges: a score like any other
        descend(loss, net, optimizer, cfg.optim)
        if (step + 1) * _REPORTS // cfg.score_steps > step * _REPORTS // cfg.score_steps:
            scores = score_held_out(net, None, inputs, cfg)
            report(step + 1, scores["loss"])
    return scores


def scored(cfg: SearchConfig, inputs: Inputs) -> str:
    """What distinguishes these scores from others of the same space: workers with equal ones share a study."""
    config = to_dict(cfg)
    for name in ("out", "trials", "rivals", "cache", "device", "guard", "budget", "cost_weight"):
        config.pop(name)  # other scores they do not make
    config["data"] = [inputs.photos.name, len(inputs.photos)]
    if inputs.objective and inputs.objective.table.kind == "latency":
        config["latencies"] = inputs.objective.to_json()  # milliseconds of two machines must not meet in one study
    for name in ("backbone_weights", "start_from"):  # each machine has its own path to them
        config[name] = config[name] and Path(config[name]).name
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:12]
