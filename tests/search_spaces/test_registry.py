"""The registry, and what registering an operation or a backbone of one's own does."""

import pytest
import torch
from torch import nn

from genotypes import vocabulary
from genotypes.errors import UserError
from search_spaces._registry import Registry
from search_spaces.backbones import _register as backbone_registry
from search_spaces.backbones import backbone_names, build_backbone, register_backbone
from search_spaces.operations import _register as operation_registry
from search_spaces.operations import build_operation, operation_names, register_operation


@pytest.fixture
def own_words():
    """Forgets, after the test, the words it added."""
    tables = (
        vocabulary.OPERATIONS,
        vocabulary.BACKBONES,
        operation_registry._FACTORIES._entries,
        backbone_registry._BACKBONES._entries,
    )
    before = [dict(table) for table in tables]
    yield
    for table, entries in zip(tables, before, strict=True):
        table.clear()
        table.update(entries)


def test_unknown_name_lists_those_that_exist():
    registry: Registry[int] = Registry("flavour")
    registry.add("sweet", 1)
    registry.add("sour", 2)
    assert (registry["sour"], list(registry), len(registry), "salt" in registry) == (2, ["sweet", "sour"], 2, False)
    with pytest.raises(UserError, match=r"unknown flavour 'salt'.*sweet, sour"):
        registry["salt"]


def test_duplicate_is_refused_and_keeps_the_first():
    registry: Registry[int] = Registry("flavour")
    registry.add("sweet", 1)
    with pytest.raises(UserError, match="flavour 'sweet'"):
        registry.add("sweet", 2)
    assert registry["sweet"] == 1


def test_every_declared_word_has_a_meaning_and_the_reverse():
    assert set(operation_names()) == set(vocabulary.OPERATIONS)
    assert set(backbone_names()) == set(vocabulary.BACKBONES)


def test_own_operation_is_declared_and_built(own_words):
    @register_operation("test_double")
    class Double(nn.Module):
        """Twice the input."""

        def __init__(self, in_channels, out_channels, *, affine=True):
            super().__init__()

        def forward(self, x):
            return 2 * x

    word = vocabulary.OPERATIONS["test_double"]
    assert (word.widths, word.summary) == ("same", "Twice the input.")
    x = torch.ones(1, 4, 3, 3)
    assert torch.equal(build_operation("test_double", 4, 4)(x), 2 * x)
    with pytest.raises(UserError, match="operation 'test_double' is registered already"):
        register_operation("test_double")(Double)


def test_operation_declared_with_other_widths_is_refused(own_words):
    vocabulary.declare_operation("test_declared", widths="any")
    with pytest.raises(UserError, match=r"'test_declared'.*'any'.*'same'"):
        register_operation("test_declared", widths="same")(nn.Identity)
    assert "test_declared" not in operation_names()


def test_misspelt_widths_leave_nothing_behind(own_words):
    with pytest.raises(ValueError, match="sam"):
        register_operation("test_half_done", widths="sam")(nn.Identity)
    assert "test_half_done" not in operation_names()
    assert "test_half_done" not in vocabulary.OPERATIONS


def test_own_backbone_is_declared_and_built(own_words):
    @register_backbone("test_pool", {"s4": (4, 3)}, options={"kind": ("max", "avg")})
    class Pool(nn.Module):
        def __init__(self, taps, *, kind):
            super().__init__()
            self.pool = {"max": nn.MaxPool2d(4), "avg": nn.AvgPool2d(4)}[kind]

        def forward(self, x):
            return {"s4": self.pool(x)}

    x = torch.arange(48.0).reshape(1, 3, 4, 4)
    assert build_backbone("test_pool", ("s4",))(x)["s4"].flatten().tolist() == [15, 31, 47]
    assert build_backbone("test_pool", ("s4",), kind="avg")(x)["s4"].flatten().tolist() == [7.5, 23.5, 39.5]
    with pytest.raises(UserError, match="'test_pool' exists already"):
        register_backbone("test_pool", {"s4": (4, 3)})(Pool)
    with pytest.raises(UserError, match="'test_new' is new"):
        register_backbone("test_new")(Pool)
    assert "test_new" not in backbone_names()
