"""A tiny network, a small folder of pictures, and trained weights, for every test of retraining."""

from pathlib import Path

import pytest
from PIL import Image
from tiny_training import config, run_training

import genotypes
from genotypes import Genotype
from nas.task import LossConfig, synthetic_set
from search_spaces import fpn, fusion_cells


@pytest.fixture(scope="session")
def small() -> Genotype:
    return fpn("tiny", 8, name="small")


@pytest.fixture(scope="session")
def small_file(small: Genotype, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("genotypes") / "small.yaml"
    genotypes.save(small, path)
    return path


@pytest.fixture(scope="session")
def space_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An open genotype with few candidates."""
    path = tmp_path_factory.mktemp("space") / "space.yaml"
    genotypes.save(fusion_cells("tiny", 8, ("none", "skip_connect", "conv_3x3"), name="space"), path)
    return path


@pytest.fixture(scope="session")
def trained(small_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a finished training."""
    path = tmp_path_factory.mktemp("trained") / "run"
    run_training(path, config(genotype=str(small_file), recipe={"loss": LossConfig(terms={"bce": 1.0})}))
    return path


@pytest.fixture(scope="session")
def shallow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights of a trained network with one feature: to export it takes half the time of one with four."""
    folder = tmp_path_factory.mktemp("shallow")
    genotypes.save(fpn("tiny", 8, taps=("s4",), name="shallow"), folder / "shallow.yaml")
    run_training(folder / "run", config(genotype=str(folder / "shallow.yaml"), evaluate_every=30, recipe={"steps": 30}))
    return folder / "run" / "weights.safetensors"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """images/ and masks/ of four pictures of different sizes, one of them grey."""
    folder = tmp_path / "pictures"
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    photos = synthetic_set(4, 64, seed=5)
    for row, size in enumerate([(64, 64), (97, 51), (33, 80), (41, 41)]):
        image = Image.fromarray(photos.images[row].permute(1, 2, 0).numpy()).resize(size)
        image = image.convert("L") if row == 3 else image
        image.save(folder / "images" / f"p{row}.png")
        Image.fromarray(photos.masks[row, 0].numpy()).resize(size).save(folder / "masks" / f"p{row}.png")
    return folder
