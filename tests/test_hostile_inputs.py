"""Hostile genotypes, configurations, recipes, lists, pictures and weight files: only a UserError is right."""

import subprocess
import sys
from pathlib import Path

import pytest
from hostile_inputs import kinds, run

# By the ten thousand: benchmarks/fuzz.py.
COUNTS = {
    "genotypes": 250,
    "configurations": 250,
    "recipes": 250,
    "lists of pairs": 700,
    "pictures": 800,
    "weight files": 800,
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", COUNTS)
def test_only_user_errors(kind: str, tmp_path) -> None:
    inputs, right = run(kind, tmp_path, COUNTS[kind], derandomize=True)
    assert inputs >= COUNTS[kind] / 2, "hypothesis ran out of inputs"
    assert 0.02 * inputs < right < 0.98 * inputs, "all refused, or all read: the inputs say nothing"


def test_every_kind_is_run(tmp_path) -> None:
    assert kinds(tmp_path).keys() == COUNTS.keys()


def test_the_long_run_starts() -> None:
    """Folders of tests have the packages' names, and hid them from it."""
    script = Path(__file__).parents[1] / "benchmarks/fuzz.py"
    assert subprocess.run([sys.executable, str(script), "--help"], capture_output=True).returncode == 0
