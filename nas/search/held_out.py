"""Scores on the part of the photographs that neither the weights nor the architecture parameters have seen."""

from collections.abc import Mapping

import torch

from nas.network import Mixture, Network, norm_statistics_restored, reestimate_norms
from nas.search.config import SearchConfig
from nas.search.inputs import Inputs
from nas.task import fast_scores, multi_output_loss, normalise

__all__ = ["judge", "score_held_out", "score_path"]

_NORM_BATCHES = 20  # batches that re-estimate the norms of a path before it is judged


def judge(net: Network, choices: Mapping[str, str], inputs: Inputs, cfg: SearchConfig) -> dict[str, float]:
    """Scores of a derived genotype with the supernet's weights: the network `inherit` gives, without making it."""
    return score_path(net, net.path(choices), inputs, cfg)


def score_path(net: Network, mixture: Mixture, inputs: Inputs, cfg: SearchConfig) -> dict[str, float]:
    """Scores of some of the supernet's candidates, with norm statistics estimated for them alone, then put back.

    The supernet's own are those of a mixture, or of whatever paths came by (Guo et al., ECCV 2020, section 3.4).
    """
    batches = (inputs.train(step)[0] for step in range(_NORM_BATCHES))
    with norm_statistics_restored(net):
        reestimate_norms(net, batches, mixture)
        return score_held_out(net, mixture, inputs, cfg)


@torch.no_grad()
def score_held_out(net: Network, mixture: Mixture | None, inputs: Inputs, cfg: SearchConfig) -> dict[str, float]:
    """Loss, maxF and raw MAE at the training size; mixture: of a supernet."""
    net.eval()
    convention = net.genotype.input
    loss, maps = 0.0, []
    for chunk in inputs.held_out.split(4 * cfg.batch_size):
        images, masks = inputs.photos.batch(chunk, inputs.device)
        x = normalise(images.float() / 255, convention.mean, convention.std)
        outputs = net(x.contiguous(memory_format=torch.channels_last), mixture)
        loss += float(multi_output_loss(outputs, (masks > 127).float(), cfg.loss)) * len(chunk)
        maps.append(outputs[0].sigmoid())
    scores = fast_scores(torch.cat(maps), inputs.photos.batch(inputs.held_out, inputs.device)[1])
    return {"loss": loss / len(inputs.held_out), "maxF": scores.maxF, "MAE": scores.MAE_raw}
