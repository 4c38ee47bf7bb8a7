"""A trained network with less in it: CSNet's learnt widths, or a narrower backbone; also `python -m retrain.prune`."""

from retrain.prune.blocks import narrow_blocks
from retrain.prune.channels import THRESHOLD, Pruned, prune_channels

__all__ = ["THRESHOLD", "Pruned", "narrow_blocks", "prune_channels"]
