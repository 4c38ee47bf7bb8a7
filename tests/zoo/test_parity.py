"""Our networks compute what the authors' do: on their own numbers, and on a second implementation where none exist."""

import json

import numpy as np
import pytest
import torch
from reference import auto_msfnet_resnet50, csnet, csnet_keys, minet_resnet50, minet_vgg16

pytestmark = pytest.mark.shared

ORACLES = {
    "automsf_vgg16": "auto_msfnet_vgg16",
    "automsf_resnet50": "auto_msfnet_resnet50",
    "minet_vgg16": "minet_vgg16",
    "minet_resnet50": "minet_resnet50",
    "light_minet_vgg16": "light_minet_vgg16",
    "light_minet_resnet50": "light_minet_resnet50",
    "csnet_x1": "csnet_l_x1",
    "csnet_x2": "csnet_l_x2",
    "csf_res2net50": "csf_res2net50",
}
RELEASED = {"csnet_l_x1": "csnet-L-x1", "csnet_l_x2": "csnet-L-x2"}


@pytest.mark.parametrize("oracle", ["automsf_vgg16", "minet_vgg16", "csnet_x1", "csf_res2net50"])
def test_equals_the_authors_network(oracle, shared, filler, authors_state, imported):
    net = imported(ORACLES[oracle], authors_state(oracle))
    _check_against(shared / "oracles" / f"{oracle}.npz", net, filler)


def test_equals_the_authors_network_with_released_weights(shared, filler, imported):
    net = imported("csnet_l_x1", _released(shared, "csnet_l_x1"))
    _check_against(shared / "oracles" / "csnet_x1_released.npz", net, filler)


@pytest.mark.parametrize("name", RELEASED)
def test_csnet_equals_a_second_implementation_with_released_weights(name, shared, filler, imported):
    data = _released(shared, name)
    layout = _spec(shared, "csnet_layouts")[RELEASED[name]]
    x = filler.picture(2, 96, 128)
    _close(imported(name, data), lambda x: csnet(data["state_dict"], x, layout), x)


@pytest.mark.parametrize("expand", [1, 2])
def test_csnet_before_pruning_equals_a_second_implementation(expand, shared, filler, imported):
    layout = _spec(shared, "csnet_layouts")[f"unpruned-expand{expand}"]
    # What the authors scale by 100 is made small, or the outputs are a number and noise.
    state = {
        key: value / (100 if ".convs." in key and value.ndim == 4 else 1)
        for key, value in filler.fill(csnet_keys(layout), 1.0).items()
    }
    net = imported(f"csnet_x{expand}", state)
    _close(net, lambda x: csnet(state, x, layout), filler.picture(1, 96, 128))


@pytest.mark.parametrize("oracle", ["light_minet_vgg16", "minet_resnet50", "light_minet_resnet50"])
def test_minet_equals_a_second_implementation(oracle, shared, filler, random_state, imported):
    state = random_state(oracle)
    reference = minet_vgg16 if oracle.endswith("vgg16") else minet_resnet50
    layouts = _spec(shared, "minet_layouts")
    _close(imported(ORACLES[oracle], state), lambda x: reference(state, x, layouts), filler.picture(1, 64, 96))


def test_auto_msfnet_resnet50_equals_a_second_implementation(shared, filler, authors_state, imported):
    state = authors_state("automsf_resnet50")
    cells = _spec(shared, "automsf_genotypes")["auto-msfnet-resnet50"]
    net = imported("auto_msfnet_resnet50", state)
    _close(net, lambda x: auto_msfnet_resnet50(state, x, cells), filler.picture(1, 96, 128))


def _spec(shared, name):
    return json.loads((shared / "specs" / f"{name}.json").read_text())


def _released(shared, name):
    return torch.load(shared / "authors" / f"{RELEASED[name]}.pth.tar", map_location="cpu", weights_only=True)


@torch.no_grad()
def _check_against(path, net, filler):
    """Every array `BxHxW_i` is output i on picture(B, H, W), every third pixel."""
    arrays = np.load(path)
    assert arrays.files
    for key in arrays.files:
        size, output = key.rsplit("_", 1)
        y = net(filler.picture(*map(int, size.split("x"))))[int(output)]
        _assert_close(y[..., ::3, ::3], torch.from_numpy(arrays[key]), key)


@torch.no_grad()
def _close(net, reference, x):
    ours, theirs = net(x), reference(x)
    assert len(ours) == len(theirs)
    for index, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        _assert_close(a, b, f"output {index}")


def _assert_close(ours, theirs, label):
    error, std = (ours - theirs).abs().max().item(), theirs.std().item()
    assert ours.shape == theirs.shape
    # A tenth of what counts as parity: float32 noise stays far below it, a wrong detail is hundreds of times above it.
    assert error <= 1e-4 * std + 1e-6, f"{label}: error {error:.2e} at std {std:.2e}"
