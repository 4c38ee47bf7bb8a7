"""What `--flip` is worth: the package's networks with it and without, on the held-out tenth of a set and on a test set.

    python benchmarks/flip.py DUTS-TR ECSSD

Writes results/flip.csv.
"""

import argparse
from pathlib import Path

import retrain
from genotypes.files import write_csv
from nas.task import evaluate, find_pairs
from nas.task.splits import hold_out
from retrain.networks import network_names
from retrain.train import TrainConfig

HERE = Path(__file__).parent
METRICS = ("maxF", "avgF", "wF", "Sm", "Em_mean", "MAE_raw")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", metavar="DIR", help="DUTS-TR")
    parser.add_argument("test", metavar="DIR", help="ECSSD")
    given = parser.parse_args()
    pairs, defaults = find_pairs(given.data), TrainConfig()
    held_out = hold_out(len(pairs), defaults.held_out, defaults.data_seed, name=given.data)[1]
    sets = {"held out": [pairs[row] for row in held_out.tolist()], Path(given.test).name: find_pairs(given.test)}
    rows = []
    for name in network_names():
        for flip in (False, True):
            predictor = retrain.load(name, flip=flip)
            for called, chosen in sets.items():
                scores = evaluate(predictor.probabilities, chosen, size=predictor.size, workers=0, name=called).scores
                found = (f"{getattr(scores, metric):.4f}" for metric in METRICS)
                rows.append([name, flip, called, scores.count, *found])
                print(*rows[-1], flush=True)
                write_csv(HERE / "results" / "flip.csv", [["network", "flip", "set", "photographs", *METRICS], *rows])


if __name__ == "__main__":
    main()
