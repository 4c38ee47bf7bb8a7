"""The configuration of `python -m retrain.compare`."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from genotypes import UserError
from nas.command import owner
from retrain.recipe import Recipe, load_recipe, recipe_names
from retrain.train import TrainConfig

__all__ = ["CompareConfig", "train_config"]


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """Which genotypes to train, each with every seed, all with the same recipe, photographs, order and budget.

    Attributes:
        genotypes: of each: a zoo name, a file, LABEL=FILE, random:SEED (drawn from the space), or fpn (the plain
            pyramid on the space's backbone and taps, as wide as the space). Labels such as a:0 and a:1 form a group.
        space: the open genotype that random:SEED is drawn from; default space.yaml beside the first file.
        seeds: of initial weights, order and augmentation; each genotype is trained once with each.
        recipe: a name (such as default, photos_cpu, photos_gpu, minet) or a YAML file; parts of it below.
        data: synthetic, synthetic:COUNT, DIR or NAME=DIR.
        test: sets to score at the end, NAME=DIR each; they take no part in training.
        backbone_weights: file with the backbone's pre-trained weights, or package; none: it starts at random.
        limit: use only so many photographs.
        cache: folder that keeps decoded photographs between runs.
        held_out: share of the photographs that is scored and never trained on; the same ones in every training.
        held_out_limit: at most so many of them are scored while training; at the end all are.
        evaluate_every: steps between rows of a history, and between checkpoints; 0 for a tenth of the steps.
        quick_scores: F-measures and MAE only; wF, Sm and Em take most of the scoring's time.
        workers: processes that score; 0 for none beside this one.
        device: cpu, cuda, or auto.
        data_seed: of the split and of synthetic pictures.
        out: folder of the comparison; default the next free runs/compare-NNN. An earlier one is continued.
    """

    genotypes: tuple[str, ...] = ()
    space: str | None = None
    seeds: tuple[int, ...] = (0,)
    recipe: Recipe = owner(load_recipe, recipe_names, "default", "NAME|FILE")
    data: str = "synthetic"
    test: tuple[str, ...] = ()
    backbone_weights: str | None = None
    limit: int | None = None
    cache: str | None = None
    held_out: float = 0.1
    held_out_limit: int = 200
    evaluate_every: int = 0
    quick_scores: bool = True
    workers: int = 2
    device: str = "cpu"
    data_seed: int = 0
    out: str | None = None

    def __post_init__(self) -> None:
        for name in ("genotypes", "seeds", "test"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise UserError(f"{name}: expected different ones, not {', '.join(map(str, values))}")
        if not self.seeds:
            raise UserError("seeds: give at least one")


def train_config(cfg: CompareConfig, genotype: Path, seed: int, out: Path) -> TrainConfig:
    """One training of the comparison."""
    shared = {f.name for f in dataclasses.fields(CompareConfig)} & {f.name for f in dataclasses.fields(TrainConfig)}
    values = {name: getattr(cfg, name) for name in shared if name != "out"}
    return TrainConfig(genotype=str(genotype), seed=seed, out=str(out), **values)
