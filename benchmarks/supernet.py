"""A step of a search by DARTS as a plain sum of weighted candidates, as it is, and compiled: time, memory, numbers.

    OMP_NUM_THREADS=1 python benchmarks/supernet.py [--sizes 16,96 32,128] [--edges 16,24 32,32] [--rounds 5]
    OMP_NUM_THREADS=1 python benchmarks/supernet.py --sizes --networks fpn_mobilenet_v2,128 sod_s,120
    OMP_NUM_THREADS=1 python benchmarks/supernet.py --precisions [--sizes 16,96 32,128]

--edges: the same of one edge alone, forward and backward, on maps of so many pixels a side: a minute in place of many.
--networks: of a training of a fixed network, where a plain sum is what it is.
--precisions: instead, a step of a search as it is, in float32 and in bf16.
A step is `Trainer.advance`: the architecture's update, then the weights'; FusionCells, batches of 16. All ways compute
in one process and take turns; the median of their CPU times counts, so that other work on the machine counts little.
Memory: the largest sum of live tensors that a step has made, as torch's CPU allocator counts them; weights and
optimiser excluded. Apart: the largest distance of the loss and of any gradient of one batch from the plain sum's,
relative to its norm (of gradients: to the largest of their kind, since many are zero but for rounding). Compiling: CPU
seconds of the first compiled step, the C++ compiler's too, with an empty cache.
"""

import argparse
import os
import statistics
import tempfile
import time
from contextlib import contextmanager, nullcontext

os.environ["TORCHINDUCTOR_CACHE_DIR"] = tempfile.mkdtemp(prefix="sod-nas-compiled-")

import torch
from strategy_speed import peak_memory as peak_memory_of

from nas import allocator
from nas.network.edge import OpenEdge
from nas.options import from_dict
from nas.search import SearchConfig, open_search
from nas.search.training import search_trainer
from nas.training import Compiled, Trainer
from retrain import Recipe
from retrain.train import TrainConfig, open_training
from retrain.train.training import training_of
from search_spaces.fusion_cells import AUTO_MSFNET_OPERATIONS

allocator.keep_freed_memory({})


def plain_sum(edge: OpenEdge, x: torch.Tensor, weights: torch.Tensor, active: None = None) -> torch.Tensor:
    """The mixture as DARTS writes it."""
    each = weights.unbind()
    return sum(each[i] * edge.ops[operation](x) for i, operation in edge.carrying.items())


@contextmanager
def as_a_plain_sum():
    ours, OpenEdge.forward = OpenEdge.forward, plain_sum
    try:
        yield
    finally:
        OpenEdge.forward = ours


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="*", default=["16,96", "32,128"], metavar="CHANNELS,SIZE")
    parser.add_argument("--edges", nargs="*", default=[], metavar="CHANNELS,SIDE")
    parser.add_argument("--networks", nargs="*", default=[], metavar="GENOTYPE,SIZE")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--backbone", default="mobilenet_v2")
    parser.add_argument("--precisions", action="store_true")
    args = parser.parse_args()
    if args.precisions:
        return precisions(args.sizes, args.backbone, args.rounds)
    print("| | plain sum | as it is | --compile on | compiling |\n|---|---|---|---|---|")
    for size in args.sizes:
        channels, side = map(int, size.split(","))
        trainer = search_of(channels, side, args.backbone)
        print(f"| step, C = {channels}, {side} px | " + " | ".join(row(trainer, args.rounds)) + " |", flush=True)
    for size in args.edges:
        channels, side = map(int, size.split(","))
        cells = row(Edge(channels, side), args.rounds)
        print(f"| edge, C = {channels}, {side} x {side} | " + " | ".join(cells) + " |", flush=True)
    for network in args.networks:
        name, side = network.split(",")
        cfg = TrainConfig(genotype=name, data="synthetic:64", recipe=Recipe(size=int(side), batch_size=16, steps=1000))
        trainer = training_of(cfg, open_training(cfg))[0]
        print(f"| {name}, {side} px | " + " | ".join(row(trainer, args.rounds)) + " |", flush=True)


def search_of(channels: int, side: int, backbone: str, precision: str = "fp32") -> Trainer:
    space = {"name": "fusion_cells", "backbone": backbone, "channels": channels}
    values = {"space": space, "data": "synthetic:64", "size": side, "steps": 1000, "warmup_steps": 0}
    cfg = from_dict(SearchConfig(), values | {"precision": precision})
    return search_trainer(cfg, open_search(cfg))[2]


def precisions(sizes: list[str], backbone: str, rounds: int) -> None:
    print("| | float32 | bf16 | bf16, of float32 |\n|---|---|---|---|")
    for size in sizes:
        channels, side = map(int, size.split(","))
        trainers = [search_of(channels, side, backbone, precision) for precision in ("fp32", "bf16")]
        seconds = [[step_seconds(trainer, nullcontext) for trainer in trainers] for _ in range(rounds + 1)][1:]
        times = [statistics.median(column) for column in zip(*seconds, strict=True)]
        memory = [peak_memory(trainer, nullcontext) / 1e6 for trainer in trainers]
        cells = [f"{t:.2f} s, {m:.0f} MB" for t, m in zip(times, memory, strict=True)]
        ratio = f"{times[0] / times[1]:.2f} x as fast, {memory[1] / memory[0]:.2f} x the memory"
        print(f"| step, C = {channels}, {side} px | {' | '.join(cells)} | {ratio} |", flush=True)


class Edge:
    """An open edge of Auto-MSFNet's candidates in place of a trainer: a step is a pass, forward and backward."""

    def __init__(self, channels: int, side: int) -> None:
        torch.manual_seed(0)
        self.net = torch.nn.ModuleList([OpenEdge(AUTO_MSFNET_OPERATIONS, channels, channels)])
        self.net.to(memory_format=torch.channels_last)
        self.net.open_edges = {"edge": AUTO_MSFNET_OPERATIONS}
        self.task, self.steps = self, 1000
        x, self.slope = (torch.randn(16, channels, side, side).to(memory_format=torch.channels_last) for _ in range(2))
        self.x, self.weights = x.requires_grad_(), torch.rand(len(AUTO_MSFNET_OPERATIONS), requires_grad=True)

    def draw(self, step: int) -> None:
        return None

    make = draw

    def loss(self, batch: None) -> torch.Tensor:
        return (self.net[0](self.x, self.weights, None) * self.slope).mean()

    def advance(self) -> None:
        self.loss(None).backward()


def row(trainer: Trainer | Edge, rounds: int) -> list[str]:
    compiled = Compiled(trainer.net, trainer.steps, "on")
    ways = {"plain": as_a_plain_sum, "ours": nullcontext, "compiled": lambda: compiled(trainer.net)}
    seconds = {way: [step_seconds(trainer, context)] for way, context in ways.items()}
    first = seconds["compiled"][0]
    for _ in range(rounds):
        for way, context in ways.items():
            seconds[way].append(step_seconds(trainer, context))
    middle = {way: statistics.median(found[1:]) for way, found in seconds.items()}
    memory = {way: peak_memory(trainer, context) for way, context in ways.items()}
    numbers = {way: gradients(trainer, context) for way, context in ways.items()}
    cells = []
    for way in ways:
        apart = max(
            float((mine - theirs).norm() / scale)
            for kind in numbers[way]
            for scale in [max(float(value.norm()) for value in numbers["plain"][kind])]
            for mine, theirs in zip(numbers[way][kind], numbers["plain"][kind], strict=True)
        )
        cells.append(
            f"{middle['plain'] / middle[way]:.2f} x ({middle[way]:.2f} s), {memory[way] / 1e6:.0f} MB "
            f"({memory[way] / memory['plain']:.2f} x), {apart:.0e} apart"
        )
    return [*cells, f"{first - middle['compiled']:.0f} s"]


def step_seconds(trainer: Trainer | Edge, context) -> float:
    began = cpu_time()
    with context():
        trainer.advance()
    return cpu_time() - began


def cpu_time() -> float:
    """Of this process, and of its children that have ended: compilers."""
    return time.process_time() + sum(os.times()[2:4])


def peak_memory(trainer: Trainer | Edge, context) -> int:
    with context():
        return peak_memory_of(trainer.advance, torch.device("cpu"))


def gradients(trainer: Trainer | Edge, context) -> dict[str, list[torch.Tensor]]:
    """The loss of one batch, and its gradients by the kind of parameter."""
    batch = trainer.task.make(trainer.task.draw(0))
    named = dict(trainer.net.named_parameters())
    with context():  # norms compute with the batch's statistics, whatever they remember
        loss = trainer.task.loss(batch)
        found = torch.autograd.grad(loss, list(named.values()))
    kinds = {"loss": [loss.detach()]}
    for name, gradient in zip(named, found, strict=True):
        kinds.setdefault("in cells" if name.startswith("cells") else "in the backbone", []).append(gradient)
    return kinds


if __name__ == "__main__":
    main()
