"""Post steps of nodes, against an independent computation."""

import pytest
import torch

from genotypes.errors import UserError
from genotypes.vocabulary import POSTS
from search_spaces.steps import PReLU, build_post

LEAVES = {
    "none": [],
    "relu": [],
    "bn": ["norm.bias", "norm.weight"],
    "bn_relu": ["norm.bias", "norm.weight"],
    "prelu": ["act.weight"],
    "bn_prelu": ["act.weight", "norm.bias", "norm.weight"],
    "gn32_relu": ["norm.bias", "norm.weight"],
    "gn32_prelu": ["act.weight", "norm.bias", "norm.weight"],
}


def normalised(x, groups):
    """Zero mean, unit variance over the batch (groups None) or over each image's groups of channels."""
    if groups is None:
        mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), keepdim=True, unbiased=False)
        return (x - mean) / (var + 1e-5).sqrt()
    grouped = x.reshape(len(x), groups, -1)
    mean, var = grouped.mean(2, keepdim=True), grouped.var(2, keepdim=True, unbiased=False)
    return ((grouped - mean) / (var + 1e-5).sqrt()).reshape(x.shape)


def test_the_table_covers_the_vocabulary():
    assert set(LEAVES) == set(POSTS)


@pytest.mark.parametrize("name", POSTS)
def test_values_and_leaves(name):
    generator = torch.Generator().manual_seed(0)
    post = build_post(name, 64).double()
    parameters = dict(post.named_parameters())
    assert sorted(parameters) == LEAVES[name]
    with torch.no_grad():
        for parameter in parameters.values():
            assert parameter.shape == (64,)
            parameter.copy_(torch.randn(64, generator=generator))
    x = torch.randn(2, 64, 5, 7, generator=generator).double().requires_grad_()
    before = x.detach().clone()

    expected = before
    if "norm.weight" in parameters:
        expected = normalised(before, 32 if "gn32" in name else None)
        expected = expected * parameters["norm.weight"][:, None, None] + parameters["norm.bias"][:, None, None]
    if "act.weight" in parameters:
        slope = parameters["act.weight"][:, None, None]
        expected = torch.where(expected > 0, expected, slope * expected)
    elif "relu" in name:
        expected = expected.clamp(min=0)

    y = post(x)
    torch.testing.assert_close(y, expected, rtol=1e-9, atol=1e-9)
    y.sum().backward()
    assert torch.isfinite(x.grad).all()
    assert torch.equal(x.detach(), before)


@pytest.mark.parametrize("name", POSTS)
def test_without_affine_no_norm_has_parameters(name):
    assert [key for key, _ in build_post(name, 32, affine=False).named_parameters() if "norm" in key] == []


def test_user_errors():
    with pytest.raises(UserError, match=r"'gn32_relu'.*48"):
        build_post("gn32_relu", 48)
    with pytest.raises(UserError, match=r"unknown post 'swish'.*bn_relu"):
        build_post("swish", 8)


@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last])
def test_gradients_of_prelu_are_torchs_to_the_bit(form):
    generator = torch.Generator().manual_seed(0)
    x, onto = (torch.randn(3, 7, 33, 21, generator=generator).contiguous(memory_format=form) for _ in range(2))
    x[:, :, ::4] = 0  # where neither side of the threshold is
    ours, theirs = PReLU(7), torch.nn.PReLU(7)
    slopes = torch.randn(7, generator=generator)
    found = []
    for module in (ours, theirs):
        with torch.no_grad():
            module.weight.copy_(slopes)
        leaf = x.clone().requires_grad_()
        y = module(leaf)
        found.append([y, *torch.autograd.grad(y, (leaf, module.weight), onto)])
    assert "_PReLU" in type(ours(x).grad_fn).__name__
    for a, b in zip(*found, strict=True):
        assert torch.equal(a, b)


def test_prelu_can_be_differentiated_twice():
    """As DARTS of second order and the Hessian's eigenvalue do."""
    module = PReLU(3).double()
    x = torch.randn(2, 3, 4, 4, dtype=torch.double, generator=torch.Generator().manual_seed(0)).requires_grad_()

    def prelu(x: torch.Tensor, slopes: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(module, {"weight": slopes}, (x,))

    assert torch.autograd.gradgradcheck(prelu, (x, module.weight))


@pytest.mark.parametrize("autocast", [True, False])
def test_a_prelu_computes_in_its_slopes_precision(autocast):
    prelu, x = PReLU(3), torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(0)).bfloat16()
    slopes = torch.tensor([0.1, 0.2, 0.3])  # bf16 has none of them
    with torch.no_grad():
        prelu.weight.copy_(slopes)
    expected = torch.where(x > 0, x.float(), x.float() * slopes.view(-1, 1, 1)).bfloat16()
    for training in (True, False):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            found = prelu.train(training)(x)
        assert found.dtype == torch.bfloat16
        assert torch.equal(found, expected)


def test_a_prelu_keeps_for_its_gradients_what_bf16_takes():
    prelu, kept = PReLU(3), []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)
        return tensor

    x = torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(0)).bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        y = prelu(x)
    assert {tensor.dtype for tensor in kept if tensor.dim() == 4} == {torch.bfloat16}
    found = torch.autograd.grad(y.float().sum(), (x, prelu.weight))
    exact = x.detach().float().requires_grad_()
    expected = torch.autograd.grad(prelu(exact).sum(), (exact, prelu.weight))
    assert [gradient.dtype for gradient in found] == [torch.bfloat16, torch.float32]
    for gradient, of_float32 in zip(found, expected, strict=True):
        torch.testing.assert_close(gradient.float(), of_float32, rtol=1e-2, atol=1e-2)
