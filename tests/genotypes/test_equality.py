"""Equality and hash: spelling does not matter, the network does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import genotypes
from genotypes import Genotype

EVERY_KEY = Path(__file__).parent / "golden" / "every_key.yaml"
GOLDEN = genotypes.load(EVERY_KEY)


def document() -> dict[str, Any]:
    """A fresh copy of the golden document that uses every key."""
    return GOLDEN.to_dict()


def as_literal(genotype: Genotype) -> dict[str, Any]:
    """The same network with every cell written out as nodes and edges, from its flat graph."""
    data = genotype.to_dict()
    graph = genotype.graph
    for cell in data["cells"]:
        mine = [node.name for node in graph.cells[cell["name"]]]
        sources = {edge.source for node in mine for edge in graph.incoming(node)}
        sources |= {graph[node].size.of for node in mine}
        sources -= set(mine)
        alias = {source: f"in_{source.replace('.', '_')}" for source in sources}
        alias |= {node: node.split(".")[1] for node in mine}
        nodes = []
        for name in mine:
            node = graph[name]
            edges = [
                {
                    "name": edge.name,
                    "source": alias[edge.source],
                    "op": list(edge.op) if edge.is_open else edge.op,
                    "pre": list(edge.pre),
                    "post": list(edge.post),
                    "width": edge.width,
                }
                for edge in graph.incoming(name)
            ]
            shape = {"stride": node.stride, "width": node.width, "combine": node.combine, "post": node.post}
            size = {node.size.rule: alias[node.size.of]}
            nodes.append({"name": alias[name], "edges": edges, "size": size} | shape)
        cell_name = cell["name"]
        cell.clear()
        inputs = {alias[source]: source for source in sources}
        cell |= {"name": cell_name, "template": "graph", "inputs": inputs, "nodes": nodes}
    return data


def reverse_keys(value: Any) -> Any:
    """Every mapping with its keys in the opposite order, but for a cell's inputs, whose order can mean something."""
    if isinstance(value, dict):
        return {k: v if k == "inputs" else reverse_keys(v) for k, v in reversed(value.items())}
    return [reverse_keys(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", [EVERY_KEY, *genotypes.names()], ids=lambda name: Path(name).stem)
def test_template_or_literal_nodes_are_the_same_network(name: str) -> None:
    genotype = genotypes.load(name)
    literal = Genotype.from_dict(as_literal(genotype))
    assert literal == genotype
    assert literal.open_edges() == genotype.open_edges()


SPELLINGS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "name": lambda data: data.update(name="other"),
    "description": lambda data: data.update(description="other"),
    "size it was meant for": lambda data: data["input"].update(size=[33, 44]),
    "order of the taps": lambda data: data["backbone"]["taps"].reverse(),
    "order of independent cells": lambda data: data["cells"].insert(0, data["cells"].pop()),
    "order of nodes": lambda data: data["cells"][1]["nodes"].reverse(),
    "default spelt out": lambda data: data["cells"][1]["nodes"][0]["edges"][0].update(pre=[], post=[], width=32),
    "default size left out": lambda data: data["cells"][1]["nodes"][0].pop("size"),
    "name of an input": lambda data: data["cells"][-1].update(inputs={"x": "mix.down"}),
    "operation by another key": lambda data: (
        data["cells"][1].pop("operations"),
        data["cells"][1]["nodes"][0]["edges"][1].update(op=["skip_connect", "conv_3x3"]),
    ),
    "candidates by another key": lambda data: (
        data["cells"][3].pop("candidates"),
        data["cells"][3]["operations"].update(
            {edge: ["none", "skip_connect", "conv_3x3"] for edge in ("outer_high", "p_n1")}
        ),
    ),
}


@pytest.mark.parametrize("change", SPELLINGS)
def test_spelling_does_not_matter(change: str) -> None:
    data = document()
    SPELLINGS[change](data)
    assert data != document(), "the change did nothing"
    assert Genotype.from_dict(data) == GOLDEN
    assert hash(Genotype.from_dict(data)) == hash(GOLDEN)


def test_key_order_does_not_matter() -> None:
    assert list(reverse_keys(document())) != list(document())
    assert Genotype.from_dict(reverse_keys(document())) == GOLDEN


def test_an_option_spelt_out_with_its_default_does_not_matter() -> None:
    data = document()
    data["backbone"]["options"] = {"padding": "symmetric"}
    spelt = Genotype.from_dict(data)
    del data["backbone"]["options"]
    assert Genotype.from_dict(data) == spelt


def test_whole_numbers_and_floats_are_the_same_mean() -> None:
    ones, floats = document(), document()
    ones["input"]["std"] = [1, 1, 1]
    floats["input"]["std"] = [1.0, 1.0, 1.0]
    assert Genotype.from_dict(ones) == Genotype.from_dict(floats)


def nodes(data: dict[str, Any]) -> list[dict[str, Any]]:
    return data["cells"][1]["nodes"]


CHANGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "mean": lambda data: data["input"].update(mean=[0.5, 0.5, 0.4]),
    "std": lambda data: data["input"].update(std=[0.5, 0.5, 0.5]),
    "option of the backbone": lambda data: data["backbone"].pop("options"),
    "backbone": lambda data: data.update(backbone={"name": "tiny", "taps": ["s16", "s8"]}),
    "order of outputs": lambda data: data["outputs"].reverse(),
    "an output less": lambda data: (data["outputs"].pop(), data["cells"].pop()),
    "kernel": lambda data: data["cells"][0].update(kernel=1),
    "post": lambda data: nodes(data)[0].update(post="bn_relu"),
    "combine": lambda data: (nodes(data)[1].update(combine="sum"), nodes(data)[1]["edges"].pop(0), fix_width(data)),
    "operation": lambda data: nodes(data)[0]["edges"][0].update(op="conv_3x3"),
    "order of candidates": lambda data: data["cells"][3]["candidates"].reverse(),
    "a candidate less": lambda data: data["cells"][3]["candidates"].pop(),
    "default of an open edge decided": lambda data: data["cells"][1].pop("operations"),
    "resampling": lambda data: nodes(data)[0]["edges"][1].update(post=["nearest"]),
    "resampling before the operation": lambda data: nodes(data)[0]["edges"][1].update(pre=["bilinear"], post=[]),
    "resampling of the same factor": lambda data: nodes(data)[1]["edges"][0].update(pre=["max2"]),
    "order of concatenation": lambda data: nodes(data)[1]["edges"].reverse(),
    "width of parts": lambda data: (
        nodes(data)[1]["edges"][0].update(width=16, op="conv2d_1x1"),
        nodes(data)[1]["edges"][1].update(width=32),
    ),
    "width of a node": lambda data: (nodes(data)[1].update(width=56), nodes(data)[1]["edges"][1].update(width=24)),
    "rounding of a size": lambda data: nodes(data)[1].update(size={"floor_half": "sum"}),
    "source of a size": lambda data: nodes(data)[1].update(size={"like": "coarse"}),
    "stride": lambda data: data["cells"][3].update(stride=16),
    "wiring of inputs": lambda data: data["cells"][3].update(inputs={"high": "mix.sum", "low": "narrow.f16"}),
    "source of an edge": lambda data: nodes(data)[1]["edges"][1].update(source="sum", pre=["avg2"]),
    "name of an edge": lambda data: nodes(data)[0]["edges"][0].update(name="uncooked"),
    "an edge more": lambda data: nodes(data)[0]["edges"].append(
        {"name": "more", "source": "fine", "op": "skip_connect"}
    ),
    "an edge less": lambda data: nodes(data)[0]["edges"].pop(0),
}


def fix_width(data: dict[str, Any]) -> None:
    nodes(data)[1]["edges"][0]["width"] = 48


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_the_network_matters(change: str) -> None:
    data = document()
    CHANGES[change](data)
    changed = Genotype.from_dict(data)
    assert changed != GOLDEN
    assert changed.hash != GOLDEN.hash


def test_all_changes_differ_from_each_other() -> None:
    hashes = set()
    for change in CHANGES.values():
        data = document()
        change(data)
        hashes.add(Genotype.from_dict(data).hash)
    assert len(hashes) == len(CHANGES)


def test_wiring_matters() -> None:
    # With two taps there is no second inner edge, and the two wirings are one network.
    data = document()
    del data["cells"][3]["wiring"]
    assert Genotype.from_dict(data) == GOLDEN
    space = genotypes.load("auto_msfnet_vgg16").to_dict()
    before = Genotype.from_dict(space)
    cell = next(cell for cell in space["cells"] if cell["template"] == "fusion_cell")
    cell["wiring"] = "figure7"
    choices = {name: op for name, op in cell["operations"].items() if name.startswith("outer_")}
    choices |= {edge: "skip_connect" for edge in ("p_n1", "n1_n2", "p_n2", "n2_n3", "p_n3")}
    cell["operations"] = choices
    assert Genotype.from_dict(space) != before


def test_other_things_are_not_genotypes() -> None:
    genotype = genotypes.load("fpn_tiny")
    assert genotype != genotype.hash
    assert genotype is not None
    assert len({genotype, genotypes.load("fpn_tiny"), genotypes.load("fpn_resnet50")}) == 2
