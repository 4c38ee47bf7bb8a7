"""A run of many steps gathers neither tensors nor open files."""

import csv
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "growth.py"


def test_sixty_steps_of_a_training_and_of_a_search_gather_nothing():
    # In a process of its own, since the script's listener would take part in other tests' runs.
    done = subprocess.run([sys.executable, SCRIPT, "--steps", "60"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(done.stdout.splitlines()))
    for run in ("train", "search"):
        held = {int(row["step"]): (row["tensors"], row["files"]) for row in rows if row["run"] == run}
        assert list(held) == [6 * tenth for tenth in range(1, 11)]
        assert int(held[60][0]) > 100  # tensors were counted
        assert held[30] == held[60], f"{run}: tensors and open files after 30 steps, and after 60"
