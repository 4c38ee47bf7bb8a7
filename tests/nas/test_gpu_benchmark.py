"""benchmarks/gpu.py on the CPU, at tiny sizes: that its rows run, and that a row that cannot is told."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu.py"


@pytest.fixture(scope="module")
def gpu():
    spec = importlib.util.spec_from_file_location("gpu", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules["gpu"] = module  # where its dataclasses look for their types
    spec.loader.exec_module(module)
    yield module
    del sys.modules["gpu"]


def bench(gpu, tiny=True):
    return gpu.Bench(torch.device("cpu"), tiny=tiny, brought=None)


def test_rows_run_and_are_reported_as_they_come(gpu, tmp_path, capsys):
    out = tmp_path / "results" / "gpu.md"
    assert gpu.run_rows(bench(gpu), ["device", "train_16", "scoring"], float("inf"), out) == []
    text = out.read_text()
    assert text == capsys.readouterr().out.removesuffix("\n")
    head, _, row = text.splitlines()[:3]
    assert head.count("|") == row.count("|") and row.startswith("| train_16 | training, searched network")
    launched, captured = (float(cell) for cell in row.split(" | ")[2:4])
    assert launched > 0 and captured > 0
    assert "- torch " in text and "maxF and MAE of 20 maps" in text


def test_a_row_that_fails_or_comes_too_late_is_told(gpu, tmp_path):
    out = tmp_path / "gpu.md"
    assert gpu.run_rows(bench(gpu, tiny=False), ["gate", "photos"], 90.0, out) == ["gate"]
    lines = out.read_text().splitlines()
    assert lines[0].startswith("- gate: FAILED, RuntimeError: needs --brought DIR")
    assert lines[1] == "- photos: not measured, the time was up"


def test_every_row_has_a_place(gpu):
    assert sorted(gpu.ORDER) == sorted([*gpu.CASES, *gpu.OTHERS])
    assert sum(gpu.CASES[name].expect for name in gpu.ORDER[:9] if name in gpu.CASES) < 120


def test_what_a_gpu_alone_tells_is_left_out(gpu):
    assert [gpu.shown(number) for number in (float("nan"), 0, 3.14159, 1234.5, 47.23)] == [
        "-",
        "-",
        "3.14",
        "1,234",
        "47.2",
    ]
