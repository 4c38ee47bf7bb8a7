"""Closing open edges."""

import random

import pytest

import genotypes
from genotypes import Genotype, GenotypeError
from search_spaces.fusion_cells import AUTO_MSFNET_OPERATIONS, fusion_cells

SPACE = fusion_cells("tiny", 8)


def choose(seed: int) -> dict[str, str]:
    rng = random.Random(seed)
    return {edge: rng.choice(ops) for edge, ops in SPACE.open_edges().items()}


def test_a_total_decision_leaves_nothing_open() -> None:
    choices = choose(0)
    decided = SPACE.decide(choices, name="found")
    assert decided.is_decided
    assert decided.name == "found"
    assert not any(cell.candidates for cell in decided.cells)
    ops = decided.graph.operations()
    assert {edge: ops[edge] for edge in choices} == choices


def test_the_space_itself_stays_open() -> None:
    SPACE.decide(choose(0))
    assert len(SPACE.open_edges()) == 31
    assert SPACE.decide({}) == SPACE


def test_a_partial_decision_leaves_the_rest_open() -> None:
    choices = dict(list(choose(1).items())[:7])
    partial = SPACE.decide(choices)
    assert not partial.is_decided
    assert partial.open_edges() == {e: ops for e, ops in SPACE.open_edges().items() if e not in choices}


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_decisions_does_not_matter(seed: int) -> None:
    choices = choose(seed)
    edges = random.Random(seed).sample(list(choices), 8)
    stepwise = SPACE
    for edge in edges:
        stepwise = stepwise.decide({edge: choices[edge]})
    assert genotypes.dumps(stepwise) == genotypes.dumps(SPACE.decide({edge: choices[edge] for edge in edges}))


def test_unknown_edges_are_refused_with_those_that_are_open() -> None:
    with pytest.raises(GenotypeError, match=r"'fuse16\.nope' is not open; open: fuse16\.outer_f32, "):
        SPACE.decide({"fuse16.nope": "none"})
    with pytest.raises(GenotypeError, match=r"'reduce\.conv_s4' is not open; open: "):
        SPACE.decide({"reduce.conv_s4": "none"})
    with pytest.raises(GenotypeError, match="is not open; open: none"):
        genotypes.load("fpn_tiny").decide({"reduce.conv_s4": "none"})


@pytest.mark.parametrize("op", ["conv2d_1x1", "nope", None, 3, ("none", "conv_3x3")])
def test_operations_that_are_no_candidates_are_refused(op: object) -> None:
    with pytest.raises(GenotypeError, match=r"is no candidate of 'fuse4\.n1_n2'; candidates: none, skip_connect, "):
        SPACE.decide({"fuse4.n1_n2": op})


@pytest.mark.parametrize("name", genotypes.names())
def test_any_network_opened_and_closed_again_is_itself(name: str) -> None:
    original = genotypes.load(name)
    data = original.to_dict()
    choices = {}
    for cell in data["cells"]:
        edges = [edge for edge in original.graph.edges.values() if edge.id.split(".")[0] == cell["name"]]
        choices |= {edge.id: edge.op for edge in edges if isinstance(edge.op, str)}
        other = {edge.id: "none" if edge.op != "none" else "conv2d_1x1" for edge in edges}
        cell["operations"] = {edge.id.split(".")[1]: [edge.op, other[edge.id]] for edge in edges}
    opened = Genotype.from_dict(data)
    assert set(opened.open_edges()) == set(choices)
    assert opened.hash != original.hash
    closed = opened.decide(choices)
    assert closed == original
    assert closed.hash == original.hash


@pytest.mark.parametrize("name", ["auto_msfnet_vgg16", "auto_msfnet_resnet50"])
def test_the_released_genotypes_are_points_of_the_space(name: str) -> None:
    original = genotypes.load(name)
    data = original.to_dict()
    choices = {}
    for cell in data["cells"]:
        if cell["template"] == "fusion_cell":
            choices |= {f"{cell['name']}.{edge}": op for edge, op in cell.pop("operations").items()}
            cell["candidates"] = list(AUTO_MSFNET_OPERATIONS)
    opened = Genotype.from_dict(data)
    assert len(opened.open_edges()) == 31
    assert opened.decide(choices) == original


def test_choices_of_every_kind_have_one_face() -> None:
    data = SPACE.to_dict()
    data["cells"][0]["channels"] = {"choose": [8, 16]}
    space = Genotype.from_dict(data)
    assert space.choices() == {**SPACE.open_edges(), "reduce.channels": (8, 16)}
    ops = choose(0)
    narrow = space.decide({"reduce.channels": 8} | ops)
    assert narrow.is_decided and narrow == space.decide(ops).decide({"reduce.channels": 8})
    assert narrow.graph["fuse4.out"].width == 8 and narrow.graph.operations().items() >= ops.items()
    assert space.decide({"reduce.channels": 16}).choices() == SPACE.choices()


def dead_ends() -> tuple[Genotype, dict[str, str]]:
    """A space, and choices that cut every way from the image to an output."""
    return SPACE, dict.fromkeys(SPACE.open_edges(), "none")


def test_what_ignores_the_image_is_refused_when_decided_and_when_read() -> None:
    space, choices = dead_ends()
    assert not space.reaches_image(choices)
    with pytest.raises(GenotypeError, match=r"would ignore the image: .* cut by none"):
        space.decide(choices)
    alive = choices | {"fuse16.outer_f4": "skip_connect"}
    assert space.reaches_image(alive)
    text = genotypes.dumps(space.decide(alive)).replace("outer_f4: skip_connect", "outer_f4: none")
    with pytest.raises(GenotypeError, match=r"net\.yaml:\d+: outputs: the network would ignore the image"):
        genotypes.loads(text, "net.yaml")


def test_choices_are_reconnected_where_it_costs_least() -> None:
    space, choices = dead_ends()
    rng = random.Random(0)
    prices = {edge: {op: float(rng.randint(1, 1000)) for op in ops} for edge, ops in space.open_edges().items()}
    found, way = space.graph.reconnect(choices, prices)
    changed = {edge: op for edge, op in found.items() if op != "none"}

    def rise(edge: str, op: str) -> float:
        return prices[edge][op] - prices[edge]["none"]

    # The FusionCell's every outer edge, alone, leads to an output; so does none of the inner ones, but for the first.
    single = [
        max(1e-12, rise(edge, op))
        for edge, ops in space.open_edges().items()
        for op in ops
        if op != "none" and space.reaches_image(choices | {edge: op})
    ]
    assert len(single) >= 20 and space.reaches_image(found) and set(changed) <= set(way) <= set(prices)
    assert sum(max(1e-12, rise(edge, op)) for edge, op in changed.items()) == min(single)
    assert space.graph.reconnect(found, prices)[0] == found
    no_way = {edge: {"none": 0.0} for edge in prices}
    with pytest.raises(GenotypeError, match="no choices are left"):
        space.graph.reconnect(choices, no_way)
