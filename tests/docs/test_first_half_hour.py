"""docs/first_half_hour.md: its commands, in their order, on a handful of small pictures and with few steps."""

import importlib
import re
import shlex
from pathlib import Path

import pytest
from PIL import Image
from run_page import sections

from nas.command import run_command
from nas.task import synthetic_set

PAGE = Path(__file__).resolve().parents[2] / "docs" / "first_half_hour.md"
COMMANDS = [line for blocks in sections(PAGE.read_text()).values() for _, code in blocks for line in code.splitlines()]
# The same commands on a network, a size and a length for tests.
SMALLER = {
    "nas.search": "--space.backbone tiny --space.channels 4 --space.operations skip_connect conv_3x3 --steps 4 "
    "--warmup_steps 1 --batch_size 2 --evaluate_every 2 --rivals 0 --worth_seconds 0 --size 32 --export_size 32 "
    "--guard.iterations 0",
    "retrain.train": "--recipe.epochs 0 --recipe.steps 2 --recipe.batch_size 4 --workers 0 --quick_scores",
    "retrain.evaluate": "--workers 0 --quick",
}


@pytest.mark.slow
def test_its_commands_lead_from_a_folder_to_cut_outs(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    photos = synthetic_set(28, 48, seed=2)
    for row in range(len(photos)):
        for part, levels in (("images", photos.images[row].permute(1, 2, 0)), ("masks", photos.masks[row, 0])):
            folder = Path("kept" if row % 7 == 0 else "mine") / part
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(levels.numpy()).save(folder / f"{row}.png")
    for line in COMMANDS:
        python, option, module, *words = shlex.split(line)
        assert (python, option) == ("python", "-m")
        if module == "nas.search":
            at = words.index("--backbone")
            assert words[at : at + 4] == ["--backbone", "efficientnet_lite0", "--backbone_weights", "package"]
            del words[at : at + 4]  # a backbone of millions of parameters
        main = importlib.import_module(module if module == "retrain.data" else f"{module}.__main__").main
        assert run_command(main, [*words, *shlex.split(SMALLER.get(module, ""))]) == 0, capsys.readouterr().err
        if module == "nas.search":
            (told,) = re.findall(r"^next    (.+)$", capsys.readouterr().out, re.MULTILINE)
            assert told in COMMANDS  # the page's next command is the one that the search prints
    assert Path("sheet.jpg").is_file()
    table = Path("runs/scores/scores.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in table[1:]] == ["mine", "sod_s"]
    cutouts = sorted(Path("cutouts/cutout").glob("*.png"))
    assert [path.stem for path in cutouts] == sorted(path.stem for path in Path("kept/images").iterdir())
    with Image.open(cutouts[0]) as picture:
        assert picture.mode == "RGBA" and picture.size == (48, 48)
