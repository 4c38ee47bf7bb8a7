"""The networks that come with the package: files, cards, and names in place of weight files."""

import importlib.util
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

import genotypes
import nas.cost
import retrain
from genotypes import UserError
from nas.command import run_command
from nas.network.weights import load_weights
from nas.options import to_yaml
from nas.run import RunFolder, quiet
from nas.task import synthetic_set
from retrain import load_recipe
from retrain.evaluate import load_predictors, score
from retrain.networks import DEFAULT, find_weights, network_names
from retrain.predict.__main__ import main as predict
from retrain.train import TrainConfig, train

ROOT = Path(__file__).resolve().parents[2]

MOST_MACS = {"sod_s": 100e6, "sod_m": 350e6, "sod_l": 1000e6}


def test_there_is_a_default_and_all_weigh_little() -> None:
    assert DEFAULT in network_names()
    assert sum(find_weights(name).stat().st_size for name in network_names()) <= 16e6


@pytest.mark.parametrize("name", network_names())
def test_a_network_has_a_genotype_and_a_card_that_agree(name: str) -> None:
    genotype, state = load_weights(find_weights(name))
    assert genotype == genotypes.load(name) and genotype.input == genotypes.load(name).input
    assert all(value.dtype == torch.float16 for value in state.values() if value.ndim > 1)
    card = find_weights(name).with_suffix(".md").read_text(encoding="utf-8")
    cost = nas.cost.count(genotype)
    assert cost.macs <= MOST_MACS[name]
    assert f"{cost.params:,}" in card and f"{cost.macs / 1e6:.1f} M at" in card
    for word in ("## Data and terms", "DUTS-TR", "Apache", "| ECSSD (", "train_networks.sh", "ms, ONNX Runtime"):
        assert word in card, word
    assert re.search(r"20\d\d-\d\d-\d\d", card)


def test_predict_needs_no_weights(tmp_path, capsys) -> None:
    photo = synthetic_set(1, 96, seed=3).images[0].permute(1, 2, 0).numpy()
    Image.fromarray(photo).save(tmp_path / "photo.png")
    for out, words in (("a", []), ("b", ["--weights", DEFAULT]), ("c", ["--weights", str(find_weights(DEFAULT))])):
        assert run_command(predict, [str(tmp_path / "photo.png"), "-o", str(tmp_path / out), *words]) == 0
    maps = [(tmp_path / out / "photo.png").read_bytes() for out in "abc"]
    assert maps[0] == maps[1] == maps[2]
    assert run_command(predict, [str(tmp_path / "photo.png"), "-o", str(tmp_path / "d"), "--weights", "sod_x"]) == 2
    assert f"no weight file at sod_x, and no network of that name; known: {', '.join(network_names())}" in (
        capsys.readouterr().err
    )


def test_load_by_name() -> None:
    predictor = retrain.load(DEFAULT)
    assert predictor.genotype == genotypes.load(DEFAULT)
    assert all(value.dtype == torch.float32 for value in predictor.network.parameters())
    with pytest.raises(UserError, match="no network of that name"):
        retrain.load("sod_x")


def test_fine_tuning_teaches_another_kind_of_picture(tmp_path) -> None:
    spec = importlib.util.spec_from_file_location("own_photographs", ROOT / "benchmarks" / "own_photographs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    mine, kept = module.write_pairs(tmp_path / "mine", 0, 40), module.write_pairs(tmp_path / "kept", 9, 16)
    recipe = replace(load_recipe("finetune"), size=64, batch_size=8, steps=40)
    cfg = TrainConfig(
        genotype=DEFAULT,
        init=DEFAULT,
        recipe=recipe,
        data=str(mine),
        test=(f"kept={kept}",),
        quick_scores=True,
        workers=0,
    )
    scored, _ = score(load_predictors([DEFAULT], size=(64, 64)), [f"kept={kept}"], quick=True, workers=0)
    with quiet():
        after = train(cfg, RunFolder.open(str(tmp_path / "run"), "train", to_yaml(cfg))).scores["kept"].maxF
    before = scored[0].evaluation.scores.maxF
    assert before < 0.7 and after > before + 0.1
