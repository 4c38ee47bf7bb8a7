"""A run of many steps gathers neither tensors nor open files."""

import runpy
from pathlib import Path

import pytest

from nas.training import LISTENERS

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "growth.py"


@pytest.fixture
def watched(monkeypatch, pages_made):
    """The script's function; its listener takes part in no other test's run. The page is made after the last count."""
    monkeypatch.setattr(LISTENERS, "_records", dict(LISTENERS._records))
    monkeypatch.setattr("nas.report.write_report", lambda path: path / "report.html")
    return runpy.run_path(str(SCRIPT))["watched"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["train", "search"])
def test_sixty_steps_gather_nothing(tmp_path, watched, kind):
    held = {step: (tensors, files) for step, _, tensors, files in watched(kind, 60, tmp_path, counts=4)}
    assert held[60][0] > 100  # tensors were counted
    assert held[30] == held[60], "tensors and open files after 30 steps, and after 60"
