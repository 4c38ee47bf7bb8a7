"""Milliseconds that a map's scores take, ours beside pysodmetrics', and how far apart the scores are.

    OMP_NUM_THREADS=1 python benchmarks/scoring.py ECSSD [-o benchmarks/results/scoring.csv]

Maps of sod_s at 128 px, scored at the masks' own sizes: all scores of `score_image`. CPU time of one thread, in turn
photograph by photograph.
"""

import argparse
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import py_sod_metrics as psm
import torch

import retrain
from genotypes.files import write_csv
from nas.task import find_pairs
from nas.task.metrics import score_image
from nas.task.reading import read_mask
from nas.task.splits import spread


def by_the_library(pred: np.ndarray, mask: np.ndarray, seconds: dict[str, float]) -> dict[str, np.ndarray]:
    """Score -> value or curve; `seconds` gains what each takes."""
    gt, stretched = mask > 127, (pred - pred.min()) / (int(pred.max()) - pred.min())
    handlers = {"F": psm.FmeasureHandler(True, True, beta=0.3), "P": psm.PrecisionHandler(True, False)}
    handlers["R"] = psm.RecallHandler(True, False)
    metrics = {"F": psm.FmeasureV2(handlers), "wF": psm.WeightedFmeasure(), "Sm": psm.Smeasure()}
    metrics |= {"Em": psm.Emeasure(), "MAE": psm.MAE()}
    for name, metric in metrics.items():
        began = time.thread_time()
        metric.step(stretched, gt, normalize=False)
        if name == "F":  # of raw maps, too
            metric.step(np.minimum(pred / 255 * (1 + 1e-12), 1), gt, normalize=False)
        seconds[name] += time.thread_time() - began
    found = {key: value for metric in metrics.values() for key, value in metric.get_results().items()}
    return {"wF": found["wfm"], "Sm": found["sm"], "Em": found["em"]["curve"], "MAE": found["mae"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="folder of photographs with masks")
    parser.add_argument("--count", type=int, default=200, help="photographs, evenly spread (default 200)")
    parser.add_argument("-o", type=Path, default=Path("benchmarks/results/scoring.csv"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    predictor = retrain.load("sod_s")
    seconds: dict[str, float] = defaultdict(float)
    apart: dict[str, float] = defaultdict(float)
    pairs = spread(find_pairs(options.data), options.count)
    for pair in pairs:
        pred, mask = np.asarray(predictor(pair.image)), read_mask(pair.mask)
        theirs = by_the_library(pred, mask, seconds)
        began = time.thread_time()
        mine = score_image("one", pred, mask)
        seconds["ours"] += time.thread_time() - began
        ours = {"wF": mine.wF, "Sm": mine.Sm, "Em": mine.Em, "MAE": mine.MAE_stretched}
        for name, value in ours.items():
            apart[name] = max(apart[name], float(np.abs(value - theirs[name]).max()))
    seconds["library"] = sum(spent for name, spent in seconds.items() if name != "ours")
    rows = [
        [name, f"{1000 * spent / len(pairs):.1f}", f"{apart[name]:.0e}" if name in apart else ""]
        for name, spent in seconds.items()
    ]
    write_csv(options.o, [["scores", "ms", "apart"], *rows])
    print(options.o.read_text(), f"\nours {seconds['library'] / seconds['ours']:.2f} x as fast", sep="")


if __name__ == "__main__":
    main()
