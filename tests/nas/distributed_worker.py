"""What test_distributed.py runs, alone and under torchrun: losses and weights of a training in double precision.

python distributed_worker.py FILE [OPTION ...]      # the options: of a training that is run afterwards
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tiny_search import config as search_config

from nas.command import run_command
from nas.run.distributed import is_first, joined, processes
from nas.search.setup import open_search
from nas.search.training import search_trainer
from nas.task import LossConfig
from nas.training import Supervised, Trainer
from retrain import Recipe
from retrain.train import TrainConfig, open_training
from retrain.train.__main__ import main as train
from retrain.train.training import training_of

STEPS, SEARCHED = 20, 6


def double(make: Any) -> Any:
    def made(drawn: Any) -> Any:
        x, y = make(drawn)
        return x.double().contiguous(), y.double()  # torch's convolutions in double want it

    return made


def losses(trainer: Trainer) -> dict[str, torch.Tensor]:
    """The training's loss of each step, and the weights after the last."""
    found = []
    for _ in range(trainer.steps):
        trainer.advance()
        found.append(trainer.totals.means())
    rows = {name: torch.tensor([row[name] for row in found], dtype=torch.float64) for name in found[0]}
    weights = [value.detach().flatten() for name, value in trainer.net.named_parameters()]
    return rows | {"weights": torch.cat(weights)}


def training(**recipe: Any) -> dict[str, torch.Tensor]:
    given = {"size": 32, "batch_size": 4, "steps": STEPS} | recipe
    cfg = TrainConfig(genotype="fpn_tiny", data="synthetic:24", recipe=Recipe(**given))
    setup = open_training(cfg)
    setup.net.double()
    trainer, _ = training_of(cfg, setup)
    assert isinstance(trainer.task, Supervised)
    trainer.net.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    trainer.task.make = double(trainer.task.make)  # type: ignore[method-assign]
    return losses(trainer)


def searching(strategy: str, **changes: Any) -> dict[str, torch.Tensor]:
    cfg = search_config(strategy=strategy, data="synthetic:24", steps=SEARCHED, warmup_steps=1, **changes)
    setup = open_search(cfg)
    setup.net.double().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    strategy_, _, trainer = search_trainer(cfg, setup)
    for batches in (setup.weights, setup.architecture):
        object.__setattr__(batches, "make", double(batches.make))
    found = losses(trainer)
    alpha = getattr(strategy_, "alpha", torch.zeros(()))
    return found | {"alpha": alpha.detach().clone()}


CASES = {
    "train": training,
    "train, losses over the batch": lambda: training(loss=LossConfig(terms={"bce": 1.0, "cel": 1.0, "boundary": 1.0})),
    "darts": lambda: searching("darts"),
    "darts_2nd": lambda: searching("darts_2nd"),
    "darts, with a cost": lambda: searching("darts", cost="macs", cost_weight=10.0),
    "gdas": lambda: searching("gdas"),
    "drnas": lambda: searching("drnas"),
}


def run(out: Path) -> None:
    torch.set_num_threads(1)
    results = {name: case() for name, case in CASES.items()}
    if is_first():
        torch.save(results | {"processes": torch.tensor(processes())}, out)


def main(words: Sequence[str] | None) -> None:
    out, *command = words or ()
    run(Path(out))
    train(command)


if __name__ == "__main__":
    sys.exit(run_command(main, sys.argv[1:], joined=joined))
