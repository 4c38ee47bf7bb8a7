"""GNU's OpenMP, as a command's torch loads it: a thread that waits soon sleeps, unless the user has chosen."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

assert torch.get_num_threads()  # its OpenMP is loaded
MAPS = Path("/proc/self/maps")


@pytest.mark.skipif(not MAPS.is_file() or "libgomp" not in MAPS.read_text(), reason="torch has no OpenMP of GNU's here")
@pytest.mark.parametrize(
    ("chosen", "turns"), [({}, 5000), ({"GOMP_SPINCOUNT": "77"}, 77), ({"OMP_WAIT_POLICY": "passive"}, 0)]
)
def test_how_long_a_thread_spins(chosen, turns):
    own = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    env = own | chosen | {"OMP_DISPLAY_ENV": "verbose", "OMP_NUM_THREADS": "2"}
    command = [sys.executable, "-m", "nas.cost", "--help"]  # torch is loaded before it is known what to do
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"GOMP_SPINCOUNT = '{turns}'" in done.stderr
