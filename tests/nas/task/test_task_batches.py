import pytest
import torch

from genotypes.errors import UserError
from nas.task import AugmentConfig, batch_indices, draw, evenly, generator, normalise, split, synthetic_set
from nas.task import augment as apply
from nas.task.augmentation import Draw, at_size, target
from nas.task.splits import hold_out


def augment(images, masks, generator, cfg):
    return apply(images, masks, draw(len(images), tuple(images.shape[-2:]), generator, cfg))


def test_generators_are_pure_and_independent():
    def draw(*key):
        return torch.rand(4, generator=generator(*key)).tolist()

    assert draw(0, "a", 1) == draw(0, "a", 1)
    keys = [(0, "a", 1), (1, "a", 1), (0, "b", 1), (0, "a", 2), (0, "a\0001", 1)]
    assert len({tuple(draw(*key)) for key in keys}) == len(keys)


def test_every_epoch_holds_every_image_once_and_batches_cross_epochs():
    steps = [batch_indices(10, 4, k, 0, "w") for k in range(5)]
    assert all(len(s) == 4 for s in steps)
    walked = torch.cat(steps)
    assert sorted(walked[:10].tolist()) == sorted(walked[10:].tolist()) == list(range(10))
    assert walked[:10].tolist() != walked[10:].tolist()
    assert torch.equal(steps[3], batch_indices(10, 4, 3, 0, "w"))
    assert not torch.equal(steps[3], batch_indices(10, 4, 3, 0, "a"))


def test_a_batch_may_be_larger_than_the_set():
    assert sorted(batch_indices(3, 6, 1, 0, "w").tolist()) == [0, 0, 1, 1, 2, 2]
    with pytest.raises(ValueError, match="need n"):
        batch_indices(0, 1, 0, 0, "w")


def test_split_is_disjoint_and_complete():
    parts = split(101, (0.45, 0.45, 0.1), 0)
    assert sorted(torch.cat(parts).tolist()) == list(range(101))
    assert [len(p) for p in parts] == [45, 46, 10] and all(p.diff().min() > 0 for p in parts)
    assert torch.equal(parts[0], split(101, (0.45, 0.45, 0.1), 0)[0])
    assert not torch.equal(parts[0], split(101, (0.45, 0.45, 0.1), 1)[0])


@pytest.mark.parametrize("bad", [(0.6, 0.6), (0.0, 1.0), (), (-0.1, 0.5), (0.001,)])
def test_split_refuses(bad):
    with pytest.raises(ValueError, match=r"fractions|empty"):
        split(10, bad, 0)


def test_of_few_images_one_is_held_out_and_one_is_not():
    for share in (0.01, 0.99):
        assert [len(part) for part in hold_out(2, share, 0, name="few")] == [1, 1]
    with pytest.raises(UserError, match="few: a single photograph"):
        hold_out(1, 0.5, 0, name="few")


@pytest.fixture(scope="module")
def batch():
    photos = synthetic_set(16, 48, 1)
    return photos.images, photos.masks


OFF = {"flip": 0.0}


def test_nothing_switched_on_changes_nothing(batch):
    x, y = augment(*batch, generator(0, "w", 0), AugmentConfig(**OFF))
    assert torch.equal(x, batch[0].float() / 255) and torch.equal(y, (batch[1] > 127).float())


def test_the_cheap_flip_and_the_affine_flip_agree(batch):
    x, y = augment(*batch, generator(0, "w", 0), AugmentConfig(flip=0.5))
    p, q = augment(*batch, generator(0, "w", 0), AugmentConfig(flip=0.5, crop=1e-9))
    assert (x - p).abs().max() < 1e-3 and (y - q).abs().mean() < 1e-3
    flipped = [bool((x[i] == batch[0][i].flip(-1).float() / 255).all()) for i in range(16)]
    assert 0 < sum(flipped) < 16


def test_half_of_the_flips_may_be_vertical(batch):
    x, y = augment(*batch, generator(0, "w", 0), AugmentConfig(flip=1.0, vertical=0.5))
    images, masks = batch[0].float() / 255, (batch[1] > 127).float()

    def moved(axis: int) -> list[bool]:
        return [
            bool((x[i] - images[i].flip(axis)).abs().max() < 1e-3 and (y[i] - masks[i].flip(axis)).abs().mean() < 1e-3)
            for i in range(16)
        ]

    upside_down, mirrored = moved(-2), moved(-1)
    assert all(a != b for a, b in zip(upside_down, mirrored, strict=True)) and 0 < sum(upside_down) < 16


def test_vertical_is_a_share_of_the_flips():
    theta = draw(400, (48, 48), generator(0, "w", 0), AugmentConfig(flip=0.4, vertical=0.25)).theta
    mirrored, upside_down = theta[:, 0, 0] < 0, theta[:, 1, 1] < 0
    assert not (mirrored & upside_down).any()
    assert 100 <= mirrored.sum() <= 140 and 28 <= upside_down.sum() <= 52  # 120 and 40, with two deviations


def test_rotation_is_a_rotation():
    """A dot right of the centre (too near it for its reflection to come into view) turns and keeps its distance."""
    images = torch.zeros(64, 3, 64, 64, dtype=torch.uint8)
    images[:, :, 31:33, 41:43] = 255
    cfg = AugmentConfig(flip=0.0, rotate=90.0)
    x, _ = augment(images, images[:, :1], generator(0, "w", 0), cfg)
    at = torch.arange(64) - 31.5
    weight = x[:, 0] / x[:, 0].sum((1, 2), keepdim=True)
    dx, dy = (weight * at).sum((1, 2)), (weight * at[:, None]).sum((1, 2))
    assert (torch.hypot(dx, dy) - 10).abs().max() < 0.2
    angles = torch.atan2(dy, dx).rad2deg()
    assert angles.min() < -60 and angles.max() > 60 and angles.abs().max() <= 90.5


def test_image_and_mask_move_together(batch):
    masks = batch[1]
    images = masks.expand(-1, 3, -1, -1).contiguous()
    cfg = AugmentConfig(rotate=30, crop=0.4, scales=(0.5, 1.5))
    for step in range(4):
        x, y = augment(images, masks, generator(0, "w", step), cfg)
        assert torch.equal(y, (x[:, :1] > 0.5).float())


@pytest.mark.parametrize("cfg", [AugmentConfig(), AugmentConfig(rotate=30, crop=0.4, vertical=0.5, scales=(0.5, 1.5))])
def test_a_teachers_map_moves_with_the_mask_and_stays_graded(batch, cfg):
    images, masks = batch
    maps = images[:, :1]
    for step in range(3):
        alone, y = augment(images, masks, generator(0, "w", step), cfg)
        x, both = augment(images, torch.cat([masks, maps], dim=1), generator(0, "w", step), cfg)
        assert torch.equal(x, alone) and torch.equal(both[:, :1], y)  # the rest is as without a teacher
        assert torch.allclose(both[:, 1:], x[:, :1], atol=1e-6) and len(both[:, 1:].unique()) > 50


def test_a_crop_enlarges_and_never_leaves_the_picture():
    """On a ramp, a crop of a window shows values of the window only: inside 0..1 and of smaller spread."""
    ramp = torch.linspace(0, 255, 64).round().to(torch.uint8).expand(32, 3, 64, 64)
    for down in (False, True):
        images = (ramp.mT if down else ramp).contiguous()
        x, _ = augment(images, images[:, :1], generator(0, "w", 0), AugmentConfig(flip=0.0, crop=0.5))
        along = x[:, 0, :, 0] if down else x[:, 0, 0]
        spread = along[:, -1] - along[:, 0]
        assert spread.min() > 0.47 and spread.min() < 0.7 and spread.max() < 1.0
        assert (along.diff() >= 0).all()  # reflected borders would turn the ramp round


def test_a_turned_crop_is_a_window_of_the_photograph_turned_as_a_whole():
    theta = draw(64, (48, 48), generator(0, "w", 0), AugmentConfig(flip=0.0, rotate=90, crop=0.5)).theta
    kept = theta[:, :, :2].norm(dim=1)
    turn = theta[:, :, :2] / kept[:, None]
    torch.testing.assert_close(turn @ turn.mT, torch.eye(2).expand(64, 2, 2))
    moved = (turn.mT @ theta[:, :, 2:]).squeeze(-1)
    assert turn.det().min() > 0 and kept.min() >= 0.5 and (moved.abs() <= 1 - kept + 1e-6).all()
    for drawn in (kept, moved / (1 - kept)):  # height and width apart
        assert torch.corrcoef(drawn.T)[0, 1].abs() < 0.4


def test_scales_are_drawn_a_batch_in_steps_of_16(batch):
    cfg = AugmentConfig(scales=(0.75, 1.0, 1.25))
    sizes = {augment(*batch, generator(0, "w", k), cfg)[0].shape[-1] for k in range(12)}
    assert sizes == {32, 48, 64}
    assert draw(1, (48, 48), generator(0, "w", 0), AugmentConfig(scales=(0.1,))).shape == (32, 32)  # networks' least


def test_colour_changes_images_only_and_stays_in_range(batch):
    x, y = augment(*batch, generator(0, "w", 0), AugmentConfig(flip=0.0, colour=0.4))
    assert torch.equal(y, (batch[1] > 127).float())
    assert x.min() >= 0 and x.max() <= 1 and (x - batch[0].float() / 255).abs().mean() > 0.02


def test_colours_factors_are_of_brightness_contrast_and_saturation(batch):
    factors = torch.tensor([[0.5, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
    x, _ = apply(batch[0][:3], batch[1][:3], Draw(torch.zeros(3, dtype=torch.bool), None, factors, (48, 48)))
    before = batch[0][:3].float() / 255
    grey = (before * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True).expand_as(before)
    for found, expected in zip(x, (before[0] / 2, grey[1].mean().expand_as(grey[1]), grey[2]), strict=True):
        torch.testing.assert_close(found, expected)


def test_what_contrast_drives_out_of_range_is_cut_before_saturation():
    red_and_black = torch.zeros(1, 3, 1, 2, dtype=torch.uint8)
    red_and_black[0, 0, 0, 0] = 255
    change = Draw(torch.zeros(1, dtype=torch.bool), None, torch.tensor([[1.0, 2.0, 0.5]]), (1, 2))
    x, _ = apply(red_and_black, red_and_black[:, :1], change)
    # Contrast: red to 2 - .1495, that is 1; the others to 0. Saturation: half of the way to the grey of .299.
    torch.testing.assert_close(x[0, :, 0], torch.tensor([[0.6495, 0.0], [0.1495, 0.0], [0.1495, 0.0]]))


def test_the_same_key_gives_the_same_batch(batch):
    cfg = AugmentConfig(rotate=10, crop=0.1, colour=0.1, scales=(0.75, 1.0))
    a, b = (augment(*batch, generator(3, "w", 5), cfg) for _ in range(2))
    assert torch.equal(a[0], b[0]) and torch.equal(a[1], b[1])


@pytest.mark.parametrize(
    "bad", [{"flip": 2}, {"vertical": 2}, {"rotate": -1}, {"crop": 1.0}, {"colour": 3}, {"scales": ()}]
)
def test_config_refuses(bad):
    with pytest.raises(UserError, match=next(iter(bad))):
        AugmentConfig(**bad)


def test_masks_are_cut_above_127_and_shrinking_averages():
    assert target(torch.tensor([0, 127, 128, 255])).tolist() == [0, 0, 1, 1]
    stripes = (torch.arange(64) % 4 == 0).float().expand(1, 1, 64, 64)
    assert at_size(stripes, (64, 64)) is stripes
    assert (at_size(stripes, (16, 16))[..., 2:-2] - 0.25).abs().max() < 0.1  # of four points: 0 or 1


def test_normalise():
    x = torch.rand(2, 3, 4, 5)
    assert torch.allclose(normalise(x, (0.5, 0, 0), (1, 2, 1))[:, 1], x[:, 1] / 2)
    assert torch.allclose(normalise(x, (0.5, 0, 0), (1, 2, 1))[:, 0], x[:, 0] - 0.5)


def test_a_part_of_the_rows_is_spread_over_all_of_them():
    rows = torch.tensor([2, 3, 5, 7, 11, 13])
    assert evenly(rows, 3).tolist() == [2, 5, 11] and evenly(rows, 9).tolist() == rows.tolist()
