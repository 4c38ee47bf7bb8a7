"""One training as the table's: every entry is this function of (genotype, seed)."""

import time
from dataclasses import dataclass

import torch

from genotypes import Genotype, UserError
from genotypes.errors import plural
from nas.network import Network, build, inherit, to_device
from nas.run import seeded
from nas.task import AugmentConfig, Batches, LossConfig, PhotoSet, Samples, synthetic_set
from nas.training import HeldOut, OptimConfig, Supervised, Trainer, fit

__all__ = ["TableProtocol", "TableTrainer", "LearningCurve", "photographs"]

_CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class TableProtocol:
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
            raise UserError(f"protocol: {plural(self.steps, 'step')} cannot be cut into {self.points} equal parts")

    @property
    def scored_at(self) -> tuple[int, ...]:
        """The steps after which a curve has a point."""
        return tuple(range(self.steps // self.points, self.steps + 1, self.steps // self.points))


@dataclass(frozen=True, kw_only=True)
class LearningCurve:
    """Held-out scores along one training, each of `points` values, and the CPU seconds of its steps."""

    loss: tuple[float, ...]
    maxF: tuple[float, ...]
    MAE: tuple[float, ...]
    seconds: float


def photographs(protocol: TableProtocol) -> tuple[PhotoSet, PhotoSet]:
    """The photographs to train on and those held out."""
    train = synthetic_set(protocol.train_images, protocol.size, protocol.train_seed)
    return train, synthetic_set(protocol.held_out_images, protocol.size, protocol.held_out_seed)


class TableTrainer:
    """Trains decided genotypes on photographs loaded once: `TableTrainer(TableProtocol())(genotype, seed=0).loss[-1]`.

    photos: to train on and held out; by default `photographs(protocol)`. start: a supernet whose weights a training
    begins with (the planted one); by default they are random.
    """

    def __init__(
        self,
        protocol: TableProtocol,
        photos: tuple[PhotoSet, PhotoSet] | None = None,
        start: Network | None = None,
    ) -> None:
        self.protocol, self.start = protocol, start
        self.train, self.held_out = photos or photographs(protocol)
        self.loss = LossConfig(side_weights=(1.0,))
        self.optim = OptimConfig(lr=protocol.lr)

    def __call__(self, genotype: Genotype, seed: int) -> LearningCurve:
        """Train a decided genotype. Initial weights (without `start`), order and flips are functions of the seed."""
        protocol = self.protocol
        with seeded(seed):
            net = to_device(build(genotype) if self.start is None else inherit(self.start, genotype), _CPU)
        shown, judging = (
            Samples(photos=photos, rows=torch.arange(len(photos)), convention=genotype.input, device=_CPU)
            for photos in (self.train, self.held_out)
        )
        batches = Batches(
            samples=shown, batch_size=protocol.batch_size, augment=AugmentConfig(), seed=seed, stream="train"
        )
        held_out = HeldOut(samples=judging, loss=self.loss, chunk=len(self.held_out))
        trainer = Trainer(Supervised(net, batches, self.loss), self.optim, protocol.steps, clock=time.process_time)
        points: list[dict[str, float]] = []

        def evaluate() -> dict[str, float]:
            net.eval()
            points.append(held_out.score(lambda x: [torch.cat([net(part)[0] for part in x.split(64)])]))
            return points[-1]

        fit(trainer, evaluate, at=lambda step: step in protocol.scored_at)
        names = {"loss": "loss", "maxF": "maxF", "MAE": "MAE_raw"}  # the published table's names
        curve = {name: tuple(point[score] for point in points) for name, score in names.items()}
        return LearningCurve(**curve, seconds=trainer.seconds)
