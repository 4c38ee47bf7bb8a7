"""precision fp16: small gradients are kept, steps whose gradients overflow are left out, and for long they are told."""

from dataclasses import replace

import pytest
import torch

from nas.training import Diverged
from retrain import Recipe
from retrain.train import TrainConfig, open_training
from retrain.train.training import training_of


def a_training(precision="fp16", optimiser="adamw", factor=1.0, lr=0.01, clip=0.0):
    """factor: of the loss, a number or a function of the step."""
    recipe = Recipe(size=32, batch_size=2, steps=60, ema=0.9, precision=precision)
    recipe = replace(recipe, optim=replace(recipe.optim, name=optimiser, lr=lr, warmup=0.0, clip=clip))
    cfg = TrainConfig(genotype="fpn_tiny", data="synthetic:20", recipe=recipe)
    trainer, _ = training_of(cfg, open_training(cfg))
    loss = trainer.task.loss
    trainer.task.loss = lambda batch: loss(batch) * (factor(trainer.step) if callable(factor) else factor)
    return trainer


def weights(trainer):
    return torch.cat([p.detach().flatten() for p in trainer.net.parameters()])


def gradients(trainer):
    trainer.advance()
    trainer.check()
    return torch.cat([p.grad.flatten() for p in trainer.net.parameters()])


def test_gradients_too_small_for_fp16_are_kept():
    exact = gradients(a_training("fp32", factor=1e-4))
    scaled = gradients(a_training("fp16", factor=1e-4))
    unscaled = a_training("fp16", factor=1e-4)
    unscaled.scaler = torch.amp.GradScaler("cpu", enabled=False)
    lost = gradients(unscaled)
    assert (scaled - exact).norm() < 0.2 * exact.norm()
    assert (lost - exact).norm() > 0.8 * exact.norm()


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_gradient_is_clipped_to_its_norm_and_not_to_that_of_its_scale(precision):
    whole, clipped = (gradients(a_training(precision, clip=clip)) for clip in (0.0, 0.01))
    assert whole.norm() > 0.1 and clipped.norm().item() == pytest.approx(0.01, rel=1e-3)
    torch.testing.assert_close(clipped / clipped.norm(), whole / whole.norm(), atol=2e-3, rtol=0)


@pytest.mark.parametrize("optimiser", ["adamw", "adam", "sgd"])
@pytest.mark.parametrize("when", [0, 3])
def test_a_step_whose_gradients_overflow_is_left_out(optimiser, when):
    trainer = a_training(optimiser=optimiser, factor=lambda step: 1e6 if step == when else 0.01)
    while trainer.step < when:
        trainer.advance()
    before = weights(trainer)
    trainer.advance()
    assert torch.equal(weights(trainer), before) and trainer.scaler.get_scale() == 2.0**15
    trainer.advance()
    trainer.check()
    assert not torch.equal(weights(trainer), before) and weights(trainer).isfinite().all()


def test_gradients_that_overflow_for_long_are_divergence():
    trainer = a_training()
    loss = trainer.task.loss
    trainer.task.loss = lambda batch: _OnlyItsGradientIsNot.apply(loss(batch))
    for _ in range(31):
        trainer.advance()
    trainer.check()
    trainer.advance()
    with pytest.raises(
        Diverged, match=r"step 31: the gradients overflow at any scale; try a smaller .*, or precision bf16"
    ):
        trainer.check()


class _OnlyItsGradientIsNot(torch.autograd.Function):
    @staticmethod
    def forward(ctx, loss):
        return torch.full_like(loss, 0.5)

    @staticmethod
    def backward(ctx, gradient):
        return gradient * torch.nan


def test_it_learns_as_fp32_does():
    """With gradients that never overflow, and a rate at which rounding does not decide where the training goes."""
    ends = {}
    for precision in ("fp32", "fp16"):
        trainer = a_training(precision, factor=0.01, lr=0.001)
        for _ in range(20):
            trainer.advance()
        trainer.check()
        ends[precision] = trainer.totals.means()["train"]
    assert ends["fp16"] == pytest.approx(ends["fp32"], rel=0.02)
