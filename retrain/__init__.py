"""What to do with the choice: train, compare, evaluate, predict, and the authors' checkpoints."""

from retrain.authors import import_authors
from retrain.predictor import Predictor, load_network
from retrain.recipe import Recipe, load_recipe, recipe_names

__all__ = ["Predictor", "Recipe", "import_authors", "load_network", "load_recipe", "recipe_names"]
