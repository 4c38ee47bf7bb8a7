"""What a search shows: TensorBoard scalars, heat maps, cells and predictions; the files it leaves."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from genotypes import Genotype, save
from nas.run import RunFolder
from nas.search.inputs import Inputs
from nas.search.state import SearchState
from nas.task import PhotoSet, normalise
from nas.visualize import draw, render_png

__all__ = ["entropy", "heat_map", "products", "write"]

Probabilities = Mapping[str, Mapping[str, float]]
_SHOWN = 6  # photographs in the strip of predictions
_CELLS_EVERY = 4  # evaluations for one picture of the cells: it takes a second or two


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
    pixels = np.kron(table, np.ones((cell_size, cell_size)))
    return np.repeat((255 * pixels).astype(np.uint8)[..., None], 3, axis=2)


def write(run: RunFolder, state: SearchState, row: dict[str, Any], inputs: Inputs, *, last: bool) -> None:
    """One evaluation's TensorBoard events."""
    events, step = run.events(state.step), state.step
    for key, value in row.items():
        if key != "step" and not math.isnan(value):
            events.add_scalar(f"search/{key}", value, step)
    probabilities = state.strategy.probabilities()
    events.add_image("architecture/softmax", heat_map(probabilities), step, dataformats="HWC")
    if last or len(run.history) % _CELLS_EVERY == 0:
        cells = render_png(state.net.genotype, probabilities=probabilities)
        events.add_image("architecture/cells", cells, step, dataformats="HWC")
    strip = _predictions(state, inputs.photos, inputs.held_out[:_SHOWN], step)
    events.add_image("predictions/photo_mask_map", strip, step, dataformats="CHW")


@torch.no_grad()
def _predictions(state: SearchState, photos: PhotoSet, rows: torch.Tensor, step: int) -> torch.Tensor:
    """float[3, 3 S, n S]: photographs, masks and maps, one column each."""
    state.net.eval()
    convention = state.net.genotype.input
    device = next(state.net.parameters()).device
    images, masks = photos.batch(rows, device)
    x = images.float() / 255
    maps = state.net(normalise(x, convention.mean, convention.std), state.strategy.evaluated())[0].sigmoid()
    columns = torch.cat([x, (masks.float() / 255).expand_as(x), maps.expand_as(x)], dim=2)
    return torch.cat(list(columns), dim=2).cpu()


def products(run: RunFolder, genotype: Genotype) -> None:
    """genotype.yaml and its drawing."""
    save(genotype, run.path / "genotype.yaml")
    draw(genotype, run.path / "cells.svg")
