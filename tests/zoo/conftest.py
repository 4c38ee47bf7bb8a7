"""The authors' key lists, deterministic weights and outputs, for the tests of the zoo."""

import importlib.util
import json
import math
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import genotypes
import nas
from retrain import import_authors
from retrain.authors import authors_keys


@pytest.fixture(scope="session")
def filler(shared: Path) -> ModuleType:
    """The module with `fill` (weights from a key list) and `picture` (inputs)."""
    spec = importlib.util.spec_from_file_location("oracle_weights", shared / "oracles" / "weights.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def authors_state(shared: Path, filler: ModuleType) -> Callable[[str], dict[str, torch.Tensor]]:
    """The oracle's name -> its deterministic state dict, with the authors' keys."""

    def state(oracle: str) -> dict[str, torch.Tensor]:
        keys = json.loads((shared / "oracles" / f"{oracle}.keys.json").read_text())
        # CSNet multiplies some weights by 100, so its oracles are made from small ones (oracles/README.md).
        return filler.fill([tuple(key) for key in keys], 0.02 if oracle.startswith("csnet") else 1.0)

    return state


@pytest.fixture(scope="session")
def theirs() -> dict[str, torch.Tensor]:
    """A random state dict with the authors' keys of CSNet-L-x1."""
    return {key: torch.rand(shape) for key, shape in authors_keys(genotypes.load("csnet_l_x1")).items()}


@pytest.fixture
def random_state(shared: Path) -> Callable[[str], dict[str, torch.Tensor]]:
    """The oracle's name -> a random state dict with the authors' keys; quicker to make than `authors_state`."""

    def state(oracle: str) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(0)
        keys = json.loads((shared / "oracles" / f"{oracle}.keys.json").read_text())
        return {key: _random(key, shape, generator) for key, shape, _ in keys}

    return state


def _random(key: str, shape: list[int], generator: torch.Generator) -> torch.Tensor:
    x = torch.rand(shape, generator=generator)
    if key.endswith("running_var") or (key.endswith("weight") and len(shape) == 1):
        return x.add_(0.5)
    return x.sub_(0.5).mul_(math.sqrt(12 / math.prod(shape[1:])) if len(shape) > 1 else 0.3)  # keeps the variance


@pytest.fixture
def imported() -> Callable[[str, dict[str, Any]], nas.Network]:
    """(genotype's name, authors' state) -> our network with it, in eval mode."""

    def network(name: str, state: dict[str, Any]) -> nas.Network:
        genotype = genotypes.load(name)
        with torch.device("meta"):  # weights come from the file; initialising 162 million first takes seconds
            net = nas.build(genotype)
        net.load_state_dict(import_authors(genotype, state), strict=True, assign=True)
        return net.eval()

    return network
