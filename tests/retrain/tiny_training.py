"""A training of seconds, for the tests of retraining."""

import itertools
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from nas.run import RunFolder
from nas.training import loop
from retrain import Recipe
from retrain.train import TrainConfig, TrainResult, train

RECIPE = {"size": 32, "batch_size": 4, "steps": 6}


def config(**changes) -> TrainConfig:
    """Six steps on forty pictures of 32 px; changes to Recipe's fields come as recipe={...}."""
    recipe = Recipe(**RECIPE | changes.pop("recipe", {}))
    settings = {"data": "synthetic:40", "evaluate_every": 2, "workers": 0, "quick_scores": True}
    return TrainConfig(**settings | {"recipe": recipe} | changes)


def run_training(path: Path, cfg: TrainConfig, *, resume: bool = False) -> TrainResult:
    return train(cfg, RunFolder.open(str(path), "train", "", resume=resume))


@contextmanager
def stopped_in_step(number: int) -> Iterator[None]:
    """SIGTERM while the given step is under way."""
    loss, calls = loop.multi_output_loss, itertools.count(1)

    def stop_later(*args):
        if torch.is_grad_enabled() and next(calls) == number:
            os.kill(os.getpid(), signal.SIGTERM)
        return loss(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "multi_output_loss", stop_later)
        yield
