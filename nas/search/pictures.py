"""What TensorBoard shows of a search: the candidates' probabilities, the cells, maps of held-out photographs."""

import math
from collections.abc import Mapping

import numpy as np
import torch

from nas.search.setup import SearchSetup
from nas.strategies import Strategy
from nas.task import network_input, pixels
from nas.visualize import render_png

__all__ = ["entropy", "heat_map", "pictures"]

Probabilities = Mapping[str, Mapping[str, float]]
_SHOWN = 6  # photographs in the strip of predictions


def entropy(probabilities: Probabilities) -> float:
    """Mean entropy of the edges' distributions over that of uniform ones: 1 undecided, 0 decided."""
    edges = [list(p.values()) for p in probabilities.values()]
    return sum(sum(-v * math.log(max(v, 1e-12)) for v in p) / math.log(len(p)) for p in edges) / len(edges)


def heat_map(probabilities: Probabilities, cell_size: int = 12) -> np.ndarray:
    """uint8[H, W, 3]: a row an edge, a column a candidate, black 0 to white 1."""
    width = max(len(p) for p in probabilities.values())
    table = np.zeros((len(probabilities), width))
    for row, p in enumerate(probabilities.values()):
        table[row, : len(p)] = list(p.values())
    scaled = np.kron(table, np.ones((cell_size, cell_size)))
    return np.repeat((255 * scaled).astype(np.uint8)[..., None], 3, axis=2)


def pictures(strategy: Strategy, setup: SearchSetup, *, cells: bool) -> dict[str, np.ndarray]:
    """Name -> picture [H, W, 3]. cells: also the space with its probabilities, which takes a second or two."""
    probabilities = strategy.probabilities()
    shown = {"architecture/softmax": heat_map(probabilities)}
    if cells:
        shown["architecture/cells"] = render_png(strategy.net.genotype, probabilities=probabilities)
    return shown | {"predictions/photo_mask_map": _predictions(strategy, setup)}


@torch.no_grad()
def _predictions(strategy: Strategy, setup: SearchSetup) -> np.ndarray:
    """float[3 S, n S, 3]: photographs, masks and maps, one column each."""
    strategy.net.eval()
    images, masks = setup.photos.batch(setup.held_out.rows[:_SHOWN], setup.device)
    maps = strategy.net(network_input(images, setup.space.input), strategy.evaluated())[0].sigmoid()
    photographs = pixels(images)
    columns = torch.cat([photographs, pixels(masks).expand_as(photographs), maps.expand_as(photographs)], dim=2)
    return torch.cat(list(columns), dim=2).permute(1, 2, 0).cpu().numpy()
