"""Full disks, limits and read-only folders: one message that names the file, exit code 2, nothing lost."""

import errno
import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import genotypes
import nas
from genotypes import UserError
from genotypes.files import check_writable
from nas.command import run_command
from nas.console import COMMANDS, _module
from nas.deploy import save_openvino
from nas.run import RunFolder, load_checkpoint, save_checkpoint
from nas.task import open_photos
from nas.trials import TrialsConfig, run_trials
from nas.visualize import draw
from nas.visualize.charts import lines, save_figure
from retrain.data import main as report_data
from retrain.export import export
from retrain.predictor import save as save_network
from retrain.train.__main__ import main as train

TRAIN = [
    "--genotype=fpn_tiny", "--data=synthetic:16", "--recipe.size=32", "--recipe.batch_size=2", "--recipe.steps=4",
    "--evaluate_every=2", "--workers=0", "--quick_scores",
]  # fmt: skip


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Writing more ends in an OSError, as on a full disk (its errno is another)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def network() -> nas.Network:
    return nas.build(genotypes.load("fpn_tiny"))


WRITERS: dict[str, Callable[[Path], object]] = {
    "checkpoint.pt": lambda path: save_checkpoint(path, {"step": 1, "net": torch.ones(2000)}),
    "weights.safetensors": lambda path: save_network(path, network()),
    "genotype.yaml": lambda path: genotypes.save(genotypes.load("fpn_tiny"), path),
    "cells.svg": lambda path: draw(genotypes.load("fpn_tiny"), path, what="cells"),
    "curves.png": lambda path: save_figure(lines([0, 1], {"loss": [1, 0]}, title="loss"), path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_the_file_is_named_and_the_earlier_one_stays(name, tmp_path):
    (tmp_path / name).write_text("earlier")
    with pytest.raises(UserError, match=f"{name}: cannot be written: .*File too large"), files_of_at_most(500):
        WRITERS[name](tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name] and (tmp_path / name).read_text() == "earlier"
    WRITERS[name](tmp_path / name)
    assert (tmp_path / name).read_bytes() != b"earlier"


@pytest.mark.parametrize("name", WRITERS)
def test_a_folder_that_is_read_only_is_named(name, tmp_path):
    WRITERS[name](tmp_path / name)  # loads what it needs, which another user may not read
    with tempfile.TemporaryDirectory() as outer:
        folder = Path(outer) / "out"
        folder.mkdir()
        (folder / name).write_text("earlier")
        folder.chmod(0o555)
        os.chmod(outer, 0o755)
        me = os.geteuid()
        try:
            if me == 0:
                os.seteuid(65534)  # for root, nothing is read-only
            with pytest.raises(UserError, match=f"{name}: cannot be written: Permission denied"):
                WRITERS[name](folder / name)
            with pytest.raises(UserError, match="deep: cannot be written: Permission denied"):
                check_writable(folder / "deep")
        finally:
            os.seteuid(me)
            folder.chmod(0o755)
        assert [path.name for path in folder.iterdir()] == [name] and (folder / name).read_text() == "earlier"


# What each command that writes is told besides -o: most of it names what is not there, so that it would be refused
# as soon as a command came to it.
WRITE = {
    "search": ["--data=missing"],
    "visualize": ["fpn_tiny"],
    "gate": ["--data=missing"],
    "cost": ["missing"],
    "train": ["--genotype=missing"],
    "compare": ["--genotypes=missing"],
    "tune": ["--genotype=missing", "--search=optim.lr=1e-3..1e-2"],
    "evaluate": ["--weights=missing", "--data=missing"],
    "predict": ["missing"],
    "prune": ["--weights=missing"],
    "export": ["--calibrate=missing"],
    "data": ["missing"],
    "authors": ["--genotype=csnet_l_x2", "--checkpoint=missing"],
}
ENDINGS = {"visualize": ".svg", "cost": ".csv", "data": ".png", "authors": ".safetensors"}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_tries_whether_it_can_write_before_anything_else(command, tmp_path, capsys, monkeypatch):
    module = _module(command)
    if "out" not in [f.name for f in fields(module.COMMAND.config())]:
        assert command not in WRITE
        return
    monkeypatch.chdir(tmp_path)
    words, name = WRITE[command], f"x{ENDINGS.get(command, '')}"

    def refused(out: Path) -> str:
        assert run_command(module.main, [*words, "-o", str(out)]) == 2
        told = capsys.readouterr().err.splitlines()
        assert len(told) == 1
        return told[0]

    (tmp_path / "taken").write_text("mine")
    told = f"error: {tmp_path / 'taken'} is a file; expected a folder to write into"
    assert refused(tmp_path / "taken" / name) == told == refused(tmp_path / "taken" / "deep" / name)
    if command != "predict":  # of one photograph it writes the map to standard output
        assert refused(Path("-")).startswith("error: -")
    assert refused(tmp_path / ("x" * 300) / name).endswith("File name too long")
    with tempfile.TemporaryDirectory(dir=tmp_path) as folder, monkeypatch.context() as patch:

        def refuse(*args: object, **kwargs: object) -> None:  # for root, nothing is read-only
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

        patch.setattr(tempfile, "TemporaryFile", refuse)
        assert refused(Path(folder) / "deep" / name).endswith("cannot be written: Read-only file system")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"] and (tmp_path / "taken").read_text() == "mine"


@pytest.fixture
def pairs(tmp_path) -> Path:
    """A folder with two photographs and their masks."""
    for place, shape in (("images", (40, 40, 3)), ("masks", (40, 40))):
        (tmp_path / "set" / place).mkdir(parents=True)
        for name in "ab":
            pixels = np.zeros(shape, np.uint8)
            pixels[10:30, 10:30] = 255
            Image.fromarray(pixels).save(tmp_path / "set" / place / f"{name}.png")
    return tmp_path / "set"


def test_a_contact_sheet_is_whole_or_not_there(pairs, tmp_path, capsys):
    words, out = [str(pairs), "-o", str(tmp_path / "new" / "sheet.png")], tmp_path / "new"
    with files_of_at_most(500):
        assert run_command(report_data, words) == 2
    assert f"{out / 'sheet.png'}: cannot be written: " in capsys.readouterr().err and not list(out.iterdir())
    assert run_command(report_data, words) == 0 and Image.open(out / "sheet.png").size[0] > 100
    assert run_command(report_data, [str(pairs), "-o", "sheet.psd"]) == 2
    assert "sheet.psd: expected the name of a picture" in capsys.readouterr().err


def test_a_cache_that_cannot_be_finished_is_named(pairs, tmp_path, monkeypatch):
    # The room for the arrays is looked at before; the notes beside them come last.
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(UserError, match=r"cache: cannot be written: No space left on device"):
        open_photos(str(pairs), size=32, cache_dir=tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_a_journal_that_cannot_grow_is_named(tmp_path):
    journal = tmp_path / "study.journal"
    cfg = TrialsConfig(storage=str(journal), count=2, sampler="random")

    def trials() -> object:
        return run_trials({"a": ["x", "y"]}, lambda choices, report: [1.0], cfg, objectives=("loss",))

    with pytest.raises(UserError, match=r"study.journal: cannot be written: File too large"), files_of_at_most(500):
        trials()
    trials()  # what half a line is left is cut off


@pytest.mark.exports
def test_an_export_is_whole_or_not_there(tmp_path):
    folder = tmp_path / "deployed"
    folder.mkdir()
    earlier = {"export.json": "{}", "model.pt2": "earlier"}
    for name, text in earlier.items():
        (folder / name).write_text(text)
    told = rf"{folder}/model.pt2: cannot be written: File too large"
    with pytest.raises(UserError, match=told), files_of_at_most(30_000):  # torch's own writer ends the process
        export(network(), folder, formats=["pt2"], size=(32, 32))
    assert {path.name: path.read_text() for path in folder.iterdir()} == earlier


def test_openvino_says_that_it_could_not_write(tmp_path):
    pytest.importorskip("openvino", reason="needs the extra `openvino`")
    helper = pytest.importorskip("onnx", reason="needs the extra `export`").helper
    x, y = (helper.make_tensor_value_info(name, 1, [1, 1000]) for name in "xy")
    w = helper.make_tensor("w", 1, [1, 1000], range(1000))
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", [x], [y], [w])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    with pytest.raises(OSError, match="is the disk full"), files_of_at_most(500):
        save_openvino(model, tmp_path / "model.xml")
    save_openvino(model, tmp_path / "model.xml")


def test_a_run_is_not_gone_on_with_in_a_folder_that_is_read_only(tmp_path, monkeypatch):
    RunFolder.open(str(tmp_path / "run"), "train", "a: 1").close()

    def refuse(*args: object, **kwargs: object) -> None:  # for root, nothing is read-only
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(UserError, match="run: cannot be written: Read-only file system"):
        RunFolder.open(str(tmp_path / "run"), "train", "a: 1", resume=True)


def test_an_export_into_a_read_only_folder_is_refused_at_once(tmp_path, monkeypatch):
    def refuse(path: Path, *args: object, **kwargs: object) -> None:  # for root, nothing is read-only
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    told: list[str] = []
    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(UserError, match=r"deployed: cannot be written: Read-only file system"):
        export(network(), tmp_path / "deployed", formats=["pt2"], tell=told.append)
    assert not told and not (tmp_path / "deployed").exists()


@pytest.fixture
def room(tmp_path) -> Iterator[tuple[Path, Callable[[], None], Callable[[], None]]]:
    """A folder, a function that lets nothing more into it, and one that lifts this.

    A small disk that is filled; where none may be mounted, a limit to the size of files.
    """
    folder = tmp_path / "room"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if os.geteuid() == 0 and shutil.which("mount") and subprocess.run(mount, capture_output=True).returncode == 0:

        def fill() -> None:
            with pytest.raises(OSError, match="No space left"), open(folder / "filler", "wb", buffering=0) as file:
                while True:
                    file.write(bytes(2**12))

        yield folder, fill, (folder / "filler").unlink
        subprocess.run(["umount", "-l", folder], check=True)
        return
    limits = files_of_at_most(100)
    yield folder, limits.__enter__, lambda: limits.__exit__(None, None, None)


def test_a_training_whose_disk_fills_up_keeps_its_checkpoint_and_goes_on(room, monkeypatch, capsys):
    folder, fill, empty = room
    save = RunFolder.save

    def save_and_fill(self, state):
        save(self, state)
        fill()

    try:
        with monkeypatch.context() as patch:
            patch.setattr(RunFolder, "save", save_and_fill)
            assert run_command(train, [*TRAIN, "--out", str(folder / "run")]) == 2
    finally:
        empty()
    told = capsys.readouterr().err.split("error: ")[1].splitlines()
    assert len(told) == 1 and str(folder / "run") in told[0] and "cannot be written" in told[0]
    assert load_checkpoint(folder / "run/checkpoint.pt")["step"] == 2
    assert not list((folder / "run").rglob(".*"))
    assert run_command(train, ["--out", str(folder / "run"), "--resume"]) == 0


def test_memory_that_a_cpu_does_not_have_is_said_in_a_line(capsys):
    assert run_command(lambda argv: torch.empty(10**15), []) == 2
    told = "error: not enough memory (for 4000000000000000 bytes more); a smaller size or batch needs less\n"
    assert capsys.readouterr().err == told
