"""The gradient of the validation loss in the architecture parameters (Liu et al., DARTS, ICLR 2019, section 2.3)."""

from collections.abc import Callable

import torch

__all__ = ["first_order", "second_order"]

Params = dict[str, torch.Tensor]
BilevelLoss = Callable[[torch.Tensor, Params], torch.Tensor]


def first_order(valid: BilevelLoss, alpha: torch.Tensor, params: Params) -> tuple[torch.Tensor, torch.Tensor]:
    """(d valid / d alpha at fixed params, the valid loss). params carry no gradient, so none is computed for them."""
    alpha = alpha.detach().requires_grad_()
    loss = valid(alpha, params)
    (gradient,) = torch.autograd.grad(loss, alpha)
    return gradient, loss.detach()


def second_order(
    train: BilevelLoss, valid: BilevelLoss, alpha: torch.Tensor, params: Params, *, lr: float, radius: float = 0.01
) -> tuple[torch.Tensor, torch.Tensor]:
    """(the hypergradient through one virtual step of gradient descent on the weights, the valid loss after it).

    With w' = w - lr * grad_w train(alpha, w), the chain rule gives (eq. 7)

        grad_alpha valid(alpha, w') - lr * [d2 train / d alpha d w] grad_w' valid(alpha, w')

    and the product with the mixed derivative is a central difference of grad_alpha train over w +- eps * v, with
    v = grad_w' valid and eps = radius / |v| (eq. 8). All weights involved are new tensors: `params` is only read, so
    there is no model to copy and nothing to restore.
    """
    names = list(params)
    leaves = {name: value.detach().requires_grad_() for name, value in params.items()}
    gradients = torch.autograd.grad(train(alpha.detach(), leaves), list(leaves.values()), allow_unused=True)
    step = {
        name: (value - lr * g if g is not None else value).detach().requires_grad_()
        for (name, value), g in zip(leaves.items(), gradients, strict=True)
    }
    alpha_leaf = alpha.detach().requires_grad_()
    loss = valid(alpha_leaf, step)
    outer, *vector = torch.autograd.grad(loss, [alpha_leaf, *step.values()], allow_unused=True)
    direction = {name: v for name, v in zip(names, vector, strict=True) if v is not None}
    norm = torch.stack([v.norm() for v in direction.values()]).norm()
    if norm == 0:  # a flat valid loss: the second term vanishes
        return outer, loss.detach()
    eps = radius / norm

    def probe(sign: float) -> torch.Tensor:
        moved = {n: (w + sign * eps * direction[n] if n in direction else w).detach() for n, w in params.items()}
        leaf = alpha.detach().requires_grad_()
        return torch.autograd.grad(train(leaf, moved), leaf)[0]

    return outer - lr * (probe(1.0) - probe(-1.0)) / (2 * eps), loss.detach()
