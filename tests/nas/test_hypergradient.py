"""The hypergradient against exact automatic differentiation, on problems small enough for both."""

import pytest
import torch
from torch.func import functional_call

import nas
from nas.network import norm_statistics_frozen
from nas.strategies import Darts, SecondOrderDarts
from nas.strategies.darts import first_order, second_order
from search_spaces import fusion_cells


def problem(seed=0):
    """Losses of (alpha, params) whose mixed derivatives do not vanish; float64, so that differences are clean."""
    g = torch.Generator().manual_seed(seed)
    data = {name: torch.randn(12, 4, generator=g, dtype=torch.float64) for name in ("train", "valid")}
    target = {name: torch.randn(12, generator=g, dtype=torch.float64) for name in ("train", "valid")}
    params = {
        "w": torch.randn(3, 4, generator=g, dtype=torch.float64),
        "v": torch.randn(3, generator=g, dtype=torch.float64),
        "unused": torch.ones(2, dtype=torch.float64),
    }
    alpha = torch.randn(2, 3, generator=g, dtype=torch.float64)

    def loss(part):
        def value(alpha, p):
            mix = alpha.softmax(-1)
            hidden = torch.tanh(data[part] @ p["w"].T) * mix[0] + torch.sigmoid(data[part] @ p["w"].T) * mix[1]
            return (hidden @ p["v"] - target[part]).square().mean()

        return value

    return loss("train"), loss("valid"), alpha, params


def exact(train, valid, alpha, params, lr):
    """d/d alpha valid(alpha, w - lr * d/dw train(alpha, w)), by differentiating through the gradient."""
    alpha = alpha.clone().requires_grad_()
    leaves = {name: value.clone().requires_grad_() for name, value in params.items()}
    gradients = torch.autograd.grad(train(alpha, leaves), list(leaves.values()), create_graph=True, allow_unused=True)
    step = {n: w if g is None else w - lr * g for (n, w), g in zip(leaves.items(), gradients, strict=True)}
    return torch.autograd.grad(valid(alpha, step), alpha)[0]


@pytest.mark.parametrize("lr", [0.01, 0.3, 2.0])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_second_order_equals_exact_differentiation(lr, seed):
    train, valid, alpha, params = problem(seed)
    ours, _ = second_order(train, valid, alpha, params, lr=lr, radius=1e-4)
    theirs = exact(train, valid, alpha, params, lr)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-9)
    naive, _ = first_order(valid, alpha, params)
    assert (naive - theirs).norm() > 100 * (ours - theirs).norm()  # the test can tell the two apart


def test_first_order_is_second_order_without_a_step():
    train, valid, alpha, params = problem()
    torch.testing.assert_close(
        first_order(valid, alpha, params)[0], second_order(train, valid, alpha, params, lr=0.0)[0]
    )


def test_a_flat_valid_loss_gives_a_finite_gradient():
    train, _, alpha, params = problem()
    gradient, _ = second_order(train, lambda a, p: a.sum() + 0 * p["w"].sum(), alpha, params, lr=0.1)
    torch.testing.assert_close(gradient, torch.ones_like(alpha))


@pytest.mark.parametrize("kind", [Darts, SecondOrderDarts])
def test_an_architecture_step_moves_alpha_only(kind):
    net = nas.build(fusion_cells("tiny", 8, ("none", "skip_connect", "conv_3x3"))).train()
    strategy = kind(net, kind.Config(lr=0.1), seed=0)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    alpha = strategy.parameters.alpha.detach().clone()
    x, y = torch.randn(2, 3, 32, 32), (torch.rand(2, 1, 32, 32) > 0.5).float()

    def loss(weights, params):
        outputs = functional_call(net, params, (x, weights))
        return sum(torch.nn.functional.binary_cross_entropy_with_logits(logits, y) for logits in outputs)

    with norm_statistics_frozen(net):
        value = strategy.architecture_step(0, loss, loss, lr=0.01)
    assert value > 0
    assert all(torch.equal(tensor, before[key]) for key, tensor in net.state_dict().items())  # bit for bit
    assert all(parameter.grad is None for parameter in net.parameters())
    assert (strategy.parameters.alpha.detach() != alpha).all()


def test_a_first_order_step_computes_no_weight_gradients():
    """The backward pass asks convolutions for the gradient of their input only."""
    net = nas.build(fusion_cells("tiny", 8, ("skip_connect", "conv_3x3"))).train()
    strategy = Darts(net, Darts.Config(), seed=0)
    x = torch.randn(2, 3, 32, 32)
    with torch.profiler.profile(record_shapes=True, activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        strategy.architecture_step(0, None, lambda w, p: functional_call(net, p, (x, w))[0].square().mean(), lr=0.0)
    backbone_convolutions = sum(isinstance(m, torch.nn.Conv2d) for m in net.backbone.modules())
    forward = sum(event.count for event in profile.key_averages() if event.key == "aten::convolution")
    backward = sum(event.count for event in profile.key_averages() if event.key == "aten::convolution_backward")
    assert backward <= forward - backbone_convolutions  # nothing in the backbone depends on alpha
