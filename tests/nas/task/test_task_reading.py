"""What a photograph and a mask become, whatever the file holds."""

import hashlib
import logging
import warnings
from pathlib import Path

import numpy as np
import PIL
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from nas.task import DataError, open_photos, read_image, read_mask, resize
from nas.task.reading import READING_VERSION, header_size, read_map

# What the pictures of `_samples` became at each version. A cache is found again under the same version: when this test
# fails because reading has changed, raise READING_VERSION and write the new digest here.
# Pillow from 13 on rounds a pixel of a picture that shrinks otherwise: one in fourteen, by one level.
GOLDEN = {3: "a888b9d04f2de8a8" if int(PIL.__version__.split(".")[0]) >= 13 else "778ed1231c8eb82f"}


def _object(height=30, width=40):
    mask = np.zeros((height, width), np.uint8)
    mask[4:20, 6:30] = 255
    return mask


def _with_exif(picture, path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture.save(path, exif=exif, **({"quality": 95} if path.suffix == ".jpg" else {}))


def _stored(upright, orientation):
    """The pixels that a camera stores so that viewers with this orientation show `upright`."""
    undo = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a),
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: lambda a: np.rot90(a, -1),
    }
    return np.ascontiguousarray(undo[orientation](upright))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_and_masks_are_upright(tmp_path, orientation):
    upright = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    _with_exif(Image.fromarray(_stored(upright, orientation)), tmp_path / "a.png", orientation)
    assert np.array_equal(read_image(tmp_path / "a.png"), upright)
    assert np.array_equal(read_image(Image.open(tmp_path / "a.png")), upright)
    _with_exif(Image.fromarray(_stored(_object(), orientation)), tmp_path / "m.png", orientation)
    assert np.array_equal(read_mask(tmp_path / "m.png"), _object())
    _with_exif(Image.fromarray(_stored(upright, orientation)), tmp_path / "a.jpg", orientation)
    assert header_size(tmp_path / "a.jpg") == (20, 30) == read_image(tmp_path / "a.jpg").shape[:2]


def test_training_sees_a_turned_photograph_upright(tmp_path):
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    _with_exif(Image.fromarray(_stored(np.repeat(_object(32, 32)[..., None], 3, 2), 3)), tmp_path / "images/a.png", 3)
    Image.fromarray(_object(32, 32)).save(tmp_path / "masks/a.png")
    photos = open_photos(str(tmp_path), size=32, cache_dir=None)
    assert torch.equal(photos.images[0, 0], photos.masks[0, 0])


def test_a_damaged_exif_block_does_not_cost_the_photograph(tmp_path):
    picture = Image.fromarray(_object())
    picture.save(tmp_path / "a.jpg", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x02\x01\x12\0\x03")
    assert read_image(tmp_path / "a.jpg").shape == (30, 40, 3)


def _index(mask):
    return Image.frombytes("P", mask.shape[::-1], (mask > 0).astype(np.uint8).tobytes())


def _mask_files(mask):
    """Files of one mask, by what is special about them."""
    on = mask > 0
    rgb = np.repeat(mask[..., None], 3, 2)
    coloured = np.where(on[..., None], np.array([128, 0, 0], np.uint8), np.uint8(0))
    photo = np.random.default_rng(0).integers(0, 256, (*mask.shape, 3), np.uint8)
    voc = _index(mask)
    voc.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0] + [0] * 759)
    several = Image.frombytes(
        "P", mask.shape[::-1], (on * (1 + (np.arange(mask.shape[1]) % 3))).astype(np.uint8).tobytes()
    )
    several.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0] + [0] * 756)
    unnamed = _index(mask)
    unnamed.putpalette([0] * 768)
    return {
        "levels": Image.fromarray(mask),
        "bits": Image.fromarray(mask).convert("1"),
        "0/1": Image.fromarray((on * 1).astype(np.uint8)),
        "0/2": Image.fromarray((on * 2).astype(np.uint8)),
        "0/1, 16 bits": Image.fromarray((on * 1).astype(np.uint16)),
        "16 bits": Image.fromarray(mask.astype(np.uint16) * 257),
        "12 bits": Image.fromarray((on * 4095).astype(np.uint16)),
        "grey colours": Image.fromarray(rgb),
        "dark red on black": Image.fromarray(coloured),
        "palette of VOC": voc,
        "palette, several objects": several,
        "palette without colours": unnamed,
        "palette of greys": Image.fromarray(rgb).convert("P"),
        "alpha over white": Image.fromarray(np.dstack([np.full_like(rgb, 255), mask])),
        "alpha over black": Image.fromarray(np.dstack([np.zeros_like(rgb), mask])),
        "a cut-out": Image.fromarray(np.dstack([photo, mask])),
        "grey and alpha": Image.fromarray(np.dstack([np.full_like(mask, 90), mask])),
        "opaque alpha": Image.fromarray(np.dstack([rgb, np.full_like(mask, 255)])),
    }


@pytest.mark.parametrize("kind", _mask_files(_object()))
def test_a_mask_is_read_for_what_it_is(tmp_path, kind):
    _mask_files(_object())[kind].save(tmp_path / "m.png")
    assert np.array_equal(read_mask(tmp_path / "m.png"), _object())


def test_graded_edges_stay_graded(tmp_path):
    levels = np.tile(np.linspace(0, 255, 40).astype(np.uint8), (30, 1))
    Image.fromarray(levels).save(tmp_path / "m.png")
    assert np.array_equal(read_mask(tmp_path / "m.png"), levels)
    Image.fromarray(np.minimum(levels, 3)).save(tmp_path / "noise.jpg")  # a lossy file's 1, 2 and 3 are no labels
    assert read_mask(tmp_path / "noise.jpg").max() <= 4


@pytest.mark.parametrize(("colour", "quality"), [("white", 20), ("yellow", 75), ("orange", 75), ("lime", 75)])
def test_a_jpeg_of_a_mask_is_read_for_what_it_is(tmp_path, colour, quality):
    mask = Image.fromarray(_object()).resize((160, 120), Image.Resampling.NEAREST)
    Image.composite(Image.new("RGB", mask.size, colour), Image.new("RGB", mask.size), mask).save(
        tmp_path / "m.jpg", quality=quality
    )
    assert ((read_mask(tmp_path / "m.jpg") > 127) != (np.asarray(mask) > 127)).mean() < 0.01


@pytest.mark.parametrize("quality", [10, 80])
def test_a_mask_as_webp_is_white_on_black(tmp_path, quality):
    mask = Image.radial_gradient("L").point(lambda level: 255 if level < 90 else 0)
    mask.save(tmp_path / "m.webp", quality=quality)
    assert ((read_mask(tmp_path / "m.webp") > 127) != (np.asarray(mask) > 127)).mean() < 0.01


@pytest.mark.parametrize("kind", ["photograph", "red on black"])
def test_a_jpeg_that_is_no_mask_is_refused(tmp_path, kind):
    """Where the folders of images and masks are swapped, nothing else would tell."""
    photo = Image.open(Path(__file__).parents[3] / "docs/photographs/coffee.jpg")
    red = Image.merge("RGB", [Image.fromarray(_object()).resize((160, 120))] + [Image.new("L", (160, 120))] * 2)
    (photo if kind == "photograph" else red).save(tmp_path / "m.jpg")
    with pytest.raises(DataError, match=r"m\.jpg is a picture in colours.*swap images and masks"):
        read_mask(tmp_path / "m.jpg")


def _two_masks():
    other = np.roll(_object(), 12, axis=1)
    return Image.fromarray(np.dstack([np.repeat(_object()[..., None], 3, 2), other]))


def _thirds(values, mode=None):
    levels = np.repeat(np.array(values, np.uint8), 12)[None].repeat(20, 0)
    if mode is None:
        return Image.fromarray(levels)
    picture = Image.frombytes("P", levels.shape[::-1], levels.tobytes())
    picture.putpalette([0, 0, 0, 128, 0, 0] + [224, 224, 192] * 254)
    return picture


@pytest.mark.parametrize(
    ("make", "both"),
    [
        (lambda: _thirds([0, 1, 2]), r"0, 1, 2 .*levels.* or as labels"),
        (lambda: _thirds([1, 2, 2]), r"1, 2 .*levels.* or as labels"),
        (lambda: _thirds([0, 1, 255]), r"0, 1 and 255 .*levels.* or as labels"),
        (lambda: _thirds([0, 1, 255], "P"), r"255 belongs to the object, or is a border"),
        (_two_masks, r"one mask in its colours .* another in its alpha"),
        (lambda: Image.fromarray(np.eye(3, dtype=np.uint8).repeat(9, 0)[:, None].repeat(5, 1) * 200), "by brightness"),
    ],
)
def test_a_mask_that_can_be_read_in_two_ways_is_refused_with_both(tmp_path, make, both):
    make().save(tmp_path / "m.png")
    with pytest.raises(DataError, match=both) as told:
        read_mask(tmp_path / "m.png")
    assert "m.png" in str(told.value)


def test_blank_masks_are_counted_and_told(tmp_path, caplog):
    for part in ("images", "masks"):
        (tmp_path / "set" / part).mkdir(parents=True)
    for i, mask in enumerate([_object(), np.zeros((30, 40), np.uint8), np.full((30, 40), 255, np.uint8)]):
        Image.fromarray(mask).save(tmp_path / f"set/masks/{i}.png")
        Image.new("RGB", (40, 30)).save(tmp_path / f"set/images/{i}.png")
    for _ in range(2):  # also where the set comes from the cache
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            open_photos(str(tmp_path / "set"), size=16, cache_dir=tmp_path / "cache")
        assert "set: 1 of 3 masks all black (no object): 1" in caplog.text
        assert "set: 1 of 3 masks all white (no background): 2" in caplog.text


def test_all_that_is_wrong_with_a_set_is_one_message(tmp_path):
    for part in ("images", "masks"):
        (tmp_path / part).mkdir(parents=True)
    for i in range(4):
        Image.new("RGB", (40, 30)).save(tmp_path / f"images/{i}.png")
        Image.fromarray(_object()).save(tmp_path / f"masks/{i}.png")
    (tmp_path / "images/0.png").write_bytes(b"broken")
    Image.new("L", (30, 40)).save(tmp_path / "masks/2.png")
    _thirds([0, 1, 2]).save(tmp_path / "masks/3.png")
    with pytest.raises(DataError, match=r"3 of 4 pairs(.|\n)*0\.png(.|\n)*2\.png is 30 x 40(.|\n)*3\.png holds"):
        open_photos(str(tmp_path), size=16, cache_dir=None)


def test_arrays_tensors_and_pictures_are_photographs():
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)
    for source in (
        pixels,
        pixels / 255,
        Image.fromarray(pixels),
        tensor,
        tensor.double() / 255,
        np.dstack([pixels, pixels])[..., :4],
    ):
        assert np.array_equal(read_image(source), pixels)
    grey = np.repeat(pixels[..., :1], 3, 2)
    for source in (pixels[..., 0], pixels[..., :1], tensor[:1]):
        assert np.array_equal(read_image(source), grey)


@pytest.mark.parametrize(
    "source",
    [
        np.zeros((2, 20, 30, 3), np.uint8),
        np.zeros((20, 30, 5), np.uint8),
        np.zeros((0, 30, 3), np.uint8),
        np.full((20, 30, 3), 255.0),
        np.full((20, 30, 3), np.nan),
        np.zeros((20, 30), np.int64),
        torch.zeros(1, 3, 20, 30),
        torch.zeros(20, 30),
    ],
)
def test_what_is_no_photograph_is_refused(source):
    with pytest.raises(DataError, match="expected a"):
        read_image(source)


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("shape", [(90, 61), (20, 33)])  # shrinking and growing to 40 x 50
def test_resizing_is_bilinear_interpolation(shape, antialias):
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    ours = resize(pixels, (40, 50), antialias=antialias).astype(float)
    x = torch.from_numpy(pixels).permute(2, 0, 1)[None].double()
    theirs = F.interpolate(x, (40, 50), mode="bilinear", align_corners=False, antialias=antialias)[0]
    difference = ours - theirs.permute(1, 2, 0).numpy()
    assert np.abs(difference).max() <= (1.01 if antialias else 0.51)
    assert abs(difference.mean()) < (0.15 if antialias else 0.02)  # rounded, not cut off (Pillow rounds twice)
    assert np.array_equal(resize(pixels[..., 0], (40, 50), antialias=antialias), ours[..., 0])


def test_a_jpeg_is_read_at_its_full_size_whatever_size_is_asked_for(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8).repeat(4, 0).repeat(4, 1)
    Image.fromarray(pixels).save(tmp_path / "a.jpg", quality=80)
    assert np.array_equal(read_image(tmp_path / "a.jpg", 32), resize(read_image(tmp_path / "a.jpg"), 32))


def test_a_palette_with_levels_of_transparency_is_read_without_a_warning(tmp_path):
    colours = Image.effect_noise((20, 10), 80).convert("RGB").quantize(16)
    colours.save(tmp_path / "a.png", transparency=bytes(range(0, 256, 16)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(read_image(tmp_path / "a.png"), np.asarray(colours.convert("RGB")))


@pytest.mark.parametrize("ending", ["png", "tiff"])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_pictures_of_10_to_14_bits_in_16_are_as_bright_as_they_were(tmp_path, bits, ending):
    """As microscopes and industrial cameras write them; they were nearly black once."""
    levels = np.random.default_rng(0).integers(0, 256, (20, 30), np.uint8)
    levels[0, 0] = 240
    Image.fromarray((levels * ((2**bits - 1) / 255)).round().astype(np.uint16)).save(tmp_path / f"a.{ending}")
    assert np.abs(read_image(tmp_path / f"a.{ending}")[..., 0].astype(int) - levels).max() <= 1


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("read", [read_image, read_mask, read_map])
def test_a_picture_of_floats_with_one_that_is_no_number_is_refused(tmp_path, read, value):
    """All its others were black, without a word."""
    levels = np.linspace(0, 1, 600, dtype=np.float32).reshape(20, 30)
    levels[3, 4] = value
    Image.fromarray(levels).save(tmp_path / "a.tiff")
    with pytest.raises(DataError, match=r"a\.tiff as an image: the picture holds values that are not finite"):
        read(tmp_path / "a.tiff")


def test_what_is_read_changes_only_with_its_version(tmp_path):
    digest = hashlib.sha256()
    rng = np.random.default_rng(1)
    photo = rng.integers(0, 256, (10, 8, 3), np.uint8).repeat(5, 0).repeat(5, 1)
    _with_exif(Image.fromarray(_stored(photo, 6)), tmp_path / "a.png", 6)
    Image.fromarray(photo.astype(np.uint16)[..., 0] * 200).save(tmp_path / "b.png")
    Image.fromarray(photo.astype(np.uint16)[..., 0] * 16).save(tmp_path / "c.png")
    for file in ("a.png", "b.png", "c.png"):
        for antialias in (True, False):
            digest.update(resize(read_image(tmp_path / file), (24, 32), antialias=antialias).tobytes())
    for kind, picture in _mask_files(_object()).items():
        picture.save(tmp_path / "m.png")
        digest.update(kind.encode() + resize(read_mask(tmp_path / "m.png"), (24, 32)).tobytes())
    assert digest.hexdigest()[:16] == GOLDEN[READING_VERSION]
