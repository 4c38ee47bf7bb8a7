"""Subnormal numbers count as zero in commands, in predictions and in what is deployed; a caller's own settings stay."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch

import genotypes
import nas
from nas.command import run_command
from nas.deploy import deploy, onnx_model, open_model, program
from nas.subnormals import flush_subnormals, flushed
from retrain.predictor import Predictor

pytestmark = pytest.mark.skipif(not torch.set_flush_denormal(False), reason="this processor cannot flush them")


@pytest.fixture
def vanishing() -> nas.Network:
    """A network of which a channel has all but vanished, as CSNet's learnt widths leave them."""
    torch.manual_seed(0)
    net = nas.build(genotypes.load("fpn_tiny")).eval()
    norms = [module for module in net.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms[1:3]:
        with torch.no_grad():
            norm.weight[0], norm.bias[0] = 1e-40, -1e-42
    return net


def subnormal(tensor: torch.Tensor) -> bool:
    least = np.finfo(np.float32).tiny
    return bool(((tensor.numpy() != 0) & (np.abs(tensor.numpy()) < least)).any())


def test_the_network_of_these_tests_has_some(vanishing):
    assert any(subnormal(tensor.detach()) for tensor in vanishing.parameters())


def test_they_count_as_zero_within_and_as_before_after():
    tiny = torch.tensor(1e-40)
    with flush_subnormals():
        assert flushed() and not (tiny * 1.0).view(torch.int32)
        with flush_subnormals():
            pass
        assert flushed(), "an inner one leaves the outer one as it was"
    assert not flushed() and (tiny * 1.0).view(torch.int32)


@pytest.mark.filterwarnings("error")
def test_numpy_says_nothing_of_it():
    with flush_subnormals():
        assert all(np.finfo(kind).tiny > 0 for kind in (np.float16, np.float32, np.float64))


def test_a_command_computes_with_zeros_and_leaves_its_process_as_it_was():
    seen = []
    assert run_command(lambda argv: seen.append(flushed())) == 0
    assert seen == [True] and not flushed()


@pytest.mark.parametrize("within", [False, True])
def test_what_is_deployed_holds_none(vanishing, within):
    before = [tensor.clone() for tensor in vanishing.state_dict().values()]
    if within:  # as in a command: there a subnormal number equals zero
        with flush_subnormals():
            graph = deploy(vanishing, size=(64, 64))
    else:
        graph = deploy(vanishing, size=(64, 64))
    assert not any(subnormal(t.detach()) for t in [*graph.parameters(), *graph.buffers()] if t.is_floating_point())
    after = vanishing.state_dict().values()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True)), "the network's own stay as they are"


def test_a_prediction_leaves_the_callers_settings(vanishing):
    seen = []
    vanishing.register_forward_hook(lambda *_: seen.append(flushed()))
    Predictor(vanishing, size=64).probabilities(torch.rand(1, 3, 64, 64))
    assert seen == [True] and not flushed()


def test_a_file_that_is_opened_leaves_them_too(vanishing):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    model = onnx_model(program(deploy(vanishing, size=(64, 64)), (64, 64)))
    for before in (True, False):
        with flush_subnormals() if before else nullcontext():
            open_model(model, "onnxruntime")
            assert flushed() == before
