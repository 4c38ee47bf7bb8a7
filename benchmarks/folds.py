"""A set's training part in folds, so that a teacher's maps are of photographs that it was not trained on.

    python benchmarks/folds.py DUTS-TR OUT --count 2

OUT/held_out holds links to the pairs of the tenth that retrain.train holds out, OUT/fold0, OUT/fold1, ... to what is
left, in COUNT parts, and OUT/all_but0, ... to all but such a part: who learns from all_but0 teaches fold0.
"""

import argparse
from pathlib import Path

import torch

from nas.task.folders import find_pairs
from nas.task.splits import hold_out, split
from retrain.train import TrainConfig


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DIR")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--count", type=int, default=2, metavar="N", help="folds [2]")
    given = parser.parse_args()
    pairs, defaults = find_pairs(given.data), TrainConfig()
    training, held_out = hold_out(len(pairs), defaults.held_out, defaults.data_seed, name=str(given.data))
    cut = split(len(training), [1 / given.count] * given.count, 0)
    parts = {"held_out": held_out}
    for n, fold in enumerate(cut):
        parts[f"fold{n}"] = training[fold]
        parts[f"all_but{n}"] = torch.cat([training[other] for m, other in enumerate(cut) if m != n])
    for name, rows in parts.items():
        for pair in (pairs[row] for row in rows.tolist()):
            for folder, file in (("images", pair.image), ("masks", pair.mask)):
                link = given.out / name / folder / Path(file).name
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(Path(file).resolve())
        print(f"{name}: {len(rows)} pairs")


if __name__ == "__main__":
    main()
