"""Scoring under all five protocols at once beside one full scoring: ratio of CPU time, in one process.

The network is the package's smallest, so that what is compared is the scoring.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import torch

import retrain
from genotypes.files import write_csv
from nas.task import PROTOCOLS, find_pairs
from nas.task.evaluation import evaluate_protocols
from nas.task.splits import spread

FILE = Path(__file__).parent / "results" / "protocols.csv"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"example: python benchmarks/protocols.py ECSSD      (two minutes; writes results/{FILE.name})",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("data", help="folder of photographs with masks")
    parser.add_argument("--count", type=int, default=1000, help="photographs, evenly spread (default 1000)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    predictor = retrain.load("sod_s")
    pairs = spread(find_pairs(args.data), args.count)
    # CSNet's way to read photographs needs a run of the network of its own: here all read them alike.
    five = [replace(protocol, antialias=True) for protocol in PROTOCOLS.values()]
    seconds = {1: 0.0, 5: 0.0}
    for start in range(0, len(pairs), 50):  # in turn: a busy machine slows both
        for count in seconds:
            began = time.process_time()
            evaluate_protocols(
                predictor.probabilities,
                pairs[start : start + 50],
                size=predictor.size,
                protocols=five[:count],
                logits=predictor.logits,
                workers=0,
            )
            seconds[count] += time.process_time() - began
    rows = [
        [count, len(pairs), f"{1000 * s / len(pairs):.1f}", f"{s / seconds[1]:.2f}"] for count, s in seconds.items()
    ]
    write_csv(FILE, [["protocols", "photographs", "ms_each", "ratio"], *rows])
    print(FILE.read_text())


if __name__ == "__main__":
    main()
