"""Trained networks become one of the package: weights in half precision, and a card that says what it is.

    python benchmarks/publish.py runs/m2 runs/m1 --name sod_m --test ECSSD=../shared/data/ECSSD

    python benchmarks/publish.py runs/m2 runs/m1 --into runs/mean.safetensors

Each RUN is a folder of retrain.train of the same genotype. The mean of their weights is published (Wortsman et al.,
ICML 2022, "Model soups"): runs that went on from one another, or from one start, are better together than alone. The
first one's settings are the card's. --sharpen: see sharpness.py. Written are retrain/networks/NAME.safetensors,
retrain/networks/NAME.md and, for drawing and cost, genotypes/NAME.yaml. The scores are those of the file that is
written: 16 bits, and 32 for the running variances, whose range is larger.
"""

import argparse
import datetime
from collections.abc import Mapping
from pathlib import Path

import torch

import genotypes
import retrain
from genotypes import Genotype
from genotypes.files import write_text
from nas import cost
from nas.network.network import edge_key
from nas.network.weights import load_weights, save_weights
from nas.options import from_dict, read_file
from nas.task import PhotoSet, Scores, evaluate
from retrain.train import TrainConfig, open_training
from retrain.train.training import read_scores

ROOT = Path(__file__).resolve().parents[1]
_TERMS = {
    "DUTS-TR": "DUTS-TR (Wang et al., CVPR 2017), 10,553 photographs with masks, published for research; the "
    "photographs come from ImageNet and keep their owners' rights. The weights hold no photograph.",
}
_BACKBONES = {"mobilenet_v2": "MobileNetV2", "efficientnet_lite1": "EfficientNet-Lite1"}  # whose weights are Apache's
_METRICS = ("maxF", "maxF_img", "avgF", "wF", "Sm", "Em_mean", "MAE_stretched", "MAE_raw")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("--into", type=Path, help="write the mean there and publish nothing: a start of further runs")
    parser.add_argument("--name")
    parser.add_argument("--sharpen", type=float, default=1.0, metavar="FACTOR", help="of the logits (default 1)")
    parser.add_argument("--test", nargs="+", metavar="NAME=DIR")
    parser.add_argument("--note", default="", help="a paragraph for the card: where the genotype comes from")
    parser.add_argument("--time", default="", help="of the card: what one picture takes, in which runtime, beside what")
    options = parser.parse_args()
    config = from_dict(TrainConfig(), read_file(options.runs[0] / "config.yaml"))
    states = [load_weights(run / "weights.safetensors")[1] for run in options.runs]
    genotype = load_weights(options.runs[0] / "weights.safetensors")[0]
    if options.into:
        save_weights(options.into, _mean(states), genotype)
        return
    if not (options.name and options.test):
        parser.error("give --name and --test, or --into")
    genotype = genotype.replace(name=options.name)
    training = open_training(config)  # whatever is wrong with it shows before a file is replaced
    target = ROOT / "retrain" / "networks" / f"{options.name}.safetensors"
    save_weights(target, sharpened(_mean(states), genotype, options.sharpen), genotype)
    genotypes.save(genotype, ROOT / "genotypes" / f"{options.name}.yaml")
    held_out = training.photos.subset(training.held_out_rows, name=f"{training.photos.name}, held out")
    rows = [_score(target, genotype, data) for data in (held_out, *options.test)]
    card = _card(options, genotype, config, rows, target.stat().st_size)
    write_text(target.with_suffix(".md"), card)
    print(f"saved   {target} ({target.stat().st_size / 1e6:.2f} MB), its card and genotypes/{options.name}.yaml")


def _mean(states: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Of weights that grew from the same start; in half precision, all but the variances."""
    mean = {}
    for key, first in states[0].items():
        value = torch.stack([state[key].float() for state in states]).mean(0) if first.is_floating_point() else first
        mean[key] = value.half() if first.is_floating_point() and not key.endswith("running_var") else value
    return mean


def sharpened(state: Mapping[str, torch.Tensor], genotype: Genotype, factor: float) -> dict[str, torch.Tensor]:
    """Weights that give the same network with all its logits times a factor: those of its heads' convolutions are."""
    heads = tuple(f"{edge_key(edge.id)}." for output in genotype.outputs for edge in genotype.graph[output].edges)
    return {key: value * factor if key.startswith(heads) else value for key, value in state.items()}


def _score(weights: Path, genotype: Genotype, data: str | PhotoSet) -> tuple[str, Scores]:
    found = evaluate(retrain.load(weights).probabilities, data, size=genotype.input.size, workers=0)
    return found.name, found.scores


def _card(options, genotype: Genotype, config: TrainConfig, rows: list[tuple[str, Scores]], size: int) -> str:
    counted = cost.count(genotype)
    data = config.data.partition("=")[0]
    side = "x".join(map(str, genotype.input.size))
    scores = [
        f"| {name} ({row.count}) | {' | '.join(f'{getattr(row, metric):.4f}' for metric in _METRICS)} |"
        for name, row in rows
    ]
    trained = []
    for run in options.runs:
        training = from_dict(TrainConfig(), read_file(run / "config.yaml"))
        done, recipe = read_scores(run), training.recipe
        minutes = f"{done['train_seconds'] / 60:.0f} minutes"
        where = "one GPU" if training.device.startswith("cuda") else "one CPU core, shared"
        trained.append(f"{done['steps']:,} steps of {recipe.batch_size} at {recipe.size} px, {minutes} on {where}")
    mean = "the mean of runs from one start, or from one another: " if len(trained) > 1 else ""
    return f"""# {options.name}

{options.note or "The genotype is genotypes/" + options.name + ".yaml."}

| | |
|---|---|
| input | {side} px, RGB |
| parameters | {counted.params:,} |
| multiply-adds | {counted.macs / 1e6:.1f} M at {side} |
| time of one picture | {options.time} |
| logits | times {options.sharpen:g} after the training, by `benchmarks/sharpness.py` |
| file | {size / 1e6:.2f} MB: 16 bits, running variances in 32 |
| trained | {mean}{"; ".join(trained)} |
| date | {datetime.date.today().isoformat()} |

## Data and terms

Trained on nine tenths of {_TERMS.get(data, data)}
It started from ImageNet weights of {_BACKBONES[genotype.backbone.name]} (Apache License 2.0). The training and this
file are ours (MIT, as the code). A tenth of {data} (seed 0) was held out and decided what is published; no test did.

## Scores

By pysodmetrics, on 8-bit maps at the masks' own size (held-out ones: as training reads them, at the network's), masks
cut at > 127. maxF (beta² 0.3): precision and recall
averaged over the set, best of 256 thresholds; maxF_img: the images' F averaged first; avgF: at twice each map's mean;
MAE_stretched: of maps stretched to 0..1, as are all but MAE_raw.

| set | {" | ".join(_METRICS)} |
|{"---|" * (len(_METRICS) + 1)}
{chr(10).join(scores)}

Scored with this file, as `python -m retrain.evaluate --weights {options.name} --data ECSSD=DIR` does.

## Made again

`bash benchmarks/train_networks.sh`, which trains all networks of the package, one from another.
"""


if __name__ == "__main__":
    main()
