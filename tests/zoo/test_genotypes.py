"""The zoo's files: they are short and canonical, describe networks of exactly the published sizes, and never drift."""

import hashlib
import json
from pathlib import Path

import pytest
import torch

import genotypes
import nas
from genotypes import GenotypeError, UserError
from search_spaces.csnet import csnet, csnet_of_widths
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
    assert genotypes.loads(genotypes.dumps(closed)) == closed
    assert space.decide(dict.fromkeys(space.open_edges(), "conv2d_1x1_bias")) != closed


def test_minet_opens_what_fits():
    space = minet("resnet50", operations=("skip_connect", "sep_conv_3x3", "conv2d_3x3_bias", "conv2d_1x1_bias"))
    edges = space.open_edges()
    assert edges["aim8.h2m_1"] == ("skip_connect", "sep_conv_3x3", "conv2d_3x3_bias", "conv2d_1x1_bias")
    assert edges["sim8.h2l_1"] == ("conv2d_3x3_bias", "conv2d_1x1_bias")  # 64 channels to 32
    assert "aim8.h2h_0" not in edges and "aim8.identity" not in edges
    assert not minet("resnet50", operations=None).open_edges()
    for few in (("skip_connect", "conv2d_1x1_bias"), ("skip_connect", "sep_conv_3x3")):  # names no edge of ours
        with pytest.raises(GenotypeError, match=f"two or more can change the width.*; not {', '.join(few)}"):
            minet("tiny", operations=few)


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
    assert csnet(expand) == genotypes.load(f"csnet_x{expand}")


@pytest.mark.parametrize("expand", [0.5, float("nan"), float("inf")])
def test_csnet_is_not_narrower_than_the_papers(expand):
    with pytest.raises(UserError, match=f"expand must be 1 or more, not {expand}"):
        csnet(expand)


def test_csnet_with_any_widths():
    stages = [[[4, 4]], [[4, 0], [5, 3]], [[6, 0], [7]], [[9, 0], [8]], [[9, 3], [10]]]
    genotype = csnet_of_widths(stages, [4, 5, 6], [[1, 1, 0, 0, 2], [0] * 5, [0, 0, 3, 0, 0]], 7, name="thin")
    (y,) = nas.build(genotype).eval()(torch.zeros(1, 3, 97, 131))
    assert y.shape == (1, 1, 97, 131)
    assert "fusion.multi1" not in genotype.graph  # pruned away, and with it what it read


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
