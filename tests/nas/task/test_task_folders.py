import numpy as np
import pytest
from PIL import Image

from nas.task import DataError, find_pairs, parse_data


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


def test_a_list_file(tmp_path):
    put(tmp_path / "x" / "1.jpg")
    put(tmp_path / "y" / "1_gt.png")
    (tmp_path / "train.lst").write_text("x/1.jpg y/1_gt.png\n\n")
    assert find_pairs(tmp_path / "train.lst")[0].mask == tmp_path / "y" / "1_gt.png"
    (tmp_path / "bad.lst").write_text("x/1.jpg\n")
    with pytest.raises(DataError, match=r"bad\.lst, line 1"):
        find_pairs(tmp_path / "bad.lst")
    (tmp_path / "gone.lst").write_text("x/1.jpg y/2.png\n")
    with pytest.raises(DataError, match=r"1 files that do not exist.*2\.png"):
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
    for i in range(8):
        put(tmp_path / "images" / f"{i}.jpg")
    put(tmp_path / "masks" / "0.png")
    with pytest.raises(DataError, match=r"7 of 8 images .* have no mask .*: 1\.jpg, 2\.jpg, .*, \.\.\."):
        find_pairs(tmp_path)
    for i in range(9):
        put(tmp_path / "masks" / f"{i}.png")
    with pytest.raises(DataError, match=r"1 of 9 masks .* have no image .*: 8\.png"):
        find_pairs(tmp_path)


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
