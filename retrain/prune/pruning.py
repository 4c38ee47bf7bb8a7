"""A network with less in it, its norm statistics estimated anew; counted and scored before and after."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genotypes import Genotype
from nas import cost
from nas.network import Network, build, reestimate_norms
from nas.run import progress_bar
from nas.task import AugmentConfig, Batches, LossConfig
from nas.training import HeldOut
from retrain.prune.blocks import narrow_blocks
from retrain.prune.channels import prune_channels
from retrain.prune.config import PruneConfig
from retrain.recipe import Recipe
from retrain.train import TrainConfig, open_training

__all__ = ["prune"]

_PICTURES = 6  # photographs in the strip of predictions


def prune(net: Network, cfg: PruneConfig) -> tuple[Network, dict[str, Any], np.ndarray | None]:
    """The network with less in it; what there is to say of both, pruning.json's document; and some maps of both.

    The maps, of held-out photographs where there are any: uint8[4 S, n S, 3], as `_Photographs.strip`.

    Raises UserError for a network or a budget that does not suit, and for photographs that cannot be used.
    """
    by: dict[str, Any]
    if cfg.budget is None:
        small, before, after = prune_channels(net, cfg.threshold)
        photographs = _Photographs(net.genotype, cfg) if cfg.data else None
        by = {"threshold": cfg.threshold}
    else:
        net = _for_size(net, cfg.size)
        photographs = _Photographs(net.genotype, cfg)
        small, rounds = _narrow(net, cfg, photographs)
        before, after = _hidden(net.genotype), _hidden(small.genotype)
        by = {"budget": cfg.budget, "cost": cfg.cost, "rounds": rounds}
    document: dict[str, Any] = {"genotype": small.genotype.name} | by
    for stage, network in (("before", net), ("after", small)):
        counted = cost.count(network.genotype)
        document[stage] = {"params": counted.params, "macs": counted.macs, "size": list(counted.size)}
    if photographs:
        scores = {"before": photographs.scores(net)}
        if cfg.budget is None:  # else the steps have estimated them before
            scores["dropped"] = photographs.scores(small)
        if before != after:  # what lost nothing keeps the statistics of its training
            reestimate_norms(small, photographs.statistics(cfg.batches))
        for stage, found in (scores | {"after": photographs.scores(small)}).items():
            document.setdefault(stage, {})["held_out"] = found
    document |= {"widths": {path: [width, after[path]] for path, width in before.items()}}
    return small, document, photographs.strip(net, small) if photographs else None


class _Photographs:
    """Those that a training with the same cfg trains on, and those that it holds out."""

    def __init__(self, genotype: Genotype, cfg: PruneConfig) -> None:
        shared = {name: getattr(cfg, name) for name in ("limit", "cache", "held_out", "data_seed", "device")}
        recipe = Recipe(size=genotype.input.size[0])
        setup = open_training(TrainConfig(recipe=recipe, data=cfg.data, **shared), genotype=genotype)
        self.device, rows = setup.device, setup.held_out_rows
        self._batches = Batches(
            samples=setup.samples(setup.train_rows),
            batch_size=cfg.batch_size,
            augment=AugmentConfig(),
            seed=cfg.data_seed,
            stream="statistics",
        )
        self._held_out = HeldOut(samples=setup.samples(rows), loss=LossConfig(), chunk=cfg.batch_size)

    def statistics(self, batches: int) -> Iterator[Tensor]:
        """Inputs to estimate norm statistics from."""
        return (self._batches(step)[0] for step in range(batches))

    def scores(self, net: Network) -> dict[str, float]:
        found = self._held_out.score(net.to(self.device).eval())
        rounded = {name: round(found[name], 4) for name in ("maxF", "MAE_raw")}
        return rounded | {"images": len(self._held_out.samples.rows)}

    @torch.no_grad()
    def strip(self, *networks: Network) -> np.ndarray:
        """uint8[(2 + networks) S, n S, 3]: some held-out photographs, their masks, and the maps of each network."""
        samples = self._held_out.samples
        rows = samples.rows[:_PICTURES]
        x, _ = samples.inputs(rows)
        strips = [samples.photos.strip(rows, net.to(self.device).eval()(x)[0].sigmoid()) for net in networks]
        return np.vstack([strips[0], *(np.split(strip, 3)[-1] for strip in strips[1:])])

    def judge(self, whole: Network, count: int) -> Callable[[Network, int], float]:
        """How far a network's maps lie from the whole one's, its norm statistics estimated anew.

        On `count` batches of the training for each turn, others every time. (Not the growth of its error: of so few
        photographs that is mostly chance.)
        """
        known: dict[int, list[tuple[Tensor, Tensor]]] = {}

        @torch.no_grad()
        def change(network: Network, turn: int) -> float:
            if turn not in known:
                inputs = [self._batches(turn * count + index)[0] for index in range(count)]
                known.clear()
                known[turn] = [(x, whole.to(self.device).eval()(x)[0].sigmoid()) for x in inputs]
            reestimate_norms(network.to(self.device), (x for x, _ in known[turn]))
            return sum(float((network(x)[0].sigmoid() - y).abs().mean()) for x, y in known[turn]) / count

        return change


def _for_size(net: Network, side: int | None) -> Network:
    """The same weights in a genotype of another input size."""
    if side is None:
        return net
    again = build(net.genotype.replace(input=replace(net.genotype.input, size=(side, side))))
    again.load_state_dict(net.state_dict())
    return again.eval()


def _hidden(genotype: Genotype) -> dict[str, int]:
    backbone = genotype.backbone
    return {f"backbone.widths.{block}": width for block, width in enumerate(backbone.hidden if backbone else ())}


def _narrow(net: Network, cfg: PruneConfig, photographs: _Photographs) -> tuple[Network, list[dict[str, float]]]:
    """The network within the budget, and what each round came to; the bar counts what has gone of what must go."""
    assert cfg.budget is not None
    rounds: list[dict[str, float]] = []
    total = _spent(net.genotype, cfg)
    over = total - cfg.budget
    if over <= 0:
        return net, rounds
    with progress_bar(total=over, desc="pruned", unit=f" {cfg.cost}", unit_scale=True) as bar:
        tried, change = 0, photographs.judge(net, cfg.step_batches)

        def judge(network: Network, turn: int) -> float:
            nonlocal tried
            tried += 1
            bar.set_postfix_str(f"{tried} tried")
            return change(network, turn)

        def report(genotype: Genotype, changed: float) -> None:
            rounds.append({cfg.cost: _spent(genotype, cfg), "change": changed})
            bar.set_postfix_str(f"{tried} tried, maps changed by {changed:.4f}")
            bar.update(min(over, total - _spent(genotype, cfg)) - bar.n)

        small = narrow_blocks(net, cfg.budget, judge, lambda genotype: _spent(genotype, cfg), report=report)
    name, why = f"{net.genotype.name}_narrow", f"{net.genotype.name} within {cfg.budget:,.10g} {cfg.cost}."
    small.genotype = small.genotype.replace(name=name, description=why)
    return small, rounds


def _spent(genotype: Genotype, cfg: PruneConfig) -> float:
    return float(getattr(cost.count(genotype), cfg.cost))
