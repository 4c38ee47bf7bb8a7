import os

import numpy as np
import pytest
from PIL import Image

from nas.task import DataError, find_pairs, parse_data
from nas.task.folders import check_sizes, find_maps, refuse


def put(path, size=(12, 10)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((size[1], size[0]), np.uint8)).save(path)


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ("DUTS-TR-Image", "DUTS-TR-Mask"),
        ("images", "ground_truth_mask"),
        ("imgs", "gt"),
        ("Imgs", "Imgs"),
        ("DUT-OMRON-image", "pixelwiseGT-new-PNG"),
        ("Image", "Mask"),
        ("images", "GT"),
        ("IMAGES", "gt"),
        (".", "."),
    ],
)
def test_the_usual_layouts(tmp_path, images, masks):
    for name in ("b", "A"):
        put(tmp_path / "set" / images / f"{name}.jpg")
        put(tmp_path / "set" / masks / f"{name}.png")
    (tmp_path / "set" / images / "Thumbs.db").write_bytes(b"x")
    for folder in (tmp_path / "set", tmp_path):  # one folder too deep is found as well
        pairs = find_pairs(folder)
        assert [p.name for p in pairs] == ["A", "b"]
        assert all(p.image.suffix == ".jpg" and p.mask.suffix == ".png" for p in pairs)


def test_names_match_without_case_and_with_any_extension(tmp_path):
    put(tmp_path / "images" / "One.BMP")
    put(tmp_path / "gt" / "one.tif")
    assert find_pairs(tmp_path)[0].mask.name == "one.tif"


def test_accents_match_however_a_system_writes_them(tmp_path):
    """macOS unpacks archives with letter and accent apart: each image was one without a mask of the same name."""
    put(tmp_path / "images" / "cafe\u0301.jpg")
    put(tmp_path / "masks" / "caf\u00e9.png")
    (pair,) = find_pairs(tmp_path)
    assert find_maps(tmp_path / "masks", [pair.name]) == ({pair.name: pair.mask}, "")


def test_a_list_file(tmp_path):
    put(tmp_path / "x" / "1.jpg")
    put(tmp_path / "y" / "1_gt.png")
    (tmp_path / "train.lst").write_text("x/1.jpg y/1_gt.png\n\n")
    assert find_pairs(tmp_path / "train.lst")[0].mask == tmp_path / "y" / "1_gt.png"
    (tmp_path / "windows.lst").write_text("x/1.jpg y/1_gt.png\r\n", encoding="utf-8-sig", newline="")
    assert find_pairs(tmp_path / "windows.lst")[0].image == tmp_path / "x" / "1.jpg"
    (tmp_path / "bad.lst").write_text("x/1.jpg\n")
    with pytest.raises(DataError, match=r"bad\.lst, line 1"):
        find_pairs(tmp_path / "bad.lst")
    (tmp_path / "gone.lst").write_text("x/1.jpg y/2.png\n")
    with pytest.raises(DataError, match=r"1 missing file: .*2\.png"):
        find_pairs(tmp_path / "gone.lst")


def test_a_missing_folder_says_what_is_expected(tmp_path):
    with pytest.raises(DataError, match=r"no such folder(.|\n)*ground_truth_mask"):
        find_pairs(tmp_path / "nowhere")


def test_an_empty_folder(tmp_path):
    with pytest.raises(DataError, match="is empty"):
        find_pairs(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    with pytest.raises(DataError, match="holds no image"):
        find_pairs(tmp_path)


def test_no_layout_we_know(tmp_path):
    (tmp_path / "notes").mkdir()
    with pytest.raises(DataError, match="no layout"):
        find_pairs(tmp_path)


def test_unmatched_names_are_counted_and_named(tmp_path):
    for i in range(30):
        put(tmp_path / "images" / f"{i:02d}.jpg")
    put(tmp_path / "masks" / "00.png")
    put(tmp_path / "masks" / "x" / "8.png")
    with pytest.raises(
        DataError, match=r"29 of 30 images .* without a mask .*: 01\.jpg, 02\.jpg, .*, \.\.\. \(9 more"
    ) as told:
        find_pairs(tmp_path)
    assert "1 of 2 masks" in str(told.value) and "without an image" in str(told.value) and "x/8.png" in str(told.value)
    assert f"`python -m retrain.data {tmp_path}` opens every file, too" in str(told.value)


def test_subfolders_are_followed(tmp_path, caplog):
    for name in ("a/1", "a/2", "b/1", "3"):
        put(tmp_path / "images" / f"{name}.jpg")
        put(tmp_path / "masks" / f"{name}.png")
    (tmp_path / "images/a/notes.txt").write_text("not a picture")
    os.mkfifo(tmp_path / "images/pipe.png")
    (tmp_path / "masks/loop.png").symlink_to("loop.png")
    (tmp_path / "masks/a/again").symlink_to(tmp_path / "masks")
    pairs = find_pairs(tmp_path)
    assert [pair.name for pair in pairs] == ["3", "a/1", "a/2", "b/1"]
    assert all(pair.mask == tmp_path / "masks" / f"{pair.name}.png" for pair in pairs)
    (told,) = caplog.messages
    for part in ("left out 3", "a/notes.txt", "pipe.png (a pipe", "masks/loop.png (a link to nothing)"):
        assert part in told


def test_subfolders_on_one_side_only(tmp_path):
    for name in ("a/1", "b/2"):
        put(tmp_path / "images" / f"{name}.jpg")
        put(tmp_path / "masks" / f"{name[2:]}.png")
    assert [(pair.name, pair.mask.name) for pair in find_pairs(tmp_path)] == [("a/1", "1.png"), ("b/2", "2.png")]


@pytest.mark.parametrize(
    ("images", "masks", "given"),
    [
        ("pascal", "mask", "."),
        ("X", "X_GT", "."),
        ("X", "X_GT", "X"),
        ("datasets/imgs/X", "datasets/masks/X", "datasets/imgs/X"),
        ("datasets/imgs/X", "datasets/masks/X", "datasets"),
        ("DUTS/DUTS-TE-Image", "DUTS/DUTS-TE-Mask", "DUTS/DUTS-TE-Image"),
        (".", "mask", "."),
    ],
)
def test_folders_with_unlike_names(tmp_path, images, masks, given):
    for name in ("a", "b"):
        put(tmp_path / images / f"{name}.jpg")
        put(tmp_path / masks / f"{name}.png")
    pairs = find_pairs(tmp_path / given)
    assert [pair.name[-1] for pair in pairs] == ["a", "b"]
    assert [pair.mask.resolve() for pair in pairs] == [(tmp_path / masks / f"{n}.png").resolve() for n in "ab"]


@pytest.mark.parametrize(
    ("files", "given", "mask"),
    [
        (["images/a.jpg", "image_masks/a.png"], ".", "image_masks/a.png"),  # a folder of masks whatever else it says
        (["X/a.jpg", "X/a.png", "X_GT/a.png"], "X", "X/a.png"),  # pairs side by side need no other folder
        (["images/a.png"], "images", None),  # no folder holds its own masks
        (["X_GT/a.png"], "X_GT", None),
        (["there/X/a.jpg", "masks/X/a.png"], "there/X", None),  # masks/X is for imgs/X
        (["images/a/x.jpg", "images/b/y.jpg", "masks/x.png", "masks/c/x.png", "masks/y.png"], ".", None),  # which x?
    ],
)
def test_which_masks_are_meant(tmp_path, files, given, mask):
    for file in files:
        put(tmp_path / file)
    if mask is None:
        with pytest.raises(DataError, match=r"without a mask|not a pair"):
            find_pairs(tmp_path / given)
    else:
        assert [pair.mask for pair in find_pairs(tmp_path / given)] == [tmp_path / mask]


def test_maps_that_are_missing_are_told_before_those_that_are_not_clear(tmp_path):
    for name in ("a.bmp", "a.jpg"):
        put(tmp_path / name)
    assert "which is meant is not clear: a.bmp, a.jpg" in find_maps(tmp_path, ["a"])[1]
    assert "lacks the maps of 1 of 2 images: b" in find_maps(tmp_path, ["a", "b"])[1]


def test_unlike_names_that_could_mean_two_folders_are_refused_with_the_way_out(tmp_path):
    for name in ("pascal", "ecssd", "mask"):
        put(tmp_path / name / "a.png")
    with pytest.raises(DataError, match=r"which of ecssd, pascal holds the images of mask .*\.lst file"):
        find_pairs(tmp_path)


def test_all_pairs_of_unlike_sizes_are_listed_at_once(tmp_path):
    for i in range(5):
        put(tmp_path / "images" / f"{i}.jpg", (12, 10))
        put(tmp_path / "masks" / f"{i}.png", (12, 10) if i % 2 else (10, 12))
    (tmp_path / "masks/1.png").write_bytes(b"broken")
    problems = check_sizes(find_pairs(tmp_path))
    assert len(problems) == 4 and "cannot read" in problems[1] and "2.jpg is 12 x 10" in problems[2]
    with pytest.raises(DataError, match=r"4 of 5 pairs of mine cannot be used(.|\n)*4\.png"):
        refuse(problems, 5, "mine")
    with pytest.raises(DataError, match=r"20\.png\n  \.\.\. and 5 more; `python -m retrain\.data DIR` lists all"):
        refuse([f"{i}.png" for i in range(1, 26)], 30, "mine")


def test_heic_is_named_where_it_cannot_be_read(tmp_path, monkeypatch):
    monkeypatch.setattr("nas.task.reading._register_heif", lambda: False)
    put(tmp_path / "masks/a.png")
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.HEIC").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0")
    (problem,) = check_sizes(find_pairs(tmp_path))
    assert "a.HEIC" in problem and "pip install 'sod-nas[heic]'" in problem


def test_a_name_used_twice(tmp_path):
    for name in ("a.jpg", "A.png"):
        put(tmp_path / "images" / name)
    put(tmp_path / "masks" / "a.png")
    with pytest.raises(DataError, match="more than once"):
        find_pairs(tmp_path)


def test_ambiguous_folders(tmp_path):
    for name in ("images", "imgs", "gt"):
        (tmp_path / name).mkdir()
    with pytest.raises(DataError, match="several folders of images"):
        find_pairs(tmp_path)


def test_two_sets_in_one_folder(tmp_path):
    for name in ("DUTS-TR", "DUTS-TE"):
        put(tmp_path / name / "Image" / "a.jpg")
        put(tmp_path / name / "Mask" / "a.png")
    with pytest.raises(DataError, match="several data sets"):
        find_pairs(tmp_path)


def test_parse_data(tmp_path):
    assert parse_data("ECSSD=/some/where") == ("ECSSD", "/some/where")
    assert parse_data("/some/DUTS.v2") == ("DUTS.v2", "/some/DUTS.v2")
    assert parse_data("synthetic:7") == ("synthetic", "synthetic:7")
    odd = tmp_path / "a=b"
    odd.mkdir()
    assert parse_data(str(odd)) == ("a=b", str(odd))
    for bad in ("", "=x", "x="):
        with pytest.raises(DataError, match="expected NAME=DIR"):
            parse_data(bad)


def test_a_list_may_name_files_with_blanks(tmp_path):
    """A line was split at each of them, so no list could name such files."""
    for name in ("my cat.jpg", "my cat mask.png", "dog.jpg", "dog.png"):
        (tmp_path / name).touch()
    (tmp_path / "set.lst").write_text("my cat.jpg\tmy cat mask.png\ndog.jpg  dog.png\t\n")
    found = [(pair.image.name, pair.mask.name) for pair in find_pairs(tmp_path / "set.lst")]
    assert found == [("dog.jpg", "dog.png"), ("my cat.jpg", "my cat mask.png")]
    (tmp_path / "set.lst").write_text("my cat.jpg my cat mask.png\n")
    with pytest.raises(DataError, match=r"line 1: expected .image mask., a tab between them if names hold blanks"):
        find_pairs(tmp_path / "set.lst")
