"""The examples in docstrings run and print what they say."""

import doctest
import importlib
import pkgutil

import pytest

import genotypes

MODULES = [module.name for module in pkgutil.walk_packages(genotypes.__path__, "genotypes.")]
MODULES += [f"search_spaces{name}" for name in ("", ".csnet", ".fusion_cells", ".minet", ".operations", ".backbones")]
MODULES += ["genotypes", "nas.network.network", "nas.cost.lookup"]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0


def test_there_are_examples() -> None:
    finder = doctest.DocTestFinder()
    counts = {name: len([t for t in finder.find(importlib.import_module(name)) if t.examples]) for name in MODULES}
    assert counts["genotypes"] >= 1
    assert counts["genotypes.graph"] >= 1
    assert counts["search_spaces.fusion_cells"] >= 1
