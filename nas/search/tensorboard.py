"""What TensorBoard shows of a search: the candidates' probabilities, the cells, maps of held-out photographs."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from nas.search.setup import SearchSetup
from nas.strategies import Strategy
from nas.visualize import render_png
from nas.visualize.charts import heat_map, to_pixels

__all__ = ["pictures", "predictions"]

_SHOWN = 6  # photographs in the strip of predictions


def pictures(strategy: Strategy, setup: SearchSetup, *, cells: bool) -> dict[str, np.ndarray]:
    """Name -> picture [H, W, 3]. cells: also the probabilities, as a table and in the cells, which takes a second."""
    net, mixture = strategy.net.eval(), strategy.evaluated()
    shown = {"predictions/photo_mask_map": predictions(setup, lambda x: net(x, mixture))}
    if cells:
        every = strategy.probabilities()
        if probabilities := {edge: every[edge] for edge in strategy.net.open_edges}:
            shown["architecture/probabilities"] = to_pixels(heat_map(probabilities))
            shown["architecture/cells"] = render_png(strategy.net.genotype, probabilities=probabilities)
    return shown


@torch.no_grad()
def predictions(setup: SearchSetup, forward: Callable[[Tensor], Sequence[Tensor]]) -> np.ndarray:
    """uint8[3 S, n S, 3]: some held-out photographs, their masks and maps, one column each.

    forward: photographs float[n, 3, S, S] -> logits float[n, 1, S, S], the finest first, of a network in eval mode.
    """
    held_out = setup.held_out.samples
    rows = held_out.rows[:_SHOWN]
    x, _ = held_out.inputs(rows)
    return held_out.photos.strip(rows, forward(x)[0].sigmoid())
