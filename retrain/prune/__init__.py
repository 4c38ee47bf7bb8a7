"""CSNet's way to learnt widths: drop the channels whose norm scales vanished; also `python -m retrain.prune`."""

from retrain.prune.channels import THRESHOLD, Pruned, prune_channels

__all__ = ["THRESHOLD", "Pruned", "prune_channels"]
