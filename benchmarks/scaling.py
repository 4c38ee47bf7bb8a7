"""How time and memory of a supernet's step grow: with channels, side, batch, candidates and taps, one at a time.

    OMP_NUM_THREADS=1 python benchmarks/scaling.py -o benchmarks/results/scaling.csv
    python benchmarks/plots.py

Each axis is varied around one base: FusionCells on `tiny`, four taps, four candidates that cost the same. Time is the
thread's CPU time, the shortest of --steps; memory is what the forward pass keeps for the backward pass, by its shapes.
Prints, for each axis, the exponent between its two largest values (what a doubling costs) and over all of them.
"""

import argparse
import math
import time
from collections import defaultdict
from pathlib import Path

import torch

import nas
from genotypes import OPERATIONS
from genotypes.files import write_csv
from genotypes.vocabulary import OperationRecord
from nas.allocator import keep_freed_memory
from nas.network import to_device
from nas.run import seeded
from nas.task import LossConfig, multi_output_loss
from search_spaces import fusion_cells

BASE = {"channels": 32, "side": 128, "batch": 4, "candidates": 4, "taps": 4}
AXES = {
    "channels": (8, 16, 32, 64, 128),
    "side": (64, 96, 128, 192, 256),
    "batch": (1, 2, 4, 8, 16),
    "candidates": (2, 4, 8, 16),
    "taps": (2, 3, 4),  # s4 and s8, then coarser ones, too
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.csv")
    args = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    for number in range(max(AXES["candidates"])):  # dense 3x3 and 1x1, all alike
        OPERATIONS.add(OperationRecord(name=f"dense_{number}", source="search_spaces.operations:Convolutions"))
    rows = []
    found = defaultdict(list)
    for axis, values in AXES.items():
        for value in values:
            seconds, kept = step(args.steps, **BASE | {axis: value})
            rows.append({"axis": axis, "value": value, "seconds": round(seconds, 4), "kept_MB": round(kept / 1e6, 1)})
            found[axis].append((value, seconds, kept))
            print(rows[-1], flush=True)
    print("| axis | time: last two | time: all | memory: last two | memory: all |\n|---|---|---|---|---|")
    for axis, points in found.items():
        cells = [f"{exponent(points[first:], of):.2f}" for of in (1, 2) for first in (-2, 0)]
        print(f"| {axis} | " + " | ".join(cells) + " |")
    if args.output:
        write_csv(args.output, rows)


def step(repeats: int, *, channels: int, side: int, batch: int, candidates: int, taps: int) -> tuple[float, int]:
    """(Seconds, bytes kept for the backward pass) of a training step of a supernet."""
    space = fusion_cells(
        "tiny", channels, [f"dense_{number}" for number in range(candidates)], taps=("s4", "s8", "s16", "s32")[:taps]
    )
    with seeded(0):
        net = to_device(nas.build(space), "cpu").train()
        x = torch.randn(batch, 3, side, side).contiguous(memory_format=torch.channels_last)
        y = (torch.rand(batch, 1, side, side) > 0.5).float()
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = multi_output_loss(net(x), y, LossConfig())
    for parameter in net.parameters():
        kept.pop(parameter.untyped_storage().data_ptr(), None)
    loss.backward()
    seconds = []
    for _ in range(repeats):
        began = time.thread_time()
        net.zero_grad()
        multi_output_loss(net(x), y, LossConfig()).backward()
        seconds.append(time.thread_time() - began)
    return min(seconds), sum(kept.values())


def exponent(points: list[tuple[float, float, float]], of: int) -> float:
    """The slope of a straight line through the logarithms."""
    x, y = ([math.log(point[index]) for point in points] for index in (0, of))
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / sum((a - mean_x) ** 2 for a in x)


if __name__ == "__main__":
    main()
