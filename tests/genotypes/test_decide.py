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
    ops = {data["id"]: data["op"] for _, _, data in decided.graph.edges(data=True)}
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
    with pytest.raises(GenotypeError, match=r"'fuse16\.nope' is not an open edge; open: fuse16\.outer_f32, "):
        SPACE.decide({"fuse16.nope": "none"})
    with pytest.raises(GenotypeError, match=r"'reduce\.conv_s4' is not an open edge"):
        SPACE.decide({"reduce.conv_s4": "none"})
    with pytest.raises(GenotypeError, match="is not an open edge; open: none"):
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
        edges = [edge for _, _, edge in original.graph.edges(data=True) if edge["id"].split(".")[0] == cell["name"]]
        choices |= {edge["id"]: edge["op"] for edge in edges if isinstance(edge["op"], str)}
        other = {edge["id"]: "none" if edge["op"] != "none" else "conv2d_1x1" for edge in edges}
        cell["operations"] = {edge["id"].split(".")[1]: [edge["op"], other[edge["id"]]] for edge in edges}
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
