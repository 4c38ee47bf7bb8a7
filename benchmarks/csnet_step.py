"""What bounds a training step of CSNet on a CPU, and what is gained over a plain loop: CPU seconds of a step.

    OMP_NUM_THREADS=1 python benchmarks/csnet_step.py

A plain loop has torch's PReLU and layout of memory (not channels last), and the system's allocator; it runs in a
process of its own, before and after the others. They have our allocator, channels last, and in turn torch's PReLU and
ours. --profile: the operators of a step, too.
"""

import argparse
import json
import subprocess
import sys
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
    parser.add_argument("--plain", action="store_true", help="a plain loop alone: the seconds of its steps, as JSON")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if not args.plain:
        before = plain_loop()
        keep_freed_memory()
    with seeded(0):
        net = nas.build(genotypes.load(args.genotype)).train()
        x = torch.randn(args.batch, 3, args.size, args.size)
        y = (torch.rand(args.batch, 1, args.size, args.size) > 0.5).float()
    if not args.plain:
        net, x = to_device(net, "cpu"), x.contiguous(memory_format=torch.channels_last)

    def step() -> float:
        began = time.thread_time()
        net.zero_grad()
        multi_output_loss(net(x), y, LossConfig()).backward()
        return time.thread_time() - began

    ways = {"torch's PReLU": nn.PReLU.forward} if args.plain else {"torch's PReLU": nn.PReLU.forward, "ours": OURS}
    found: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(-1, args.rounds):
        for name, forward in ways.items():
            PReLU.forward = forward
            seconds = step()
            if number >= 0:  # the first is a warm-up
                found[name].append(seconds)
    if args.plain:
        print(json.dumps(found["torch's PReLU"]))
        return
    plain = median(before + plain_loop())
    print(f"{args.genotype}, {args.size} px, batch {args.batch}: {plain:.2f} s in a plain loop")
    for name, times in found.items():
        print(f"{median(times):.2f} s ({plain / median(times):.2f}x) as commands train, with {name}")
    if args.profile:
        for name, forward in ways.items():
            PReLU.forward = forward
            with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
                step()
            print(name, profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=10), sep="\n")


def plain_loop() -> list[float]:
    """The same command's, with --plain."""
    command = [sys.executable, __file__, *sys.argv[1:], "--plain"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    main()
