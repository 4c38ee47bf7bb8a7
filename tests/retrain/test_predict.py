"""Prediction: any photograph, a map of its own size, nothing lost."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from nas.run import run_command
from retrain import Predictor, load
from retrain.evaluate.__main__ import main as evaluate
from retrain.predict import contact, predict_map, read_photo
from retrain.predict.__main__ import main


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
    net = load(trained / "weights.safetensors").network
    photo = read_photo(pictures / "images/p0.png")
    saliency = predict_map(Predictor(net).probabilities, photo[:32, :32], (32, 32))  # neither resize does anything
    x = torch.from_numpy(photo[:32, :32].copy()).permute(2, 0, 1)[None] / 255
    assert np.abs(saliency / 255 - Predictor(net).probabilities(x)[0, 0].numpy()).max() <= 0.5 / 255 + 1e-6


def test_maps_without_antialiasing_are_those_that_evaluate_scores(predict, trained, pictures, tmp_path) -> None:
    data = ["--data", f"P={pictures}", "-o", str(tmp_path / "report"), "--maps", "--quick", "--workers", "0"]
    data += ["--batch-size", "1"]  # as predict: other batches may round otherwise
    weights = ["--weights", f"w={trained / 'weights.safetensors'}", "--size", "32", "--no-antialias"]
    evaluate([*weights, *data])
    assert predict(pictures / "images", "-o", tmp_path / "maps", "--size", "32", "--no-antialias") == 0
    assert predict(pictures / "images", "-o", tmp_path / "smooth", "--size", "32") == 0
    for row in range(4):
        scored, ours, smooth = (
            (tmp_path / folder / f"p{row}.png").read_bytes() for folder in ("report/maps/w/P", "maps", "smooth")
        )
        assert ours == scored != smooth


@pytest.mark.parametrize("size", [(40, 64), (32, 96)])
def test_without_antialiasing_four_points_are_read(size) -> None:
    photo = np.random.default_rng(0).integers(0, 255, (97, 131, 3), np.uint8)
    seen = []

    def predict(x: torch.Tensor) -> torch.Tensor:
        seen.append(x)
        return x[:, :1]

    assert predict_map(predict, photo, size, antialias=False).shape == (97, 131)
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
    left, middle, right = np.split(contact(photo, saliency), 3, axis=1)
    assert (left == photo).all() and (middle[..., 0] == saliency).all()
    assert (right[:, 1] == 40).all() and (right[:, 0] == right[0, 0, 0]).all() and right[0, 0, 0] > 200


def test_photographs_are_turned_as_their_camera_says(tmp_path) -> None:
    image = Image.new("RGB", (60, 40))
    image.paste((255, 255, 255), (0, 0, 30, 40))  # the left half is white
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise: white on top
    image.save(tmp_path / "phone.png", exif=exif)
    photo = read_photo(tmp_path / "phone.png")
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
    assert predict(folder, "-o", folder, "--overwrite") == 2
    assert "is one of the photographs" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_an_unreadable_photograph_does_not_cost_the_others(predict, pictures, tmp_path, capsys) -> None:
    (pictures / "images/p11.jpg").write_bytes(b"\xff\xd8 broken")
    assert predict(pictures / "images", "-o", tmp_path / "maps") == 2
    shown = capsys.readouterr()
    assert "1 of 5 photographs could not be read" in shown.err and "p11.jpg" in shown.err
    assert "4 maps" in shown.out
    assert sorted(p.stem for p in (tmp_path / "maps").iterdir()) == ["p0", "p1", "p2", "p3"]


def test_the_same_photograph_given_twice_is_one(predict, pictures, tmp_path) -> None:
    photo = pictures / "images/p0.png"
    assert predict(photo, photo, "-o", tmp_path / "maps") == 0
    assert len(list((tmp_path / "maps").iterdir())) == 1
