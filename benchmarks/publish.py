"""A trained network becomes one of the package: weights in half precision, and a card that says what it is.

    python benchmarks/publish.py runs/sod_s --name sod_s --recipe photos_s --test ECSSD=../shared/data/ECSSD

RUN is a folder of retrain.train. Written are retrain/networks/NAME.safetensors, retrain/networks/NAME.md and, for
drawing and cost, genotypes/NAME.yaml. Stops, with nothing written, where half precision changes a score by more than
.0005. Convolutions are halved; norms, biases and all else of one dimension stay in 32 bits, they weigh nothing.
"""

import argparse
import datetime
import json
import shutil
import subprocess
import sys
from pathlib import Path

import torch
import yaml

import genotypes
from nas import cost
from nas.network.weights import load_weights, save_weights

ROOT = Path(__file__).resolve().parents[1]
_TOLERANCE = 5e-4
_TERMS = {
    "DUTS-TR": "DUTS-TR (Wang et al., CVPR 2017), 10,553 photographs with masks, published for research; the "
    "photographs come from ImageNet and keep their owners' rights. The weights hold no photograph.",
}
_METRICS = ("maxF", "maxF_img", "avgF", "wF", "Sm", "Em_mean", "MAE_stretched", "MAE_raw")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--name", required=True)
    parser.add_argument("--recipe", required=True, help="the packaged recipe that equals the run's")
    parser.add_argument("--test", nargs="+", required=True, metavar="NAME=DIR")
    parser.add_argument("--limit", type=int, default=200, help="pictures of each set to check half precision on")
    parser.add_argument("--note", default="", help="a paragraph for the card: where the genotype comes from")
    options = parser.parse_args()
    config = yaml.safe_load((options.run / "config.yaml").read_text())
    trained = json.loads((options.run / "scores.json").read_text())
    genotype, state = load_weights(options.run / "weights.safetensors")
    genotype = genotype.replace(name=options.name)
    half = {key: value.half() if value.ndim > 1 else value for key, value in state.items()}
    save_weights(options.run / "half.safetensors", half, genotype)
    rows = _evaluate(options.run, options.test, ["--quick_scores", "--limit", str(options.limit)])
    halved = {row["set"]: row for row in rows if row["network"] == "half"}
    full = {row["set"]: row for row in rows if row["network"] == "full"}
    for name, row in halved.items():
        for metric in ("maxF", "MAE_raw"):
            if abs(row[metric] - full[name][metric]) > _TOLERANCE:
                sys.exit(f"{name}: {metric} is {full[name][metric]:.4f} in 32 bits and {row[metric]:.4f} in half")
    target = ROOT / "retrain" / "networks" / f"{options.name}.safetensors"
    shutil.copyfile(options.run / "half.safetensors", target)
    genotypes.save(genotype, ROOT / "genotypes" / f"{options.name}.yaml")
    drift = max(abs(row[m] - full[name][m]) for name, row in halved.items() for m in ("maxF", "MAE_raw"))
    card = _card(options, genotype, config, trained, drift, target.stat().st_size)
    target.with_suffix(".md").write_text(card, encoding="utf-8")
    print(f"saved   {target} ({target.stat().st_size / 1e6:.2f} MB), its card and genotypes/{options.name}.yaml")


def _evaluate(run: Path, tests: list[str], options: list[str]) -> list[dict]:
    """The rows of RUN/report, made by `retrain.evaluate` where it is not there yet."""
    if not (run / "report" / "scores.json").is_file():
        weights = [f"half={run / 'half.safetensors'}", f"full={run / 'weights.safetensors'}"]
        command = [sys.executable, "-m", "retrain.evaluate", "--weights", *weights, "--data", *tests]
        subprocess.run([*command, "-o", str(run / "report"), *options], check=True, cwd=ROOT)
    return json.loads((run / "report" / "scores.json").read_text())


def _card(options, genotype, config, trained, drift, size) -> str:
    counted = cost.count(genotype)
    torch.set_num_threads(1)
    measured = cost.measure(genotype, repeats=50, memory=False)
    data = config["data"].partition("=")[0]
    side = "x".join(map(str, genotype.input.size))
    rows = []
    for name, row in trained["scores"].items():
        cells = ["" if row[metric] is None else f"{row[metric]:.4f}" for metric in _METRICS]
        label = f"{data}, held out" if name == "held_out" else name
        rows.append(f"| {label} ({row['count']}) | {' | '.join(cells)} |")
    start = "--backbone_weights mobilenet_v2_imagenet.pth"
    if config.get("init"):  # the weights of another network here, by the name of its run
        start = f"--init {Path(config['init']).parent.name or config['init']}"
    again = (
        f"python -m retrain.train --genotype {options.name} --recipe {options.recipe} --data {data}={data} \\\n"
        f"    {start} --out runs/{options.name}\n"
        f"python benchmarks/publish.py runs/{options.name} --name {options.name} --recipe {options.recipe} --test ..."
    )
    return f"""# {options.name}

{options.note or "The genotype is genotypes/" + options.name + ".yaml."}

| | |
|---|---|
| input | {side} px, RGB |
| parameters | {counted.params:,} |
| multiply-adds | {counted.macs / 1e6:.1f} M at {side} |
| time of one picture | {measured.latency_ms:.1f} ms, torch {torch.__version__} eager, one thread, {measured.device} |
| file | {size / 1e6:.2f} MB: convolutions in 16 bits, norms and biases in 32 |
| trained | {trained["steps"]:,} steps of {config["recipe"]["batch_size"]} on {trained["train_images"]:,} photographs, \
{trained["train_seconds"] / 60:.0f} minutes |
| date | {datetime.date.today().isoformat()} |

## Data and terms

Trained on {_TERMS.get(data, data)}
It started from ImageNet weights of MobileNetV2 (Apache License 2.0). The training and this file are ours (MIT, as the
code). A tenth of {data} (seed 0) was held out; no test set selected anything.

## Scores

By pysodmetrics, on 8-bit maps at the masks' own size, masks cut at > 127. maxF (beta² 0.3): precision and recall
averaged over the set, best of 256 thresholds; maxF_img: the images' F averaged first; avgF: at twice each map's mean;
MAE_stretched: of maps stretched to 0..1, as are all but MAE_raw.

| set | {" | ".join(_METRICS)} |
|{"---|" * (len(_METRICS) + 1)}
{chr(10).join(rows)}

Scored with 32-bit weights. On {options.limit} pictures of each set this file's scores differ by {drift:.4f} at most.

## Made again

```
{again}
```
"""


if __name__ == "__main__":
    main()
