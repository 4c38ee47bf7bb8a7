"""docs/ship.md: its commands run as printed, the last of them where neither torch nor this package can be imported."""

import os
import subprocess
import sys
from importlib.metadata import Distribution, distribution, requires
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from PIL import Image
from run_page import BLOCK, command

import retrain

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "ship.md").read_text(encoding="utf-8")

for package in ("onnx", "onnxruntime", "onnxscript"):
    pytest.importorskip(package, reason="needs the extra `export`: pip install 'sod-nas[export]'")


def with_requirements(names: list[str]) -> dict[str, Distribution]:
    """The packages and all that they require, by name, as pip would install them."""
    found: dict[str, Distribution] = {}
    while names:
        name = names.pop().lower()
        if name not in found:
            found[name] = distribution(name)
            wanted = [Requirement(line) for line in requires(name) or []]
            names += [r.name for r in wanted if r.marker is None or r.marker.evaluate({"extra": ""})]
    return found


def install(folder: Path, names: list[str]) -> None:
    """What `pip install` would, without a network: links to the packages that are installed here."""
    (site,) = (folder / "lib").glob("python*/site-packages")
    for package in with_requirements(names).values():
        for top in {file.parts[0] for file in package.files or () if file.parts[0] not in ("..", "__pycache__")}:
            if not (site / top).exists():
                (site / top).symlink_to(package.locate_file(top))


@pytest.mark.exports
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_commands_of_the_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    blocks = BLOCK.findall(PAGE)
    (program,) = (code for language, code in blocks if language == "python")
    (tmp_path / "find.py").write_text(program)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    commands = [line for language, code in blocks if language == "sh" for line in code.splitlines()]
    for line in commands:
        python, *words = line.split()
        if words[:3] == ["-m", "pip", "install"]:
            install(tmp_path / "elsewhere", words[3:])
            continue
        if python == "python" and words[1] != "venv":
            command(line)  # here: importing torch takes seconds
            continue
        argv = [sys.executable, *words, "--without-pip"] if python == "python" else [str(tmp_path / python), *words]
        done = subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=800)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
    photo = ROOT / "docs/photographs/cat.jpg"
    saliency, cutout = Image.open(tmp_path / "map.png"), Image.open(tmp_path / "cut-out.png")
    expected = retrain.load(tmp_path / "runs/ship/weights.safetensors", size=64)(photo)
    levels = np.asarray(saliency, np.int16)
    assert levels.std() > 0 and np.abs(levels - np.asarray(expected, np.int16)).max() <= 1
    assert np.array_equal(np.asarray(cutout.getchannel("A")), levels)
    for name in ("torch", "nas"):  # so it was without them
        argv = [str(tmp_path / "elsewhere/bin/python"), "-c", f"import {name}"]
        done = subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert f"No module named '{name}'" in done.stderr
