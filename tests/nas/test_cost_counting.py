"""Counted costs agree with an independent count, with the authors' networks, and with themselves."""

import doctest
import json
import logging
from pathlib import Path

import pytest
import torch
from fvcore.nn import FlopCountAnalysis

import genotypes
import nas
import nas.cost
from genotypes import UserError
from search_spaces import compact
from search_spaces.fusion_cells import fusion_cells

OPERATORS = ("conv", "linear", "addmm", "matmul", "bmm")

# Our name of a network in specs/counts.json.
AUTHORS = {
    "csnet-L-x1": "csnet_l_x1",
    "csnet-L-x2": "csnet_l_x2",
    "csnet-unpruned-expand1": "csnet_x1",
    "csnet-unpruned-expand2": "csnet_x2",
    "auto-msfnet-vgg16": "auto_msfnet_vgg16",
    "auto-msfnet-resnet50": "auto_msfnet_resnet50",
    "csf-res2net50": "csf_res2net50",
    "minet-vgg16": "minet_vgg16",
    "minet-resnet50": "minet_resnet50",
}


# Between them: grouped and depthwise convolutions, channel attention's matrix products, octave cells, odd sizes.
@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("fpn_mobilenet_v2", (97, 131)),
        ("auto_msfnet_resnet50", (64, 96)),
        ("csnet_l_x1", (97, 131)),
    ],
)
def test_multiply_adds_agree_with_fvcore(name: str, size: tuple[int, int]) -> None:
    genotype = genotypes.load(name)
    with torch.device("meta"):
        net = nas.build(genotype).eval()
    net, x = net.to_empty(device="cpu"), torch.zeros(1, 3, *size)  # fvcore traces: it needs real tensors
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    logging.getLogger("torch.jit").setLevel(logging.ERROR)
    reference = FlopCountAnalysis(net, x).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    by_operator = reference.by_operator()
    cost = nas.cost.count(genotype, size)
    assert cost.macs == pytest.approx(sum(by_operator[operator] for operator in OPERATORS), rel=0.01)
    by_module = reference.by_module_and_operator()
    for part in cost.by_cell:
        theirs = by_module["backbone" if part.kind == "backbone" else f"cells.{part.name}"]
        assert part.macs == pytest.approx(sum(theirs[operator] for operator in OPERATORS), rel=0.01), part.name


@pytest.mark.slow
@pytest.mark.shared
def test_every_network_costs_what_the_authors_costs(shared: Path) -> None:
    rows = json.loads((shared / "specs" / "counts.json").read_text())
    compared = 0
    for row in rows:
        if row["network"] in AUTHORS:
            cost = nas.cost.count(genotypes.load(AUTHORS[row["network"]]), tuple(row["input"]))
            assert cost.params == row["parameters"], row["network"]
            assert cost.macs == pytest.approx(row["conv_linear_macs"], rel=1e-6), (row["network"], row["input"])
            compared += 1
    assert compared >= len(AUTHORS) + 1  # csf at two sizes


@pytest.mark.parametrize("name", ["fpn_tiny", "auto_msfnet_vgg16"])
def test_parts_add_up_to_the_whole(name: str) -> None:
    genotype = genotypes.load(name)
    cost = nas.cost.count(genotype)
    with torch.device("meta"):
        net = nas.build(genotype)
    assert cost.size == genotype.input.size
    for parts in (cost.by_cell, cost.by_edge):
        assert len({part.name for part in parts}) == len(parts)
        assert sum(part.params for part in parts) == cost.params == sum(p.numel() for p in net.parameters())
        assert sum(part.macs for part in parts) == cost.macs
    assert cost.backbone_params == sum(p.numel() for key, p in net.named_parameters() if key.startswith("backbone."))
    assert cost.cell_params == sum(p.numel() for key, p in net.named_parameters() if key.startswith("cells."))
    edges = genotype.graph.operations()
    assert {part.name: part.what for part in cost.by_edge if part.kind == "edge"} == edges


def test_an_edge_by_hand() -> None:
    cost = nas.cost.count(genotypes.load("fpn_tiny"), (64, 96))
    edge = next(part for part in cost.by_edge if part.name == "pyramid.smooth_f4")
    assert edge.params == 9 * 16 * 16 + 16
    assert edge.macs == 9 * 16 * 16 * (64 // 4) * (96 // 4)


def test_counting_leaves_no_trace() -> None:
    state = torch.get_rng_state()
    nas.cost.count(genotypes.load("fpn_tiny"))
    assert torch.equal(state, torch.get_rng_state())
    assert torch.is_grad_enabled()
    assert torch.empty(1).device.type == "cpu"


def test_a_supernet_has_no_cost() -> None:
    with pytest.raises(UserError, match="open choices"):
        nas.cost.count(fusion_cells("tiny"))
    members = compact("tiny", (4, 8))
    edges = {edge: ops[0] for edge, ops in members.open_edges().items()}
    with pytest.raises(UserError, match=f"has {len(members.choices()) - len(edges)} open choices"):
        nas.cost.count(members.decide(edges))


def test_a_size_too_small() -> None:
    with pytest.raises(UserError, match="size must be 32 to 8192 pixels, not 31"):
        nas.cost.count(genotypes.load("fpn_tiny"), (31, 64))


def test_the_example() -> None:
    assert doctest.testmod(nas.cost).failed == 0
