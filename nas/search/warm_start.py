"""A supernet that starts from the weights of an earlier run."""

from pathlib import Path

import torch

from genotypes import UserError
from nas.network import Network
from nas.network.inherit import lend_state
from nas.network.weights import load_weights
from nas.run import load_checkpoint

__all__ = ["warm_start"]

_LEAST = 0.1  # of the cells' numbers: a few small tensors fit any width


@torch.no_grad()
def warm_start(net: Network, run: str) -> tuple[int, int]:
    """Copy what fits from a search's supernet, or from a training's network to the operations that it chose.

    What fits: tensors of the same name and shape. Returns how many of the supernet's tensors were filled, and how many
    it has. Raises UserError for a folder without weights, and where next to nothing of the cells fits.
    """
    folder = Path(run)
    trained, checkpoint = folder / "weights.safetensors", folder / "checkpoint.pt"
    if trained.is_file():
        source = lend_state(*load_weights(trained))
    elif checkpoint.is_file():
        source = load_checkpoint(checkpoint).get("net")
    else:
        raise UserError(f"--from {run}: no run with weights (neither weights.safetensors nor checkpoint.pt in it)")
    if not isinstance(source, dict):
        raise UserError(f"--from {run}: its checkpoint holds no network")
    own = net.state_dict()  # shares memory with the network
    fitting = [name for name, value in own.items() if name in source and source[name].shape == value.shape]
    cells = {name: value.numel() for name, value in own.items() if name.startswith("cells.")}
    share = sum(cells.get(name, 0) for name in fitting) / sum(cells.values())
    if share < _LEAST:
        raise UserError(
            f"--from {run}: its weights fit {share:.1%} of the cells of {net.genotype.name}; "
            "expected a run on this space, with as many channels"
        )
    for name in fitting:
        own[name].copy_(source[name])
    return len(fitting), len(own)
