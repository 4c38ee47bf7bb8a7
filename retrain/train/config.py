"""The configuration of `python -m retrain.train`."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import yaml

from genotypes import UserError
from retrain.recipe import Recipe

__all__ = ["TrainConfig", "config_text"]


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What to train, on which photographs, and how.

    Attributes:
        genotype: a genotype file, or a name of the zoo; every edge decided. A new run needs it.
        recipe: a name (such as default, photos_cpu, photos_gpu, minet) or a YAML file; parts of it below.
        data: synthetic, synthetic:COUNT, DIR or NAME=DIR.
        test: sets to score at the end, NAME=DIR each; they take no part in training.
        weights: file with the backbone's pre-trained weights, or package; none: it starts at random.
        init: weights of the same network to start from: a name such as sod_s, or a file.
        start_from: folder of a search whose genotype is trained, starting from the supernet's weights (--from RUN).
        limit: use only so many photographs.
        cache: folder that keeps decoded photographs between runs.
        held_out: share of the photographs that is scored and never trained on.
        held_out_limit: at most so many of them are scored while training; at the end all are.
        evaluate_every: steps between rows of the history, and between checkpoints; 0 for a tenth of the steps.
        quick_scores: at the end F-measures and MAE only; wF, Sm and Em take most of the time.
        workers: processes that score; 0 for none beside this one.
        device: cpu, cuda, or auto.
        seed: of initial weights, order and augmentation.
        data_seed: of the split and of synthetic pictures; runs that are compared share it.
        out: folder of the run; default the next free runs/train-NNN.
    """

    genotype: str = ""
    recipe: Recipe = field(default_factory=Recipe)
    data: str = "synthetic"
    test: tuple[str, ...] = ()
    weights: str | None = None
    init: str | None = None
    start_from: str | None = None
    limit: int | None = None
    cache: str | None = None
    held_out: float = 0.1
    held_out_limit: int = 200
    evaluate_every: int = 0
    quick_scores: bool = False
    workers: int = 2
    device: str = "cpu"
    seed: int = 0
    data_seed: int = 0
    out: str | None = None

    def __post_init__(self) -> None:
        if not 0 < self.held_out < 1:
            raise UserError(f"held_out is a share of the photographs in 0..1, not {self.held_out}")
        if sum(map(bool, (self.weights, self.init, self.start_from))) > 1:
            raise UserError(
                "give one of --weights (the backbone's), --init (the whole network's) and --from (a search's)"
            )
        for name, least in (("held_out_limit", 1), ("evaluate_every", 0), ("workers", 0), ("data_seed", 0)):
            if getattr(self, name) < least:
                raise UserError(f"{name} must be at least {least}, not {getattr(self, name)}")


def config_text(cfg: TrainConfig) -> str:
    """The configuration as the YAML file that `--config` reads."""
    return yaml.safe_dump(_plain(dataclasses.asdict(cfg)), sort_keys=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items() if inner is not None}
    return [_plain(inner) for inner in value] if isinstance(value, tuple | list) else value
