"""A step in bf16 on the CPU, beside the same in float32."""

import torch

import genotypes
import nas
from nas.network import to_device
from nas.run import seeded
from nas.training.precision import run_in


def test_csnet_trains_in_bf16():
    """Its dilated convolutions take 17 channels and more: the second step was NaN once."""
    with seeded(0):
        net = to_device(nas.build(genotypes.load("csnet_l_x1")), "cpu").train()
        x = torch.randn(2, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    params = dict(net.named_parameters())
    gradients = {}
    for precision in ("fp32", "bf16"):
        loss = run_in(precision, net, params, x)[0].float().sigmoid().mean()
        gradients[precision] = torch.autograd.grad(loss, list(params.values()))
    for name, exact, rounded in zip(params, *gradients.values(), strict=True):
        assert rounded.isfinite().all(), name
        if "multi" in name:  # all are dilated; and an untrained network of this depth is rough in bf16
            assert rounded.norm() < 4 * exact.norm(), name
