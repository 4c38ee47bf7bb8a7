"""What a CPU takes for layers in bf16, over what it takes in float32: forward, and forward with backward.

OMP_NUM_THREADS=1 python benchmarks/bf16_layers.py [-o benchmarks/results/bf16_layers.csv]

Torch's own layers, as `search_spaces.convolution` and `search_spaces.steps.PReLU` find them: batches of 8, channels
last, maps of EfficientNet-Lite's and CSNet's sizes. Processor time of one thread, the least of some calls in turn.
"""

import argparse
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from genotypes.files import write_csv

LAYERS: dict[str, tuple[nn.Module, int, int]] = {  # layer, channels, side
    "depthwise 3x3": (nn.Conv2d(144, 144, 3, 1, 1, groups=144, bias=False), 144, 48),
    "depthwise 3x3, stride 2": (nn.Conv2d(96, 96, 3, 2, 1, groups=96, bias=False), 96, 96),
    "depthwise 5x5": (nn.Conv2d(240, 240, 5, 1, 2, groups=240, bias=False), 240, 24),
    "depthwise 5x5, stride 2": (nn.Conv2d(144, 144, 5, 2, 2, groups=144, bias=False), 144, 51),
    "PReLU": (nn.PReLU(18), 18, 160),
    "batch norm": (nn.BatchNorm2d(18), 18, 160),
}


def seconds(layer: nn.Module, x: Tensor, backward: bool) -> float:
    began = time.thread_time()
    with torch.set_grad_enabled(backward), torch.autocast("cpu", torch.bfloat16, enabled=x.dtype == torch.bfloat16):
        y = layer(x)
    if backward:
        y.backward(torch.ones_like(y))
    return time.thread_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", type=Path, default=Path("benchmarks/results/bf16_layers.csv"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name, (layer, channels, side) in LAYERS.items():
        exact = torch.randn(8, channels, side, side).contiguous(memory_format=torch.channels_last)
        row = {"layer": name, "channels": str(channels), "side": str(side)}
        for what, backward in (("forward", False), ("with backward", True)):
            inputs = [x.requires_grad_(backward) for x in (exact.clone(), exact.bfloat16())]
            times = [[seconds(layer, x, backward) for x in inputs] for _ in range(6)][1:]
            fp32, bf16 = (1000 * min(column) for column in zip(*times, strict=True))
            row |= {f"{what}, fp32 ms": f"{fp32:.1f}", f"{what}, bf16 ms": f"{bf16:.1f}"}
            row[f"{what}, times as long"] = f"{bf16 / fp32:.2f}"
        print(*row.values(), flush=True)
        rows.append(row)
    write_csv(options.o, rows)


if __name__ == "__main__":
    main()
