"""Widths decided by masks in a mixture: what darts and gdas find within a budget, beside chance and equal shares.

    python benchmarks/width_masks.py --data DUTS-TR=DIR --out DIR [--cache DIR]

The space is `compact` on EfficientNet-Lite0 at 96 px; the budget is what half of the hidden channels in every open
block and a decoder 32 wide cost. Two searches of 500 steps each, four random members that keep the budget, and that
member; all trained alike with three seeds. What exists in DIR is kept: run it again to go on. Prints the table, and the
differences to the means of chance and of equal shares, seeds paired; DIR/compare/trainings.csv holds all scores.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from statistics import mean, stdev

import genotypes
from genotypes import UserError
from nas.cost.widths import WidthCosts
from nas.run_files import read_table
from nas.search.objective import CostObjective
from nas.strategies import member_choices
from search_spaces import compact

_SPACE = compact("efficientnet_lite0", sizes=(96,), leave_out="none")
_SEEDS = ("0", "1", "2")
_FOUND = [(strategy, seed) for strategy in ("darts", "gdas") for seed in (0, 1)]
_RANDOM = 4


def _half() -> dict[str, object]:
    """Half of each open block's channels, and a depthwise separable convolution on each level."""
    taken: dict[str, object] = {}
    for choice, candidates in _SPACE.choices().items():
        if choice.startswith("backbone."):
            taken[choice] = min(width for width in candidates if 2 * width >= max(candidates))
        else:
            taken[choice] = 32 if choice == "decoder.channels" else "dw_sep_conv_3x3"
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--cache", default="runs/cache")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    genotypes.save(_SPACE, args.out / "space.yaml")
    costs = WidthCosts(_SPACE, "macs")
    budget = costs.of(_half())
    keeping = CostObjective(table=costs, weight=0.0, budget=budget)
    members = {f"random_{number}": keeping.nearest(member_choices(_SPACE, 0, number)) for number in range(_RANDOM)}
    photographs = ["--data", args.data, "--limit", "2000", "--cache", args.cache, "--backbone_weights"]

    def command(module: str, *words: object) -> None:
        if subprocess.run([sys.executable, "-m", module, *map(str, words)]).returncode:
            raise UserError(f"{module} failed")

    rows = []
    for strategy, seed in _FOUND:
        run = args.out / f"{strategy}_{seed}"
        if not (run / "scores.json").exists():
            options = "--steps 500 --warmup_steps 150 --evaluate_every 100 --optim.backbone_lr 0.2 --strategy.lr 0.02"
            options += f" --seed {seed} --cost macs --budget {budget} --guard.on false --rivals 0 --strategy {strategy}"
            space = ("--space", args.out / "space.yaml")
            again = ["--resume"] if run.exists() else []
            command("nas.search", *space, *options.split(), *photographs, "package", "--out", run, *again)
        rows.append(f"{strategy}_{seed}={run / 'genotype.yaml'}")
    for name, choices in {"half": _half(), **members}.items():
        genotypes.save(_SPACE.decide(choices, name=name), args.out / f"{name}.yaml")
        rows.append(f"{name}={args.out / f'{name}.yaml'}")
    comparison = args.out / "compare"
    recipe = ["--recipe.size", 96, "--recipe.steps", 400, "--recipe.optim.backbone_lr", 0.2]
    words = ["--genotypes", *rows, "--seeds", *_SEEDS, *recipe, *photographs, "package", "--out", comparison]
    command("retrain.compare", *words)
    table = read_table(comparison / "trainings.csv")
    print(f"budget {budget:,.0f} multiply-adds")

    def scores(start: str, metric: str, seed: str) -> list[float]:
        """Of the rows whose label begins so."""
        return [row[metric] for row in table if row["label"].startswith(start) and row["seed"] == float(seed)]

    for start in ("darts", "gdas", "half", "random"):
        found = [mean(mean(scores(start, metric, seed)) for seed in _SEEDS) for metric in ("maxF", "MAE_raw")]
        print(f"{start}: maxF {found[0]:.4f}, MAE_raw {found[1]:.4f}")
    for strategy in ("darts", "gdas"):
        for rival in ("random", "half"):
            for metric in ("maxF", "MAE_raw"):
                apart = [mean(scores(strategy, metric, s)) - mean(scores(rival, metric, s)) for s in _SEEDS]
                print(f"{strategy} less {rival}: {metric} {mean(apart):+.4f} ± {stdev(apart) / len(apart) ** 0.5:.4f}")


if __name__ == "__main__":
    main()
