"""What to do with the choice: train, compare, evaluate, predict, and the authors' checkpoints."""

from typing import TYPE_CHECKING

import nas  # noqa: F401 - first: it looks whether the packages below are ours
from nas.lazy import loaded_when_asked
from retrain.predictor import Predictor, load, save

if TYPE_CHECKING:
    from retrain.authors import import_authors
    from retrain.recipe import Recipe, load_recipe, recipe_names

__all__ = ["Predictor", "Recipe", "import_authors", "load", "load_recipe", "recipe_names", "save"]

__getattr__ = loaded_when_asked(  # a prediction must not wait for them
    __name__, {"authors": "import_authors", "recipe": "Recipe load_recipe recipe_names"}
)
