"""Ctrl-C before a command has begun: one line and exit code 130, whatever it was importing."""

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from nas.console import COMMANDS

ROOT = Path(__file__).parents[1]
INTERRUPTED = "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Packages that take long to import, and `sod-nas` as pip installs it."""
    path = tmp_path_factory.mktemp("loading")
    for package in ("torch", "matplotlib", "jsonargparse"):  # drawings and pages load no torch
        (path / f"{package}.py").write_text(INTERRUPTED)
    (path / "sod-nas").write_text(
        "import sys\nfrom nas.console import main\nif __name__ == '__main__':\n    sys.exit(main())\n"
    )
    return path


@pytest.mark.parametrize(
    "argv", [*(["-m", module] for module, _ in COMMANDS.values()), ["sod-nas", "train"]], ids=" ".join
)
def test_one_line_and_130(argv, folder):
    env = os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        [sys.executable, *argv],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=30,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # tests in the background may be deaf to it
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "\ninterrupted\n")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc")
def test_what_starts_the_workers_of_scoring_is_deaf_to_it():
    from multiprocessing.forkserver import _forkserver

    from nas.task.evaluation import _start_server

    _start_server()
    status = Path(f"/proc/{_forkserver._forkserver_pid}/status").read_text()
    blocked = int(next(line.split()[1] for line in status.splitlines() if line.startswith("SigBlk")), 16)
    assert blocked >> (signal.SIGINT - 1) & 1
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
