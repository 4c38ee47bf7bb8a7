"""docs/extending.md: its examples run as printed, and what they make does what the page says."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from page_checks import CHECKS
from run_page import sections

HERE = Path(__file__).resolve().parent
PAGE = HERE.parents[1] / "docs" / "extending.md"


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """Section -> None, or what went wrong. One process for all: importing torch takes longer than the examples."""
    folder = tmp_path_factory.mktemp("page")
    out = folder / "outcome.json"
    (folder / "work").mkdir()
    argv = [sys.executable, str(HERE / "run_page.py"), str(PAGE), str(HERE / "page_checks.py"), str(out)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parents[1])}
    done = subprocess.run(argv, cwd=folder / "work", env=environment, capture_output=True, text=True, timeout=240)
    assert out.exists(), done.stderr
    return json.loads(out.read_text())


@pytest.mark.slow
@pytest.mark.parametrize("section", CHECKS)
def test_examples_run_and_keep_their_promise(outcome, section):
    assert outcome[section] is None, outcome[section]


def test_every_section_is_checked():
    found = sections(PAGE.read_text(encoding="utf-8"))
    assert list(found) == list(CHECKS) and all(found.values())
