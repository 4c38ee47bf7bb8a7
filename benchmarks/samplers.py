"""Which sampler finds good members soonest? Studies of whole networks on a model of one that was made.

    python benchmarks/samplers.py model runs/*/supernet/trials.csv      # keeps results/five_budgets_trials.csv
    python benchmarks/samplers.py run gp 0 --count 200                  # a row more in results/samplers.csv
    python benchmarks/samplers.py table

A real trial takes seconds, and one study says little about a sampler. So the logarithms of loss and of milliseconds
of the trials that were made are fitted by ridge regression (each choice, and its product with the logarithm of the
input size), and studies are run on that model: the same space, the same points of uniform scaling first, 1 % of noise
on the loss that the sampler sees. A study is judged by the noiseless loss of what it takes within each budget (what
uniform scaling takes at a size, with its widest decoder), over that of uniform scaling there.
"""

import argparse
import csv
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from genotypes.files import read_csv, write_csv
from nas.run import quiet
from nas.trials import TrialsConfig, run_trials

RESULTS = Path(__file__).parent / "results"
TRIALS, STUDIES = RESULTS / "five_budgets_trials.csv", RESULTS / "samplers.csv"
BUDGETS = (64, 96, 128, 160, 192)  # input sizes
LINE = 45  # the first trials are the points of uniform scaling
RIDGE = 0.3
NOISE = 0.01


class Model:
    """Loss and milliseconds of any member, as those that were tried tell."""

    def __init__(self) -> None:
        rows = read_csv(TRIALS)
        ids = [name for name in rows[0] if "." in name]
        chosen = [
            {choice: int(row[choice]) if row[choice].isdigit() else row[choice] for choice in ids} for row in rows
        ]
        self.space = {choice: sorted({one[choice] for one in chosen}) for choice in ids}
        self.line = chosen[:LINE]
        given = np.array([self._features(one) for one in chosen])
        seen = np.log([[float(row["loss"]), float(row["latency"])] for row in rows])
        self._weights = self._fit(given, seen)
        parts = np.random.default_rng(0).permutation(len(rows)) % 10
        left_out = np.concatenate([
            given[parts == part] @ self._fit(given[parts != part], seen[parts != part]) - seen[parts == part]
            for part in range(10)
        ])  # fmt: skip
        self.error = np.sqrt((left_out**2).mean(0))  # of log loss and log ms, ten-fold

    def __call__(self, choices: Mapping[str, Any]) -> tuple[float, float]:
        loss, ms = np.exp(self._features(choices) @ self._weights)
        return float(loss), float(ms)

    def uniform(self, size: int) -> tuple[float, float]:
        """Of uniform scaling at a size, with its widest decoder."""
        return self(max((one for one in self.line if one["input.size"] == size), key=lambda one: self(one)[1]))

    def _features(self, choices: Mapping[str, Any]) -> np.ndarray:
        size = np.log(float(choices["input.size"]) / 112)
        features = [1.0, size, size**2]
        for choice, candidates in self.space.items():
            for one in candidates[1:] if choice != "input.size" else ():
                features += [float(choices[choice] == one), size * (choices[choice] == one)]
        return np.array(features)

    @staticmethod
    def _fit(given: np.ndarray, seen: np.ndarray) -> np.ndarray:
        penalty = RIDGE * np.eye(given.shape[1])
        penalty[range(3), range(3)] = 1e-3  # the constant and the size
        return np.linalg.solve(given.T @ given + penalty, given.T @ seen)


def study(model: Model, sampler: str, seed: int, count: int) -> list[float]:
    """For each budget the loss of what the study takes within it, over that of uniform scaling."""
    noise = np.random.default_rng(seed)

    def score(choices: Mapping[str, Any], report: Any) -> Sequence[float]:
        loss, ms = model(choices)
        return loss * float(np.exp(NOISE * noise.standard_normal())), ms

    cfg = TrialsConfig(count=count, sampler=sampler, population=40)
    with quiet():
        tried = run_trials(model.space, score, cfg, objectives=("loss", "latency"), first=model.line, seed=seed)
    ratios = []
    for size in BUDGETS:
        loss, ms = model.uniform(size)
        ratios.append(model(tried.best_within(ms * 1.0001, "ms").choices)[0] / loss)
    return ratios


def table() -> None:
    loss, ms = Model().error
    print(f"ten-fold error of the model: {loss:.1%} of the loss, {ms:.1%} of the ms\n")
    groups = defaultdict(list)
    for row in read_csv(STUDIES):
        groups[row["sampler"], int(row["count"])].append(row)
    print(
        "| sampler | trials | studies | " + " | ".join(f"{size} px" for size in BUDGETS) + " | mean ± between studies |"
    )
    print("|---" * (4 + len(BUDGETS)) + "|")
    for (sampler, count), some in sorted(groups.items(), key=lambda group: (group[0][1], group[0][0])):
        ratios = np.array([[float(row[str(size)]) for size in BUDGETS] for row in some])
        spread = ratios.mean(1).std(ddof=1) if len(some) > 1 else float("nan")
        cells = " | ".join(f"{ratio:.3f}" for ratio in ratios.mean(0))
        print(f"| {sampler} | {count} | {len(some)} | {cells} | {ratios.mean():.3f} ± {spread:.3f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("model").add_argument("trials", type=Path, nargs="+")
    one = actions.add_parser("run")
    one.add_argument("sampler")
    one.add_argument("seed", type=int)
    one.add_argument("--count", type=int, default=200)
    actions.add_parser("table")
    given = parser.parse_args()
    if given.action == "model":
        rows = [row for path in given.trials for row in read_csv(path) if row["state"] == "complete"]
        write_csv(
            TRIALS, [{name: row[name] for name in row if name in ("loss", "latency") or "." in name} for row in rows]
        )
        print(f"{len(rows)} trials kept")
    elif given.action == "run":
        model, began = Model(), time.perf_counter()
        row = dict(zip(map(str, BUDGETS), study(model, given.sampler, given.seed, given.count), strict=True))
        named = {"sampler": given.sampler, "count": given.count, "seed": given.seed}
        row = (
            named
            | {size: f"{ratio:.4f}" for size, ratio in row.items()}
            | {"seconds": f"{time.perf_counter() - began:.0f}"}
        )
        new = not STUDIES.is_file()
        with open(STUDIES, "a", newline="") as file:
            writer = csv.DictWriter(file, row, lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow(row)
        print(row)
    else:
        table()


if __name__ == "__main__":
    main()
