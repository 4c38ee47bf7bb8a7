"""`python -m retrain.prune`."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import genotypes
from genotypes import UserError
from genotypes.plugins import PLUGIN_HELP
from nas import cost
from nas.network import Network, reestimate_norms
from nas.run import run_command
from nas.task import AugmentConfig, Feed, LossConfig, PhotoSet, open_photos, quick_scores, split
from retrain.outputs import check_folder
from retrain.predictor import load, save
from retrain.prune import THRESHOLD, prune_channels

_FILES = ("genotype.yaml", "weights.safetensors", "pruning.json")
_EXAMPLES = """examples:
  python -m retrain.train --genotype csnet_x1 --recipe csnet --data DUTS=DUTS-TR --out runs/x1
  python -m retrain.prune --weights runs/x1/weights.safetensors --data DUTS=DUTS-TR -o runs/l_x1
  python -m retrain.train --genotype runs/l_x1/genotype.yaml --init runs/l_x1/weights.safetensors --out runs/tuned

DIR/genotype.yaml and DIR/weights.safetensors are the network of the channels left; DIR/pruning.json holds all widths
before and after. A channel that is dropped still sent its shift on. Without --data the norms that read it take that
over, which is exact but at the borders of 3x3 convolutions. With --data all norm statistics are estimated anew on the
photographs that a training trains on, and the held-out ones are scored before and after."""


def main(argv: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(argv)
    if not 0 <= options.threshold < 1:
        raise UserError(f"--threshold is a norm scale in 0..1, not {options.threshold}")
    for name in ("batches", "batch_size"):
        if getattr(options, name) < 1:
            raise UserError(f"--{name.replace('_', '-')} must be at least 1, not {getattr(options, name)}")
    if not 0 < options.held_out < 1:
        raise UserError(f"--held-out is a share of the photographs in 0..1, not {options.held_out}")
    predictor = load(options.weights, options.device)
    net, device = predictor.network, predictor.device
    check_folder(options.output, _FILES)
    pruned = prune_channels(net, options.threshold)
    document: dict[str, Any] = {"genotype": pruned.net.genotype.name, "threshold": options.threshold}
    for stage, network in (("before", net), ("after", pruned.net)):
        counted = cost.count(network.genotype)
        document[stage] = {"params": counted.params, "macs": counted.macs, "size": list(counted.size)}
    if options.data:
        photos = _Photographs(options, net, device)
        document["before"]["held_out"] = photos.scores(net)
        document["dropped"] = {"held_out": photos.scores(pruned.net)}
        photos.reestimate(pruned.net, options.batches)
        document["after"]["held_out"] = photos.scores(pruned.net)
    document["widths"] = {way: [width, pruned.after[way]] for way, width in pruned.before.items()}
    options.output.mkdir(parents=True, exist_ok=True)
    genotypes.save(pruned.net.genotype, options.output / "genotype.yaml")
    save(options.output / "weights.safetensors", pruned.net)
    (options.output / "pruning.json").write_text(json.dumps(document, indent=1), encoding="utf-8")
    _report(document, options)


class _Photographs:
    """The photographs that tell norm statistics, and those that are scored: the parts of every training."""

    def __init__(self, options: argparse.Namespace, net: Network, device: torch.device) -> None:
        convention = net.genotype.input
        cache = Path(options.cache) if options.cache else None
        self.photos: PhotoSet = open_photos(
            options.data, size=convention.size[0], cache_dir=cache, limit=options.limit, seed=options.data_seed
        ).to(device)
        if len(self.photos) < 2:
            raise UserError(f"{options.data}: expected two photographs or more, one of them to score")
        share = min(max(options.held_out, 1 / len(self.photos)), 1 - 1 / len(self.photos))
        rows, self.held_out = split(len(self.photos), (1 - share, share), options.data_seed)
        self.device, self.convention, self.chunk = device, convention, options.batch_size
        self.feed = Feed(
            photos=self.photos,
            rows=rows,
            batch_size=options.batch_size,
            augment=AugmentConfig(),
            convention=convention,
            device=device,
            seed=options.data_seed,
            stream="statistics",
        )

    def reestimate(self, net: Network, batches: int) -> None:
        reestimate_norms(net.to(self.device), (self.feed(step)[0] for step in range(batches)))

    def scores(self, net: Network) -> dict[str, float]:
        found = quick_scores(
            net.to(self.device).eval(),
            self.photos,
            self.held_out,
            self.convention,
            LossConfig(),
            chunk=self.chunk,
            device=self.device,
        )
        return {"maxF": round(found["maxF"], 4), "MAE": round(found["MAE"], 4), "images": len(self.held_out)}


def _report(document: dict[str, Any], options: argparse.Namespace) -> None:
    before, after = document["before"], document["after"]
    channels = [sum(widths) for widths in zip(*document["widths"].values(), strict=True)]
    print(f"pruned  {channels[1]} of {channels[0]} channels left")
    for key in ("params", "macs"):
        print(f"        {after[key]:,} of {before[key]:,} {key} ({after[key] / before[key]:.0%})")
    if before["params"] == after["params"]:
        print(f"note    no norm scale is below {options.threshold:g}: train longer, or with stronger dynamic_decay")
    for name, part in (("before", before), ("dropped", document.get("dropped", {})), ("after", after)):
        if "held_out" in part:
            s = part["held_out"]
            print(f"scored  {name:<8}held-out ({s['images']}): maxF {s['maxF']:.4f}, MAE {s['MAE']:.4f}")
    weights = options.output / "weights.safetensors"
    print(f"saved   {weights} (genotype.yaml, pruning.json beside it)")
    print(f"next    python -m retrain.train --genotype {options.output / 'genotype.yaml'} --init {weights}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m retrain.prune",
        description="Drop the channels of a trained CSNet whose norm scales vanished (ECCV 2020, section 3.3).",
        epilog=f"{_EXAMPLES}\n\nand, as with every command, --plugin FILE: {PLUGIN_HELP}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--weights", required=True, metavar="FILE", help="weights trained with dynamic decay")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder for what is left")
    parser.add_argument("--threshold", type=float, default=THRESHOLD, help="smallest scale that stays (%(default)s)")
    parser.add_argument("--data", metavar="NAME=DIR", help="photographs for the norm statistics, and to score")
    parser.add_argument("--batches", type=int, default=50, help="batches for the statistics (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=16, help="images at a time (default: %(default)s)")
    parser.add_argument("--limit", type=int, help="use only so many photographs")
    parser.add_argument("--cache", metavar="DIR", help="folder that keeps decoded photographs between runs")
    parser.add_argument("--held-out", type=float, default=0.1, help="share that is scored only (default: %(default)s)")
    parser.add_argument("--data-seed", type=int, default=0, help="of the split, as in training (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or auto (default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(run_command(main))
