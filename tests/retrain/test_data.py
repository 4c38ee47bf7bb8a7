"""`python -m retrain.data`: all that a set holds and all that is wrong with it."""

import numpy as np
import pytest
from PIL import Image

from nas.command import run_command
from retrain.data import contact_sheet, inspect, main


@pytest.fixture
def ten(tmp_path):
    """Ten pairs; mask i is white in its first i tenths."""
    for part in ("images", "masks"):
        (tmp_path / "ten" / part).mkdir(parents=True)
    for i in range(10):
        Image.new("RGB", (50, 30 if i else 20), (9 * i, 60, 90)).save(tmp_path / f"ten/images/{i}.png")
        mask = np.zeros((30 if i else 20, 50), np.uint8)
        mask[:, : 5 * i] = 255
        Image.fromarray(mask).save(tmp_path / f"ten/masks/{i}.png")
    return tmp_path / "ten"


def test_a_good_set(ten, tmp_path, capsys) -> None:
    (ten / "masks/readme.txt").write_text("x")
    assert run_command(main, [f"mine={ten}", "-o", str(tmp_path / "sheet.png")]) == 0
    told = capsys.readouterr().out
    for part in (
        "mine: 10 pairs",
        "20 to 30 high, 50 to 50 wide; 2 different, 9 of them 30 x 50",
        "0.0% to 90.0% of the picture, half of them below 45.0%",
        "1 all black (no object): 0",
        "left out  1: masks/readme.txt",
        "all of it can be used",
    ):
        assert part in told
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (4 * 320, 3 * 160)
    assert run_command(main, [str(ten), "-o", str(tmp_path / "sheet.png")]) == 2  # nothing of the user's is replaced
    assert run_command(main, [str(ten), "-o", str(tmp_path / "sheet.png"), "--overwrite"]) == 0


def test_grey_masks_are_counted(ten) -> None:
    for i, share in ((2, 0.08), (3, 0.2)):  # an edge, as resizing leaves one, and more than that
        mask = np.zeros((30, 50), np.uint8)
        mask[:15] = 255
        mask[:, : round(50 * share)] = 100
        Image.fromarray(mask).save(ten / f"masks/{i}.png")
    assert "masks     1 grey in over a tenth of their pixels" in inspect(str(ten)).text()


def test_of_a_part_no_more_is_said_than_was_read(ten, capsys) -> None:
    assert run_command(main, [f"mine={ten}", "--limit", "4"]) == 0
    told = capsys.readouterr().out
    assert "mine: 10 pairs of photograph and mask, 4 of them read" in told and "all that was read can be used" in told


def test_all_that_would_be_refused_is_told_at_once(ten, capsys) -> None:
    (ten / "images/3.png").write_bytes(b"broken")
    Image.new("L", (49, 30)).save(ten / "masks/5.png")
    Image.fromarray(np.arange(1500, dtype=np.uint16).reshape(30, 50).astype(np.uint8) % 3).save(ten / "masks/7.png")
    (ten / "masks/9.png").unlink()
    assert run_command(main, [str(ten)]) == 2
    shown = capsys.readouterr()
    assert "4 problems" in shown.err
    for part in ("cannot read", "5.png is 49 x 30", "7.png holds 0, 1, 2", "1 of 10 images", "9.png"):
        assert part in shown.out
    assert "can be used" not in shown.out


def test_a_file_that_a_list_names_and_is_not_there_is_one_problem(ten, capsys) -> None:
    (ten / "some.lst").write_text("images/1.png masks/1.png\nimages/2.png masks/none.png\n")
    assert run_command(main, [str(ten / "some.lst")]) == 2
    shown = capsys.readouterr()
    assert "error: 1 problem that" in shown.err
    assert "some: 1 pair of" in shown.out and shown.out.count("none.png") == 1


def test_the_sheet_shows_each_photograph_with_its_mask(ten) -> None:
    sheet = contact_sheet(inspect(str(ten)).pairs[4:5])
    assert sheet.shape == (160, 4 * 320, 3)
    photo, mask = sheet[:96, :160], sheet[:96, 160:320]
    assert (mask[:, 70:] == 0).all() and (mask[:, :60] == 255).all()
    assert (photo[:, 70:] == (36, 60, 90)).all() and (photo[:, :60, 0] > 140).all()


def test_no_set_at_all(tmp_path, capsys) -> None:
    assert run_command(main, [str(tmp_path / "none")]) == 2
    assert "no such folder" in capsys.readouterr().err
