"""What `nas.allocator` gains: seconds of CPU time and peak memory with the system's settings and with ours.

    OMP_NUM_THREADS=1 python benchmarks/allocator.py

Each measurement is a process of its own, since settings cannot be taken back; settings take turns, and the median of
the rounds counts. CPU time (user and system), so that other work on the machine counts little.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

WORKLOADS = {
    "supernet step, C = 16, 96 px": ("supernet", 16, 96),
    "supernet step, C = 32, 128 px": ("supernet", 32, 128),
    "training step, C = 32, 224 px": ("training", 32, 224),
    "inference, C = 32, 224 px": ("inference", 32, 224),
}
BATCH = 16
SETTINGS = ("system", "ours without huge pages", "ours")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--backbone", default="mobilenet_v2")
    parser.add_argument("--child", nargs=2, metavar=("WORKLOAD", "SETTING"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        measure(*args.child, args.backbone)
        return
    print("| batches of 16, one thread | " + " | ".join(SETTINGS) + " |\n|---" + "|---" * len(SETTINGS) + "|")
    for name in WORKLOADS:
        found = {setting: [] for setting in SETTINGS}
        for _ in range(args.rounds):
            for setting in SETTINGS:
                words = [sys.executable, __file__, "--backbone", args.backbone, "--child", name, setting]
                found[setting].append(json.loads(subprocess.check_output(words)))
        middle = {s: [statistics.median(values) for values in zip(*found[s], strict=True)] for s in SETTINGS}
        base = middle["system"][0]
        cells = (f"{base / seconds:.2f} x ({seconds:.2f} s), {peak:.0f} MB" for seconds, peak in middle.values())
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def measure(name: str, setting: str, backbone: str) -> None:
    """Prints [CPU seconds a step, the largest resident memory in MB]."""
    from nas import allocator

    if "without" in setting:
        allocator._ask_for_huge_pages = lambda libc: None
    if setting != "system":
        assert allocator.keep_freed_memory({}), "there is no glibc here"
    step, repeats = workload(*WORKLOADS[name], backbone)
    step()
    seconds = []
    for _ in range(repeats):
        began = time.process_time()
        step()
        seconds.append(time.process_time() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([statistics.median(seconds), peak]))


def workload(kind: str, channels: int, size: int, backbone: str):
    """(A function that does one step, how often to call it)."""
    import torch

    import nas
    from nas.network import to_device
    from nas.run import seeded
    from nas.strategies import random_choices
    from nas.task import LossConfig, multi_output_loss
    from nas.training import OptimConfig, make_optimizer
    from search_spaces import fusion_cells

    space = fusion_cells(backbone, channels)
    if kind != "supernet":
        space = space.decide(random_choices(space.choices(), 0, space.reaches_image))
    with seeded(0):
        net = to_device(nas.build(space), "cpu").train(kind in ("supernet", "training"))
        x = torch.randn(BATCH, 3, size, size).contiguous(memory_format=torch.channels_last)
        y = (torch.rand(BATCH, 1, size, size) > 0.5).float()
    optimizer = make_optimizer(net, OptimConfig())

    def train() -> None:
        optimizer.zero_grad(set_to_none=True)
        multi_output_loss(net(x), y, LossConfig()).backward()
        optimizer.step()

    def infer() -> None:
        with torch.inference_mode():
            net(x)

    return (infer, 6) if kind == "inference" else (train, 3)


if __name__ == "__main__":
    main()
