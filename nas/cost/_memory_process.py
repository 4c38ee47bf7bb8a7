"""`python -m nas.cost._memory_process HEIGHT WIDTH THREADS [--plugin FILE ...] < genotype.yaml`.

Prints the bytes that `nas.cost.memory` reports.
"""

import contextlib
import sys
from pathlib import Path

import torch
import torch.nn.functional as F

import genotypes
from genotypes.plugins import take_plugins
from nas.cost.measuring import prepare

__all__: list[str] = []


def _main(height: int, width: int, threads: int) -> None:
    torch.set_num_threads(threads)
    F.conv2d(torch.zeros(1, 8, 32, 32), torch.zeros(8, 8, 3, 3))  # loads what torch loads with its first convolution
    genotype = genotypes.loads(sys.stdin.read())
    before = _bytes("VmRSS")
    with torch.inference_mode():
        net, x = prepare(genotype, torch.device("cpu"), (height, width))
        with contextlib.suppress(OSError):  # where the mark cannot be reset, it includes the building of the network
            Path("/proc/self/clear_refs").write_text("5")
        net(x)
    print(_bytes("VmHWM") - before)


def _bytes(key: str) -> int:
    """VmRSS: resident now. VmHWM: most ever, of this program alone (getrusage's would include the parent's)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(key)).split()[1]) * 1024


if __name__ == "__main__":
    _main(*map(int, take_plugins(sys.argv[1:])))
