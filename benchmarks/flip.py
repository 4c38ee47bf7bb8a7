"""What `--flip` is worth: the package's networks with it and without, on sets of photographs.

    python benchmarks/folds.py DUTS-TR OUT
    python benchmarks/flip.py held_out=OUT/held_out ECSSD=ECSSD

Writes results/flip.csv.
"""

import argparse
from pathlib import Path

from sharpness import METRICS, scores_of

import retrain
from genotypes.files import write_csv
from retrain.evaluate import score
from retrain.networks import network_names

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", metavar="NAME=DIR")
    given = parser.parse_args()
    rows = []
    for name in network_names():
        for flip in (False, True):
            for scored in score({name: retrain.load(name, flip=flip)}, given.data)[0]:
                rows.append([name, flip, scored.evaluation.name, *scores_of(scored.evaluation)])
                print(*rows[-1], flush=True)
                write_csv(HERE / "results" / "flip.csv", [["network", "flip", "set", "photographs", *METRICS], *rows])


if __name__ == "__main__":
    main()
