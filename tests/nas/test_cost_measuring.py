"""Measured costs: the time is that of the parts, the memory that of the tensors; the command and its errors."""

import csv
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest
import torch

import genotypes
import nas.cost
from genotypes import UserError
from nas.command import run_command
from nas.cost import __main__ as command
from nas.cost import measuring
from search_spaces.fusion_cells import fusion_cells

TINY = genotypes.load("fpn_tiny")
SLOW = "pyramid.smooth_f4"


@pytest.fixture
def slow_edge(monkeypatch: pytest.MonkeyPatch) -> None:
    """One edge of fpn_tiny takes 30 ms longer."""
    prepare = measuring.prepare

    def prepare_slow(*args: object) -> tuple:
        net, x = prepare(*args)
        module = net.cells["pyramid"].edges["smooth_f4"]
        forward = module.forward

        def slow(x: torch.Tensor) -> torch.Tensor:
            time.sleep(0.03)
            return forward(x)

        module.forward = slow
        return net, x

    monkeypatch.setattr(measuring, "prepare", prepare_slow)


@pytest.mark.usefixtures("slow_edge")
def test_time_is_found_where_it_is_spent() -> None:
    measured = nas.cost.measure(TINY, size=(32, 32), repeats=3, by="edge", memory=False)
    assert measured.latency_ms >= 30
    assert measured.parts_ms[SLOW] >= 30
    assert max(measured.parts_ms, key=measured.parts_ms.get) == SLOW
    assert sum(measured.parts_ms.values()) - measured.parts_ms[SLOW] < 30
    assert (measured.repeats, measured.size, measured.threads) == (3, (32, 32), torch.get_num_threads())
    by_cell = nas.cost.measure(TINY, size=(32, 32), repeats=3, by="cell", memory=False)
    assert max(by_cell.parts_ms, key=by_cell.parts_ms.get) == "pyramid"
    assert set(by_cell.parts_ms) == {part.name for part in nas.cost.count(TINY).by_cell} | {"(outputs)"}


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="resident memory is read from /proc")
def test_memory_is_that_of_weights_and_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = nas.cost.measure(TINY, size=(64, 64), repeats=1).peak_memory
    plugin = ModuleType("_plugin_of_this_test")  # the other process runs the plugins that this one has run
    plugin.__file__ = str(tmp_path / "mine.py")
    Path(plugin.__file__).write_text("from pathlib import Path; Path(__file__).with_suffix('.ran').touch()")
    monkeypatch.setitem(sys.modules, plugin.__name__, plugin)
    ballast = torch.ones(64_000_000)  # memory of this process is none of the network's
    large = nas.cost.measure(TINY, size=(640, 640), repeats=1).peak_memory
    outputs = 3 * 640 * 640 * ballast.element_size()  # three full-size logits live at the end
    assert small >= 4 * nas.cost.count(TINY).params
    assert outputs <= large - small <= 40 * outputs
    assert large < ballast.nbytes
    assert (tmp_path / "mine.ran").exists()


def test_weights_and_inputs_come_from_no_one_else_s_generator() -> None:
    state = torch.get_rng_state()
    nas.cost.measure(TINY, size=(32, 32), repeats=1, memory=False)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"size": (16, 64)}, "pixels, not 16"),
        ({"repeats": 0}, "repeats 0"),
        ({"by": "node"}, "cell, edge"),
        ({"device": "abacus"}, "abacus"),
    ],
)
def test_mistakes_are_told(changes: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        nas.cost.measure(TINY, **changes)


def test_too_little_memory_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "prepare", lambda *_: torch.empty(10**15))
    with pytest.raises(UserError, match="fpn_tiny at 64 x 64: there is not enough memory"):
        nas.cost.measure(TINY, size=(64, 64), repeats=1, memory=False)


def test_the_command_prints_and_saves_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "new" / "costs.csv"
    argv = ["fpn_tiny", "csnet_l_x1", "--no-latency", "--size", "64", "96", "-o", str(file)]
    assert run_command(command.main, argv) == 0
    printed = capsys.readouterr().out
    rows = list(csv.DictReader(file.open(encoding="utf-8")))
    assert [row["genotype"] for row in rows] == ["fpn_tiny", "csnet_l_x1"]
    assert {row["size"] for row in rows} == {"64x96"}
    assert int(rows[1]["params"]) == 93647
    assert int(rows[0]["macs"]) == nas.cost.count(TINY, (64, 96)).macs
    assert "93,647" in printed
    assert "latency_ms" not in rows[0]
    assert run_command(command.main, argv) == 2 and "--overwrite" in capsys.readouterr().err
    assert run_command(command.main, [*argv[1:], "--overwrite"]) == 0
    assert [row["genotype"] for row in csv.DictReader(file.open(encoding="utf-8"))] == ["csnet_l_x1"]


@pytest.mark.parametrize(
    ("words", "size"), [("64", "64x64"), ("64,96", "64x96"), ("64 96", "64x96"), ("64, 96", "64x96")]
)
def test_the_command_takes_sizes_as_every_other_command(words: str, size: str, tmp_path: Path) -> None:
    file = tmp_path / "costs.csv"
    words = [words] if "," in words else words.split()
    # The genotype after the size is none of it.
    assert run_command(command.main, ["--no-latency", "-o", str(file), "--size", *words, "fpn_tiny"]) == 0
    (row,) = csv.DictReader(file.open(encoding="utf-8"))
    assert (row["genotype"], row["size"]) == ("fpn_tiny", size)


def test_the_command_measures_a_file_by_cell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    genotypes.save(TINY, tmp_path / "mine.yaml")
    file = tmp_path / "cells.csv"
    argv = [str(tmp_path / "mine.yaml"), "--by", "cell", "--size", "32", "32", "--repeats", "2", "-o", str(file)]
    assert run_command(command.main, argv) == 0
    rows = list(csv.DictReader(file.open(encoding="utf-8")))
    assert [row["part"] for row in rows][:3] == ["(backbone)", "reduce", "pyramid"]
    assert sum(float(row["macs_share"]) for row in rows) == pytest.approx(1, abs=1e-3)
    assert sum(float(row["latency_share"]) for row in rows) == pytest.approx(1, abs=1e-3)
    assert "pyramid" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["fpn_tinny"], "fpn_tiny"),
        (["fpn_tiny", "OPEN"], "open choices"),
        (["fpn_tiny", "--size", "8", "8"], "size must be 32 to 8192 pixels, not 8"),
        (["fpn_tiny", "--size", "64,64,64"], "H,W such as 224,320, not 64,64,64"),
        (["fpn_tiny", "--repeats", "0"], "repeats"),
        (["fpn_tiny", "--device", "abacus"], "abacus"),
        (["fpn_tiny", "-o", "costs.txt"], ".csv"),
    ],
)
def test_the_command_tells_mistakes_in_one_message(
    argv: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    genotypes.save(fusion_cells("tiny"), tmp_path / "open.yaml")
    argv = [str(tmp_path / "open.yaml") if word == "OPEN" else word for word in argv]
    assert run_command(command.main, [*argv, "--no-latency"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    lines = [line for line in told.err.splitlines() if not line.startswith("note: ")]
    assert lines[0].startswith("error: ")
    assert words in told.err
    assert "Traceback" not in told.err
