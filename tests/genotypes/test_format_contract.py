"""Files written today must mean the same in years: hashes and flat graphs are golden.

If a test here fails, the format changed. If that is wanted, raise `genotypes.genotype.FORMAT` or say in the commit why
old files keep their meaning, and write the golden files anew: `python tests/genotypes/test_format_contract.py`.
"""

import dataclasses
import json
from pathlib import Path

import pytest

import genotypes
from genotypes import Edge, Node
from search_spaces.fusion_cells import fusion_cells

GOLDEN = Path(__file__).parent / "golden"
HASHES = json.loads((GOLDEN / "hashes.json").read_text()) if (GOLDEN / "hashes.json").exists() else {}


SPACES = ("tiny", "mobilenet_v2", "resnet50")
NAMES = ["golden/every_key", *genotypes.names(), *(f"fusion_cells({backbone})" for backbone in SPACES)]


def find(name: str) -> genotypes.Genotype:
    """The golden document, a genotype of the zoo, or the default space of a backbone."""
    if name.startswith("fusion_cells"):
        return fusion_cells(name[len("fusion_cells(") : -1])
    return genotypes.load(GOLDEN / "every_key.yaml" if name == "golden/every_key" else name)


@pytest.mark.parametrize("name", NAMES)
def test_hashes_are_as_they_were(name: str) -> None:
    assert HASHES.get(name) == find(name).hash, "see the top of this file"


def test_no_golden_hash_is_left_over() -> None:
    assert sorted(HASHES) == sorted(NAMES)


def test_the_flat_graph_is_as_it_was() -> None:
    graph = genotypes.load(GOLDEN / "every_key.yaml").graph
    expected = json.loads((GOLDEN / "every_key.graph.json").read_text())
    assert json.loads(json.dumps(graph.canonical())) == expected


def test_the_nodes_and_edges_of_the_flat_graph() -> None:
    graph = genotypes.load(GOLDEN / "every_key.yaml").graph
    assert graph["image"] == Node(name="image", kind="image", stride=1, width=3)
    assert graph["s16"] == Node(name="s16", kind="backbone", stride=16, width=96)
    assert dataclasses.replace(graph["mix.down"], edges=()) == Node(
        name="mix.down",
        cell="mix",
        stride=16,
        width=48,
        combine="concat",
        post="none",
        size=genotypes.Size("ceil_half", "mix.sum"),
    )
    assert graph.edges["mix.up"] == Edge(
        id="mix.up",
        name="up",
        source="reduce.f16",
        op=("skip_connect", "conv_3x3"),
        post=("bilinear",),
        width=32,
    )
    assert [edge.name for edge in graph.incoming("mix.sum")] == ["raw", "up", "choice"]


if __name__ == "__main__":
    graph = genotypes.load(GOLDEN / "every_key.yaml").graph
    (GOLDEN / "every_key.graph.json").write_text(json.dumps(graph.canonical(), indent=1) + "\n")
    hashes = {name: find(name).hash for name in NAMES}
    (GOLDEN / "hashes.json").write_text(json.dumps(hashes, indent=1) + "\n")
