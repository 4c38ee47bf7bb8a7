"""Scores on the part of the photographs that neither the weights nor the architecture parameters have seen."""

import torch

from nas.network import Network
from nas.search.config import SearchConfig
from nas.search.inputs import Inputs
from nas.task import fast_scores, multi_output_loss, normalise

__all__ = ["score_held_out"]


@torch.no_grad()
def score_held_out(net: Network, weights: torch.Tensor | None, inputs: Inputs, cfg: SearchConfig) -> dict[str, float]:
    """Loss, maxF and raw MAE at the training size; weights: [open edges, candidates] for a supernet."""
    net.eval()
    convention = net.genotype.input
    loss, maps = 0.0, []
    for chunk in inputs.held_out.split(4 * cfg.batch_size):
        images, masks = inputs.photos.batch(chunk, inputs.device)
        x = normalise(images.float() / 255, convention.mean, convention.std)
        outputs = net(x.contiguous(memory_format=torch.channels_last), weights)
        loss += float(multi_output_loss(outputs, (masks > 127).float(), cfg.loss)) * len(chunk)
        maps.append(outputs[0].sigmoid())
    scores = fast_scores(torch.cat(maps), inputs.photos.batch(inputs.held_out, inputs.device)[1])
    return {"loss": loss / len(inputs.held_out), "maxF": scores.maxF, "MAE": scores.MAE_raw}
