"""Regret of the black-box samplers on an exhaustive table, over many seeds: half a second a search.

    python benchmarks/black_box.py --seeds 300 --out benchmarks/results/black_box.csv
    python benchmarks/black_box.py --seeds 300 --seen mean --out benchmarks/results/black_box_mean.csv
    python benchmarks/black_box.py --seeds 300 --table planted --out benchmarks/results/black_box_planted.csv

Each search sees one training of every genotype it tries (the table's seeds take turns), as a real one would, and is
judged by the mean over the seeds of the one it holds best; with --seen mean it sees the mean, as if trainings had no
noise. A row of the file: sampler, trial, mean regret, its standard error, the median rank, and how much lower the
regret is than that of the random search with the same seed (which begins with the same trials), with its error.
"""

import argparse
from pathlib import Path

import numpy as np

import nas.benchmark
from genotypes.files import write_csv
from nas.run import quiet
from nas.trials import TrialsConfig, run_trials

SAMPLERS = ("random", "evolution", "tpe", "nsga2")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", default="fusion", help="fusion, planted, or a file")
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--seen", choices=("one", "mean"), default="one")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    table = nas.benchmark.load(args.table)
    rows = [["sampler", "trial", "regret", "standard_error", "median_rank", "gain", "gain_error"]]
    chance = None
    for sampler in SAMPLERS:  # random first: the others are compared with it
        curves = [search(table, sampler, args, seed) for seed in range(args.seeds)]
        regret, rank = (np.stack([getattr(curve, name) for curve in curves]) for name in ("regret", "rank"))
        chance = regret if chance is None else chance
        columns = (*mean_and_error(regret), np.median(rank, axis=0), *mean_and_error(chance - regret))
        for trial, values in enumerate(zip(*columns, strict=True), start=1):
            rows.append([sampler, trial, *(f"{value:.6g}" for value in values)])
        for trial in (20, 40, 60):
            regret, error, _, gain, gain_error = (column[trial - 1] for column in columns)
            print(
                f"{sampler:10} after {trial}: regret {regret:.4f} ± {error:.4f}, "
                f"below random's by {gain:.4f} ± {gain_error:.4f}",
                flush=True,
            )
    write_csv(args.out, rows)


def mean_and_error(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[searches, trials] -> the mean over searches and its standard error, of each trial."""
    return values.mean(0), values.std(0, ddof=1) / len(values) ** 0.5


def search(
    table: nas.benchmark.Benchmark, sampler: str, args: argparse.Namespace, seed: int
) -> nas.benchmark.RegretCurve:
    seen = table.seeds[seed % len(table.seeds)] if args.seen == "one" else None
    cfg = TrialsConfig(count=60, sampler=sampler)
    with quiet():
        trials = run_trials(
            table.space.open_edges(), lambda choices, report: [table.query(choices, seen).loss], cfg, seed=seed
        )
    return nas.benchmark.regret_curve(table, [trial.choices for trial in trials.trials], seed=seen)


if __name__ == "__main__":
    main()
