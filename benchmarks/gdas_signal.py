"""Does a single-path gradient tell which candidate is better? Against the exact gradient of the expected loss.

    python benchmarks/gdas_signal.py --out benchmarks/results/gdas_signal.csv

A supernet of the benchmark's space is trained on uniformly drawn paths. Then, on one batch and as an architecture step
does, the losses of all 243 paths give the exact gradient of the expected loss in alpha at alpha = 0,
p_j (mean loss of the paths through j - mean loss). Beside it the mean of the straight-through gradients over all 243
paths: of the weights that a path uses (gdas with probes 0), and of all candidates, computed beside with weight zero.

cosine: between the two, over the candidates of an edge. size: the straight-through gradient's norm over the exact
one's. Both edges into u8 may be `none`; then its norm divides by nearly zero, and slopes are a thousand times too long.
"""

import argparse
from pathlib import Path

import torch
from torch.nn.functional import cosine_similarity, normalize

from genotypes.files import write_csv
from nas.benchmark import TableProtocol, members, photographs, space
from nas.network import Mixture, build, to_device
from nas.run import seeded
from nas.strategies import random_choices
from nas.task import AugmentConfig, Batches, LossConfig, Samples, multi_output_loss
from nas.training import OptimConfig, Supervised, Trainer, fit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=320)
    parser.add_argument("--images", type=int, default=64, help="in the batch on which gradients are compared")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = [row for seed in range(args.seeds) for row in compare(seed, args)]
    write_csv(args.out, rows)
    for edge in dict.fromkeys(row["edge"] for row in rows):
        for row in rows:
            if row["edge"] == edge:
                print(row)


def compare(seed: int, args: argparse.Namespace) -> list[dict]:
    net, feed = train(seed, args.steps, args.images)
    x, y = feed(args.steps)
    edges, count = net.open_edges, len(members(space()))
    losses, one, every = torch.zeros(count), [], []
    for number, choices in enumerate(members(space())):
        path = net.path(choices)
        for gradients, active in ((one, path.active), (every, [list(range(len(ops))) for ops in edges.values()])):
            weights = path.weights.clone().requires_grad_()
            loss = multi_output_loss(net(x, Mixture(weights, active)), y, LossConfig(side_weights=(1.0,)))
            (gradient,) = torch.autograd.grad(loss, weights)
            gradients.append(gradient)
        losses[number] = loss.detach()
    rows = []
    for row, (edge, ops) in enumerate(edges.items()):
        through = torch.tensor([[choices[edge] == op for op in ops] for choices in members(space())])  # [243, ops]
        exact = torch.stack([losses[through[:, j]].mean() - losses.mean() for j in range(len(ops))]) / len(ops)
        found = {"seed": seed, "edge": edge, "exact": f"{exact.norm():.5f}"}
        for name, gradients in (("path", one), ("all", every)):
            slopes = torch.stack(gradients)[:, row, : len(ops)]  # [243, ops], of the weights
            # At alpha = 0 and a high temperature the softmax is uniform: alpha_j moves by slope_j less the mean slope.
            estimate = (slopes.mean(0) - slopes.mean()) / len(ops)
            found[f"{name}_cosine"] = f"{float(cosine_similarity(normalize(estimate, dim=0), exact, dim=0)):.2f}"
            found[f"{name}_size"] = f"{float(estimate.norm() / exact.norm()):.3f}"
        rows.append(found)
    return rows


class RandomPaths(Supervised):
    """Each step trains one uniformly drawn path."""

    def __init__(self, *args, seed: int) -> None:
        super().__init__(*args)
        self.seed = seed

    def draw(self, step: int):
        self.path = self.net.path(random_choices(self.net.open_edges, self.seed + step))
        return super().draw(step)

    def loss(self, batch):
        x, y = batch
        return multi_output_loss(self.net(x, self.path), y, self.cfg)


def train(seed: int, steps: int, images: int):
    """A supernet trained on uniform paths, in eval mode, and batches that it has not seen."""
    protocol, cpu = TableProtocol(), torch.device("cpu")
    with seeded(seed):
        net = to_device(build(space()), cpu)
    photos, held_out = photographs(protocol)
    samples, compared = (
        Samples(photos=some, rows=torch.arange(len(some)), convention=space().input, device=cpu)
        for some in (photos, held_out)
    )
    shared = {"augment": AugmentConfig(), "seed": seed}
    batches = Batches(samples=samples, batch_size=protocol.batch_size, stream="train", **shared)
    task = RandomPaths(net, batches, LossConfig(side_weights=(1.0,)), seed=seed * steps)
    fit(Trainer(task, OptimConfig(lr=protocol.lr), steps), dict, at=lambda step: False)
    return net, Batches(samples=compared, batch_size=images, stream="compare", **shared)


if __name__ == "__main__":
    main()
