"""How sharply the held-out loss bends in the architecture parameters: the sign of a collapse to come."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["dominant_eigenvalue"]


def dominant_eigenvalue(
    loss: Callable[[Tensor], Tensor],
    alpha: Tensor,
    *,
    generator: torch.Generator,
    valid: Tensor | None = None,
    iterations: int = 7,
) -> float:
    """The largest eigenvalue of the Hessian of `loss` at `alpha` (Zela et al., RobustDARTS, ICLR 2020, section 4).

    Lanczos iteration: `iterations` exact products of the Hessian with a vector, each a backward pass through the
    gradient's own graph; there is one forward pass. (Differences of gradients would be useless here: across a step of
    any useful length thousands of ReLUs switch, and their jumps are larger than the curvature.) More iterations can
    only raise the value, up to the exact one.

    loss: architecture parameters -> scalar. It must give the same value each time it is called with the same alpha, and
        should hold the network's parameters as constants (detached), which saves half the work.
    alpha: float[E, O]; it is only read.
    generator: a CPU generator, for the first vector.
    valid: bool[E, O], False where an edge has no such candidate; those entries count as constants. None: all exist.
    iterations: products, at least 1; as many as there are entries, or more, give the exact value.

    Returns NaN if the loss or its curvature is not finite, 0 if the loss is linear in alpha. A softmax of alpha does
    not change when a constant is added to a row, so the value is never negative then (but for rounding).
    """
    if iterations < 1:
        raise ValueError(f"iterations must be at least 1, not {iterations}")
    alpha = alpha.detach().clone().requires_grad_()
    with torch.enable_grad():
        value = loss(alpha)
        (gradient,) = torch.autograd.grad(value, alpha, create_graph=True)
    if not gradient.requires_grad:
        return 0.0
    mask = torch.ones_like(alpha, dtype=torch.bool) if valid is None else valid.to(alpha.device)

    def product(vector: Tensor) -> Tensor:
        """float64[n] on the CPU -> Hessian times it, alike; n: the entries that exist."""
        full = torch.zeros_like(alpha).masked_scatter(mask, vector.to(alpha))
        (result,) = torch.autograd.grad(gradient, alpha, full, retain_graph=True)
        return result[mask].double().cpu()

    first = torch.randn(int(mask.sum()), generator=generator, dtype=torch.float64)
    return _largest_ritz_value(product, first, iterations)


def _largest_ritz_value(product: Callable[[Tensor], Tensor], first: Tensor, iterations: int) -> float:
    """The largest eigenvalue of a symmetric map, restricted to the Krylov space that starts at `first`."""
    basis: list[Tensor] = []
    images: list[Tensor] = []
    vector = first
    while len(basis) < min(iterations, len(first)):
        # Twice is enough to be orthogonal to rounding; without it, found directions come back as false copies.
        length = vector.norm()
        for _ in range(2):
            for known in basis:
                vector = vector - known.dot(vector) * known
        if vector.norm() <= 1e-7 * length or length == 0:
            break  # the space is closed under the map: nothing is left to find
        basis.append(vector / vector.norm())
        images.append(product(basis[-1]))
        if not torch.isfinite(images[-1]).all():
            return math.nan
        vector = images[-1]
    projected = torch.stack(basis) @ torch.stack(images).T
    return float(torch.linalg.eigvalsh((projected + projected.T) / 2)[-1])
