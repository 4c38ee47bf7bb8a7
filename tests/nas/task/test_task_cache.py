import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from nas.task import DataError, PhotoSet, open_photos, synthetic_set


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for part in ("images", "masks"):
        (tmp_path / "set" / part).mkdir(parents=True)
    for i in range(6):
        Image.fromarray(rng.integers(0, 256, (30, 40, 3), np.uint8)).save(tmp_path / "set/images" / f"{i}.png")
        mask = np.zeros((30, 40), np.uint8)
        mask[:, :20] = 255
        Image.fromarray(mask).save(tmp_path / "set/masks" / f"{i}.png")
    return tmp_path / "set"


def open_(folder, cache=None, **more):
    return open_photos(str(folder), **{"size": 16, "cache_dir": cache, **more})


def test_decoding(folder):
    photos = open_(folder)
    assert (photos.name, len(photos), photos.size, photos.names[2]) == ("set", 6, 16, "2")
    assert photos.images.shape == (6, 3, 16, 16) and photos.masks.shape == (6, 1, 16, 16)
    assert torch.equal(photos.masks[0, 0, 5] > 127, torch.arange(16) < 8)
    picture = Image.open(folder / "images/3.png").resize((16, 16), Image.Resampling.BILINEAR)
    assert np.array_equal(photos.images[3].permute(1, 2, 0).numpy(), np.asarray(picture))


def test_masks_by_nearest_neighbour_have_no_edges_between(folder, tmp_path):
    mask = Image.open(folder / "masks/0.png").rotate(20)
    mask.save(folder / "masks/0.png")
    cache = tmp_path / "cache"
    smooth, nearest = open_(folder, cache), open_(folder, cache, masks="nearest")
    first = torch.tensor([0])
    trained = nearest.batch(first, train=True)[1][0, 0]
    assert len(smooth.masks[0].unique()) > 2 and trained.unique().tolist() == [0, 255]
    assert np.array_equal(trained.numpy(), np.asarray(mask.resize((16, 16), Image.Resampling.NEAREST)))
    assert torch.equal(smooth.images, nearest.images) and len(list(cache.iterdir())) == 2
    # What judges is one convention, whatever is trained on.
    assert torch.equal(smooth.masks, nearest.masks) and torch.equal(nearest.batch(first)[1], smooth.masks[:1])
    assert torch.equal(nearest.subset([0]).trained_masks, smooth.masks[:1])
    assert torch.equal(smooth.batch(first, train=True)[1], smooth.masks[:1])
    assert smooth.fingerprint != nearest.fingerprint


# The most memory that the fingerprint of a set takes, in sizes of the set; in a command, which keeps what it frees.
_PEAK = """
from pathlib import Path
import torch
from nas.allocator import keep_freed_memory
from nas.task import PhotoSet

def told(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(key)).split()[1])

keep_freed_memory()
images, masks = (torch.ones(1024, planes, 112, 112, dtype=torch.uint8) for planes in (3, 1))
photos = PhotoSet(name="set", images=images, masks=masks, names=tuple(map(str, range(1024))))
before = told("VmRSS")
Path("/proc/self/clear_refs").write_text("5")
photos.fingerprint
print((told("VmHWM") - before) / photos.nbytes)
"""


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="Linux tells a process's peak memory")
def test_a_fingerprint_takes_less_memory_than_the_set():
    done = subprocess.run([sys.executable, "-c", _PEAK], capture_output=True, text=True, check=True, timeout=60)
    assert float(done.stdout) < 0.5, "torch's own sum makes int64 of all bytes: eight times the set"


def test_the_cache_gives_the_same_and_notices_a_change(folder, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    fresh, made, read = open_(folder), open_(folder, cache), open_(folder, cache)
    monkeypatch.setattr("nas.task.cache._IN_MEMORY", 0)
    mapped = open_(folder, cache)
    for other in (made, read, mapped):
        assert torch.equal(fresh.images, other.images) and torch.equal(fresh.masks, other.masks)
    assert len(list(cache.iterdir())) == 1
    Image.new("RGB", (40, 30), "white").save(folder / "images/0.png")
    os.utime(folder / "images/0.png", ns=(1, 1))
    assert (open_(folder, cache).images[0] == 255).all()
    assert len(list(cache.iterdir())) == 2


def test_the_name_of_a_set_leads_nowhere_out_of_the_cache(folder, tmp_path):
    open_photos(f"../../a/b={folder}", size=16, cache_dir=tmp_path / "x/cache")
    (kept,) = (tmp_path / "x/cache").iterdir()
    assert kept.name.startswith("a-b-16-") and [path.name for path in (tmp_path / "x").iterdir()] == ["cache"]


def test_writing_to_a_mapped_set_leaves_the_file_alone(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("nas.task.cache._IN_MEMORY", 0)
    open_(folder, tmp_path / "c").images.zero_()
    assert open_(folder, tmp_path / "c").images.any()


def test_a_decode_that_fails_leaves_nothing(folder, tmp_path):
    (folder / "images/4.png").write_bytes(b"not a picture")
    with pytest.raises(DataError, match=r"cannot read .*4\.png"):
        open_(folder, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_cut_off_file_is_named(folder):
    data = (folder / "images/1.png").read_bytes()
    (folder / "images/1.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"cannot read .*1\.png"):
        open_(folder)


def test_a_pair_of_different_sizes_is_named(folder):
    Image.new("L", (30, 40)).save(folder / "masks/2.png")
    with pytest.raises(DataError, match=r"2\.png is 40 x 30, .*2\.png is 30 x 40"):
        open_(folder)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "I;16", "zero-one"])
def test_masks_of_every_kind(folder, mode):
    mask = np.zeros((30, 40), np.uint8)
    mask[:, :20] = 255
    if mode == "I;16":
        picture = Image.fromarray(mask.astype(np.uint16) * 257)
    elif mode == "zero-one":
        picture = Image.fromarray(mask // 255)
    else:
        picture = Image.fromarray(mask).convert("RGB").convert(mode)
    picture.save(folder / "masks/0.png")
    assert torch.equal(open_(folder).masks[0], open_(folder).masks[1])


def test_grey_photographs_become_rgb(folder):
    Image.new("L", (40, 30), 77).save(folder / "images/0.png")
    assert (open_(folder).images[0] == 77).all()


def test_limit_takes_an_even_sample(folder):
    assert open_(folder, limit=3).names == ("0", "2", "4")
    assert len(open_(folder, limit=99)) == 6


def test_synthetic_by_name(tmp_path):
    photos = open_photos("toy=synthetic:5", size=16, cache_dir=tmp_path, seed=2)
    assert photos.name == "toy" and torch.equal(photos.images, synthetic_set(5, 16, 2).images)
    again = open_photos("synthetic:5", size=16, cache_dir=tmp_path, seed=2)
    assert torch.equal(photos.masks, again.masks) and len(list(tmp_path.iterdir())) == 1
    for bad in ("synthetic:x", "synthetic:0"):
        with pytest.raises(DataError, match="expected synthetic"):
            open_photos(bad, size=16, cache_dir=None)


@pytest.mark.parametrize("bad", [{"size": 2}, {"limit": 0}])
def test_nonsense_is_refused(folder, bad):
    with pytest.raises(DataError, match="at least"):
        open_(folder, **bad)


def test_photo_set_subset_and_batch():
    photos = synthetic_set(6, 16, 0)
    part = photos.subset([4, 1], name="part")
    assert part.names == ("000004", "000001") and part.name == "part" and len(part) == 2
    images, masks = photos.batch(torch.tensor([4, 1]), "cpu")
    assert torch.equal(part.images, images) and torch.equal(part.masks, masks)
    assert photos.to("cpu").nbytes == 6 * 4 * 16 * 16
    with pytest.raises(ValueError, match="names"):
        PhotoSet(name="x", images=photos.images, masks=photos.masks, names=("a",))


@pytest.mark.shared
def test_real_folders(shared):
    ecssd = shared / "data/ECSSD"
    photos = open_photos(f"ECSSD={ecssd}", size=32, cache_dir=None, limit=4)
    assert len(photos) == 4 and all((m > 127).any() for m in photos.masks)
    from nas.task import find_pairs, read_image

    pairs = find_pairs(ecssd)
    grey = read_image(next(p for p in pairs if p.name == "0557").image)
    assert len(pairs) == 1000 and grey.ndim == 3 and grey.shape[2] == 3
    assert len(find_pairs(shared / "data/DUTS-TR")) == 10553
    assert len(open_photos(str(shared / "data/DUTS-TR"), size=32, cache_dir=None, limit=3)) == 3


def test_a_disk_too_small_for_the_cache_is_said_before_decoding(tmp_path, monkeypatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr("nas.task.cache.shutil.disk_usage", lambda path: usage)
    with pytest.raises(DataError, match="needs 16,384 bytes, its disk has 1,000 left"):
        open_photos("synthetic:4", size=32, cache_dir=tmp_path / "cache")
    assert not any(path for path in (tmp_path / "cache").iterdir())


@pytest.fixture
def taught(folder, tmp_path):
    """A graded map for each image of the folder; image 1 lies in a subfolder."""
    for part in ("images", "masks"):
        (folder / part / "sub").mkdir()
        (folder / part / "1.png").rename(folder / part / "sub/1.png")
    maps = tmp_path / "maps"
    (maps / "sub").mkdir(parents=True)
    rng = np.random.default_rng(1)
    for name in ("0", "sub/1", "2", "3", "4", "5"):
        Image.fromarray(rng.integers(0, 256, (30, 40), np.uint8)).save(maps / f"{name}.png")
    return maps


def test_a_teachers_maps(folder, taught, tmp_path, monkeypatch):
    photos = open_(folder, teacher=str(taught))
    plain = open_(folder)
    assert torch.equal(photos.images, plain.images) and torch.equal(photos.masks, plain.masks)
    row = photos.names.index("sub/1")
    expected = Image.open(taught / "sub/1.png").resize((16, 16), Image.Resampling.BILINEAR)
    assert np.array_equal(photos.teacher[row, 0].numpy(), np.asarray(expected))
    kept = open_(folder, tmp_path / "cache", teacher=str(taught))
    monkeypatch.setattr("nas.task.cache._IN_MEMORY", 0)
    read = open_(folder, tmp_path / "cache", teacher=str(taught))
    assert torch.equal(kept.teacher, photos.teacher) and torch.equal(read.teacher, photos.teacher)
    assert photos.fingerprint == kept.fingerprint != plain.fingerprint
    Image.new("L", (30, 30), 200).save(taught / "0.png")  # square: as networks see pictures
    assert (open_(folder, tmp_path / "cache", teacher=str(taught)).teacher[0] == 200).all()


def test_maps_that_are_missing_or_do_not_fit_are_told_together(folder, taught):
    (taught / "4.png").unlink()
    (taught / "sub/1.png").rename(taught / "1.png")
    Image.new("L", (30, 40)).save(taught / "2.png")
    with pytest.raises(DataError, match="lacks the maps of 2 of 6 images: 4, sub/1") as error:
        open_(folder, teacher=str(taught))
    assert "2.png is 40 x 30" in str(error.value) and "2.png is 30 x 40" in str(error.value)
    for name in ("4", "sub/1"):
        Image.new("L", (40, 30)).save(taught / f"{name}.png")
    with pytest.raises(DataError, match=r"no such folder of maps: .*/none$"):
        open_(folder, teacher=str(taught / "none"))
    (taught / "5.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"2 of 6 pairs .*(?s:.*)2\.png is 30 x 40") as error:
        open_(folder, teacher=str(taught))
    assert "5.png" in str(error.value)


def test_unlabelled_photographs_come_last_and_have_the_teachers_maps(folder, taught, tmp_path):
    more = tmp_path / "more"
    (more / "b").mkdir(parents=True)
    Image.new("RGB", (20, 20), "red").save(more / "b/x.jpg")
    with pytest.raises(DataError, match="lacks the maps of 1 of 7 images: b/x"):
        open_(folder, teacher=str(taught), unlabelled=str(more))
    (taught / "b").mkdir()
    Image.new("L", (10, 10), 130).save(taught / "b/x.png")
    photos = open_(folder, teacher=str(taught), unlabelled=str(more), limit=3)
    assert photos.names[-1] == "b/x" and (photos.labelled, photos.unlabelled) == (3, 1)
    assert (photos.images[-1, 0] > 250).all() and (photos.masks[-1] == 130).all() and (photos.teacher[-1] == 130).all()
    with pytest.raises(DataError, match="need a teacher"):
        open_(folder, unlabelled=str(more))
    Image.new("RGB", (20, 20)).save(more / "0.png")
    with pytest.raises(DataError, match="1 name used twice, so no map is one photograph's: 0"):
        open_(folder, teacher=str(taught), unlabelled=str(more))
    (more / "0.png").rename(more / "b/x.png")  # beside b/x.jpg
    with pytest.raises(DataError, match=r"1 name used twice, so no map is one photograph's: b/x$"):
        open_(folder, teacher=str(taught), unlabelled=str(more))


def test_synthetic_pictures_can_be_taught(tmp_path):
    for i in range(3):
        Image.new("L", (32, 32), 10 * i).save(tmp_path / f"{i:06d}.png")
    photos = open_photos("synthetic:3", size=16, cache_dir=None, teacher=str(tmp_path))
    assert photos.teacher.flatten(1).float().mean(1).tolist() == [0, 10, 20]
    assert torch.equal(photos.masks, open_photos("synthetic:3", size=16, cache_dir=None).masks)


def test_what_memory_does_not_hold_is_refused_or_stays_on_the_disk(tmp_path, monkeypatch):
    """The system ended the process without a word."""
    monkeypatch.setattr("nas.task.cache.memory_bytes", lambda: 5000)
    with pytest.raises(DataError, match="need 16,384 bytes of memory, and there are 5,000: give --cache DIR"):
        open_photos("synthetic:4", size=32, cache_dir=None)
    modes, load = [], np.load
    monkeypatch.setattr(np, "load", lambda *given, mmap_mode, **how: modes.append(mmap_mode) or load(*given, **how))
    open_photos("synthetic:4", size=32, cache_dir=tmp_path)
    assert modes == ["c", "c"]


def test_where_no_one_says_how_much_memory_there_is_photographs_are_read_all_the_same(monkeypatch):
    """As on Windows: every run ended in a traceback."""
    monkeypatch.delattr(os, "sysconf")
    assert len(open_photos("synthetic:2", size=32, cache_dir=None)) == 2


def test_a_count_that_no_memory_holds_is_refused():
    """A slip of the keyboard listed the names of 99,999,999,999 pictures until the system ended the process."""
    with pytest.raises(DataError, match="a count of 1 to 1,000,000, got 'synthetic:99999999999'"):
        open_photos("synthetic:99999999999", size=32, cache_dir=None)
    assert len(open_photos("synthetic:99999999999", size=32, cache_dir=None, limit=2)) == 2


def test_synthetic_pictures_are_made_one_by_one(monkeypatch):
    """The whole set was made beside the one that it was copied into."""
    expected = synthetic_set(3, 32, 7)
    monkeypatch.setattr("nas.task.synthetic.synthetic_set", None)
    photos = open_photos("synthetic:3", size=32, cache_dir=None, seed=7)
    assert photos.images.equal(expected.images) and photos.masks.equal(expected.masks)
    native = open_photos("synthetic:3", size=32, cache_dir=None, seed=7, native=True)
    assert native.batch(torch.tensor([1]))[0][0].equal(expected.images[1])


def test_a_cache_is_read_by_whom_other_new_files_are(folder, tmp_path) -> None:
    """Its folders were their owner's alone (0700): a colleague who shares it was told to delete it."""
    open_(folder, tmp_path / "cache")
    (tmp_path / "any").mkdir()
    (made,) = (tmp_path / "cache").iterdir()
    assert made.stat().st_mode == (tmp_path / "any").stat().st_mode


def test_what_another_run_finishes_meanwhile_is_no_mistake(folder, tmp_path, monkeypatch) -> None:
    """Between the list of what runs are decoding and the look at how old that is."""
    listed = pathlib.Path.glob
    gone = tmp_path / "cache/.decoding-gone"
    monkeypatch.setattr(pathlib.Path, "glob", lambda path, pattern: [gone, *listed(path, pattern)])
    assert len(open_(folder, tmp_path / "cache")) == 6
