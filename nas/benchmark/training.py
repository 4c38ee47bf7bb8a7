"""One training as the table's: every entry is this function of (genotype, seed)."""

import time
from dataclasses import dataclass

import torch

from genotypes import Genotype, UserError
from nas.network import Network, build, inherit
from nas.optim import OptimConfig, descend, make_optimizer, set_progress
from nas.run import seeded
from nas.task import AugmentConfig, Feed, LossConfig, PhotoSet, fast_scores, multi_output_loss, normalise, synthetic_set

__all__ = ["Protocol", "Training", "Trainer", "photographs"]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How every entry was trained. The training photographs are those of `--data synthetic:600 --size 48`.

    Attributes:
        size: side of the pictures in pixels.
        train_images, train_seed: the synthetic set trained on.
        held_out_images, held_out_seed: the synthetic set scored on, which no training sees.
        steps, batch_size, lr: of AdamW with the project's default schedule; BCE + IoU; flips only.
        points: how many scores a learning curve has, evenly spaced, the last at the end.
    """

    size: int = 48
    train_images: int = 600
    train_seed: int = 0
    held_out_images: int = 256
    held_out_seed: int = 1
    steps: int = 128
    batch_size: int = 16
    lr: float = 5e-3
    points: int = 8

    def __post_init__(self) -> None:
        if self.points < 1 or self.steps % self.points:
            raise UserError(f"protocol: {self.steps} steps cannot be cut into {self.points} equal parts")

    @property
    def scored_at(self) -> tuple[int, ...]:
        """The steps after which a curve has a point."""
        return tuple(range(self.steps // self.points, self.steps + 1, self.steps // self.points))


@dataclass(frozen=True, kw_only=True)
class Training:
    """Held-out scores along one training, each of `points` values, and the CPU seconds of its steps."""

    loss: tuple[float, ...]
    maxF: tuple[float, ...]
    MAE: tuple[float, ...]
    seconds: float


def photographs(protocol: Protocol) -> tuple[PhotoSet, PhotoSet]:
    """The photographs to train on and those held out."""
    train = synthetic_set(protocol.train_images, protocol.size, protocol.train_seed)
    return train, synthetic_set(protocol.held_out_images, protocol.size, protocol.held_out_seed)


class Trainer:
    """Trains decided genotypes on photographs that it loads once: `Trainer(Protocol())(genotype, seed=0).loss[-1]`.

    photos: to train on and held out; by default `photographs(protocol)`. start: a supernet whose weights a training
    begins with (the planted one); by default they are random.
    """

    def __init__(
        self,
        protocol: Protocol,
        photos: tuple[PhotoSet, PhotoSet] | None = None,
        start: Network | None = None,
    ) -> None:
        self.protocol, self.start = protocol, start
        self.train, self.held_out = photos or photographs(protocol)
        self.loss = LossConfig(side_weights=(1.0,))
        self.optim = OptimConfig(lr=protocol.lr)

    def __call__(self, genotype: Genotype, seed: int) -> Training:
        """Train a decided genotype. Initial weights (without `start`), order and flips are functions of the seed."""
        protocol = self.protocol
        with seeded(seed):
            net = build(genotype) if self.start is None else inherit(self.start, genotype)
        net = net.to(memory_format=torch.channels_last)
        optimizer = make_optimizer(net, self.optim)
        feed = Feed(
            photos=self.train,
            rows=torch.arange(len(self.train)),
            batch_size=protocol.batch_size,
            augment=AugmentConfig(),
            convention=genotype.input,
            device=torch.device("cpu"),
            seed=seed,
            stream="train",
        )
        points, seconds = [], 0.0
        for step in range(protocol.steps):
            began = time.process_time()
            set_progress(optimizer, self.optim, step / protocol.steps)
            x, y = feed(step)
            loss = multi_output_loss(net.train()(x), y, self.loss)
            descend(loss, net, optimizer, self.optim)
            seconds += time.process_time() - began
            if step + 1 in protocol.scored_at:
                points.append(self._score(net.eval(), genotype))
        loss, maxF, MAE = zip(*points, strict=True)
        return Training(loss=loss, maxF=maxF, MAE=MAE, seconds=seconds)

    @torch.inference_mode()
    def _score(self, net: torch.nn.Module, genotype: Genotype) -> tuple[float, float, float]:
        x = normalise(self.held_out.images.float() / 255, genotype.input.mean, genotype.input.std)
        chunks = x.contiguous(memory_format=torch.channels_last).split(64)
        logits = torch.cat([net(chunk)[0] for chunk in chunks])
        loss = multi_output_loss([logits], (self.held_out.masks > 127).float(), self.loss)
        scores = fast_scores(logits.sigmoid(), self.held_out.masks)
        return float(loss), scores.maxF, scores.MAE_raw
