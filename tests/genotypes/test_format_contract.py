"""Files written today must mean the same in years: hashes and flat graphs are golden.

If a test here fails, the format changed. If that is wanted, raise `genotypes.schema.FORMAT` or say in the commit why
old files keep their meaning, and write the golden files anew: `python tests/genotypes/test_format_contract.py`.
"""

import json
from pathlib import Path

import pytest

import genotypes
from genotypes.expand import canonical
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
    assert json.loads(json.dumps(canonical(graph))) == expected


def test_the_attributes_of_the_flat_graph() -> None:
    graph = genotypes.load(GOLDEN / "every_key.yaml").graph
    assert graph.nodes["image"] == {"kind": "image", "cell": None, "stride": 1, "width": 3}
    assert graph.nodes["s16"] == {"kind": "backbone", "cell": None, "stride": 16, "width": 96}
    assert graph.nodes["mix.down"] == {
        "kind": "cell",
        "cell": "mix",
        "stride": 16,
        "width": 48,
        "combine": "concat",
        "post": "none",
        "size": genotypes.Size("ceil_half", "mix.sum"),
    }
    assert graph.edges["reduce.f16", "mix.sum", "up"] == {
        "id": "mix.up",
        "op": ("skip_connect", "conv_3x3"),
        "pre": (),
        "post": ("bilinear",),
        "width": 32,
        "order": 1,
        "choice": False,
    }
    assert [edge["name"] for edge in genotypes.incoming(graph, "mix.sum")] == ["raw", "up", "choice"]


if __name__ == "__main__":
    graph = genotypes.load(GOLDEN / "every_key.yaml").graph
    (GOLDEN / "every_key.graph.json").write_text(json.dumps(canonical(graph), indent=1) + "\n")
    hashes = {name: find(name).hash for name in NAMES}
    (GOLDEN / "hashes.json").write_text(json.dumps(hashes, indent=1) + "\n")
