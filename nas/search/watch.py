"""The collapse guard's view of a search: curvature of the held-out loss, and what would be derived."""

import torch
from torch.func import functional_call

from nas.guard import dominant_eigenvalue
from nas.network import Mixture, norm_statistics_frozen
from nas.search.config import SearchConfig
from nas.search.inputs import Inputs
from nas.search.state import SearchState
from nas.strategies import Differentiable
from nas.task import generator, multi_output_loss, normalise

__all__ = ["curvature"]


def curvature(cfg: SearchConfig, state: SearchState, inputs: Inputs) -> float:
    """Dominant eigenvalue of the Hessian, in alpha, of the loss on some held-out images; NaN without alpha or guard,
    and before alpha moves.

    The loss is that of the expected mixture, also where the strategy draws: a draw's would be mostly noise.
    """
    strategy, net = state.strategy, state.net
    watched = cfg.guard.on and cfg.guard.iterations and state.step > cfg.warmup_steps
    if not (watched and isinstance(strategy, Differentiable)):
        return float("nan")
    images, masks = inputs.photos.batch(inputs.held_out[: cfg.guard.images], inputs.device)
    convention = net.genotype.input
    x = normalise(images.float() / 255, convention.mean, convention.std).contiguous(memory_format=torch.channels_last)
    y = (masks > 127).float()
    params = {name: value.detach() for name, value in net.named_parameters()}

    def loss(alpha: torch.Tensor) -> torch.Tensor:
        return multi_output_loss(functional_call(net, params, (x, Mixture(strategy.expected(alpha)))), y, cfg.loss)

    net.train()
    with norm_statistics_frozen(net):
        return dominant_eigenvalue(
            loss,
            strategy.alpha,
            generator=generator(cfg.seed, "curvature", 0),  # a few products find a like share of it every time
            iterations=cfg.guard.iterations,
        )
