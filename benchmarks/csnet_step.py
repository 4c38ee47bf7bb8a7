"""What bounds a training step of CSNet on a CPU, and what PReLU's own gradient gains: CPU seconds of a step, in turn.

    OMP_NUM_THREADS=1 python benchmarks/csnet_step.py

--profile: the operators of a step, too.
"""

import argparse
import time
from statistics import median

import torch
from torch import nn

import genotypes
import nas
from nas.allocator import keep_freed_memory
from nas.network import to_device
from nas.run import seeded
from nas.task import LossConfig, multi_output_loss
from search_spaces.steps import PReLU

OURS = PReLU.forward


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--genotype", default="csnet_l_x2")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--profile", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    with seeded(0):
        net = to_device(nas.build(genotypes.load(args.genotype)), "cpu").train()
        x = torch.randn(args.batch, 3, args.size, args.size).contiguous(memory_format=torch.channels_last)
        y = (torch.rand(args.batch, 1, args.size, args.size) > 0.5).float()

    def step() -> float:
        began = time.thread_time()
        net.zero_grad()
        multi_output_loss(net(x), y, LossConfig()).backward()
        return time.thread_time() - began

    found = {"torch's PReLU": list[float](), "ours": list[float]()}
    for number in range(-1, args.rounds):
        for name, forward in zip(found, (nn.PReLU.forward, OURS), strict=True):
            PReLU.forward = forward
            seconds = step()
            if number >= 0:  # the first is a warm-up
                found[name].append(seconds)
    theirs, ours = (median(seconds) for seconds in found.values())
    print(f"{args.genotype}, {args.size} px, batch {args.batch}: {theirs:.2f} s, {ours:.2f} s with ours")
    print(f"{theirs / ours:.2f}x")
    if args.profile:
        for name, forward in zip(found, (nn.PReLU.forward, OURS), strict=True):
            PReLU.forward = forward
            with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
                step()
            print(name, profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=10), sep="\n")


if __name__ == "__main__":
    main()
