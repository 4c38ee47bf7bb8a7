"""What to do with the choice: train, compare, evaluate, predict, and the authors' checkpoints."""

from typing import TYPE_CHECKING, Any

import nas  # noqa: F401 - first: it looks whether the packages below are ours
from retrain.predictor import Predictor, load, save

if TYPE_CHECKING:
    from retrain.authors import import_authors
    from retrain.recipe import Recipe, load_recipe, recipe_names

__all__ = ["Predictor", "Recipe", "import_authors", "load", "load_recipe", "recipe_names", "save"]


def __getattr__(name: str) -> Any:
    """Recipes and the authors' checkpoints, loaded when first asked for: a prediction must not wait for them."""
    if name not in __all__:
        raise AttributeError(f"module 'retrain' has no attribute {name!r}")
    from retrain import authors, recipe

    return getattr(authors if name == "import_authors" else recipe, name)
