"""A step of a search by DARTS as a plain sum of weighted candidates, as it is, and compiled: time, memory, numbers.

    OMP_NUM_THREADS=1 python benchmarks/supernet.py [--sizes 16,96 32,128] [--edges 16,24 32,32] [--rounds 5]
    OMP_NUM_THREADS=1 python benchmarks/supernet.py --sizes --networks fpn_mobilenet_v2,128 sod_s,120
    OMP_NUM_THREADS=1 python benchmarks/supernet.py --precisions [--sizes 16,96 32,128]

--edges: the same of one edge alone, forward and backward, on maps of so many pixels a side: a minute in place of many.
--networks: of a training of a fixed network, where a plain sum is what it is.
--precisions: instead, a step as it is in float32 and in bf16, and in bf16 with torch's own convolutions and PReLU.
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
from functools import partial

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
from search_spaces.convolution import Conv2d
from search_spaces.fusion_cells import AUTO_MSFNET_OPERATIONS
from search_spaces.steps import PReLU

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
        return precisions(args.sizes, args.networks, args.backbone, args.rounds)
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
        print(f"| {name}, {side} px | " + " | ".join(row(training(name, int(side)), args.rounds)) + " |", flush=True)


def search_of(channels: int, side: int, backbone: str, precision: str = "fp32") -> Trainer:
    space = {"name": "fusion_cells", "backbone": backbone, "channels": channels}
    values = {"space": space, "data": "synthetic:64", "size": side, "steps": 1000, "warmup_steps": 0}
    cfg = from_dict(SearchConfig(), values | {"precision": precision})
    return search_trainer(cfg, open_search(cfg))[2]


def training(name: str, side: int, precision: str = "fp32") -> Trainer:
    recipe = from_dict(Recipe(), {"size": side, "batch_size": 16, "steps": 1000, "precision": precision})
    cfg = TrainConfig(genotype=name, data="synthetic:64", recipe=recipe)
    return training_of(cfg, open_training(cfg))[0]


@contextmanager
def as_torch_does():
    ours = Conv2d._conv_forward, PReLU.forward
    Conv2d._conv_forward, PReLU.forward = torch.nn.Conv2d._conv_forward, torch.nn.PReLU.forward
    try:
        yield
    finally:
        Conv2d._conv_forward, PReLU.forward = ours


def precisions(sizes: list[str], networks: list[str], backbone: str, rounds: int) -> None:
    print("| | float32 | bf16, torch's own layers | bf16 | bf16, of float32 |\n|---|---|---|---|---|")
    searches = {
        f"step, C = {c}, {side} px": partial(search_of, int(c), int(side), backbone) for c, side in pairs(sizes)
    }
    trainings = {f"{name}, {side} px": partial(training, name, int(side)) for name, side in pairs(networks)}
    for name, trainer_of in (searches | trainings).items():
        exact, bf16 = (trainer_of(precision=precision) for precision in ("fp32", "bf16"))
        ways = ((exact, nullcontext), (bf16, as_torch_does), (bf16, nullcontext))
        seconds = [[step_seconds(*way) for way in ways] for _ in range(rounds + 1)][1:]
        times = [statistics.median(column) for column in zip(*seconds, strict=True)]
        memory = [peak_memory(*way) / 1e6 for way in ways]
        cells = [f"{t:.2f} s, {m:.0f} MB" for t, m in zip(times, memory, strict=True)]
        ratios = [f"{times[0] / t:.2f} x" for t in times[1:]]
        ratio = f"{ratios[1]} as fast ({ratios[0]}), {memory[2] / memory[0]:.2f} x the memory"
        print(f"| {name} | {' | '.join(cells)} | {ratio} |", flush=True)


def pairs(words: list[str]) -> list[list[str]]:
    return [word.split(",") for word in words]


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
