"""What docs/strategies.md says of the two tables: their spread, their noise, and how much of it choices explain."""

import argparse
import itertools

import numpy as np

import nas.benchmark
from nas.benchmark import kendall_tau


def main() -> None:
    argparse.ArgumentParser(description=__doc__, epilog="example: python benchmarks/table_facts.py").parse_args()
    table = nas.benchmark.load()
    scores, edges = table.scores, table.space.open_edges()
    mean, within = scores.mean(1), scores.var(1, ddof=1).mean()
    between = (mean.var(ddof=1) - within / scores.shape[1]) ** 0.5
    error = (within / scores.shape[1]) ** 0.5
    taus = [kendall_tau(scores[:, a], scores[:, b]) for a, b in itertools.combinations(range(scores.shape[1]), 2)]
    print(f"standard deviation: {between:.4f} between networks, {within**0.5:.4f} between seeds")
    print(f"tau between seeds: {min(taus):.2f} to {max(taus):.2f}")
    print(f"within a standard error of the best: {int((mean <= mean.min() + error).sum())} networks")
    print(f"mean regret of a random network: {(mean - mean.min()).mean():.4f}")
    columns = [[table.choices(i)[edge] == op for i in range(len(table))] for edge, ops in edges.items() for op in ops]
    design = np.array([*columns, [True] * len(table)], float).T
    residual = mean - design @ np.linalg.lstsq(design, mean, rcond=None)[0]
    print(f"explained by an additive model: {1 - residual.var() / mean.var():.0%}")
    averages = {
        (edge, op): mean[np.array(column)].mean()
        for (edge, op), column in zip([(edge, op) for edge, ops in edges.items() for op in ops], columns, strict=True)
    }
    best = {edge: min(ops, key=lambda op, edge=edge: averages[edge, op]) for edge, ops in edges.items()}
    print(f"each edge's best average: rank {table.rank(best)}")
    planted = nas.benchmark.load("planted")
    order = np.sort(planted.scores.mean(1))
    answer = nas.benchmark.teacher_choices(planted.teacher)
    print(
        f"planted: teacher ranks {planted.rank(answer)}, there {table.rank(answer)}; "
        f"best {order[0]:.3f}, second {order[1]:.3f}, median {np.median(order):.3f}"
    )


if __name__ == "__main__":
    main()
