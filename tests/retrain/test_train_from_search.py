"""`retrain.train --from RUN`: a training that starts from the weights of a search's supernet."""

import dataclasses
import shutil

import pytest
import torch
from tiny_training import config

from genotypes import UserError
from nas.command import run_command
from nas.guard import GuardConfig
from nas.network import build, inherit
from nas.options import to_yaml
from nas.run import RunFolder, load_checkpoint
from nas.search import SearchConfig, open_space, search
from retrain.compare import read_entries
from retrain.compare.__main__ import COMMAND as COMPARE
from retrain.recipe import load_recipe
from retrain.train import from_search, open_training
from retrain.train.__main__ import COMMAND, main
from search_spaces.spaces import FusionCells

SPACE = FusionCells(channels=8, operations=("skip_connect", "conv_3x3"))
SEARCH = {"space": SPACE, "data": "synthetic:60", "size": 32, "steps": 2}
SEARCH |= {"warmup_steps": 0, "batch_size": 4, "rivals": 0, "guard": GuardConfig(on=False)}


def run_search(path, **changes):
    cfg = SearchConfig(**SEARCH | changes)
    return search(cfg, RunFolder.open(str(path), "search", to_yaml(cfg)))


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    return run_search(tmp_path_factory.mktemp("from") / "search")


def test_a_training_starts_from_the_chosen_operations_of_the_supernet(searched, tmp_path):
    supernet = build(open_space(SearchConfig(**SEARCH)))
    supernet.load_state_dict(load_checkpoint(searched.path / "checkpoint.pt")["net"])
    expected = inherit(supernet, searched.genotype).state_dict()
    ours = open_training(config(start_from=str(searched.path)))
    assert ours.genotype == searched.genotype
    assert all(torch.equal(value, expected[name]) for name, value in ours.net.state_dict().items())
    options = ["--data", "synthetic:40", "--recipe.size", "32", "--recipe.steps", "2", "--workers", "0"]
    assert run_command(main, ["--from", str(searched.path), *options, "--out", str(tmp_path / "run")]) == 0
    assert (tmp_path / "run/weights.safetensors").exists()


def test_a_searchs_folder_takes_what_it_was_searched_on_along(searched):
    cfg, _ = COMMAND.parse(["--genotype", str(searched.path)])
    assert (cfg.data, cfg.data_seed, cfg.held_out, cfg.recipe.size) == ("synthetic:60", 0, 0.1, 32)
    assert cfg.recipe == dataclasses.replace(load_recipe("default"), size=32)
    inputs = open_training(cfg)
    assert inputs.genotype == searched.genotype and len(inputs.photos) == 60
    words = ["--data", "synthetic:9", "--recipe", "quick", "--steps", "3"]
    cfg, _ = COMMAND.parse(["--genotype", str(searched.path), *words])
    assert (cfg.data, cfg.recipe.steps, cfg.recipe.size) == ("synthetic:9", 3, load_recipe("quick").size)
    assert COMMAND.parse(["--genotype", "fpn_tiny"])[0].data == "synthetic"


@pytest.mark.parametrize(("device", "there", "recipe"), [
    ("cpu", True, "photos_cpu"), ("cuda", False, "photos_gpu"), ("auto", False, "photos_cpu"),
])  # fmt: skip
def test_photographs_take_the_recipe_of_the_device(tmp_path, small_file, monkeypatch, device, there, recipe):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    shutil.copy(small_file, tmp_path / "genotype.yaml")
    (tmp_path / "config.yaml").write_text(to_yaml(SearchConfig(data="photographs", device=device)))
    assert from_search(tmp_path)["recipe"]["name"] == recipe


def test_a_comparison_takes_a_searchs_folder(searched):
    cfg, _ = COMPARE.parse(["--genotypes", str(searched.path), "random:0", "fpn"])
    assert (cfg.data, cfg.recipe.size) == ("synthetic:60", 32)
    entries = read_entries(cfg.genotypes)
    assert [entry.label for entry in entries] == [searched.genotype.name, "random:0", "fpn"]


def test_a_folder_that_a_comparison_takes_may_have_an_equals_sign_in_its_name(searched, tmp_path):
    folder = shutil.copytree(searched.path, tmp_path / "lr=0.1")
    for named in (str(folder), f"ours={folder}"):  # the first of them is no label
        assert COMPARE.parse(["--genotypes", named])[0].data == "synthetic:60"


def test_mistakes(searched, small_file, tmp_path):
    with pytest.raises(UserError, match="no search with a trained supernet"):
        open_training(config(genotype=str(small_file), start_from=str(tmp_path)))
    with pytest.raises(UserError, match=r"no search that has come to its end"):
        open_training(config(start_from=str(tmp_path)))
    with pytest.raises(UserError, match="is not a genotype of the space"):
        open_training(config(genotype=str(small_file), start_from=str(searched.path)))
    with pytest.raises(UserError, match="give one of --backbone_weights"):
        config(start_from="a", init="b")
    wider = run_search(tmp_path / "wider", export_channels=12)
    with pytest.raises(UserError, match="at most as wide"):
        open_training(config(start_from=str(wider.path)))
    shutil.rmtree(wider.path)
