"""What is tracked: no downloads, no data; of large files our own weights alone, 16 MB in all."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def test_large_files_are_our_weights_alone() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = [ROOT / name for name in listed.split("\0") if (ROOT / name).is_file()]
    assert len(files) > 300
    large = [file for file in files if file.stat().st_size > 2**20]
    assert {file.parent for file in large} == {ROOT / "retrain/networks"}, large
    assert {file.suffix for file in large} == {".safetensors"} and sum(file.stat().st_size for file in large) <= 16e6
    assert not [file for file in files if file.suffix in (".whl", ".zip", ".gz", ".pth")]
