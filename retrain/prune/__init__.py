"""A trained network with less in it: CSNet's learnt widths, or a narrower backbone; also `python -m retrain.prune`."""

from retrain.prune.blocks import narrow_blocks
from retrain.prune.channels import THRESHOLD, Pruned, prune_channels
from retrain.prune.config import PruneConfig
from retrain.prune.pruning import prune

__all__ = ["THRESHOLD", "PruneConfig", "Pruned", "narrow_blocks", "prune", "prune_channels"]
