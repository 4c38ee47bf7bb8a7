"""`python -m retrain.prune`."""

import json
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

import genotypes
from genotypes import Genotype
from genotypes.errors import UserError, check_least
from genotypes.files import check_folder, write_text
from nas import cost
from nas.command import Command, as_started, run_command
from nas.network import Network, build, check_single_image, reestimate_norms
from nas.run import progress_bar
from nas.run.sizes import check_side
from nas.task import AugmentConfig, Batches, LossConfig, PhotoOptions
from nas.training import HeldOut
from retrain.networks import find_weights
from retrain.predictor import load, save
from retrain.prune import THRESHOLD, narrow_blocks, prune_channels
from retrain.recipe import Recipe
from retrain.train import TrainConfig, open_training

_MARK = "pruning.json"
_FILES = ("genotype.yaml", "weights.safetensors", _MARK)


@dataclass(frozen=True, kw_only=True)
class PruneConfig(PhotoOptions):
    """Which network to prune, and what to estimate its norm statistics on.

    Attributes:
        weights: weight file, or a name such as sod_s: a CSNet trained with dynamic decay, or with a budget a network
            whose backbone's blocks can be narrowed (mobilenet_v2, efficientnet_lite0 to 2).
        out: folder for what is left.
        threshold: the smallest norm scale that stays, of a CSNet.
        budget: what may be left of another network, in parameters or multiply-adds: its backbone's blocks are made
            narrower or left out, step by step, those first that change its maps least. Needs data.
        cost: what the budget counts.
        size: input side of the network that is left within a budget, in pixels; default its own.
        data: photographs of the training, NAME=DIR or DIR: all norm statistics are estimated anew on those that it
            trained on, and the held-out ones are scored (default: neither).
        batches: batches for the statistics.
        step_batches: batches that judge each step to a budget; each round of steps has others.
        batch_size: images at a time.
        held_out: share of the photographs that was held out.
        data_seed: of the split, as in training.
        device: cpu, cuda or auto.
    """

    weights: str = ""
    out: Path | None = None
    threshold: float = THRESHOLD
    budget: float | None = None
    cost: Literal["params", "macs"] = "macs"
    size: int | None = None
    data: str = ""
    batches: int = 50
    step_batches: int = 12
    batch_size: int = 16
    held_out: float = 0.1
    device: str = "cpu"

    def __post_init__(self) -> None:
        if not 0 <= self.threshold < 1:
            raise UserError(f"--threshold is a norm scale in 0..1, not {self.threshold}")
        check_least(self, "--", batches=1, step_batches=1, batch_size=1)
        if self.size is not None:
            check_side(self.size)
        if self.budget is None and self.size is not None:
            raise UserError("--size is of the network within a --budget; a CSNet keeps its own")
        if self.budget is not None and self.threshold != THRESHOLD:
            raise UserError("--threshold is for a CSNet's norm scales, --budget for other networks; give one of them")
        if self.budget is not None and not self.data:
            raise UserError("--budget needs --data: photographs show what can go")


COMMAND = Command(
    config=PruneConfig,
    name="retrain.prune",
    description="A trained network with less in it: a CSNet without the channels whose norm scales vanished (ECCV "
    "2020, section 3.3), or another with a narrower backbone, within a budget.",
    examples="""\
  python -m retrain.train --genotype csnet_x1 --recipe csnet --data DUTS-TR --out runs/x1
  python -m retrain.prune --weights runs/x1/weights.safetensors --data DUTS-TR -o runs/l_x1
  python -m retrain.train --genotype runs/l_x1/genotype.yaml --init runs/l_x1/weights.safetensors --data DUTS-TR

  python -m retrain.prune --weights sod_m --budget 100e6 --size 128 --data DUTS-TR -o runs/small""",
    notes="""
DIR/genotype.yaml and DIR/weights.safetensors are what is left; DIR/pruning.json holds all widths before and after.
Train on afterwards. A channel of a CSNet that is dropped still sent its shift on. Without --data the norms that read it
take that over, which is exact but at the borders of 3x3 convolutions. With --data all norm statistics are estimated
anew.""",
    first=("weights", "data", "out", "threshold", "budget", "cost", "size", "batches"),
    required=("weights", "out"),
)


def main(argv: Sequence[str] | None = None) -> None:
    options, _ = COMMAND.parse(argv)
    out = Path(options.out or "")
    check_folder(out, _FILES, mark=_MARK)
    if (own := out / "weights.safetensors").is_file() and own.samefile(find_weights(options.weights)):
        raise UserError(f"{own} is the network to prune; choose another -o")
    net = load(options.weights, options.device).network
    if options.data and options.batch_size == 1:
        check_single_image(net, options.size or net.genotype.input.size[0])
    if options.budget is None:
        small, before, after = prune_channels(net, options.threshold)
        photographs = _Photographs(net.genotype, options) if options.data else None
        by: dict[str, Any] = {"threshold": options.threshold}
    else:
        net = _for_size(net, options.size)
        photographs = _Photographs(net.genotype, options)
        small = _narrow(net, options, photographs)
        before, after = _hidden(net.genotype), _hidden(small.genotype)
        by = {"budget": options.budget, "cost": options.cost}
    document: dict[str, Any] = {"genotype": small.genotype.name} | by
    for stage, network in (("before", net), ("after", small)):
        counted = cost.count(network.genotype)
        document[stage] = {"params": counted.params, "macs": counted.macs, "size": list(counted.size)}
    if photographs:
        scores = {"before": photographs.scores(net)}
        if options.budget is None:  # else the steps have estimated them before
            scores["dropped"] = photographs.scores(small)
        reestimate_norms(small, photographs.statistics(options.batches))
        for stage, found in (scores | {"after": photographs.scores(small)}).items():
            document.setdefault(stage, {})["held_out"] = found
    document["widths"] = {way: [width, after[way]] for way, width in before.items()}
    save(out / "weights.safetensors", small)  # first: what the disk may have no room for
    write_text(out / _MARK, json.dumps(document, indent=1))
    genotypes.save(small.genotype, out / "genotype.yaml")
    _report(document, options, out)
    print(f"next    {_next(options, out, small)}")


class _Photographs:
    """Those that a training with the same options trains on, and those that it holds out."""

    def __init__(self, genotype: Genotype, options: PruneConfig) -> None:
        shared = {name: getattr(options, name) for name in ("limit", "cache", "held_out", "data_seed", "device")}
        recipe = Recipe(size=genotype.input.size[0])
        setup = open_training(TrainConfig(recipe=recipe, data=options.data, **shared), genotype=genotype)
        self.device, rows = setup.device, setup.held_out_rows
        self._batches = Batches(
            samples=setup.samples(setup.train_rows),
            batch_size=options.batch_size,
            augment=AugmentConfig(),
            seed=options.data_seed,
            stream="statistics",
        )
        self._held_out = HeldOut(samples=setup.samples(rows), loss=LossConfig(), chunk=options.batch_size)

    def statistics(self, batches: int) -> Iterator[Tensor]:
        """Inputs to estimate norm statistics from."""
        return (self._batches(step)[0] for step in range(batches))

    def scores(self, net: Network) -> dict[str, float]:
        found = self._held_out.score(net.to(self.device).eval())
        rounded = {name: round(found[name], 4) for name in ("maxF", "MAE_raw")}
        return rounded | {"images": len(self._held_out.samples.rows)}

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


def _narrow(net: Network, options: PruneConfig, photographs: _Photographs) -> Network:
    """The network within the budget; the bar counts what has gone of what must go."""
    assert options.budget is not None
    total = _spent(net.genotype, options)
    over = max(0, total - options.budget)
    with progress_bar(total=over, desc="pruned", unit=f" {options.cost}", unit_scale=True) as bar:
        tried, change = 0, photographs.judge(net, options.step_batches)

        def judge(network: Network, turn: int) -> float:
            nonlocal tried
            tried += 1
            bar.set_postfix_str(f"{tried} tried")
            return change(network, turn)

        def told(genotype: Genotype, changed: float) -> None:
            bar.set_postfix_str(f"{tried} tried, maps changed by {changed:.4f}")
            bar.update(min(over, total - _spent(genotype, options)) - bar.n)

        small = narrow_blocks(net, options.budget, judge, lambda genotype: _spent(genotype, options), told=told)
    name, why = f"{net.genotype.name}_narrow", f"{net.genotype.name} within {options.budget:,.10g} {options.cost}."
    small.genotype = small.genotype.replace(name=name, description=why)
    return small


def _spent(genotype: Genotype, options: PruneConfig) -> float:
    return float(getattr(cost.count(genotype), options.cost))


def _next(options: PruneConfig, out: Path, net: Network) -> str:
    """The command that trains on: at the size that the network is for, on the same photographs where there are some."""
    words = ["python", "-m", "retrain.train", "--genotype", str(out / "genotype.yaml")]
    words += ["--init", str(out / "weights.safetensors"), "--recipe.size", str(net.genotype.input.size[0])]
    if options.data:
        usual = PruneConfig()
        for name in ("data", "limit", "cache", "data_seed", "held_out", "device"):
            if (value := getattr(options, name)) != getattr(usual, name):
                words += [f"--{name}", str(value)]
    return as_started(shlex.join(words))


def _report(document: dict[str, Any], options: PruneConfig, out: Path) -> None:
    before, after = document["before"], document["after"]
    channels = [sum(widths) for widths in zip(*document["widths"].values(), strict=True)]
    print(f"pruned  {channels[1]} of {channels[0]} channels left")
    for key in ("params", "macs"):
        print(f"        {after[key]:,} of {before[key]:,} {key} ({after[key] / before[key]:.0%})")
    if before["params"] == after["params"]:
        if options.budget is None:
            print(f"note    no norm scale is below {options.threshold:g}: train longer, or with stronger dynamic_decay")
        else:
            print("note    the network was within the budget as it is")
    for name in ("before", "dropped", "after"):
        if s := document.get(name, {}).get("held_out"):
            print(f"scored  {name:<8}held-out ({s['images']}): maxF {s['maxF']:.4f}, MAE_raw {s['MAE_raw']:.4f}")
    print(f"saved   {out / 'weights.safetensors'} (genotype.yaml, pruning.json beside it)")


if __name__ == "__main__":
    sys.exit(run_command(main))
