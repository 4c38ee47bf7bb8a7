"""docs/first_search.ipynb: five cells that run one after another, as they stand; nothing of a run is saved in it."""

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = json.loads((ROOT / "docs" / "first_search.ipynb").read_text(encoding="utf-8"))
CELLS = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


def test_it_is_a_notebook_of_five_cells_without_outputs():
    assert (NOTEBOOK["nbformat"], NOTEBOOK["metadata"]["kernelspec"]["language"]) == (4, "python")
    assert [cell["id"] for cell in CELLS] == ["search", "draw", "train", "export", "predict"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in CELLS)


@pytest.mark.exports
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_its_cells_run(tmp_path, monkeypatch):
    for package in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(package, reason="needs the extra `export`")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photographs").symlink_to(ROOT / "docs" / "photographs")
    # Jupyter's own display is not installed where tests run; what is shown is the text of an SVG.
    shown, paged, ipython, display = [], [], ModuleType("IPython"), ModuleType("IPython.display")
    ipython.version_info, ipython.get_ipython = (9, 0), lambda: None  # matplotlib asks
    display.SVG = shown.append
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.setattr("nas.report.write_report", lambda path: paged.append(str(path)) or path / "report.html")
    names = {"__name__": "__main__"}
    for cell in CELLS:
        exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    ours, shipped, trained = (names[name] for name in ("ours", "shipped", "trained"))
    assert shipped.mode == ours.mode == "L" and shipped.size == ours.size == (451, 300)
    assert names["found"].genotype.is_decided and (trained.path / "deployed/model.onnx").is_file()
    assert [(text.lstrip()[0], "<svg" in text) for text in shown] == [("<", True)]
    assert paged == ["runs/search-001", "runs/train-001"] and (trained.path / "scores.json").is_file()
