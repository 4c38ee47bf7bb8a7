"""Scores on the part of the photographs that neither the weights nor the architecture parameters have seen."""

from collections.abc import Mapping

from nas.network import Mixture, Network, norm_statistics_restored, reestimate_norms
from nas.search.config import SearchConfig
from nas.search.inputs import Inputs
from nas.task import quick_scores

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


def score_held_out(net: Network, mixture: Mixture | None, inputs: Inputs, cfg: SearchConfig) -> dict[str, float]:
    """Loss, maxF and raw MAE at the training size, as `nas.task.quick_scores`; mixture: of a supernet."""
    net.eval()
    return quick_scores(
        lambda x: net(x, mixture),
        inputs.photos,
        inputs.held_out,
        net.genotype.input,
        cfg.loss,
        chunk=4 * cfg.batch_size,
        device=inputs.device,
    )
