"""Differences between the five designs of docs/results.md, seeds paired, from benchmarks/results/five_designs.csv.

    python benchmarks/five_designs.py

mean ± standard error over seeds; the csv is trainings.csv of benchmarks/researchers_table.sh.
"""

import argparse
from itertools import combinations
from pathlib import Path
from statistics import mean, stdev

from nas.run_files import read_table

_TABLE = Path(__file__).parent / "results/five_designs.csv"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", nargs="?", type=Path, default=_TABLE)
    rows = read_table(parser.parse_args().table)
    labels, sets, seeds = (list(dict.fromkeys(row[name] for row in rows)) for name in ("label", "set", "seed"))
    for a, b in combinations(labels, 2):
        for which in sets:
            shown = []
            for metric in ("maxF", "MAE_raw"):
                found = {(row["label"], row["seed"]): float(row[metric]) for row in rows if row["set"] == which}
                apart = [found[a, seed] - found[b, seed] for seed in seeds]
                shown.append(f"{metric} {mean(apart):+.4f} ± {stdev(apart) / len(apart) ** 0.5:.4f}")
            print(f"{a} less {b}, {which}: {', '.join(shown)}")


if __name__ == "__main__":
    main()
