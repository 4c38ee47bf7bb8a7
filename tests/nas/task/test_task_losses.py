import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from genotypes.errors import UserError
from nas.task import LOSSES, LossConfig, get_loss, losses, multi_output_loss
from retrain import load_recipe


def squares(*, shift=0, size=16):
    """A 6 x 6 square, moved to the right."""
    y = torch.zeros(1, 1, size, size)
    y[..., 5:11, 5 + shift : 11 + shift] = 1
    return y


def logit(p):
    return torch.log(p / (1 - p))


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_a_perfect_answer_costs_nothing_and_the_opposite_much(name):
    y = squares()
    assert get_loss(name)(200 * (y - 0.5), y) < 1e-4
    opposite = get_loss(name)(-200 * (y - 0.5), y)
    if name == "boundary":  # inside and outside share their outline: alone it cannot tell them apart
        assert opposite < 1e-4 and get_loss(name)(-200 * (y.flip(3).roll(5, 3) - 0.5), y) > 0.2
    else:
        assert opposite > 0.9


@pytest.mark.parametrize("name", sorted(LOSSES))
@pytest.mark.parametrize("mask", ["empty", "full", "square"])
@pytest.mark.parametrize("level", [-1e4, -30.0, 0.0, 1e-3, 30.0, 1e4])
def test_gradients_are_finite_everywhere(name, mask, level):
    y = {"empty": torch.zeros, "full": torch.ones}.get(mask, lambda *s: squares().expand(s))(2, 1, 16, 16)
    wobble = 1e-6 * torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    for noise in (0, wobble):
        logits = (torch.full((2, 1, 16, 16), level) + noise).requires_grad_()
        loss = get_loss(name)(logits, y)
        loss.backward()
        assert torch.isfinite(loss) and torch.isfinite(logits.grad).all()
        assert logits.grad.abs().max() < 10


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_gradcheck(name):
    """Against finite differences, in double."""
    rng = torch.Generator().manual_seed(1)
    y = (torch.rand(2, 1, 7, 6, generator=rng) > 0.6).double()
    logits = torch.randn(2, 1, 7, 6, generator=rng, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: get_loss(name)(x, y), logits, eps=1e-7, atol=1e-5)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_half_precision_logits_are_summed_in_float32(name):
    y = torch.ones(1, 1, 320, 320)
    y[..., :100, :] = 0
    logits = (y * 4 - 2).half()
    assert get_loss(name)(logits, y).dtype == torch.float32
    assert torch.allclose(get_loss(name)(logits, y), get_loss(name)(logits.float(), y))


def test_closed_forms():
    p, y = torch.tensor([0.9, 0.2, 0.6, 0.1]).view(1, 1, 2, 2), torch.tensor([1.0, 0, 1, 0]).view(1, 1, 2, 2)
    x = logit(p)
    expected = -sum(math.log(v) for v in (0.9, 0.8, 0.6, 0.9)) / 4
    assert get_loss("bce")(x, y).item() == pytest.approx(expected, abs=1e-6)
    assert get_loss("iou")(x, y).item() == pytest.approx(1 - 2.5 / 3.3, abs=1e-6)  # I 1.5, U 2.3, each + 1
    assert get_loss("cel")(x, y).item() == pytest.approx((3.8 - 3.0) / 3.8, abs=1e-6)


def test_iou_is_a_mean_over_images_but_cel_sums_over_the_batch():
    y = torch.cat([squares(), torch.ones(1, 1, 16, 16)])
    x = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    each = [get_loss("iou")(x[i : i + 1], y[i : i + 1]) for i in range(2)]
    assert torch.allclose(get_loss("iou")(x, y), sum(each) / 2)
    each = [get_loss("cel")(x[i : i + 1], y[i : i + 1]) for i in range(2)]
    assert not torch.allclose(get_loss("cel")(x, y), sum(each) / 2, atol=1e-3)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_processes_exchange_a_batch_only_for_a_loss_that_is_no_mean_over_images(name, monkeypatch):
    y = torch.cat([squares(), torch.ones(1, 1, 16, 16)])
    x = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    each = [get_loss(name)(x[i : i + 1], y[i : i + 1]) for i in range(2)]
    exchanged = []
    monkeypatch.setattr(losses, "gathered", lambda outputs, masks: exchanged.append(name) or (outputs, masks))
    multi_output_loss([x], y, LossConfig(terms={name: 1.0}))
    assert bool(exchanged) != torch.allclose(get_loss(name)(x, y), sum(each) / 2)


@pytest.mark.parametrize("shift", [-3, 0, 1, 2, 3, 4])
def test_boundary_counts_pixels_within_reach(shift):
    """The boundary of a binary square is its one-pixel rim; count matches within two pixels by hand."""
    y, p = squares(), squares(shift=shift)

    def rim(m):
        spots = {(int(r), int(c)) for r, c in torch.nonzero(m[0, 0])}
        return {(r, c) for r, c in spots if any((r + a, c + b) not in spots for a in (-1, 0, 1) for b in (-1, 0, 1))}

    def near(a, b):
        return sum(any(max(abs(r - s), abs(c - t)) <= 2 for s, t in b) for r, c in a) / len(a)

    precision, recall = near(rim(p), rim(y)), near(rim(y), rim(p))
    expected = 1 - 2 * precision * recall / (precision + recall)
    assert get_loss("boundary")(400 * (p - 0.5), y).item() == pytest.approx(expected, abs=1e-5)


def test_masks_without_a_boundary_do_not_dilute_the_mean():
    y = torch.cat([squares(), torch.zeros(1, 1, 16, 16), torch.ones(1, 1, 16, 16)])
    x = torch.randn(3, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(get_loss("boundary")(x, y), get_loss("boundary")(x[:1], y[:1]))
    assert get_loss("boundary")(x[1:], y[1:]) == 0


def test_outputs_are_weighted_finest_first_and_the_last_weight_repeats():
    y = squares()
    outs = [torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(i)) for i in range(4)]
    cfg = LossConfig(terms={"bce": 2.0}, side_weights=(1.0, 0.5))
    each = [2 * F.binary_cross_entropy_with_logits(o, y) for o in outs]
    expected = each[0] + 0.5 * (each[1] + each[2] + each[3])
    assert torch.allclose(multi_output_loss(outs, y, cfg), expected)
    assert torch.allclose(multi_output_loss(outs[:1], y, cfg), each[0])


def test_progressive_polishing():
    polishing = load_recipe("auto_msfnet").loss
    plain = replace(polishing, terms={"bce": 1.0, "boundary": 0.0})
    y, x = squares(), torch.zeros(1, 1, 16, 16)
    one = math.log(2) + get_loss("boundary")(x, y).item()
    assert multi_output_loss([x] * 3, y, polishing).item() == pytest.approx(2.4 * one, rel=1e-5)
    assert multi_output_loss([x], y, plain).item() == pytest.approx(math.log(2), rel=1e-5)


def test_mistakes_are_named():
    with pytest.raises(UserError, match="unknown loss 'dice'; known: bce, bce_sum, boundary, cel, iou, soft_iou"):
        LossConfig(terms={"dice": 1.0})
    with pytest.raises(UserError, match="negative"):
        LossConfig(terms={"bce": -1.0})
    with pytest.raises(UserError, match="at least one"):
        LossConfig(terms={})
    with pytest.raises(ValueError, match="differ in shape"):
        get_loss("bce")(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 8, 8))


def test_soft_iou_is_iou_of_masks_and_least_at_a_graded_map():
    rng = torch.Generator().manual_seed(0)
    logits, y = torch.randn(3, 1, 9, 8, generator=rng), (torch.rand(3, 1, 9, 8, generator=rng) > 0.5).float()
    assert torch.allclose(get_loss("soft_iou")(logits, y), get_loss("iou")(logits, y), atol=1e-6)
    graded = torch.rand(3, 1, 9, 8, generator=rng)
    assert get_loss("soft_iou")(logit(graded), graded) < 1e-5
    assert get_loss("soft_iou")(logit(graded) + 0.1, graded) > 1e-2 < get_loss("soft_iou")(logit(graded) - 0.1, graded)


def test_a_teachers_share():
    rng = torch.Generator().manual_seed(0)
    outputs = [torch.randn(2, 1, 8, 8, generator=rng) for _ in range(2)]
    masks, maps = (torch.rand(2, 1, 8, 8, generator=rng) > 0.5).float(), torch.rand(2, 1, 8, 8, generator=rng)
    terms = {"terms": {"iou": 2.0}, "teacher_terms": {"bce": 0.5, "soft_iou": 1.0}}

    def loss(share, *targets):
        return multi_output_loss(outputs, torch.cat(targets, dim=1), LossConfig(**terms, teacher=share)).item()

    of_masks, of_maps = loss(0.3, masks), loss(1.0, masks, maps)
    assert of_maps == pytest.approx(
        multi_output_loss(outputs, maps, LossConfig(terms={"bce": 0.5, "soft_iou": 1.0})).item()
    )
    assert loss(0.0, masks, maps) == of_masks
    for share in (0.3, 0.7):
        assert loss(share, masks, maps) == pytest.approx((1 - share) * of_masks + share * of_maps)
    for bad in ({"teacher": 1.5}, {"teacher_terms": {}}, {"teacher_terms": {"nothing": 1.0}}):
        with pytest.raises(UserError, match=r"teacher|nothing"):
            LossConfig(**bad)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"terms": {"bce": 0.0, "iou": 0.0}}, "one of terms must weigh more than 0"),
        ({"teacher_terms": {"bce": 0.0}}, "one of teacher_terms must weigh more than 0"),
        ({"side_weights": (0.0,)}, "first side weight"),
        ({"side_weights": (0.0, 1.0)}, "first side weight"),
    ],
)
def test_a_loss_of_which_nothing_is_learnt_is_refused(values, message):
    """The first step ended with a traceback, or the output that is used stayed as it was drawn."""
    with pytest.raises(UserError, match=message):
        LossConfig(**values)
