"""The examples in docstrings run and print what they say."""

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHOWN = [
    path.relative_to(ROOT)
    for package in ("genotypes", "search_spaces", "nas", "retrain")
    for path in sorted((ROOT / package).rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


def test_there_are_examples() -> None:
    assert {path.parts[0] for path in SHOWN} >= {"genotypes", "search_spaces", "retrain"}


@pytest.mark.parametrize("path", SHOWN, ids=str)
def test_examples(path: Path) -> None:
    name = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
    result = doctest.testmod(importlib.import_module(name))
    assert not result.failed
