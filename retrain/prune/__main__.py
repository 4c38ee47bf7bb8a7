"""`python -m retrain.prune`."""

import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import genotypes
from genotypes.errors import UserError, check_least
from genotypes.files import check_folder, write_text
from nas import cost
from nas.command import Command, run_command
from nas.network import Network, reestimate_norms
from nas.task import AugmentConfig, Batches, LossConfig, PhotoOptions
from nas.training import HeldOut
from retrain.predictor import load, save
from retrain.prune import THRESHOLD, prune_channels
from retrain.recipe import Recipe
from retrain.train import TrainConfig, open_training

_FILES = ("genotype.yaml", "weights.safetensors", "pruning.json")


@dataclass(frozen=True, kw_only=True)
class PruneConfig(PhotoOptions):
    """Which network to prune, and what to estimate its norm statistics on.

    Attributes:
        weights: weight file of a CSNet, trained with dynamic decay.
        out: folder for what is left.
        threshold: the smallest norm scale that stays.
        data: photographs of the training, NAME=DIR or DIR: all norm statistics are estimated anew on those that it
            trained on, and the held-out ones are scored (default: neither).
        batches: batches for the statistics.
        batch_size: images at a time.
        held_out: share of the photographs that was held out.
        data_seed: of the split, as in training.
        device: cpu, cuda or auto.
    """

    weights: str = ""
    out: Path | None = None
    threshold: float = THRESHOLD
    data: str = ""
    batches: int = 50
    batch_size: int = 16
    held_out: float = 0.1
    device: str = "cpu"

    def __post_init__(self) -> None:
        if not 0 <= self.threshold < 1:
            raise UserError(f"--threshold is a norm scale in 0..1, not {self.threshold}")
        check_least(self, "--", batches=1, batch_size=1)


COMMAND = Command(
    config=PruneConfig,
    name="retrain.prune",
    description="Drop the channels of a trained CSNet whose norm scales vanished (ECCV 2020, section 3.3).",
    examples="""\
  python -m retrain.train --genotype csnet_x1 --recipe csnet --data DUTS-TR --out runs/x1
  python -m retrain.prune --weights runs/x1/weights.safetensors --data DUTS-TR -o runs/l_x1
  python -m retrain.train --genotype runs/l_x1/genotype.yaml --init runs/l_x1/weights.safetensors --data DUTS-TR""",
    notes="""
DIR/genotype.yaml and DIR/weights.safetensors are the network of the channels left; DIR/pruning.json holds all widths
before and after. A channel that is dropped still sent its shift on. Without --data the norms that read it take that
over, which is exact but at the borders of 3x3 convolutions. With --data all norm statistics are estimated anew.""",
    first=("weights", "data", "out", "threshold", "batches"),
    required=("weights", "out"),
)


def main(argv: Sequence[str] | None = None) -> None:
    options, _ = COMMAND.parse(argv)
    out = Path(options.out or "")
    check_folder(out, _FILES)
    net = load(options.weights, options.device).network
    pruned = prune_channels(net, options.threshold)
    document: dict[str, Any] = {"genotype": pruned.net.genotype.name, "threshold": options.threshold}
    for stage, network in (("before", net), ("after", pruned.net)):
        counted = cost.count(network.genotype)
        document[stage] = {"params": counted.params, "macs": counted.macs, "size": list(counted.size)}
    if options.data:
        scores = _restate(net, pruned.net, options)
        for stage, found in scores.items():
            document.setdefault(stage, {})["held_out"] = found
    document["widths"] = {way: [width, pruned.after[way]] for way, width in pruned.before.items()}
    genotypes.save(pruned.net.genotype, out / "genotype.yaml")
    save(out / "weights.safetensors", pruned.net)
    write_text(out / "pruning.json", json.dumps(document, indent=1))
    _report(document, options.threshold, out)
    print(f"next    {_next(options, out, pruned.net)}")


def _next(options: PruneConfig, out: Path, net: Network) -> str:
    """The command that trains on: at the size that the network is for, on the same photographs where there are some."""
    words = ["python", "-m", "retrain.train", "--genotype", str(out / "genotype.yaml")]
    words += ["--init", str(out / "weights.safetensors"), "--recipe.size", str(net.genotype.input.size[0])]
    if options.data:
        usual = PruneConfig()
        for name in ("data", "limit", "cache", "data_seed", "held_out", "device"):
            if (value := getattr(options, name)) != getattr(usual, name):
                words += [f"--{name}", str(value)]
    return shlex.join(words)


def _restate(net: Network, pruned: Network, options: PruneConfig) -> dict[str, dict[str, float]]:
    """Estimate the pruned network's statistics anew; the held-out scores before, without its channels, and after."""
    recipe = Recipe(size=net.genotype.input.size[0])
    shared = {name: getattr(options, name) for name in ("limit", "cache", "held_out", "data_seed", "device")}
    setup = open_training(TrainConfig(recipe=recipe, data=options.data, **shared), genotype=net.genotype)
    batches = Batches(
        samples=setup.samples(setup.train_rows),
        batch_size=options.batch_size,
        augment=AugmentConfig(),
        seed=options.data_seed,
        stream="statistics",
    )
    held_out = HeldOut(samples=setup.samples(setup.held_out_rows), loss=LossConfig(), chunk=options.batch_size)

    def scores(network: Network) -> dict[str, float]:
        found = held_out.score(network.eval())
        return {
            "maxF": round(found["maxF"], 4),
            "MAE_raw": round(found["MAE_raw"], 4),
            "images": len(setup.held_out_rows),
        }

    pruned.to(setup.device)
    found = {"before": scores(net), "dropped": scores(pruned)}
    reestimate_norms(pruned, (batches(step)[0] for step in range(options.batches)))
    return found | {"after": scores(pruned)}


def _report(document: dict[str, Any], threshold: float, out: Path) -> None:
    before, after = document["before"], document["after"]
    channels = [sum(widths) for widths in zip(*document["widths"].values(), strict=True)]
    print(f"pruned  {channels[1]} of {channels[0]} channels left")
    for key in ("params", "macs"):
        print(f"        {after[key]:,} of {before[key]:,} {key} ({after[key] / before[key]:.0%})")
    if before["params"] == after["params"]:
        print(f"note    no norm scale is below {threshold:g}: train longer, or with stronger dynamic_decay")
    for name in ("before", "dropped", "after"):
        if s := document.get(name, {}).get("held_out"):
            print(f"scored  {name:<8}held-out ({s['images']}): maxF {s['maxF']:.4f}, MAE_raw {s['MAE_raw']:.4f}")
    print(f"saved   {out / 'weights.safetensors'} (genotype.yaml, pruning.json beside it)")


if __name__ == "__main__":
    sys.exit(run_command(main))
