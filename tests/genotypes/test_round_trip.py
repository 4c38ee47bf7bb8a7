"""YAML in and out is the identity: on every file of the zoo byte for byte, and on chance genotypes."""

import copy
import pickle
import random
from pathlib import Path

import pytest

import genotypes
from genotypes import Genotype
from search_spaces.fusion_cells import fusion_cells

ZOO = Path(genotypes.__file__).parent
GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.yaml"))


def chance_genotype(seed: int) -> Genotype:
    """A space of chance backbone, taps and wiring with about half, or all, of its edges closed."""
    rng = random.Random(seed)
    backbone = rng.choice(["tiny", "mobilenet_v2", "resnet50"])
    taps = rng.sample(["s4", "s8", "s16", "s32"], rng.randint(2, 4))
    space = fusion_cells(backbone, rng.choice([8, 32]), taps=taps, wiring=rng.choice(["code", "figure7"]))
    share = rng.choice([0.5, 1.0])
    return space.decide({edge: rng.choice(ops) for edge, ops in space.open_edges().items() if rng.random() < share})


@pytest.mark.parametrize("path", [*sorted(ZOO.glob("*.yaml")), *GOLDEN], ids=lambda path: path.stem)
def test_our_files_survive_byte_for_byte(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    genotype = genotypes.loads(text)
    assert genotypes.dumps(genotype) == text
    assert genotype.name == path.stem


@pytest.mark.parametrize("seed", range(12))
def test_chance_genotypes_survive(seed: int, tmp_path: Path) -> None:
    genotype = chance_genotype(seed)
    genotypes.save(genotype, tmp_path / "new" / "genotype.yaml")
    back = genotypes.load(tmp_path / "new" / "genotype.yaml")
    assert back == genotype
    assert back.to_dict() == genotype.to_dict()
    assert back.open_edges() == genotype.open_edges()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["genotype.yaml"]


def test_awkward_texts_survive() -> None:
    data = genotypes.load("fpn_tiny").to_dict()
    for name in ("on", "1", "null", "# not a comment", "a: b", "été", "- x", "'quoted\"", " spaces ", "[s4]"):
        text = genotypes.dumps(Genotype.from_dict(data | {"name": name, "description": f"{name}\n{name}"}))
        back = genotypes.loads(text)
        assert (back.name, back.description) == (name, f"{name}\n{name}")
        assert genotypes.dumps(back) == text


def test_an_input_may_be_called_choose() -> None:
    cell = genotypes.Cell.from_dict({"name": "c", "template": "head", "inputs": {"choose": "s4"}})
    assert dict(cell.inputs) == {"choose": "s4"} and cell.to_dict()["inputs"] == {"choose": "s4"}


def test_copies_and_pickles_are_equal() -> None:
    genotype = chance_genotype(0)
    for twin in (pickle.loads(pickle.dumps(genotype)), copy.deepcopy(genotype), copy.copy(genotype)):
        assert twin == genotype
        assert twin.to_dict() == genotype.to_dict()


def test_documents_given_out_are_copies() -> None:
    genotype = genotypes.load(GOLDEN[0])
    before = genotypes.dumps(genotype)
    data = genotype.to_dict()
    data["cells"][0]["inputs"]["coarse"] = "s8"
    data["cells"][1]["nodes"][0]["edges"].clear()
    data["backbone"]["options"]["padding"] = "symmetric"
    assert genotypes.dumps(genotype) == before


def test_what_a_document_held_may_change_later() -> None:
    data = genotypes.load(GOLDEN[0]).to_dict()
    genotype = Genotype.from_dict(data)
    before = genotypes.dumps(genotype)
    data["cells"][0]["inputs"]["coarse"] = "s8"
    data["cells"][1]["nodes"][0]["edges"].clear()
    data["cells"][1]["operations"].clear()
    assert genotypes.dumps(genotype) == before


def test_a_genotype_and_its_graph_are_immutable() -> None:
    genotype = genotypes.load("fpn_tiny")
    with pytest.raises(AttributeError):
        genotype.name = "other"
    with pytest.raises(TypeError):
        genotype.cells[0].params["channels"] = 3
    with pytest.raises(TypeError):
        genotype.graph.nodes["x"] = genotype.graph["image"]


def test_names_lists_the_zoo() -> None:
    assert genotypes.names() == sorted(path.stem for path in ZOO.glob("*.yaml"))
    assert {"fpn_tiny", "fpn_mobilenet_v2"} <= set(genotypes.names())


def test_the_zoo_goes_before_a_file_of_the_same_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    genotypes.save(genotypes.load("fpn_resnet50"), "fpn_tiny")
    assert genotypes.load("fpn_tiny").name == "fpn_tiny"
    assert genotypes.load("./fpn_tiny").name == "fpn_resnet50"
