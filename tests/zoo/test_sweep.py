"""Every genotype of the zoo runs, trains and exports at sizes that no authors' code takes."""

import shutil
import time

import pytest
import torch

import genotypes
import nas
from search_spaces import fpn

SMALL = ["csnet_x1", "csnet_x2", "csnet_l_x1", "csnet_l_x2", "csf_res2net50"]
LARGE = ["auto_msfnet_vgg16", "auto_msfnet_resnet50"]
MINETS = ["minet_vgg16", "minet_resnet50", "light_minet_vgg16", "light_minet_resnet50"]
NETWORKS = [*SMALL, *(pytest.param(name, marks=pytest.mark.slow) for name in (*LARGE, *MINETS))]


def _built(genotype: genotypes.Genotype) -> nas.Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nas.build(genotype)


def _network(name: str) -> nas.Network:
    return _built(genotypes.load(name))


def _photo(batch: int, height: int, width: int) -> torch.Tensor:
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", NETWORKS)
def test_odd_sizes_train_and_eval(name):
    size = (97, 131)
    net = _network(name)
    outputs = net(_photo(1, *size))
    assert [tuple(y.shape) for y in outputs] == [(1, 1, *size)] * (3 if name.startswith("auto") else 1)
    sum(y.square().mean() for y in outputs).backward()
    for key, parameter in net.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
    net.eval()
    for h, w in (size, (32, 45)):  # the smallest photo there may be leaves the coarsest features one pixel
        with torch.no_grad():
            (y, *_) = net(_photo(2, h, w))
        assert y.shape == (2, 1, h, w) and y.isfinite().all() and y.std() > 0


@pytest.mark.parametrize("name", ["csnet_l_x1", "minet_vgg16", "light_minet_vgg16"])
def test_fewer_pixels_than_halvings(name):
    net = _network(name).eval()
    for h, w in ((1, 1), (15, 40), (64, 2)):
        with torch.no_grad():
            (y,) = net(_photo(1, h, w))
        assert y.shape == (1, 1, h, w) and y.isfinite().all()


# One of each structure: those left out differ in widths alone, or are deployed in tests/nas/test_deploy.py (CSF).
@pytest.mark.parametrize("name", ["csnet_l_x2", *LARGE, "minet_vgg16", "light_minet_resnet50"])
def test_exports_with_the_same_numbers(name):
    net = _network(name).eval()
    x = _photo(1, 64, 48)
    with torch.no_grad():
        exported = torch.export.export(net, (x,)).module()
        expected, found = net(x), exported(x)
    for a, b in zip(expected, found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.compiles
@pytest.mark.parametrize("name", ["csf_res2net50", "light_minet_vgg16"])
def test_compiles_as_one_graph(name):
    net = _network(name).eval()
    x = _photo(1, 64, 48)
    with torch.no_grad():
        # The back end that only traces: generating code takes a minute (benchmarks/compile_zoo.py does it for all).
        compiled = torch.compile(net, fullgraph=True, dynamic=False, backend="eager")
        torch.testing.assert_close(compiled(x)[0], net(x)[0])


@pytest.mark.slow
@pytest.mark.compiles
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_compiled_code_gives_the_same_numbers():
    # With one feature: g++ takes two seconds a kernel. The zoo's own: benchmarks/compile_zoo.py.
    net, x = _built(fpn("tiny", 8, taps=("s4",))).train(), _photo(2, 64, 48)
    with torch.no_grad():
        net(x)  # norms that have seen something: at first the outputs are nearly constant
        net.eval()
        expected, found = net(x)[0], torch.compile(net, fullgraph=True, dynamic=False)(x)[0]
    assert (found - expected).abs().max() <= 1e-3 * expected.std()


@pytest.mark.slow
def test_building_the_largest_takes_seconds():
    start = time.process_time()
    net = nas.build(genotypes.load("minet_resnet50"))
    # Processor time: the machine may be busy with other things.
    assert time.process_time() - start < 5
    assert sum(p.numel() for p in net.parameters()) == 162_378_305
