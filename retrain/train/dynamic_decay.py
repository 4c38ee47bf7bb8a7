"""CSNet's dynamic weight decay (Gao et al., ECCV 2020): what makes the scales of useless channels vanish."""

from typing import Any

import torch

from genotypes import UserError
from nas.network import Network
from nas.run.distributed import averaged
from nas.training import Change, Trainer

__all__ = ["DynamicDecay"]

_TEMPLATES = ("octave_block", "octave_stage")


class DynamicDecay(Change):
    """Adds strength * S_c * scale_c to the gradient of every norm's scale in the octave blocks.

    That is the gradient of strength / 2 * sum_c S_c * scale_c^2, where S_c is the mean over the batch of the channel's
    absolute global average after norm and activation, held constant. The fusion head's norms are left alone.

    Raises UserError for a network without octave blocks.
    """

    def __init__(self, net: Network, strength: float) -> None:
        self.strength = strength
        self.features: dict[Any, torch.Tensor] = {}  # post step -> S [C] of the last forward pass
        blocks: list[Any] = [net.cells[cell.name] for cell in net.genotype.cells if cell.template in _TEMPLATES]
        if not blocks:
            needed = " or ".join(_TEMPLATES)
            raise UserError(f"recipe: dynamic_decay needs cells of {needed}; {net.genotype.name} has none")
        for block in blocks:
            for post in block.nodes.values():
                post.register_forward_hook(self._remember)

    @torch.no_grad()
    def gradients(self, trainer: Trainer) -> None:
        """Added to those that lie ready, by the features of the last forward pass in training mode."""
        for post, feature in self.features.items():
            scale = post.norm.weight
            if scale.grad is not None:
                scale.grad += self.strength * averaged(feature) * scale
        self.features.clear()

    def _remember(self, post: Any, _: tuple[torch.Tensor, ...], out: torch.Tensor) -> None:
        if post.training:
            self.features[post] = out.detach().float().mean((2, 3)).abs().mean(0)
