"""The table of docs/results.md about searched and random genotypes, from the trainings of photos_compare.sh.

A genotype's score is the mean of its trainings; a row is the mean of its genotypes ± their standard deviation. Below:
how far the searched genotypes are from the random ones, ± the standard error of that difference of means.
"""

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np

from nas.run_files import read_table

RESULTS = Path(__file__).parent / "results" / "photos.csv"
COLUMNS = [(images, score) for images in ("held_out", "ECSSD") for score in ("maxF", "MAE_stretched")]
SEARCHED = ("darts", "gdas", "one_shot")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="example: python benchmarks/photos_table.py runs/photos.csv",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("trainings", nargs="?", type=Path, default=RESULTS, help=f"default results/{RESULTS.name}")
    scores, sizes = read(parser.parse_args().trainings)
    print(
        "| decoder | genotypes | "
        + " | ".join(f"{images} {score}" for images, score in COLUMNS)
        + " | params | MMACs |"
    )
    print("|" + "---|" * (len(COLUMNS) + 4))
    for group, values in scores.items():
        params, macs = sizes[group].mean(0)
        print(
            f"| {group} | {len(values)} | {cells(values.mean(0), spread(values))} | {params:,.0f} | {macs / 1e6:.0f} |"
        )
    every = np.concatenate([scores[group] for group in SEARCHED])
    for name, values in [*((group, scores[group]) for group in SEARCHED), ("all nine", every)]:
        error = np.hypot(*(spread(part) / len(part) ** 0.5 for part in (values, scores["random"])))
        print(f"| {name} less random | | {cells(values.mean(0) - scores['random'].mean(0), error, '+.4f')} | | |")


def read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Group -> scores [genotypes, columns], means over trainings; group -> [genotypes, 2], parameters and MACs."""
    found: dict = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    sizes: dict = defaultdict(dict)
    for row in read_table(path):
        for score in ("maxF", "MAE_stretched"):
            found[row["group"]][row["label"]][row["set"], score].append(row[score])
        sizes[row["group"]][row["label"]] = row["params"], row["macs"]
    scores = {
        group: np.array([[np.mean(trainings[column]) for column in COLUMNS] for trainings in labels.values()])
        for group, labels in found.items()
    }
    return scores, {group: np.array(list(labels.values())) for group, labels in sizes.items()}


def spread(values: np.ndarray) -> np.ndarray:
    """[genotypes, columns] -> the standard deviation of each column; of one genotype, none to speak of."""
    return values.std(0, ddof=1) if len(values) > 1 else np.full(values.shape[1], np.nan)


def cells(values: np.ndarray, errors: np.ndarray, form: str = ".4f") -> str:
    return " | ".join(
        f"{value:{form}}" + ("" if np.isnan(error) else f" ± {error:.4f}")
        for value, error in zip(values, errors, strict=True)
    )


if __name__ == "__main__":
    main()
