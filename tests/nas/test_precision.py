"""A step in bf16 on the CPU, beside the same in float32."""

from collections import Counter

import torch

import genotypes
import nas
from nas.network import to_device
from nas.options import from_dict
from nas.run import seeded
from nas.search import SearchConfig, open_search
from nas.search.training import search_trainer
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


def test_in_a_search_the_pictures_alone_are_float32():
    """One float32 factor, or one candidate that computes in float32, made all features behind it float32."""
    space = {"name": "fusion_cells", "backbone": "mobilenet_v2", "channels": 8}
    values = {"space": space, "data": "synthetic:8", "size": 64, "batch_size": 2, "precision": "bf16"}
    cfg = from_dict(SearchConfig(), values)
    trainer = search_trainer(cfg, open_search(cfg))[2]
    found: Counter[tuple[str, torch.dtype]] = Counter()
    for name, part in trainer.net.named_modules():
        if name:  # a network's own outputs are resized as loss functions want them

            def note(part, given, result, name=name):
                if isinstance(result, torch.Tensor):
                    found[name.partition(".")[0], result.dtype] += 1

            part.register_forward_hook(note)
    trainer.advance()
    assert found["cells", torch.bfloat16] > 400 and found["backbone", torch.bfloat16] > 50
    assert {dtype for _, dtype in found} == {torch.bfloat16}
