"""Post steps of nodes, against an independent computation."""

import pytest
import torch

from genotypes.errors import UserError
from genotypes.vocabulary import POSTS
from search_spaces.steps import build_post

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
