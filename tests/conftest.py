"""What every test shares: the optional research data, and one thread so that numbers do not depend on the machine."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.torch_version import TorchVersion

import nas.report
import nas.search.tensorboard
from nas.cost.clock import OtherPrograms
from nas.deploy.capture import OLDEST
from nas.run import quiet
from nas.task.synthetic import synthetic_pictures
from nas.visualize import draw

_BUSY = OtherPrograms.busy
_PICTURE = np.zeros((8, 8, 3), np.uint8)
# What a run draws: where it is called, what does it, and what stands in for it.
_DRAWN = (
    ("nas.report.write_report", nas.report.write_report, lambda path: Path(path) / "report.html"),
    ("nas.search.tensorboard.render_png", nas.search.tensorboard.render_png, lambda *args, **kwargs: _PICTURE),
    ("nas.search.tensorboard.to_pixels", nas.search.tensorboard.to_pixels, lambda figure: _PICTURE),
    ("nas.search.tensorboard.heat_map", nas.search.tensorboard.heat_map, lambda probabilities: None),
    *(
        (f"{where}.draw", draw, lambda genotype, path: path.write_text("<svg/>"))
        for where in ("nas.search.selection", "nas.search.members", "nas.visualize")
    ),
)
SHARED = Path(os.environ.get("SOD_SHARED", Path(__file__).resolve().parents[2] / "shared"))


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What tests measure must not become the user's."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _quiet_machine():
    """Whatever else computes here: notes, and what is kept of measurements, do not depend on it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OtherPrograms, "busy", lambda self: None)
        yield


@pytest.fixture(scope="session")
def real_busy():
    return _BUSY


def quicken(patch: pytest.MonkeyPatch, drawn: bool = False) -> None:
    """Runs without what takes most of the time of a run of seconds, or with it made once; drawn: with their pages.

    The page of a run takes a second or two, a drawing a quarter of one. What is scored has its norms estimated on 3
    batches in place of 20, and the same synthetic pictures are made once.
    """
    for name, _, instead in () if drawn else _DRAWN:
        patch.setattr(name, instead)
    for module in ("scoring", "members"):
        patch.setattr(f"nas.search.{module}.NORM_BATCHES", 3)
    made = lru_cache(maxsize=32)(lambda *which: list(synthetic_pictures(*which)))
    patch.setattr("nas.task.cache.synthetic_pictures", made)


@pytest.fixture(scope="session", autouse=True)
def _quick_runs():
    """Tests of what is left out ask for it themselves."""
    with pytest.MonkeyPatch.context() as patch:
        quicken(patch)
        if find_spec("onnxscript"):  # torch reads the sources of its 500 conversions anew for every network
            from torch.onnx._internal.exporter._registration import ONNXRegistry

            patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(cache(ONNXRegistry.from_torchlib)))
        yield


@pytest.fixture(scope="module")
def pages_made():
    """Runs of this module's tests make their pages and drawings, as they do outside of tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name, real, _ in _DRAWN:
            patch.setattr(name, real)
        yield


@pytest.fixture(autouse=True)
def _no_bars():
    with quiet():
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of research data and oracles; a test that asks for it is skipped where there is none."""
    if not SHARED.is_dir():
        pytest.skip(f"research data not found at {SHARED} (set SOD_SHARED)")
    return SHARED


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if TorchVersion(torch.__version__) < OLDEST:
        skip = pytest.mark.skip(reason=f"a network for pictures of any size needs torch {OLDEST} to be exported")
        for item in items:
            if item.get_closest_marker("exports"):
                item.add_marker(skip)
    # Workers take from one another what has not begun: long tests at the end would leave one of them idle.
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Under slipcover, a test marked `compiles` in a process without it: torch.compile cannot read its bytecode."""
    if "SLIPCOVER_ENABLED" not in os.environ or pyfuncitem.get_closest_marker("compiles") is None:
        return None
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("SLIPCOVER", "PYTEST"))}
    command = [sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", pyfuncitem.nodeid]
    done = subprocess.run(command, cwd=pyfuncitem.config.rootpath, env=plain, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    return True


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: "pytest.TerminalReporter") -> None:
    """Under slipcover (`make test COVERAGE=1`): the share of lines that the tests ran, of all and of each package."""
    if "SLIPCOVER_ENABLED" not in os.environ:
        return
    ran, lines = Counter[str](), Counter[str]()
    merged = Path(os.environ.get("SLIPCOVER_COVERAGE_DIR", "")) / "merged.json"  # of pytest-xdist's workers
    try:
        for name, file in json.loads(merged.read_text(encoding="utf-8"))["files"].items():
            for package in ("all", Path(name).parts[0]):
                ran[package] += len(file["executed_lines"])
                lines[package] += len(file["executed_lines"]) + len(file["missing_lines"])
        shares = {package: f"{ran[package] / lines[package]:.1%}" for package in sorted(lines)}
        build = terminalreporter.config.rootpath / "build"
        build.mkdir(exist_ok=True)
        shutil.move(merged, build / "coverage.json")
        shutil.rmtree(merged.parent)
        told = f"{shares.pop('all')} of {lines['all']:,} lines ({', '.join(map(' '.join, shares.items()))})"
    except (OSError, ValueError, LookupError, TypeError) as error:  # never in the way of pytest's own summary
        told = f"not known ({type(error).__name__}: {error})"
    terminalreporter.write_line(f"coverage: {told}")
