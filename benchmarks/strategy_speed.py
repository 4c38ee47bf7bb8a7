"""Images a second and peak activation memory of a search step, strategy against strategy, in one run.

    OMP_NUM_THREADS=2 python benchmarks/strategy_speed.py --channels 32 --size 128

A step is what the search does once warm: an architecture step on one batch, a weight step on another. Strategies take
turns, so that all see the same machine; seconds are medians. Memory: the largest sum of live tensors that the step has
made, as torch's CPU allocator counts them (on a GPU: torch.cuda.max_memory_allocated), weights and optimiser excluded.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from torch.func import functional_call
from torch.profiler import ProfilerActivity, profile

from nas.network import norm_statistics_frozen
from nas.run import open_device, seeded
from nas.strategies import strategy_config
from nas.task import LossConfig, multi_output_loss
from nas.training import OptimConfig, make_optimizer
from search_spaces import fusion_cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--strategies", nargs="+", default=["darts", "darts_2nd", "pc_darts", "gdas", "drnas", "one_shot"]
    )
    parser.add_argument("--backbone", default="tiny")
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    device = open_device(args.device)
    steps = {name: make_step(name, args, device) for name in args.strategies}
    seconds = {name: [] for name in steps}
    for repeat in range(args.repeats + 1):
        for name, step in steps.items():
            began = time.perf_counter()
            step(repeat)
            if device.type != "cpu":
                torch.accelerator.synchronize(device)
            if repeat:  # the first warms up
                seconds[name].append(time.perf_counter() - began)
    first = args.strategies[0]
    memory = {name: peak_memory(partial(step, 1), device) for name, step in steps.items()}
    print(
        f"{args.backbone}, C = {args.channels}, {args.size} px, batch {args.batch_size}, {device}, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    print("| strategy | images/s | against " + first + " | peak MB | against " + first + " |\n|---|---|---|---|---|")
    for name in steps:
        speed = args.batch_size / statistics.median(seconds[name])
        ratio = statistics.median(seconds[first]) / statistics.median(seconds[name])
        print(
            f"| {name} | {speed:.1f} | {ratio:.2f} x | {memory[name] / 1e6:.0f} | {memory[name] / memory[first]:.2f} |"
        )


def make_step(name: str, args: argparse.Namespace, device: torch.device):
    """A function of the step's number: an architecture step and a weight step, as `nas.search` does them."""
    cfg = strategy_config(name)
    with seeded(0):
        net = cfg.supernet(fusion_cells(args.backbone, args.channels))
        x = torch.randn(2, args.batch_size, 3, args.size, args.size)
        y = (torch.rand(2, args.batch_size, 1, args.size, args.size) > 0.5).float()
    net = net.to(device, memory_format=torch.channels_last).train()
    strategy = cfg.build(net, seed=0, steps=100)
    optimizer = make_optimizer(net, OptimConfig())
    x, y = x.to(device), y.to(device)

    def loss_of(half: int):
        images = x[half].contiguous(memory_format=torch.channels_last)
        return lambda mixture, p: multi_output_loss(functional_call(net, p, (images, mixture)), y[half], LossConfig())

    def step(number: int) -> None:
        with norm_statistics_frozen(net):
            strategy.architecture_step(number, loss_of(0), loss_of(1), 1e-3)
        optimizer.zero_grad(set_to_none=True)
        loss_of(0)(strategy.mixture(number), dict(net.named_parameters())).backward()
        optimizer.step()

    return step


def peak_memory(step: Callable[[], object], device: torch.device) -> int:
    """Bytes: the largest growth of allocated memory during a step."""
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        step()
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        step()
    now = peak = 0
    events = recorded.profiler.kineto_results.events()
    for event in sorted((e for e in events if e.name() == "[memory]"), key=lambda e: e.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return peak


if __name__ == "__main__":
    main()
