"""The zoo's files: they are short and canonical, describe networks of exactly the published sizes, and never drift."""

import hashlib
import json
from pathlib import Path

import pytest
import torch

import genotypes
import nas
from genotypes import GenotypeError, Input, UserError
from search_spaces.csnet import csnet, csnet_of_widths, open_csnet
from search_spaces.minet import minet
from search_spaces.spaces import MinetSpace

# Measured on the authors' networks (specs/networks.md, section 5).
PARAMETERS = {
    "auto_msfnet_vgg16": 22_656_279,
    "auto_msfnet_resnet50": 32_496_341,
    "minet_vgg16": 47_562_737,
    "minet_resnet50": 162_378_305,
    "light_minet_vgg16": 38_044_913,
    "light_minet_resnet50": 115_691_201,
    "light_minet_resnet50_wsgn": 115_691_201,
    "csnet_x1": 210_985,
    "csnet_x2": 788_631,
    "csnet_l_x1": 93_647,
    "csnet_l_x2": 140_894,
    "csf_res2net50": 36_528_489,
}
GOLDEN = json.loads((Path(__file__).parent / "golden.json").read_text())


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_and_names_of_weights(name):
    with torch.device("meta"):
        net = nas.build(genotypes.load(name))
    assert sum(p.numel() for p in net.parameters()) == PARAMETERS[name]
    lines = [f"{key} {list(value.shape)}" for key, value in net.state_dict().items()]
    # Changing these breaks weight files that exist. If that is meant: print `_golden()` into golden.json.
    assert hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest() == GOLDEN[name]["keys"]
    assert net.genotype.hash == GOLDEN[name]["hash"]


@pytest.mark.parametrize("name", PARAMETERS)
def test_file_is_short_and_canonical(name):
    text = (Path(genotypes.__file__).parent / f"{name}.yaml").read_text()
    genotype = genotypes.loads(text)
    assert genotypes.dumps(genotype) == text
    assert genotype.is_decided and genotype.name == name
    assert len(text.splitlines()) < 100


@pytest.mark.parametrize(
    ("name", "backbone", "internal"),
    [
        ("minet_vgg16", "vgg16_bn", None),
        ("minet_resnet50", "resnet50", None),
        ("light_minet_vgg16", "vgg16_bn", 64),
        ("light_minet_resnet50", "resnet50", 64),
        ("light_minet_resnet50_wsgn", "resnet50_wsgn", 64),
    ],
)
def test_closing_minet_by_its_own_operations_gives_minet(name, backbone, internal):
    space = minet(backbone, internal=internal)
    closed = space.decide(dict.fromkeys(space.open_edges(), "conv2d_3x3_bias"))
    assert len(space.open_edges()) == 72
    assert closed == genotypes.load(name) and closed.hash == GOLDEN[name]["hash"]
    assert closed.input == genotypes.load(name).input and closed.input.size == (320, 320)
    assert space.name == f"minet_{backbone}"
    assert genotypes.loads(genotypes.dumps(closed)) == closed
    assert space.decide(dict.fromkeys(space.open_edges(), "conv2d_1x1_bias")) != closed


def test_minet_opens_what_fits():
    space = minet("resnet50", operations=("skip_connect", "sep_conv_3x3", "conv2d_3x3_bias", "conv2d_1x1_bias"))
    edges = space.open_edges()
    assert edges["aim8.h2m_1"] == ("skip_connect", "sep_conv_3x3", "conv2d_3x3_bias", "conv2d_1x1_bias")
    assert edges["sim8.h2l_1"] == ("conv2d_3x3_bias", "conv2d_1x1_bias")  # 64 channels to 32
    assert "aim8.h2h_0" not in edges and "aim8.identity" not in edges
    assert not minet("resnet50", operations=None).open_edges()
    ours = "none, conv2d_1x1_bias, conv2d_3x3_bias, conv2d_3x3_d2_bias"
    for few in (("skip_connect", "conv2d_1x1_bias"), ("skip_connect", "sep_conv_3x3"), ()):  # names no edge of ours
        told = f"two or more can change the width.* must: {ours}; not {', '.join(few)}"
        with pytest.raises(GenotypeError, match=told):
            minet("tiny", operations=few)


def test_minet_reads_the_features_that_are_named():
    fed, options = Input(size=(64, 96)), {"padding": "tf_same"}
    made = minet("mobilenet_v2", 8, None, taps=("s8", "s4"), input=fed, backbone_options=options, name="mine")
    assert (made.name, made.input, made.backbone.taps) == ("mine", fed, ("s4", "s8"))
    assert dict(made.backbone.options) == options
    assert [cell.name for cell in made.cells] == ["aim4", "aim8", "sim8", "up8", "sim4", "up4", "up1", "head"]
    for taps, told in (((), "none"), (("s4",), "s4")):
        with pytest.raises(GenotypeError, match=f"two or more taps, not {told}"):
            minet("tiny", taps=taps)


@pytest.mark.parametrize(("backbone", "least"), [("tiny", 2), ("vgg16_bn", 4)])  # VGG's finest decoder has half of them
def test_too_few_channels_for_minet_are_refused_by_name(backbone, least):
    """What was told of was a node of a cell: `node 'l0': width must be a positive integer, not 0`."""
    assert all(node.width for node in minet(backbone, least).graph.nodes.values())
    with pytest.raises(UserError, match=f"minet on {backbone}: channels must be at least {least}, not {least - 1}"):
        minet(backbone, least - 1)


def test_an_internal_width_of_0_is_none_left_out():
    """It was taken for the default without a word."""
    with pytest.raises(UserError, match="internal must be at least 1, not 0"):
        MinetSpace(internal=0)
    with pytest.raises(GenotypeError, match="width must be a positive integer, not 0"):
        minet("tiny", internal=0)


def test_open_minet_is_a_supernet():
    space = minet("tiny", channels=16, operations=("none", "skip_connect", "conv2d_1x1_bias", "conv2d_3x3_bias"))
    (y,) = nas.build(space)(torch.zeros(2, 3, 97, 131))
    assert y.shape == (2, 1, 97, 131) and y.isfinite().all()


@pytest.mark.parametrize("expand", [1, 2])
def test_csnet_before_pruning(expand):
    made, zoo = csnet(float(expand)), genotypes.load(f"csnet_x{expand}")
    assert made == zoo and made.name == zoo.name == f"csnet_x{expand}"
    assert made.input == zoo.input and made.input.size == (224, 224)
    assert csnet(expand, name="mine").name == "mine"


@pytest.mark.parametrize(
    ("expand", "half", "single", "fuse", "dilated"),
    [  # specs/networks.md, section 3.5: of w = 21 and of 23
        (1.04, (10, 21, 42), (42, 84), (14, 28, 28), ((2, 2, 2, 2, 6), (5, 5, 5, 5, 8), (5, 5, 5, 5, 8))),
        (1.16, (12, 23, 46), (46, 92), (15, 30, 30), ((3,) * 5, (6,) * 5, (6,) * 5)),
    ],
)
def test_csnet_rounds_widths_as_its_authors_code_does(expand, half, single, fuse, dilated):
    space = open_csnet(expand)
    assert space.name == f"open_csnet_x{expand}"
    *stages, fusion, _ = (cell.params for cell in csnet(expand).cells)
    first, second, third = ((n, n) for n in half)
    assert stages[0]["widths"] == first and stages[1]["widths"] == (first,) * 3
    assert stages[2]["widths"] == (*[second] * 3, (single[0],))
    assert stages[3]["widths"] == (*[third] * 5, (single[1],)) and stages[4]["widths"] == (*[third] * 3, (single[1],))
    assert (fusion["fuse"], fusion["dilated"], fusion["channels"]) == (fuse, dilated, sum(fuse))


@pytest.mark.parametrize("expand", [0.5, float("nan"), float("inf")])
def test_csnet_is_not_narrower_than_the_papers(expand):
    with pytest.raises(UserError, match=f"expand must be 1 or more, not {expand}"):
        csnet(expand)


def test_csnet_with_any_widths():
    stages = [[[4, 4]], [[4, 2], [5, 0]], [[6, 0], [7]], [[9, 0], [8]], [[9, 3], [10]]]
    genotype = csnet_of_widths(stages, [4, 5, 6], [[1, 1, 0, 0, 2], [0] * 5, [0, 0, 3, 0, 0]], 7, name="thin")
    (y,) = nas.build(genotype).eval()(torch.zeros(1, 3, 97, 131))
    assert y.shape == (1, 1, 97, 131)
    assert "fusion.multi1" not in genotype.graph  # pruned away, and with it what it read
    assert dict(genotype.cells[2].inputs) == {"x0": "stage1.out0"}  # a stage's last block may have lost a branch


def _golden() -> dict[str, dict[str, str]]:
    golden = {}
    for name in PARAMETERS:
        with torch.device("meta"):
            net = nas.build(genotypes.load(name))
        lines = [f"{key} {list(value.shape)}" for key, value in net.state_dict().items()]
        keys = hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()
        golden[name] = {"hash": net.genotype.hash, "keys": keys}
    return golden


if __name__ == "__main__":
    print(json.dumps(_golden(), indent=1))
