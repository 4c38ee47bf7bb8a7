"""docs/first_search.ipynb: five cells that run one after another, as they stand; nothing of a run is saved in it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = json.loads((ROOT / "docs" / "first_search.ipynb").read_text(encoding="utf-8"))
CELLS = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]

# Jupyter's own display is not installed where tests run; what is shown is the text of an SVG.
IPYTHON = """
import sys, types
sys.modules["IPython"] = types.ModuleType("IPython")
sys.modules["IPython"].version_info = (9, 0)  # matplotlib asks
sys.modules["IPython"].get_ipython = lambda: None
sys.modules["IPython.display"] = types.ModuleType("IPython.display")
sys.modules["IPython.display"].SVG = lambda text: print("shown", text.lstrip().startswith("<"), "<svg" in text)
"""
AFTER = """
assert shipped.mode == ours.mode == "L" and shipped.size == ours.size == (451, 300)
assert found.genotype.is_decided and (trained.path / "deployed/model.onnx").is_file()
print("done")
"""


def test_it_is_a_notebook_of_five_cells_without_outputs():
    assert (NOTEBOOK["nbformat"], NOTEBOOK["metadata"]["kernelspec"]["language"]) == (4, "python")
    assert [cell["id"] for cell in CELLS] == ["search", "draw", "train", "export", "predict"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in CELLS)


@pytest.mark.exports
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_its_cells_run(tmp_path):
    for package in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(package, reason="needs the extra `export`")
    (tmp_path / "photographs").symlink_to(ROOT / "docs" / "photographs")
    code = "\n".join([IPYTHON, *("".join(cell["source"]) for cell in CELLS), AFTER])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    argv = [sys.executable, "-c", code]
    done = subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=800)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "shown True True" in lines and lines[-1] == "done"
    assert (tmp_path / "runs/search-001/report.html").is_file() and (tmp_path / "runs/train-001/scores.json").is_file()
