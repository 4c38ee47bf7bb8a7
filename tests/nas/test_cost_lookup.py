"""Tables of costs: exact where costs are counted, additive where they are measured, kept, and spent within a budget."""

import dataclasses
import doctest
import json
import math
import random
from itertools import product
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from tiny_search import dearest
from torch import nn

import genotypes
import nas.cost
from genotypes import Genotype, UserError
from nas.cost import CostTable, clock, cost_table, latency, lookup, places, within_budget
from nas.cost.latency import machine_name
from nas.cost.measuring import prepare
from nas.network import edge as network_edge
from nas.run.user_cache import user_cache
from nas.strategies import random_choices
from search_spaces import fusion_cells, minet

OPERATIONS = ["none", "skip_connect", "conv_3x3"]
# Steps before and after operations, widths that change, sums and concatenations of open edges alone, uneven candidates.
WRITTEN = """
format: 1
name: written
input: {size: [33, 46]}
cells:
- name: net
  template: graph
  inputs: [image]
  nodes:
  - {name: fine, stride: 1, width: 4, post: bn_relu, edges: [{name: stem, source: image, op: conv2d_3x3}]}
  - name: coarse
    stride: 2
    width: 6
    size: {ceil_half: image}
    post: bn_relu
    edges:
    - {name: down, source: fine, op: [conv2d_1x1, conv2d_3x3_bias, none], pre: [avg2_ceil]}
    - {name: again, source: image, op: [none, conv2d_3x3], pre: [avg2_ceil]}
  - {name: context, stride: 2, width: 6, edges: [{name: look, source: coarse, op: [none, dil_conv_3x3, skip_connect]}]}
  - name: both
    stride: 1
    width: 10
    combine: concat
    edges:
    - {name: keep, source: fine, op: [skip_connect, none, channel_attention]}
    - {name: up, source: context, op: [none, sep_conv_3x3_rp2], post: [bilinear]}
  - {name: logits, stride: 1, width: 1, edges: [{name: head, source: both, op: conv2d_1x1_bias}]}
outputs: [net.logits]
"""


def written() -> Genotype:
    return genotypes.loads(WRITTEN)


def drawn(space: Genotype, seed: int) -> dict[str, str]:
    return random_choices(space.open_edges(), seed, space.reaches_image)


@pytest.mark.parametrize(
    "space",
    [
        written(),
        fusion_cells("tiny", 8),
        minet("tiny", 8, ["none", "conv2d_3x3_bias", "dil_conv_3x3"], taps=["s4", "s8", "s16"]),
    ],
    ids=lambda space: space.name,
)
def test_counted_costs_are_those_of_the_decided_network(space: Genotype) -> None:
    size = (33, 46)
    params, macs = cost_table(space, "params", size=size), cost_table(space, "macs", size=size)
    for choices in (drawn(space, 1), dearest(macs)):
        cost = nas.cost.count(space.decide(choices), size)
        assert (params.of(choices), macs.of(choices)) == (cost.params, cost.macs)
        assert params.of(params.cheapest()) <= cost.params <= params.of(dearest(params))
    assert params.edges == tuple(space.open_edges())
    assert params.candidates == tuple(space.open_edges().values())
    assert (params.unit, macs.unit, macs.size) == ("parameters", "multiply-adds", size)


def make_table(rows: list[list[float]], fixed: float = 10.0) -> CostTable:
    """Edges e0, e1, ... whose candidates o0, o1, ... cost `rows`."""
    costs = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.float64)
    for row, values in enumerate(rows):
        costs[row, : len(values)] = torch.tensor(values, dtype=torch.float64)
    return CostTable(
        space="made",
        kind="params",
        unit="parameters",
        size=(32, 32),
        edges=tuple(f"e{row}" for row in range(len(rows))),
        candidates=tuple(tuple(f"o{column}" for column in range(len(values))) for values in rows),
        fixed=fixed,
        table=costs,
    )


def test_expected_cost_is_the_mean_over_all_networks() -> None:
    table = make_table([[0, 5, 7], [3, 2]])
    probabilities = [[0.2, 0.5, 0.3], [0.9, 0.1]]
    mean = 0.0
    for columns in product(range(3), range(2)):
        weight = probabilities[0][columns[0]] * probabilities[1][columns[1]]
        mean += weight * table.of({f"e{row}": f"o{column}" for row, column in enumerate(columns)})
    weights = torch.tensor([[0.2, 0.5, 0.3], [0.9, 0.1, 0.0]])
    scaled = torch.tensor([[4.0], [0.25]]) * weights  # as strategies that weigh whole edges do
    assert float(table.expected(weights)) == pytest.approx(mean)
    assert float(table.expected(scaled)) == pytest.approx(mean)
    assert table.expected(scaled).shape == ()


def test_expected_cost_has_the_gradient_of_the_mean() -> None:
    table = make_table([[0, 5, 7], [3, 2]])
    alpha = torch.randn(2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, -math.inf]])
    assert torch.autograd.gradcheck(lambda a: table.expected((a + mask).softmax(dim=1)), alpha)
    assert torch.autograd.gradcheck(lambda w: table.expected(w), alpha.detach().abs().requires_grad_())
    p = (alpha + mask).softmax(dim=1)
    (gradient,) = torch.autograd.grad(table.expected(p), alpha)
    by_hand = p * (table.table - (p * table.table).sum(dim=1, keepdim=True))  # of a softmax's expectation
    assert torch.allclose(gradient, by_hand.detach())


class Clock:
    """A time that only operations take: milliseconds for each pixel they are given."""

    PER_PIXEL: ClassVar = {"conv2d_3x3": 0.3, "conv2d_1x1_bias": 0.1, "conv_3x3": 0.7, "skip_connect": 0.0}

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds, self.built = 0.0, []
        build = places.build_operation

        def build_timed(op: str, *widths: int, affine: bool = True) -> nn.Module:
            module = build(op, *widths, affine=affine)
            ms = self.PER_PIXEL.get(op, 0.5)
            module.register_forward_pre_hook(lambda module, inputs: self.pass_by(ms * inputs[0][0, 0].numel()))
            return module

        def build_placed(op: str, *widths: int) -> nn.Module:
            self.built.append(op)
            return build_timed(op, *widths)

        monkeypatch.setattr(network_edge, "build_operation", build_timed)
        monkeypatch.setattr(places, "build_operation", build_placed)
        monkeypatch.setattr(clock, "read_clock", lambda device, threads: self.seconds)

    def pass_by(self, ms: float) -> None:
        self.seconds += ms / 1000

    def of(self, genotype: Genotype, size: tuple[int, int]) -> float:
        """Milliseconds that a network takes."""
        net, x = prepare(genotype, torch.device("cpu"), size)
        start = self.seconds
        net(x)
        return 1000 * (self.seconds - start)


@pytest.mark.parametrize("space", [written(), fusion_cells("tiny", 8, OPERATIONS)], ids=lambda space: space.name)
def test_latencies_add_up_to_the_network_s(space: Genotype, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, size = Clock(monkeypatch), (33, 46)
    table = cost_table(space, "latency", size=size, repeats=2)
    for seed in range(3):
        choices = drawn(space, seed)
        assert table.of(choices) == pytest.approx(clock.of(space.decide(choices), size), rel=1e-9)
    assert (table.kind, table.unit) == ("latency", "ms")


def test_equal_candidates_are_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    space = fusion_cells("tiny", 8, OPERATIONS, taps=["s32", "s16", "s8"])
    cost_table(space, "latency", size=(32, 32), repeats=1)
    assert len(space.open_edges()) == 14
    assert sorted(clock.built) == ["conv_3x3"] * 8 + ["skip_connect"] * 8  # two cells, each: three outer edges, inner


def test_what_being_in_a_network_costs_scales_the_entries() -> None:
    sums = np.array([0.0, 3.0, 4.0, 9.0])
    assert latency._line(sums, 5 + 1.25 * sums) == pytest.approx((5, 1.25))
    assert latency._line(np.ones(4), np.full(4, 3.0)) == pytest.approx((2, 1))  # no choice at all: nothing to fit
    assert latency._line(sums, np.array([5.0, 1.0, 1.0, 1.0]))[1] == 0.5  # noise makes no cost negative
    times = np.array([2.0, 5.0, 8.0, 12.0])
    slope, offset = np.polyfit(sums, times, 1, w=1 / times)  # a millisecond too many matters less in a slow network
    assert latency._line(sums, times) == pytest.approx((offset, slope))
    assert latency._line(np.array([10.0, 20.0]), np.array([5.0, 20.0])) == (0, pytest.approx(1.5))
    assert latency._line(sums, 5 + 9 * sums)[1] == 2


def test_a_decided_network_has_one_cost() -> None:
    table = cost_table(genotypes.load("fpn_tiny"), "latency", size=(32, 32), repeats=2)
    assert table.of({}) == table.fixed > 0


def test_measured_in_earnest() -> None:
    state = torch.get_rng_state()
    table = cost_table(written(), "latency", size=(64, 64), repeats=5)
    assert (table.table >= 0).all()
    assert table.fixed > 0
    assert table.of(table.cheapest()) < table.of(dearest(table))
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.is_inference_mode_enabled()


def test_a_kept_table_is_not_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = cost_table(written(), "latency", size=(32, 32), cache=tmp_path / "new", repeats=1)
    (file,) = (tmp_path / "new").iterdir()

    def measure(space: Genotype, size: tuple[int, int], *rest: object) -> tuple:
        measured.append(size)
        return 1.0, {edge: dict.fromkeys(ops, 0.5) for edge, ops in space.open_edges().items()}, []

    measured: list[tuple[int, int]] = []
    monkeypatch.setattr(lookup, "measure_latencies", measure)
    again = cost_table(written(), "latency", size=(32, 32), cache=tmp_path / "new")
    assert torch.equal(again.table, first.table)
    assert again.fixed == first.fixed
    assert not measured
    cost_table(written(), "latency", size=(32, 64), cache=tmp_path / "new")
    assert measured == [(32, 64)]
    cost_table(written(), "latency", size=(32, 32), cache=tmp_path / "new")  # still there beside the new one
    assert measured == [(32, 64)]
    monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
    cost_table(written(), "latency", size=(32, 32), cache=tmp_path / "new")
    assert measured == [(32, 64), (32, 32)]
    assert {path.suffix for path in (tmp_path / "new").iterdir()} == {".json"}
    assert json.loads(file.read_text())["device"] == machine_name(torch.device("cpu")) != "cpu"


def _other_machine(data: dict) -> str:
    return json.dumps(data | {"device": "abacus"})


def _no_numbers(data: dict) -> str:
    for table in data["tables"].values():
        table["fixed"] = "slow"
    return json.dumps(data)


def _edges_lost(data: dict) -> str:
    for table in data["tables"].values():
        table["edges"].popitem()
    return json.dumps(data)


def test_without_a_home_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container whose user has no name: a traceback, once, whatever the cost was."""
    monkeypatch.setenv("XDG_CACHE_HOME", "/a")
    assert user_cache() == Path("/a/sod-nas")
    monkeypatch.setenv("HOME", "/home/a")
    monkeypatch.setenv("XDG_CACHE_HOME", "a")  # relative: each folder that a command is typed in would have its own
    assert user_cache() == Path("/home/a/.cache/sod-nas")
    for name in ("XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)  # KeyError
    assert user_cache() is None


@pytest.mark.parametrize("damage", [lambda data: "{half", lambda data: "[]", _other_machine, _no_numbers, _edges_lost])
def test_a_damaged_cache_is_told(damage: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {edge: dict.fromkeys(ops, 0.5) for edge, ops in written().open_edges().items()}
    monkeypatch.setattr(lookup, "measure_latencies", lambda *settings: (1.0, rows, []))
    cost_table(written(), "latency", cache=tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_text(damage(json.loads(file.read_text())))
    with pytest.raises(UserError, match="delete it to measure anew"):
        cost_table(written(), "latency", cache=tmp_path)


def test_a_cache_that_cannot_be_is_told_before_measuring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "measure_latencies", lambda *settings: pytest.fail("measured for nothing"))
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file"):
        cost_table(written(), "latency", cache=tmp_path / "file")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "watts"}, "params, macs, latency"),
        ({"size": (16, 64)}, "pixels, not 16"),
        ({"kind": "latency", "repeats": 0}, "repeats 0"),
        ({"kind": "latency", "device": "abacus"}, "abacus"),
    ],
)
def test_mistakes_are_told(changes: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        cost_table(written(), **{"kind": "params", **changes})


def objective(choices: dict[str, str], probabilities: dict[str, dict[str, float]]) -> float:
    return sum(math.log(probabilities[edge][op]) for edge, op in choices.items())


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("whole_numbers", [True, False])
def test_no_network_within_the_budget_is_more_probable(seed: int, whole_numbers: bool) -> None:
    rng = random.Random(seed)
    counts = [rng.randint(1, 4) for _ in range(6)]
    cost = (lambda: rng.randint(0, 40)) if whole_numbers else (lambda: rng.random())
    table = make_table([[cost() for _ in range(n)] for n in counts])
    probabilities = {}
    for edge, ops in zip(table.edges, table.candidates, strict=True):
        weights = [rng.random() ** 3 + 1e-6 for _ in ops]
        probabilities[edge] = {op: weight / sum(weights) for op, weight in zip(ops, weights, strict=True)}
    everything = [dict(zip(table.edges, ops, strict=True)) for ops in product(*table.candidates)]
    costs = sorted({table.of(choices) for choices in everything})
    for budget in costs[:: max(1, len(costs) // 12)] + costs[-1:]:
        found = within_budget(probabilities, table, budget)
        assert table.of(found) <= budget
        fitting = [choices for choices in everything if table.of(choices) <= budget]
        best = max(objective(choices, probabilities) for choices in fitting)
        assert objective(found, probabilities) == pytest.approx(best)


def test_what_is_probable_and_fits_is_taken_as_it_is() -> None:
    table = make_table([[0, 5, 7], [3, 2]])
    probabilities = {"e0": {"o0": 0.1, "o1": 0.2, "o2": 0.7}, "e1": {"o0": 0.6, "o1": 0.4}}
    assert within_budget(probabilities, table, 20) == {"e0": "o2", "e1": "o0"}
    assert within_budget(probabilities, table, 19) == {"e0": "o2", "e1": "o1"}
    assert within_budget(probabilities, table, 20, exclude=("o2",)) == {"e0": "o1", "e1": "o0"}
    rare = probabilities | {"e0": {"o0": 1e-9, "o1": 1e-6, "o2": 1.0}}
    assert within_budget(rare, table, 18) == {"e0": "o1", "e1": "o0"}
    impossible = probabilities | {"e0": {"o0": 0.0, "o1": 0.0, "o2": 1.0}}
    assert within_budget(impossible, table, 12) == {"e0": "o0", "e1": "o1"}  # a budget outweighs any probability


def test_of_too_many_networks_the_most_probable_of_each_interval_of_cost_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    cost = np.array([4.0, 0.0, 1.0, 2.0, 6.0, 9.0, 9.1, 3.0])
    score = np.array([5.0, 1.0, 2.0, 4.0, 3.0, 8.0, 9.0, 4.5])
    assert lookup._undominated(cost, score, 9.0).tolist() == [1, 2, 3, 7, 0, 5]  # 6.0 is dominated, 9.1 too dear
    monkeypatch.setattr(lookup, "_MOST_STATES", 4)
    assert lookup._undominated(cost, score, 9.0).tolist() == [1, 7, 0, 5]  # at 0, up to 3, up to 6, up to 9


def test_a_budget_that_nothing_meets_is_told_with_what_would() -> None:
    table = make_table([[0, 5, 7], [3, 2]])
    probabilities = {"e0": dict.fromkeys(("o0", "o1", "o2"), 1 / 3), "e1": {"o0": 0.5, "o1": 0.5}}
    with pytest.raises(UserError, match=r"made meets the budget of 11 parameters: the cheapest costs 12"):
        within_budget(probabilities, table, 11)
    with pytest.raises(UserError, match=r"without o0 .* costs 17"):
        within_budget(probabilities, dataclasses.replace(table, table=table.table), 11, exclude=("o0",))
    with pytest.raises(UserError, match="e1"):
        within_budget(probabilities, table, 99, exclude=("o0", "o1"))


def test_the_example() -> None:
    assert doctest.testmod(lookup).failed == 0
