"""A training of seconds, for the tests of retraining."""

from pathlib import Path

from nas.run import RunFolder
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
