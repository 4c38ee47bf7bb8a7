"""The configuration of `python -m retrain.compare`."""

import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from genotypes import UserError, UserNote
from nas.run_files import RANDOM
from retrain.compare.entries import Entry
from retrain.tables import labelled
from retrain.train import TrainingOptions

__all__ = ["CompareConfig", "starts"]


@dataclass(frozen=True, kw_only=True)
class CompareConfig(TrainingOptions):
    """Which genotypes to train, each with every seed, all with the same recipe, photographs, order and budget.

    Attributes:
        genotypes: each a zoo name, a file, the folder of a search, LABEL=FILE, random:SEED (drawn from the space),
            or fpn (the plain pyramid on the space's backbone and taps, as wide as the space). Labels such as a:0 and
            a:1 form a group.
        space: the open genotype that random:SEED is drawn from; default space.yaml beside the first file.
        seeds: of initial weights, order and augmentation; each genotype is trained once with each.
        backbone_weights: file with the backbone's pre-trained weights, or package; BACKBONE=FILE if there are several
            backbones; one that is not named starts at random.
        init: LABEL=FILE: weights of the whole network that a genotype starts from, in place of its backbone's.
        quick_scores: at the end wF, Sm and Em as well; they take most of the time of scoring.
        latency: do not measure the milliseconds of one photograph through each network.
        xlsx: also write table.xlsx (needs openpyxl, the extra `xlsx`).
        out: folder of the comparison; default the next free runs/compare-NNN. An earlier one is continued.
    """

    genotypes: tuple[str, ...] = ()
    space: str | None = None
    seeds: tuple[int, ...] = (0,)
    backbone_weights: tuple[str, ...] = ()
    init: tuple[str, ...] = ()
    quick_scores: bool = True
    latency: bool = True
    xlsx: bool = False
    out: str | None = None

    def __post_init__(self) -> None:
        for name in ("genotypes", "seeds", "test", "backbone_weights", "init"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise UserError(f"{name}: expected different ones, not {', '.join(map(str, values))}")
        if not self.seeds:
            raise UserError("seeds: give at least one")

    def unused(self) -> dict[str, str]:
        """See `nas.options.unused_of`."""
        needs_it = any(text == "fpn" or text.startswith(f"{RANDOM}:") for text in self.genotypes)
        return super().unused() | ({} if needs_it else {"space": "none of --genotypes is random:SEED or fpn"})


def starts(cfg: CompareConfig, entries: Sequence[Entry], earlier: Collection[str] = ()) -> dict[str, dict[str, str]]:
    """Label -> the weights that it starts from, as options of a training; none: at random.

    earlier: weights that the comparison began with; they may be those of a row that takes no part now. Raises UserError
    for others of a row or a backbone that takes no part, and where it is not clear whose they are.
    """
    labels = [entry.label for entry in entries]
    init: dict[str, str] = {}
    for text in cfg.init:
        label, file = labelled(text)
        if label not in labels and text in earlier:
            continue
        if label is None or label not in labels or label in init:
            raise UserError(f"--init {text}: expected LABEL=FILE once for each of {', '.join(labels)}")
        init[label] = file
    backbones = {e.label: e.genotype.backbone.name for e in entries if e.genotype.backbone and e.label not in init}
    there = sorted(set(backbones.values()))
    files: dict[str, str] = {}
    for text in cfg.backbone_weights:
        name, file = labelled(text)
        if name is None and len(there) == 1:
            name = there[0]
        if name not in there and name is not None and text in earlier:
            continue
        if name not in there or name in files:
            raise UserError(
                f"--backbone_weights {text}: expected BACKBONE=FILE once for each of {', '.join(there) or 'none'}"
            )
        files[name] = file
    found = {label: {"backbone_weights": files[name]} for label, name in backbones.items() if name in files}
    found |= {label: {"init": file} for label, file in init.items()}
    random = [label for label in labels if label not in found]
    if found and random:
        warnings.warn(
            f"no weights were given for {', '.join(random)}: training starts at random", UserNote, stacklevel=2
        )
    return {label: found.get(label, {}) for label in labels}
