"""Prediction: any photograph, a map of its own size, nothing lost."""

import io
import os
import shutil
import struct
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from openpyxl import load_workbook
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngImageFile

from genotypes import UserError
from nas.command import run_command
from nas.task import read_image
from retrain import load
from retrain.evaluate.__main__ import main as evaluate
from retrain.predict.__main__ import main
from retrain.predictor import Predictor, overlay
from retrain.train.__main__ import main as train


@pytest.fixture
def predict(trained):
    def run(*words: object) -> int:
        return run_command(main, [*map(str, words), "--weights", str(trained / "weights.safetensors")])

    return run


@pytest.mark.parametrize(
    ("mode", "size", "ending"),
    [
        ("RGB", (101, 67), "jpg"),
        ("L", (33, 200), "png"),
        ("RGBA", (64, 64), "webp"),
        ("P", (50, 40), "gif"),
        ("1", (70, 41), "bmp"),
        ("I;16", (45, 45), "tiff"),
        ("CMYK", (40, 90), "jpg"),
        ("RGB", (1, 1), "png"),
    ],
)
def test_every_kind_of_picture_gets_a_map_of_its_size(predict, tmp_path, mode, size, ending) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (size[1], size[0]), np.uint8)
    image = Image.fromarray(pixels.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(pixels).convert(mode)
    image.save(tmp_path / f"photo.{ending}")
    assert predict(tmp_path / f"photo.{ending}", "-o", tmp_path / "maps") == 0
    with Image.open(tmp_path / "maps/photo.png") as saliency:
        assert (saliency.mode, saliency.size) == ("L", size)


def test_a_map_is_the_networks_at_the_networks_size(trained, pictures) -> None:
    predictor = load(trained / "weights.safetensors", size=32)
    photo = read_image(pictures / "images/p0.png")
    (saliency,) = predictor.maps([photo[:32, :32]])  # neither resize does anything
    x = torch.from_numpy(photo[:32, :32].copy()).permute(2, 0, 1)[None] / 255
    assert np.abs(saliency / 255 - predictor.probabilities(x)[0, 0].numpy()).max() <= 0.5 / 255 + 1e-6


def test_maps_without_antialiasing_are_those_that_evaluate_scores(predict, trained, pictures, tmp_path) -> None:
    data = ["--data", f"P={pictures}", "-o", str(tmp_path / "report"), "--maps", "--quick", "--workers", "0"]
    data += ["--batch-size", "1"]  # as predict: other batches may round otherwise
    weights = ["--weights", f"w={trained / 'weights.safetensors'}", "--size", "32", "--no-antialias"]
    evaluate([*weights, *data])
    assert predict(pictures / "images", "-o", tmp_path / "maps", "--size", "32", "--no-antialias") == 0
    assert predict(pictures / "images", "-o", tmp_path / "smooth", "--size", "32") == 0
    for row in range(4):
        scored, ours, smooth = (
            read_image(tmp_path / folder / f"p{row}.png").tobytes() for folder in ("report/maps/w/P", "maps", "smooth")
        )
        assert ours == scored != smooth


@pytest.mark.parametrize("size", [(40, 64), (32, 96)])
def test_without_antialiasing_four_points_are_read(size, trained, monkeypatch) -> None:
    photo = np.random.default_rng(0).integers(0, 255, (97, 131, 3), np.uint8)
    seen = []

    def predict(x: torch.Tensor) -> torch.Tensor:
        seen.append(x)
        return x[:, :1]

    predictor = load(trained / "weights.safetensors", size=size, antialias=False)
    monkeypatch.setattr(predictor, "probabilities", predict)
    assert predictor.maps([photo])[0].shape == (97, 131)
    x = torch.from_numpy(photo).permute(2, 0, 1)[None].float() / 255
    expected = F.interpolate(x, size, mode="bilinear", align_corners=False)
    assert seen[0].shape[-2:] == size and (seen[0] - expected).abs().max() <= 1.01 / 255


def test_a_folder_and_its_contact_pictures(predict, pictures, tmp_path) -> None:
    out = tmp_path / "maps"
    (pictures / "images/notes.txt").write_text("not a picture")
    assert predict(pictures / "images", "-o", out, "--overlay") == 0
    assert sorted(p.name for p in out.iterdir()) == ["overlay", "p0.png", "p1.png", "p2.png", "p3.png"]
    for file in (pictures / "images").glob("*.png"):
        with Image.open(file) as photo, Image.open(out / "overlay" / file.name) as sheet:
            assert sheet.size == (3 * photo.width, photo.height)


def test_a_contact_picture_shows_photograph_map_and_cut_out() -> None:
    photo = np.full((2, 2, 3), 40, np.uint8)
    saliency = np.array([[0, 255], [0, 255]], np.uint8)
    left, middle, right = np.split(overlay(photo, saliency), 3, axis=1)
    assert (left == photo).all() and (middle[..., 0] == saliency).all()
    assert (right[:, 1] == 40).all() and (right[:, 0] == right[0, 0, 0]).all() and right[0, 0, 0] > 200


def test_a_contact_picture_of_a_large_photograph_can_be_looked_at() -> None:
    """That of 54 million pixels was 27,000 pixels wide, which few programs show."""
    photo, alpha = np.full((60, 9000, 3), 40, np.uint8), np.full((60, 9000), 255, np.uint8)
    shown = overlay(photo, alpha, np.zeros_like(alpha))
    assert shown.shape == (14, 3 * 2048, 3) and (shown[:, 2 * 2048 :] > 200).all()  # what was hidden stays hidden
    assert overlay(photo[:1], alpha[:1]).shape == (1, 3 * 2048, 3)
    assert overlay(photo[:, :2048], alpha[:, :2048]).shape == (60, 3 * 2048, 3)


def test_photographs_are_turned_as_their_camera_says(tmp_path) -> None:
    image = Image.new("RGB", (60, 40))
    image.paste((255, 255, 255), (0, 0, 30, 40))  # the left half is white
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise: white on top
    image.save(tmp_path / "phone.png", exif=exif)
    photo = read_image(tmp_path / "phone.png")
    assert photo.shape == (60, 40, 3)
    assert (photo[:30] == 255).all() and (photo[30:] == 0).all()


def test_existing_maps_stop_the_command_unless_told(predict, pictures, tmp_path, capsys) -> None:
    out, photo = tmp_path / "maps", pictures / "images/p1.png"
    out.mkdir()
    (out / "p1.png").write_bytes(b"mine")
    assert predict(pictures / "images", "-o", out) == 2
    assert "p1.png already exists" in capsys.readouterr().err
    assert [p.name for p in out.iterdir()] == ["p1.png"] and (out / "p1.png").read_bytes() == b"mine"
    assert predict(photo, "-o", out, "--overwrite") == 0
    assert (out / "p1.png").read_bytes() != b"mine"


def test_an_input_is_never_overwritten(predict, pictures, capsys) -> None:
    folder = pictures / "images"
    before = {path: path.read_bytes() for path in folder.iterdir()}
    for out in (folder, folder / ".." / folder.name):  # however it is written
        for photos, message in (
            (sorted(folder.iterdir()), "is one of the photographs"),
            ([folder], "would be taken for photographs the next time"),
        ):
            assert predict(*photos, "-o", out, "--overwrite") == 2
            assert message in capsys.readouterr().err
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_an_unreadable_photograph_does_not_cost_the_others(predict, pictures, tmp_path, capsys) -> None:
    (pictures / "images/p11.jpg").write_bytes(b"\xff\xd8 broken")
    assert predict(pictures / "images", "-o", tmp_path / "maps") == 2
    shown = capsys.readouterr()
    assert "1 of 5 photographs could not be read" in shown.err and "p11.jpg" in shown.err
    assert "4 maps" in shown.out
    assert sorted(p.stem for p in (tmp_path / "maps").iterdir()) == ["p0", "p1", "p2", "p3"]


@pytest.mark.parametrize("error", [RuntimeError, NotImplementedError, struct.error, IndexError])
def test_whatever_a_formats_reader_raises_costs_one_photograph(predict, pictures, tmp_path, capsys, monkeypatch, error):
    """AVIF's raises RuntimeError, DDS's NotImplementedError; one such file ended the run, and no map was written."""
    load_png = PngImageFile.load

    def load(self):
        if self.size == (33, 80):
            raise error("Failed to decode frame 0")
        return load_png(self)

    monkeypatch.setattr(PngImageFile, "load", load)
    assert predict(pictures / "images", "-o", tmp_path / "maps") == 2
    assert "p2.png as an image: Failed to decode frame 0" in capsys.readouterr().err
    assert sorted(p.stem for p in (tmp_path / "maps").iterdir()) == ["p0", "p1", "p3"]


def test_a_name_as_long_as_names_may_be(predict, pictures, tmp_path) -> None:
    name = "目" * 83 + "ab"  # 251 bytes; with .png the 255 that a file system takes
    (pictures / "images/p0.png").rename(pictures / f"images/{name}.png")
    assert predict(pictures / "images", "-o", tmp_path / "maps") == 0
    assert (tmp_path / f"maps/{name}.png").is_file()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' names are Unicode")
def test_names_that_are_no_unicode(predict, pictures, tmp_path, capsys) -> None:
    """One such name ended the run with a traceback; a report was lost after all the scoring."""
    for part in ("images", "masks"):
        (pictures / f"{part}/p0.png").rename(pictures / f"{part}/p\udcff\x01.png")
    assert predict(pictures / "images", "-o", tmp_path / "maps") == 0
    assert (tmp_path / "maps/p\udcff\x01.png").is_file()
    weights = ["--weights", "sod_s", "--saliency", f"maps={tmp_path / 'maps'}", "--data", str(pictures), "--size", "32"]
    words = [*weights, "--quick", "--workers", "0", "-o", str(tmp_path / "report"), "--maps", "--xlsx"]
    assert run_command(evaluate, words) == 0
    assert "pictures,p\\udcff\x01," in (tmp_path / "report/images.csv").read_text()
    names = [row[3].value for row in load_workbook(tmp_path / "report/scores.xlsx")["images"]]
    assert "p\ufffd\ufffd" in names
    training = ["--genotype", "fpn_tiny", "--data", str(pictures), "--workers", "0", "--quick", "--recipe.size", "32"]
    training += ["--recipe.batch_size", "2", "--recipe.steps", "1", "--out", str(tmp_path / "run")]
    assert run_command(train, training) == 0


def test_the_same_photograph_given_twice_is_one(predict, pictures, tmp_path) -> None:
    photo = pictures / "images/p0.png"
    assert predict(photo, photo, "-o", tmp_path / "maps") == 0
    assert len(list((tmp_path / "maps").iterdir())) == 1


def test_a_link_to_another_photograph_has_a_map_of_its_own(predict, pictures, tmp_path) -> None:
    (pictures / "images/a.png").symlink_to("p0.png")
    (pictures / "again").symlink_to("images")
    assert predict(pictures / "images", pictures / "again", pictures / "again/p0.png", "-o", tmp_path / "maps") == 0
    assert {map.stem for map in (tmp_path / "maps").iterdir()} == {"a", "p0", "p1", "p2", "p3"}
    assert (tmp_path / "maps/a.png").read_bytes() == (tmp_path / "maps/p0.png").read_bytes()
    (pictures / "there").mkdir()
    shutil.copy(pictures / "images/p0.png", pictures / "there/b.png")
    (pictures / "b.jpg").symlink_to("there/b.png")
    assert predict(pictures / "b.jpg", "-o", pictures / "there", "--overwrite") == 2  # it would replace the photograph


def test_folders_are_followed_and_what_is_no_picture_is_told(predict, pictures, tmp_path, capsys) -> None:
    (pictures / "images/trip").mkdir()
    Image.new("RGB", (40, 30)).save(pictures / "images/trip/p0.jpg")
    (pictures / "images/trip/notes.txt").write_text("not a picture")
    os.mkfifo(pictures / "images/pipe.png")
    assert predict(pictures / "images", "-o", pictures / "images/maps") == 0
    maps = pictures / "images/maps"
    assert sorted(p.relative_to(maps).as_posix() for p in maps.rglob("*.png")) == [
        "p0.png", "p1.png", "p2.png", "p3.png", "trip/p0.png",
    ]  # fmt: skip
    told = capsys.readouterr()
    assert "left out 2" in told.err and "trip/notes.txt" in told.err and "pipe.png (a pipe or device)" in told.err
    assert "5 maps" in told.out and "photographs/s" in told.out
    for number in range(30):
        (pictures / f"images/{number:02}.json").touch()
    assert predict(pictures / "images", "-o", pictures / "images/maps", "--overwrite") == 0  # maps are no photographs
    told = capsys.readouterr()
    assert "5 maps" in told.out and "left out 32" in told.err and "... (12 more)" in told.err


def test_a_cut_out_is_the_photograph_with_its_map_as_alpha(predict, pictures, tmp_path) -> None:
    out = tmp_path / "maps"
    assert predict(pictures / "images/p1.png", "-o", out, "--cutout") == 0
    with Image.open(out / "cutout/p1.png") as cut, Image.open(out / "p1.png") as saliency:
        assert cut.mode == "RGBA" and np.array_equal(cut.getchannel("A"), saliency)
        assert np.array_equal(cut.convert("RGB"), read_image(pictures / "images/p1.png"))


def test_a_cut_out_keeps_the_colour_profile(predict, pictures, tmp_path) -> None:
    """Phones write Display P3: shown as sRGB it is duller. A grey profile is none of an RGB picture."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    Image.new("RGB", (40, 30), (200, 40, 40)).save(pictures / "images/p0.png", icc_profile=bytes(profile))
    profile[16:20] = b"GRAY"
    Image.new("L", (40, 30), 90).save(pictures / "images/p1.png", icc_profile=bytes(profile))
    assert predict(pictures / "images", "-o", tmp_path, "--cutout", "--overlay") == 0
    for kind in ("cutout", "overlay"):
        with Image.open(tmp_path / kind / "p0.png") as first, Image.open(tmp_path / kind / "p1.png") as second:
            assert first.info["icc_profile"][16:20] == b"RGB " and "icc_profile" not in second.info
    with Image.open(tmp_path / "p0.png") as saliency:
        assert "icc_profile" not in saliency.info


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_a_photograph_hides_stays_hidden_in_its_cut_out(predict, pictures, tmp_path, mode) -> None:
    path = pictures / "images/p0.png"
    alpha = Image.fromarray(np.repeat(np.uint8([[0, 128, 255]]), 30, axis=0)).resize((90, 30), Image.Resampling.NEAREST)
    photo = Image.open(path).resize((90, 30)).convert({"P": "L"}.get(mode, mode[:-1]))
    if mode == "P":
        photo = photo.convert("P")
        photo.save(path, transparency=bytes(0 if i < 128 else 255 for i in range(256)))
    else:
        photo.putalpha(alpha)
        photo.save(path)
    own = np.asarray(Image.open(path).convert("RGBA").getchannel("A")).astype(int)
    assert predict(path, "-o", tmp_path, "--cutout") == 0
    with Image.open(tmp_path / "cutout/p0.png") as cut, Image.open(tmp_path / "p0.png") as saliency:
        expected = np.round(np.asarray(saliency) * own / 255)
        assert np.array_equal(cut.getchannel("A"), expected) and (own == 0).any()


def test_batches_change_no_map(predict, pictures, tmp_path) -> None:
    for size in (1, 3, 8):
        assert predict(pictures / "images", "-o", tmp_path / f"by{size}", "--batch-size", size) == 0
    for name in ("p0", "p1", "p2", "p3"):
        one, three, eight = (np.asarray(Image.open(tmp_path / f"by{n}/{name}.png")).astype(int) for n in (1, 3, 8))
        assert np.abs(one - three).max() <= 1 and np.abs(one - eight).max() <= 1


@pytest.mark.parametrize(("words", "mode"), [([], "L"), (["--cutout"], "RGBA"), (["--overlay"], "RGB")])
def test_standard_input_and_output(predict, trained, pictures, tmp_path, monkeypatch, capfdbinary, words, mode) -> None:
    photo = pictures / "images/p1.png"
    assert predict(photo, "-o", tmp_path / "maps", *words) == 0
    capfdbinary.readouterr()
    if words:  # here: a process takes seconds
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(photo.read_bytes())))
        assert predict("-", "-o", "-", *words) == 0
        out = capfdbinary.readouterr().out
    else:
        command = [sys.executable, "-m", "retrain.predict", "--weights", str(trained / "weights.safetensors")]
        done = subprocess.run([*command, "-", "-o", "-"], input=photo.read_bytes(), capture_output=True, timeout=120)
        assert done.returncode == 0, done.stderr
        out = done.stdout
    kind = words[0][2:] if words else ""
    with Image.open(io.BytesIO(out)) as piped, Image.open(tmp_path / "maps" / kind / "p1.png") as written:
        assert piped.mode == mode and np.array_equal(piped, written)


def test_standard_output_takes_one_picture(predict, pictures, monkeypatch, capsys) -> None:
    monkeypatch.setattr("retrain.predict.__main__.load", None)  # told before a runtime is opened or timed
    assert predict(pictures / "images", "-o", "-") == 2
    assert predict(pictures / "images/p0.png", "-o", "-", "--cutout", "--overlay") == 2
    assert "writes one picture" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["IMG_1.HEIC", "IMG_1.jpg"])
def test_heic_without_its_reader_is_named(predict, pictures, tmp_path, monkeypatch, capsys, name) -> None:
    """Whatever its name: phones and browsers rename what they send."""
    monkeypatch.setattr("nas.task.reading._register_heif", lambda: False)
    (pictures / "images" / name).write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0")
    assert predict(pictures / "images", "-o", tmp_path / "maps") == 2
    told = capsys.readouterr()
    assert name in told.err and "pip install 'sod-nas[heic]'" in told.err and "4 maps" in told.out
    with pytest.raises(UserError, match=r"sod-nas\[heic\]"):
        read_image((pictures / "images" / name).read_bytes())


def test_resume_makes_what_is_missing_and_leaves_the_rest(predict, pictures, tmp_path, capsys) -> None:
    words = (pictures / "images", "-o", tmp_path, "--cutout")
    assert predict(*words) == 0
    whole = {path: path.read_bytes() for path in tmp_path.rglob("*.png")}
    (tmp_path / "p2.png").unlink()
    (tmp_path / "cutout/p3.png").unlink()
    mine = [tmp_path / "p0.png", tmp_path / "p3.png"]  # the latter without its cut-out
    for path in mine:
        path.write_bytes(b"mine")
    capsys.readouterr()
    assert predict(*words) == 2  # without a word about it nothing is written
    assert "--resume" in capsys.readouterr().err
    assert predict(*words, "--resume") == 0
    told = capsys.readouterr().out
    assert "2 maps" in told and "kept    2" in told
    assert {path: path.read_bytes() for path in whole} == whole | dict.fromkeys(mine, b"mine")
    assert predict(*words, "--resume") == 0
    assert "kept    4" in capsys.readouterr().out
    assert predict(*words, "--resume", "--overwrite") == 2


@pytest.mark.parametrize("changed", [("--flip",), ("--size", "64"), ("--weights", "sod_m")])
def test_resume_mixes_no_maps_of_two_networks(trained, pictures, tmp_path, capsys, changed) -> None:
    words = [str(pictures / "images"), "-o", str(tmp_path), "--weights", str(trained / "weights.safetensors")]
    assert run_command(main, words) == 0
    (tmp_path / "p2.png").unlink()
    assert run_command(main, [*words, *changed, "--resume"]) == 2
    told = capsys.readouterr().err
    assert str(tmp_path) in told and "--overwrite" in told and "another -o" in told
    assert not (tmp_path / "p2.png").exists()
    assert run_command(main, [*words, *changed, "--resume", "--cutout"]) == 2  # of which there are none yet
    with Image.open(tmp_path / "p0.png") as corrected:  # a map without a word of what made it is the user's
        saliency = Image.fromarray(np.asarray(corrected))
    for path in tmp_path.glob("*.png"):
        saliency.save(path)
    assert run_command(main, [*words, *changed, "--resume"]) == 0


def test_two_photographs_that_differ_in_their_ending_alone(predict, pictures, tmp_path) -> None:
    """Phones lay IMG_1.HEIC beside IMG_1.JPG."""
    with Image.open(pictures / "images/p0.png") as photo:
        photo.convert("RGB").resize((37, 21)).save(pictures / "images/p0.jpg")
    assert predict(pictures / "images", "-o", tmp_path / "maps") == 0
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == [
        "p0.jpg.png",
        "p0.png.png",
        "p1.png",
        "p2.png",
        "p3.png",
    ]
    with Image.open(tmp_path / "maps/p0.jpg.png") as saliency:
        assert saliency.size == (37, 21)


def test_large_photographs_come_in_small_batches(predict, pictures, tmp_path, monkeypatch) -> None:
    """Two batches are in memory at once, each of photographs of any size."""
    seen: list[int] = []
    maps = Predictor.maps
    monkeypatch.setattr(Predictor, "maps", lambda self, photos, **more: seen.append(len(photos)) or maps(self, photos))
    shapes = [Image.open(path).size for path in sorted((pictures / "images").iterdir())]
    monkeypatch.setattr("retrain.predict.__main__._PIXELS", max(w * h for w, h in shapes) * 2)
    assert predict(pictures / "images", "-o", tmp_path / "a") == 0
    assert sum(seen) == 4 and len(seen) > 1 and max(seen) >= 2
    monkeypatch.setattr("retrain.predict.__main__._PIXELS", 1)
    seen.clear()
    assert predict(pictures / "images", "-o", tmp_path / "b") == 0
    assert seen == [1, 1, 1, 1]
