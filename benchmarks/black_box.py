"""Regret of the black-box samplers on the exhaustive table, over many seeds: milliseconds a search.

    python benchmarks/black_box.py --seeds 100 --out benchmarks/results/black_box.csv

Each search sees one training of every genotype it tries (the table's seeds take turns), as a real one would, and is
judged by the mean over the seeds of the one it holds best; with --seen mean it sees the mean, as if trainings had no
noise. A row of the file: sampler, trial, mean regret, its standard error, and the median rank.
"""

import argparse
import csv
from pathlib import Path

import numpy as np

import nas.benchmark
from nas.trials import TrialsConfig, run_trials

SAMPLERS = ("random", "evolution", "tpe", "nsga2")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samplers", nargs="+", default=SAMPLERS)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--population", type=int, help="as --trials.population of nas.search")
    parser.add_argument("--seen", choices=("one", "mean"), default="one")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    table = nas.benchmark.load()
    rows = []
    for sampler in args.samplers:
        curves = [search(table, sampler, args, seed) for seed in range(args.seeds)]
        regret, rank = (np.stack([getattr(curve, name) for curve in curves]) for name in ("regret", "rank"))
        error = regret.std(0, ddof=1) / len(curves) ** 0.5
        for trial in range(args.trials):
            row = [sampler, trial + 1, regret[:, trial].mean(), error[trial], np.median(rank[:, trial])]
            rows.append([f"{value:.6g}" if isinstance(value, float) else value for value in row])
        print(
            f"{sampler:10} regret after {args.trials}: {regret[:, -1].mean():.5f} +- {error[-1]:.5f}, "
            f"median rank {np.median(rank[:, -1]):.0f} of {len(table)}",
            flush=True,
        )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with open(args.out, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["sampler", "trial", "regret", "standard_error", "median_rank"])
        writer.writerows(rows)


def search(
    table: nas.benchmark.Benchmark, sampler: str, args: argparse.Namespace, seed: int
) -> nas.benchmark.RegretCurve:
    seen = table.seeds[seed % len(table.seeds)] if args.seen == "one" else None
    cfg = TrialsConfig(count=args.trials, sampler=sampler, population=args.population)
    trials = run_trials(
        table.space.open_edges(),
        lambda choices, report: [table.query(choices, seen).loss],
        cfg,
        seed=seed,
        progress=False,
    )
    return nas.benchmark.regret_curve(table, [trial.choices for trial in trials.trials], seed=seen)


if __name__ == "__main__":
    main()
