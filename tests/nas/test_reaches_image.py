"""Nothing that draws, tries or derives choices ends in a network that ignores the image."""

import math
import random
import re

import pytest
import torch
from tiny_search import config, run_search

import genotypes
import nas
from genotypes import Genotype
from nas.benchmark import members
from nas.cost import CostTable, cost_table, within_budget
from nas.search.objective import derive
from nas.strategies import Darts, member_choices, random_choices
from nas.trials import TrialsConfig, run_trials
from search_spaces import compact

SPACE = """
format: 1
name: narrow
outputs: [net.out]
cells:
- name: net
  template: graph
  inputs: [image]
  nodes:
  - {name: a, stride: 2, width: 4, size: {ceil_half: image},
     edges: [{name: in_a, source: image, op: [none, conv2d_1x1, conv2d_3x3], pre: [avg2_ceil]}]}
  - {name: b, stride: 2, width: 4, size: {like: a},
     edges: [{name: a_b, source: a, op: [none, skip_connect]},
             {name: in_b, source: image, op: [none, conv2d_1x1], pre: [avg2_ceil]}]}
  - {name: out, stride: 2, width: 1, edges: [{name: head, source: b, op: conv2d_1x1}]}
"""


@pytest.fixture(scope="module")
def space() -> Genotype:
    return genotypes.loads(SPACE)


def test_reaching_the_image_is_a_way_of_edges_that_carry(space) -> None:
    alive = [choices for choices in members(space) if space.reaches_image(choices)]
    by_hand = [
        c for c in members(space) if c["net.in_b"] != "none" or (c["net.in_a"] != "none" and c["net.a_b"] != "none")
    ]
    assert alive == by_hand and len(alive) == 8
    free = {edge: dict.fromkeys(ops, 0.0) for edge, ops in space.open_edges().items()}
    assert all(space.graph.reconnect(choices, free)[0] == choices for choices in alive)  # nothing without need
    none = dict.fromkeys(space.open_edges(), "none")  # what counts is how far a change raises prices, not the price
    prices = {"net.in_a": {"none": 10, "conv2d_1x1": 11}, "net.a_b": {"none": 10, "skip_connect": 11}}
    found, _ = space.graph.reconnect(none, prices | {"net.in_b": {"none": 0, "conv2d_1x1": 5}})
    assert found == {"net.in_a": "conv2d_1x1", "net.a_b": "skip_connect", "net.in_b": "none"}


def test_random_choices_are_drawn_again(space) -> None:
    free = [random_choices(space.open_edges(), seed) for seed in range(40)]
    kept = [random_choices(space.open_edges(), seed, space.reaches_image) for seed in range(40)]
    assert not all(map(space.reaches_image, free)) and all(map(space.reaches_image, kept))
    assert all(new == old for old, new in zip(free, kept, strict=True) if space.reaches_image(old))


@pytest.mark.parametrize("sampler", ["random", "evolution", "tpe", "gp", "nsga2"])
def test_no_trial_is_spent_on_it(space, sampler: str) -> None:
    def score(choices, report) -> tuple[float]:
        space.decide(choices)
        return (sum(map(len, choices.values())),)

    cfg = TrialsConfig(count=14, sampler=sampler, population=4)  # more trials than there are networks
    trials = run_trials(space.open_edges(), score, cfg, accept=space.reaches_image)
    assert len({tuple(trial.choices.values()) for trial in trials.complete}) == 8


@pytest.mark.parametrize("exclude_none", [False, True])
def test_what_would_be_derived_is_reconnected(space, exclude_none: bool) -> None:
    strategy = Darts(nas.build(space), Darts.Config(exclude_none=exclude_none))
    with torch.no_grad():
        strategy.parameters.alpha.copy_(torch.tensor([[9.0, 1.0, 2.0], [9.0, 8.0, 0.0], [9.0, 3.0, 0.0]]))
    if exclude_none:
        assert derive(strategy, None) == {"net.in_a": "conv2d_3x3", "net.a_b": "skip_connect", "net.in_b": "conv2d_1x1"}
    else:  # 6 for the direct way, 7 + 1 for the other
        assert derive(strategy, None) == {"net.in_a": "none", "net.a_b": "none", "net.in_b": "conv2d_1x1"}


def test_a_budget_is_met_by_what_reaches_the_image(space) -> None:
    table = cost_table(space, "params")
    alive = [choices for choices in members(space) if space.reaches_image(choices)]
    assert table.of(table.cheapest()) == min(map(table.of, alive))
    rng = random.Random(0)
    for _ in range(20):
        weights = {edge: {op: rng.random() ** 4 for op in ops} for edge, ops in space.open_edges().items()}
        for choices in alive:
            budget = table.of(choices)
            found = within_budget(weights, table, budget)
            fitting = [choices for choices in alive if table.of(choices) <= budget]
            score = {tuple(c.values()): sum(math.log(weights[edge][op]) for edge, op in c.items()) for c in fitting}
            assert space.reaches_image(found) and table.of(found) <= budget
            unconstrained = max(
                (c for c in members(space) if table.of(c) <= budget),
                key=lambda c: sum(math.log(weights[edge][op]) for edge, op in c.items()),
            )
            if space.reaches_image(unconstrained):
                assert score[tuple(found.values())] == max(score.values())


def test_where_the_images_most_probable_way_is_too_dear_the_cheapest_is_taken(space) -> None:
    costs = {"net.in_a": (0, 100, 100), "net.a_b": (0, 0), "net.in_b": (0, 1)}
    likely = {"net.in_a": (0.5, 0.4, 0.1), "net.a_b": (0.1, 0.9), "net.in_b": (0.99, 0.01)}
    rows, weights = (
        {edge: dict(zip(ops, made[edge], strict=True)) for edge, ops in space.open_edges().items()}
        for made in (costs, likely)
    )
    table = CostTable.of_rows(space, "params", (32, 32), 0.0, rows)
    ways = {100: ("conv2d_1x1", "skip_connect", "none"), 5: ("none", "skip_connect", "conv2d_1x1")}
    for budget, ops in ways.items():
        assert tuple(within_budget(weights, table, budget).values()) == ops


@pytest.mark.parametrize("strategy", ["random", "optuna", "one_shot", "darts"])
def test_searches_of_a_space_that_is_mostly_dead_end_well(tmp_path, space, strategy: str) -> None:
    genotypes.save(space, tmp_path / "space.yaml")
    small = {"steps": 3, "warmup_steps": 1, "trials": TrialsConfig(count=6), "score_steps": 1, "seed": 3}
    cfg = config(strategy=strategy, space=str(tmp_path / "space.yaml"), **small)
    result = run_search(tmp_path / "run", cfg)
    assert result.genotype.is_decided


def test_a_way_through_what_a_member_does_not_read_is_none():
    """Drawn members of a space whose finest feature may be left out were no networks, and training ended there."""
    space = compact("tiny", (8,), ("none", "conv_3x3"), leave_out="either", sizes=(32,))
    for number in range(40):
        space.decide(member_choices(space, 0, number))
    there = {"decoder.mix_s4": "conv_3x3", "decoder.mix_s8": "none"}
    assert space.reaches_image({**there, "decoder.inputs": "s32 s16 s8 s4"})
    assert not space.reaches_image({**there, "decoder.inputs": "s32 s16 s8"})


def test_inputs_that_leave_nothing_but_zeros_are_answered_like_operations_that_do():
    """It raised what `decide` raises, and a comparison with random:0 ended there."""
    text = """format: 1
name: cut
backbone: {name: tiny, taps: [s8, s4]}
cells:
- name: mix
  template: light_pyramid
  inputs: {choose: [s8 s4, s4]}
  channels: 8
  operations: {lateral_s4: none}
  candidates: [none, conv_3x3]
- {name: head, template: head, inputs: [mix.out]}
outputs: [head.logits]
"""
    space = genotypes.loads(text)
    through = dict.fromkeys(space.open_edges(), "conv_3x3")
    assert space.reaches_image({**through, "mix.inputs": "s8 s4"})
    assert not space.reaches_image({**through, "mix.inputs": "s4"})
    for number in range(10):
        assert space.decide(member_choices(space, 0, number)).backbone.taps == ("s8", "s4")
    with pytest.raises(genotypes.GenotypeError, match=r"cut: .* no network: outputs: .* ignore the image"):
        space.decide({"mix.inputs": "s4"})


@pytest.mark.parametrize("ask", ["decide", "reaches_image"])
def test_inputs_without_which_a_cell_is_none_are_said_of_the_space(ask):
    """The place was that of the cell's own key (`outputs`), which the document has, too, and no name before."""
    text = """format: 1
name: three
backbone: {name: tiny, taps: [s16, s8, s4]}
cells:
- {name: reduce, template: lateral, inputs: [s16, s8, s4], channels: 8}
- {name: mix, template: top_down, inputs: {choose: [reduce.f16 reduce.f8 reduce.f4, reduce.f8 reduce.f4]}, outputs: 3}
- {name: head4, template: head, inputs: [mix.p_f4]}
- {name: head8, template: head, inputs: [mix.p_f8]}
- {name: head16, template: head, inputs: [mix.p_f16]}
outputs: [head4.logits, head8.logits, head16.logits]
"""
    said = "three: what it leaves open may be chosen so that it is no network: cells[1].outputs: outputs must be 1 to 2"
    with pytest.raises(genotypes.GenotypeError, match=re.escape(said)):
        getattr(genotypes.loads(text), ask)({"mix.inputs": "reduce.f8 reduce.f4"})
