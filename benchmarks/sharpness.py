"""How sharp a network's maps should be: its logits times a factor, scored on photographs that it never saw.

    git show 3abe444:retrain/networks/sod_s.safetensors > sod_s.safetensors
    python benchmarks/folds.py DUTS-TR OUT
    python benchmarks/sharpness.py OUT/held_out sod_s.safetensors ...

A factor on the logits keeps the order of a map's pixels: maxF hardly moves, MAE, wF and Em do. It lies in the weights
of the heads (`publish.py --sharpen FACTOR`) and costs nothing. In the commit above the package's networks have logits
as they were trained. Writes results/sharpness.csv.
"""

import argparse
from pathlib import Path

from publish import sharpened

import retrain
from genotypes.files import write_csv
from nas.task import Evaluation, evaluate

HERE = Path(__file__).parent
FACTORS = (1.0, 1.5, 2.0, 3.0, 4.0)
METRICS = ("maxF", "avgF", "wF", "Sm", "Em_mean", "MAE_raw")


def scores_of(found: Evaluation) -> list[int | str]:
    """How many photographs, and METRICS: the cells of a row."""
    return [found.scores.count, *(f"{getattr(found.scores, metric):.4f}" for metric in METRICS)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", metavar="DIR")
    parser.add_argument("networks", nargs="+", metavar="FILE", help="weights, as they were trained")
    given = parser.parse_args()
    rows = []
    for name in given.networks:
        for factor in FACTORS:
            predictor = retrain.load(name)
            predictor.network.load_state_dict(sharpened(predictor.network.state_dict(), predictor.genotype, factor))
            found = evaluate(predictor.probabilities, given.data, size=predictor.size, workers=0)
            rows.append([predictor.genotype.name, factor, *scores_of(found)])
            print(*rows[-1], flush=True)
            write_csv(HERE / "results" / "sharpness.csv", [["network", "factor", "photographs", *METRICS], *rows])


if __name__ == "__main__":
    main()
