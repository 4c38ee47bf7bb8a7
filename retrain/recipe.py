"""How to train a decided network, apart from what it is and from what it sees: a recipe, a short YAML file."""

import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from genotypes.errors import UserError, check_least, check_most
from nas.options import from_file
from nas.run.sizes import LARGEST_BATCH, check_side
from nas.task import AugmentConfig, LossConfig
from nas.training import OptimConfig, check_patterns

__all__ = ["Recipe", "load_recipe", "recipe_names"]

_RECIPES = Path(__file__).parent / "recipes"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained. The defaults are recipes/default.yaml.

    Attributes:
        size: side of the training images in pixels.
        first_size: what share of `size` the first batches have: they grow in steps of 16 px until half of the training,
            which saves time (progressive learning: EfficientNetV2, ICML 2021, section 4.2).
        native: photographs keep their own sizes instead, as CSF's authors train, and are scored so; passes must then be
            batch_size. `size` remains what costs are counted at.
        batch_size: images a step.
        passes: equal parts in which a step's images go through the network, their gradients averaged: large batches in
            little memory. BatchNorm sees a part at a time.
        steps: weight steps; 0 where epochs says how long.
        epochs: passes over the training part; 0 where steps says how long.
        least_steps: where epochs says how long, at least so many steps: few photographs need more passes.
        loss: terms and the outputs' weights.
        optim: how weights are updated.
        augment: how batches are varied.
        plain: share of the training, at its end, whose photographs are only flipped: as a network sees them later.
            Crops make objects larger than they will be (FixRes: Touvron et al., NeurIPS 2019).
        blend: share of the photographs, until `plain` begins, that are blended with another one of their batch. Such
            pictures have no mask: a teacher's network labels them, with loss.teacher 1 (Beyer et al., CVPR 2022).
        ema: decay of the moving average of weights that is scored and saved; 0 takes the weights themselves.
        freeze_backbone_norms: keep statistics, scales and shifts of the backbone's norms as they came.
        masks: how masks to train on are resized: bilinear with graded edges, or nearest. The held-out ones are always
            bilinear, so that scores of all recipes compare.
        init_std: weights (not biases) whose names begin with a match of a regular expression start from N(0, std^2),
            unless the whole network starts from a file.
        norms: train, or eval: all BatchNorms compute with the running statistics that came, and keep them.
        frozen: regular expressions; parameters whose names begin with a match keep their values.
        dynamic_decay: strength of CSNet's decay of norm scales by their features (ECCV 2020); 0 for none.
        precision: fp32, or autocast to bf16 or fp16; fp16 with a gradient scaler, as GPUs before bf16 need it. auto:
            bf16 if the device has instructions for it, else fp32; the run keeps what was chosen.
    """

    EITHER: ClassVar = (("steps", "epochs"),)  # giving one in place of the other is no contradiction

    size: int = 64
    first_size: float = 1.0
    native: bool = False
    batch_size: int = 16
    passes: int = 1
    steps: int = 400
    epochs: float = 0.0
    least_steps: int = 0
    loss: LossConfig = field(default_factory=LossConfig)
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(lr=4e-3))
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    plain: float = 0.0
    blend: float = 0.0
    ema: float = 0.98
    freeze_backbone_norms: bool = False
    masks: Literal["bilinear", "nearest"] = "bilinear"
    init_std: dict[str, float] = field(default_factory=dict)
    norms: Literal["train", "eval"] = "train"
    frozen: tuple[str, ...] = ()
    dynamic_decay: float = 0.0
    precision: Literal["fp32", "bf16", "fp16", "auto"] = "fp32"

    def __post_init__(self) -> None:
        check_side(self.size)
        check_least(self, "recipe: ", batch_size=1, least_steps=0)
        check_most(self, "recipe: ", batch_size=LARGEST_BATCH)
        if not 0 <= self.plain <= 1:
            raise UserError(f"recipe: plain is a share of the training in 0..1, not {self.plain}")
        if not 0 <= self.blend <= 1:
            raise UserError(f"recipe: blend is a share of the photographs in 0..1, not {self.blend}")
        if self.blend and self.loss.teacher != 1:
            raise UserError(f"recipe: blended pictures have no mask: loss.teacher must be 1, not {self.loss.teacher}")
        if self.blend and (self.plain == 1 or self.batch_size == 1):
            raise UserError("recipe: blend has no effect with plain 1, nor with batch_size 1")
        if not 0.1 <= self.first_size <= 1:
            raise UserError(f"recipe: first_size is a share of size in 0.1..1, not {self.first_size}")
        if self.passes < 1 or self.batch_size % self.passes or (self.passes > 1 and self.dynamic_decay):
            given = f"{self.passes} of {self.batch_size}"
            raise UserError(f"recipe: passes must divide batch_size, and be 1 with dynamic_decay; not {given}")
        if self.native:
            self._check_native()
        if self.steps < 0 or not 0 <= self.epochs < math.inf or (self.steps > 0) == (self.epochs > 0):
            raise UserError(f"recipe: give steps or epochs, the other 0; not steps {self.steps}, epochs {self.epochs}")
        if not 0 <= self.ema < 1:
            raise UserError(f"recipe: ema is a decay in 0..1 (0: none), not {self.ema}")
        if not 0 <= self.dynamic_decay < math.inf:
            raise UserError(f"recipe: dynamic_decay is a strength from 0 up, not {self.dynamic_decay}")
        check_patterns("recipe: frozen", self.frozen)
        check_patterns("recipe: init_std", tuple(self.init_std))
        if not all(0 < std < math.inf for std in self.init_std.values()):
            raise UserError(f"recipe: init_std are standard deviations above 0, not {self.init_std}")

    def unused(self) -> dict[str, str]:
        """See `nas.options.unused_of`."""
        return {"least_steps": "it is for trainings of --recipe.epochs"} if self.steps else {}

    def _check_native(self) -> None:
        if self.passes != self.batch_size:
            given = f"{self.passes} of {self.batch_size}"
            raise UserError(f"recipe: native photographs go one by one: passes must be batch_size, not {given}")
        if self.augment.rotate or self.augment.scales != (1.0,) or self.first_size != 1:
            raise UserError(
                "recipe: native photographs keep their sizes: no augment.rotate, augment.scales [1.0], first_size 1"
            )
        if self.masks == "nearest":
            raise UserError("recipe: native masks are not resized, so masks has no meaning: leave it at bilinear")

    def total_steps(self, images: int) -> int:
        """Weight steps for a training part of so many images."""
        return self.steps or max(1, self.least_steps, round(self.epochs * images / self.batch_size))


def recipe_names() -> list[str]:
    """The recipes that come with the package."""
    return sorted(path.stem for path in _RECIPES.glob("*.yaml"))


def load_recipe(name_or_path: str) -> Recipe:
    """The recipe of that name, or in that file; UserError, listing the names, for neither, and for a file that is none.

    >>> load_recipe("default") == Recipe()
    True
    """
    path = _RECIPES / f"{name_or_path}.yaml" if name_or_path in recipe_names() else Path(name_or_path)
    if not os.path.isfile(path):  # a Path raises OSError for a name that no file can have
        raise UserError(f"{name_or_path}: no such file, and no recipe of that name; known: {', '.join(recipe_names())}")
    return from_file(Recipe(), path)
