"""`make docs`: a page for each package, module and room, without a warning, with what is loaded when asked for."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_the_reference_has_all_public_names_and_no_warning(tmp_path):
    pytest.importorskip("pdoc", reason="needs the extra `docs`")
    command = [sys.executable, "-W", "error", str(ROOT / "docs/api_reference.py"), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for page, name in (
        ("nas", "build"),
        ("nas/cost", "cost_table"),
        ("retrain", "load_recipe"),
        ("nas/search", "search"),
    ):
        assert f'id="{name}"' in (tmp_path / f"{page}.html").read_text(), (page, name)
    assert (tmp_path / "index.html").is_file() and (tmp_path / "search.js").is_file()
