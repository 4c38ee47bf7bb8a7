"""Commands told something wrong: exit code 2, one clear message, nothing written."""

import re
import shutil
import signal
from pathlib import Path

import pytest
from PIL import Image

import retrain.compare.__main__ as compare_command
import retrain.evaluate.__main__ as evaluate_command
import retrain.predict.__main__ as predict_command
import retrain.train.__main__ as train_command
from nas.command import run_command

COMMANDS = {
    "train": train_command.main,
    "compare": compare_command.main,
    "evaluate": evaluate_command.main,
    "predict": predict_command.main,
}


def run(command: str, *words: object) -> int:
    """The exit code; argparse leaves by SystemExit, a command by its return value."""
    try:
        return run_command(COMMANDS[command], [str(word) for word in words])
    except SystemExit as leave:
        return leave.code


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_file, space_file, trained, pictures) -> Path:
    """A folder with everything the command lines below name."""
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "small.yaml").write_bytes(small_file.read_bytes())
    (folder / "open.yaml").write_bytes(space_file.read_bytes())
    (folder / "weights.safetensors").write_bytes((trained / "weights.safetensors").read_bytes())
    (folder / "broken.safetensors").write_bytes(b"not weights")
    (folder / "broken.yaml").write_text("format: 1\nname: x\n")
    (folder / "recipe.yaml").write_text("speed: fast\n")
    (folder / "empty").mkdir()
    (folder / "full").mkdir()
    (folder / "full/thesis.txt").write_text("dear")
    (folder / "pictures").symlink_to(pictures)
    for name in ("photos/a.jpg", "more/a.jpg", "one.png", "unpaired/images/x.jpg", "uneven/images/x.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40)).save(folder / name)
    for name, height in (("unpaired/masks/y.png", 40), ("uneven/masks/x.png", 41)):
        (folder / name).parent.mkdir()
        Image.new("L", (40, height)).save(folder / name)
    monkeypatch.chdir(folder)
    return folder


TRAIN = ("--genotype", "small.yaml", "--data", "synthetic:8", "--out", "new")
COMPARE = ("--data", "synthetic:8", "--out", "new")
WEIGHTS = ("--weights", "weights.safetensors")
WRONG = [
    ("train", (), "give --genotype"),
    ("train", ("--genotype", "nothing"), "nothing: no such file, and no genotype of that name; known: .*fpn_tiny"),
    ("train", ("--genotype", "broken.yaml"), "broken.yaml:1"),
    ("train", ("--genotype", "open.yaml"), "open.*search first"),
    ("train", (*TRAIN, "--recipe", "nothing"), "no recipe of that name; known: .*default"),
    ("train", (*TRAIN, "--recipe", "recipe.yaml"), "speed"),
    ("train", (*TRAIN, "--recipe.size", "16"), "size must be 32 to 8192"),
    ("train", (*TRAIN, "--recipe.optim.clip", ".nan"), "recipe.optim.clip: expected a finite number, not nan"),
    ("train", (*TRAIN, "--recipe.speed", "3"), "recipe.speed"),
    ("train", (*TRAIN, "--backbone_weights", "nothing.pth"), "nothing.pth"),
    ("train", (*TRAIN, "--backbone-weights", "broken.safetensors"), "broken.safetensors"),
    ("train", (*TRAIN, "--data", "nothing"), "no such folder: nothing"),
    ("train", (*TRAIN, "--data", "empty"), "empty is empty"),
    ("train", (*TRAIN, "--data", "unpaired"), "without a mask"),
    ("train", (*TRAIN, "--data", "uneven"), "differ in size"),
    ("train", (*TRAIN, "--data", "synthetic:1"), "single photograph"),
    ("train", (*TRAIN, "--test", "nothing"), "no such folder: nothing"),
    ("train", (*TRAIN, "--test", "a=pictures", "a=pictures"), "two sets are called a"),
    ("train", (*TRAIN, "--held_out", "1.5"), "held_out is a share"),
    ("train", (*TRAIN, "--test", "pictures", "--test_limit", "0"), "test_limit must be at least 1"),
    ("train", (*TRAIN, "--recipe.optim.name", "sgd", "--recipe.optim.momentum", "-1"), "momentum are decays in 0..1"),
    ("train", (*TRAIN, "--device", "toaster"), "device 'toaster'"),
    ("train", (*TRAIN, "--device", "mps"), "device 'mps', which keeps no float64"),
    ("train", (*TRAIN, "--minutes", "-1"), "minutes must be at least 0"),
    ("train", (*TRAIN[:-1], "full"), "full already exists"),
    ("train", (*TRAIN[:-1], "one.png"), "one.png already exists"),
    ("train", ("--resume",), "--resume needs --out"),
    ("train", ("--resume", "--out", "new"), "new: no run to resume"),
    ("compare", COMPARE, "give --genotypes"),
    ("compare", ("--genotypes", "small.yaml", "nothing", *COMPARE), "nothing: no such file"),
    ("compare", ("--genotypes", "open.yaml", *COMPARE), "it leaves .* open"),
    ("compare", ("--genotypes", "random:0", *COMPARE), "give --space"),
    ("compare", ("--genotypes", "random:0", "--space", "small.yaml", *COMPARE), "every edge is decided"),
    ("compare", ("--genotypes", "fpn", *COMPARE), "give --space"),
    ("compare", ("--genotypes", "small.yaml", "./small.yaml", *COMPARE), "two genotypes are called small"),
    ("compare", ("--genotypes", "small.yaml", "--seeds", "1", "1", *COMPARE), "seeds: expected different ones"),
    ("compare", ("--genotypes", "small.yaml", "--data", "nothing", "--out", "new"), "no such folder"),
    ("compare", ("--genotypes", "small.yaml", "--test", "nothing", *COMPARE), "no such folder"),
    ("compare", ("--genotypes", "small.yaml", "--backbone_weights", "nothing.pth", *COMPARE), "nothing.pth"),
    ("compare", ("--genotypes", "small.yaml", "--data", "synthetic:8", "--out", "full"), "full already exists"),
    ("compare", ("--resume", "--out", "new"), "new: no comparison to continue"),
    ("evaluate", ("--weights", "nothing", "--data", "pictures"), "no weight file at nothing"),
    ("evaluate", ("--weights", "broken.safetensors", "--data", "pictures"), "broken.safetensors is no readable"),
    ("evaluate", ("--weights", "one.png", "--data", "pictures"), "one.png is no readable"),
    ("evaluate", (*WEIGHTS, "weights.safetensors", "--data", "pictures"), "two networks are called small"),
    ("evaluate", (*WEIGHTS, "--data", "nothing", "-o", "new"), "no such folder: nothing"),
    ("evaluate", (*WEIGHTS, "--data", "uneven", "-o", "new", "--workers", "0"), "differ in size"),
    ("evaluate", (*WEIGHTS, "--data", "pictures", "-o", "full"), "full holds files of something else"),
    ("evaluate", (*WEIGHTS, "--data", "pictures", "-o", "one.png"), "one.png is a file"),
    ("evaluate", (*WEIGHTS, "--data", "pictures", "--maps"), "--maps needs -o"),
    ("evaluate", (*WEIGHTS, "--data", "pictures", "--size", "big"), "size: expected"),
    ("evaluate", ("--saliency", "M=", "--data", "pictures"), "M=: nothing is behind the ="),
    ("evaluate", (*WEIGHTS, "--data", "pictures", "--size", "31"), "size must be 32 to 8192 pixels, not 31"),
    ("evaluate", (*WEIGHTS, "--data", "pictures", "--limit", "0"), "--limit must be at least 1"),
    ("evaluate", WEIGHTS, "--data"),
    ("predict", ("one.png", "-o", "new", "--weights", "sod_x"), "no weight file at sod_x, and no network of that name"),
    ("predict", ("one.png", "--weights", "broken.safetensors", "-o", "new"), "broken.safetensors is no readable"),
    ("predict", ("nothing.jpg", *WEIGHTS, "-o", "new"), "no such photograph or folder: nothing.jpg"),
    ("predict", ("empty", *WEIGHTS, "-o", "new"), "empty holds no image"),
    ("predict", ("photos/a.jpg", "more/a.jpg", *WEIGHTS, "-o", "new"), "would both become"),
    ("predict", ("photos", *WEIGHTS, "-o", "new", "--resume", "--overwrite"), "give one of them"),
    ("predict", ("one.png", *WEIGHTS, "-o", "one.png"), "one.png is a file"),
    ("predict", ("one.png", *WEIGHTS, "-o", ".", "--overwrite"), "is one of the photographs"),
    ("predict", ("full/thesis.txt", *WEIGHTS, "-o", "new"), "thesis.txt"),
]


@pytest.mark.parametrize(("command", "words", "message"), WRONG, ids=lambda value: str(value)[:40])
def test_wrong_command_lines(here: Path, capfd, command: str, words: tuple[str, ...], message: str) -> None:
    before = {path: path.read_bytes() if path.is_file() else None for path in here.rglob("*")}
    assert run(command, *words) == 2
    errors = capfd.readouterr().err
    assert re.search(message, errors.replace("\n", " ")), errors
    assert len(re.findall(r"^error: ", errors, re.MULTILINE)) == 1
    assert "Traceback" not in errors
    assert {path: path.read_bytes() if path.is_file() else None for path in here.rglob("*")} == before


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_examples(command: str, capsys) -> None:
    assert run(command, "--help") == 0
    shown = capsys.readouterr().out
    assert f"python -m retrain.{command} --" in shown and "examples:" in shown


def test_what_contradicts_a_run_is_no_resuming_it(here: Path, capsys) -> None:
    words = ("--recipe.steps", "2", "--recipe.size", "32", "--recipe.batch_size", "4", "--workers", "0")
    assert run("train", *TRAIN, *words, "--quick_scores", "true") == 0
    assert "saved   new/weights.safetensors" in capsys.readouterr().out
    before = {path: path.read_bytes() for path in (here / "new").rglob("*") if path.is_file()}
    assert run("train", "--out", "new", "--resume", "--recipe.steps", "3") == 2
    assert "recipe.steps was 2, now 3" in capsys.readouterr().err
    assert run("train", *TRAIN, *words) == 2  # the folder is taken
    assert {path: path.read_bytes() for path in (here / "new").rglob("*") if path.is_file()} == before
    # What is told where a process that scores was killed: --workers 0.
    assert run("train", "--out", "new", "--resume", "--workers", "1") == 0


def test_a_run_goes_on_where_its_photographs_are_now(here: Path, capsys) -> None:
    words = "--genotype small.yaml --data P=pictures --test T=pictures --size 32 --workers 0 --quick_scores "
    words = f"{words} --recipe.steps 3 --recipe.batch_size 2 --out".split()
    assert run("train", *words, "whole") == 0
    assert run("train", *words, "parts", "--minutes", "1e-6") == 128 + signal.SIGALRM
    (here / "pictures").rename(here / "moved")
    go_on = ("train", "--out", "parts", "--resume", "--minutes", "0")
    assert run(*go_on) == 2 and "no such folder: pictures" in capsys.readouterr().err
    shutil.copytree(here / "moved", here / "others")
    Image.new("RGB", (64, 64)).save(here / "others/images/p0.png")
    config = (here / "parts/config.yaml").read_bytes()
    assert run(*go_on, "--data", "P=others", "--test", "T=moved") == 2
    assert "belongs to another set of photographs" in capsys.readouterr().err
    assert (here / "parts/config.yaml").read_bytes() == config  # which names the right ones
    assert run(*go_on, "--data", "P=moved", "--test", "T=moved", "--cache", "cache") == 0
    assert (here / "parts/weights.safetensors").read_bytes() == (here / "whole/weights.safetensors").read_bytes()
    assert run("train", "--out", "parts", "--resume") == 0  # it knows now


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_a_help_text(command: str, capsys) -> None:
    assert run(command, "--help", "all") == 0
    shown = capsys.readouterr().out
    options = re.findall(r"^  (?:-o, )?--[\w.]+(?: \S+(?: \.\.\.)?)?(.*(?:\n {28}.*)?)$", shown, re.MULTILINE)
    assert len(options) >= 8 and all(text.strip() for text in options)


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_option_is_named(command: str, capsys) -> None:
    assert run(command, "--no-such-option") == 2
    assert "unknown option --no-such-option" in capsys.readouterr().err
