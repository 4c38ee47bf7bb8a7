"""Architecture parameters, derivation, and what every strategy promises."""

import pytest
import torch

import nas
from genotypes import UserError
from nas.strategies import (
    STRATEGIES,
    ArchitectureParameters,
    Darts,
    Differentiable,
    Strategy,
    random_choices,
    register_strategy,
    strategy_config,
)
from search_spaces import fusion_cells

OPERATIONS = ("none", "skip_connect", "conv_3x3")


@pytest.fixture(scope="module")
def net():
    return nas.build(fusion_cells("tiny", 8, OPERATIONS))


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_every_strategy_decides_every_edge(net, name):
    strategy = strategy_config(name).build(net, seed=1, steps=1)
    weights = strategy.mixture(0).weights
    assert weights.shape == (31, 3) and not weights.requires_grad
    torch.testing.assert_close(weights.sum(-1), torch.ones(31))
    choices = strategy.choices()
    assert (choices is None) == (strategy.sampler is not None)
    assert choices is None or net.genotype.decide(choices).is_decided
    probabilities = strategy.probabilities()
    assert list(probabilities) == list(net.open_edges)
    assert all(list(p) == list(OPERATIONS) for p in probabilities.values())


def test_a_strategy_without_choices_must_say_what_is_scored(net):
    class Undecided(Darts):
        evaluated = Strategy.evaluated

        def choices(self):
            return None

    with pytest.raises(UserError, match=r"Undecided has no choices while it runs: it needs evaluated\(\)"):
        Undecided(net, Darts.Config()).evaluated()


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_state_round_trip(net, name):
    first, second = (strategy_config(name).build(net, seed=1, steps=1) for _ in range(2))
    if isinstance(first, Differentiable):
        first.alpha.grad = torch.randn_like(first.alpha)
        first.optimizer.step()
        assert first.probabilities() != second.probabilities()
    second.load_state_dict(first.state_dict())
    assert torch.equal(first.mixture(0).weights, second.mixture(0).weights) and first.choices() == second.choices()


def test_derivation_takes_the_largest_weight_none_included_unless_excluded(net):
    strategy = Darts(net, Darts.Config(), seed=0)
    with torch.no_grad():
        strategy.parameters.alpha.copy_(torch.tensor([3.0, 1.0, 2.0]).expand(31, 3))
    assert set(strategy.choices().values()) == {"none"}
    excluded = Darts(net, Darts.Config(exclude_none=True), seed=0)
    excluded.load_state_dict(strategy.state_dict())
    assert set(excluded.choices().values()) == {"conv_3x3"}


def test_edges_with_fewer_candidates_do_not_see_the_padding():
    space = fusion_cells("tiny", 8, OPERATIONS)
    cells = [cell.to_dict() for cell in space.cells]
    cells[1]["operations"] = {"outer_f32": ["skip_connect", "conv_3x3"], "outer_f16": "skip_connect"}
    uneven = type(space).from_dict(space.to_dict() | {"cells": cells})
    net = nas.build(uneven)
    assert [len(c) for c in net.open_edges.values()][:2] == [2, 3] and len(net.open_edges) == 30
    parameters = ArchitectureParameters(net, 0)
    weights = parameters.softmax(parameters.alpha.detach())
    assert weights[0, 2] == 0 and weights[0, :2].sum() == pytest.approx(1)
    assert Darts(net, Darts.Config()).choices()["fuse16.outer_f32"] in ("skip_connect", "conv_3x3")


def test_random_choices_depend_on_the_seed_alone_and_use_every_candidate(net):
    assert random_choices(net.open_edges, 7) == random_choices(net.open_edges, 7)
    drawn = [random_choices(net.open_edges, seed) for seed in range(200)]
    assert len({tuple(choices.values()) for choices in drawn}) == 200
    counts = [sum(choices["fuse8.p_n1"] == op for choices in drawn) for op in OPERATIONS]
    assert min(counts) > 40  # of 66.7 expected: four standard deviations


def test_names_are_unique_and_bad_settings_refused():
    with pytest.raises(ValueError, match="strategy 'darts'"):
        register_strategy("darts")(Darts)
    with pytest.raises(UserError, match="lr"):
        Darts.Config(lr=0)
    with pytest.raises(UserError, match="strategy: weight_decay must be at least 0, not -1"):
        Darts.Config(weight_decay=-1)  # it was told of lr's value alone
