"""The configuration of `python -m retrain.compare`."""

import dataclasses
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from genotypes import UserError, UserNote
from nas.options import owner
from nas.task import PhotoOptions
from retrain.compare.entries import Entry
from retrain.recipe import Recipe, load_recipe, recipe_names
from retrain.tables import labelled
from retrain.train import TrainConfig

__all__ = ["CompareConfig", "starts", "train_config"]


@dataclass(frozen=True, kw_only=True)
class CompareConfig(PhotoOptions):
    """Which genotypes to train, each with every seed, all with the same recipe, photographs, order and budget.

    Attributes:
        genotypes: of each: a zoo name, a file, LABEL=FILE, random:SEED (drawn from the space), or fpn (the plain
            pyramid on the space's backbone and taps, as wide as the space). Labels such as a:0 and a:1 form a group.
        space: the open genotype that random:SEED is drawn from; default space.yaml beside the first file.
        seeds: of initial weights, order and augmentation; each genotype is trained once with each.
        recipe: a name (such as default, photos_cpu, photos_gpu, minet) or a YAML file; parts of it below.
        test: sets to score at the end, NAME=DIR each; they take no part in training.
        backbone_weights: file with the backbone's pre-trained weights, or package; BACKBONE=FILE if there are several
            backbones; one that is not named starts at random.
        init: LABEL=FILE: weights of the whole network that a genotype starts from, in place of its backbone's.
        limit: use only so many photographs of `data`.
        test_limit: score only so many of each test set, evenly spread.
        held_out: share of the photographs that is scored and never trained on; the same ones in every training.
        held_out_limit: at most so many of them are scored while training; at the end all are.
        evaluate_every: steps between rows of a history, and between checkpoints; 0 for a tenth of the steps.
        quick_scores: F-measures and MAE only; wF, Sm and Em take most of the scoring's time.
        latency: measure the milliseconds of one photograph through each network on the device.
        xlsx: also write table.xlsx (needs openpyxl, the extra `xlsx`).
        workers: processes that score; 0 for none beside this one.
        device: cpu, cuda, or auto.
        out: folder of the comparison; default the next free runs/compare-NNN. An earlier one is continued.
    """

    genotypes: tuple[str, ...] = ()
    space: str | None = None
    seeds: tuple[int, ...] = (0,)
    recipe: Recipe = owner(load_recipe, recipe_names, "default", "NAME|FILE")
    test: tuple[str, ...] = ()
    backbone_weights: tuple[str, ...] = ()
    init: tuple[str, ...] = ()
    test_limit: int | None = None
    held_out: float = 0.1
    held_out_limit: int = 200
    evaluate_every: int = 0
    quick_scores: bool = True
    latency: bool = True
    xlsx: bool = False
    workers: int = 2
    device: str = "cpu"
    out: str | None = None

    def __post_init__(self) -> None:
        for name in ("genotypes", "seeds", "test", "backbone_weights", "init"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise UserError(f"{name}: expected different ones, not {', '.join(map(str, values))}")
        if not self.seeds:
            raise UserError("seeds: give at least one")


def train_config(cfg: CompareConfig, start: dict[str, str], genotype: Path, seed: int, out: Path) -> TrainConfig:
    """One training of the comparison. start: one of `starts`."""
    shared = {f.name for f in dataclasses.fields(CompareConfig)} & {f.name for f in dataclasses.fields(TrainConfig)}
    values = {name: getattr(cfg, name) for name in shared - {"out", "backbone_weights", "init"}}
    return TrainConfig(genotype=str(genotype), seed=seed, out=str(out), **values | start)


def starts(cfg: CompareConfig, entries: Sequence[Entry]) -> dict[str, dict[str, str]]:
    """Label -> the weights that it starts from, as options of a training; none: at random.

    Raises UserError for weights of a row or a backbone that takes no part, and where it is not clear whose they are.
    """
    init = {}
    for text in cfg.init:
        label, file = labelled(text)
        if label not in [entry.label for entry in entries]:
            raise UserError(f"--init {text}: expected LABEL=FILE, with one of {', '.join(e.label for e in entries)}")
        init[label] = file
    backbones = {e.label: e.genotype.backbone.name for e in entries if e.genotype.backbone and e.label not in init}
    there = sorted(set(backbones.values()))
    files: dict[str, str] = {}
    for text in cfg.backbone_weights:
        name, file = labelled(text)
        if name is None and len(there) == 1:
            name = there[0]
        if name not in there or name in files:
            raise UserError(
                f"--backbone_weights {text}: expected BACKBONE=FILE once for each of {', '.join(there) or 'none'}"
            )
        files[name] = file
    found = {label: {"backbone_weights": files[name]} for label, name in backbones.items() if name in files}
    found |= {label: {"init": file} for label, file in init.items()}
    random = [entry.label for entry in entries if entry.label not in found]
    if found and random:
        warnings.warn(
            f"no weights were given for {', '.join(random)}: training starts at random", UserNote, stacklevel=2
        )
    return {entry.label: found.get(entry.label, {}) for entry in entries}
