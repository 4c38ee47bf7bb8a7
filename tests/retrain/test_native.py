"""Training on photographs at their own sizes: what a step sees, its gradient, scores, resuming, and what is refused."""

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_training import config, run_training

from genotypes import UserError
from nas.command import run_command
from nas.network.weights import load_weights
from nas.task import (
    AugmentConfig,
    DataError,
    LossConfig,
    Protocol,
    evaluate,
    find_pairs,
    multi_output_loss,
    open_photos,
    read_image,
)
from nas.training import OptimConfig
from retrain import Recipe, load
from retrain.predict.__main__ import main as predict
from retrain.train import open_training
from retrain.train.__main__ import main
from retrain.train.training import training_of
from retrain.tune import candidates
from retrain.tune.__main__ import main as tune

NATIVE = {"native": True, "batch_size": 2, "passes": 2, "steps": 4, "loss": LossConfig(terms={"bce_sum": 1.0})}


def native(pictures, genotype, **recipe):
    return config(genotype=str(genotype), data=str(pictures), held_out=0.5, recipe=NATIVE | recipe)


def test_a_step_sees_each_photograph_at_its_own_size_and_flips_both(pictures, small_file) -> None:
    cfg = native(pictures, small_file, augment=AugmentConfig(flip=0.5))
    setup = open_training(cfg)
    task, convention = training_of(cfg, setup)[0].task, setup.genotype.input
    expected = {}
    for name in setup.photos.names:
        image = np.asarray(Image.open(pictures / f"images/{name}.png").convert("RGB"))
        mask = np.asarray(Image.open(pictures / f"masks/{name}.png")) > 127
        for turn in (1, -1):
            x = (image[:, ::turn] / 255 - convention.mean) / convention.std
            expected[name, turn] = x.transpose(2, 0, 1), mask[:, ::turn]
    seen = set()
    for step in range(12):
        for x, y in task.make(task.draw(step)):
            like = [key for key, (image, _) in expected.items() if x.shape[1:] == image.shape]
            (key,) = [key for key in like if np.allclose(x[0].numpy(), expected[key][0], atol=1e-5)]
            assert np.array_equal(y[0, 0].numpy() > 0.5, expected[key][1])
            seen.add(key)
    assert seen == {(setup.photos.names[i], turn) for i in setup.train_rows for turn in (1, -1)}


def test_the_gradient_is_the_mean_over_the_photographs(pictures, small_file) -> None:
    cfg = native(pictures, small_file, norms="eval", ema=0.0, optim=OptimConfig(clip=0.0))
    trainer, net = training_of(cfg, open_training(cfg))
    batches, found = trainer.task.make(trainer.task.draw(0)), []
    assert len({x.shape for x, _ in batches}) == 2
    trainer.optimizer.step = lambda *_: found.extend(p.grad.clone() for p in net.parameters())
    trainer.advance()
    loss = sum(multi_output_loss(net(x), y, cfg.recipe.loss) for x, y in batches) / 2
    for ours, theirs in zip(found, torch.autograd.grad(loss, list(net.parameters())), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_a_photograph_as_pillow_gives_it_is_seen_without_a_warning(pictures, recwarn) -> None:
    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)  # else once a process
    try:
        load("sod_s").maps([read_image(pictures / "images/p0.png")], native=True)
    finally:
        torch.set_warn_always(before)
    assert not [str(one.message) for one in recwarn if issubclass(one.category, UserWarning)]


def test_it_is_scored_at_native_size_as_evaluate_does(tmp_path, pictures, small_file) -> None:
    result = run_training(tmp_path / "run", native(pictures, small_file))
    with open(tmp_path / "run/history.csv", newline="") as file:
        last = list(csv.DictReader(file))[-1]
    scores = result.scores["held_out"]
    assert float(last["held_out_MAE_raw"]) == pytest.approx(scores.MAE_raw, abs=1e-9)
    assert float(last["held_out_maxF"]) == pytest.approx(scores.maxF, abs=1e-9)
    setup = open_training(native(pictures, small_file))
    held = {setup.photos.names[i] for i in setup.held_out_rows}
    pairs = [pair for pair in find_pairs(str(pictures)) if pair.name in held]
    predictor = load(tmp_path / "run/weights.safetensors")
    found = evaluate(
        predictor.probabilities, pairs, size=32, protocol=Protocol(native=True), workers=0, quick=True
    ).scores
    assert (found.MAE_raw, found.maxF) == (scores.MAE_raw, scores.maxF)
    words = ["--native", "--weights", str(tmp_path / "run/weights.safetensors"), str(pictures / "images")]
    assert run_command(predict, [*words, "-o", str(tmp_path / "maps")]) == 0
    written = {pair.name: np.asarray(Image.open(tmp_path / f"maps/{pair.name}.png")) for pair in pairs}
    errors = [np.abs(written[p.name] / 255.0 - (np.asarray(Image.open(p.mask)) > 127)).mean() for p in pairs]
    assert np.mean(errors) == pytest.approx(scores.MAE_raw, abs=1e-9)
    assert Image.open(tmp_path / "run/predictions.png").size == (2 * 160, 3 * 160)


def test_a_training_in_parts_is_the_whole_one(tmp_path, pictures, small_file, capsys) -> None:
    words = f"--genotype {small_file} --data {pictures} --held_out 0.5 --recipe.size 32 --recipe.steps 3 --workers 0"
    words += " --recipe.native --recipe.batch_size 2 --recipe.passes 2 --augment.vertical 0.5 --augment.crop 0.2"
    words = [*words.split(), "--quick_scores", "--test", f"again={pictures}", "--out"]
    parts, whole = tmp_path / "parts", tmp_path / "whole"
    assert run_command(main, [*words, str(whole)]) == 0
    assert run_command(main, [*words, str(parts), "--minutes", "1e-6"]) != 0
    assert run_command(main, ["--out", str(parts), "--resume", "--minutes", "0"]) == 0
    (_, ours), (_, theirs) = (load_weights(path / "weights.safetensors") for path in (parts, whole))
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert (parts / "history.csv").read_bytes() == (whole / "history.csv").read_bytes()
    scores = [json.loads((path / "scores.json").read_text())["scores"] for path in (parts, whole)]
    assert scores[0] == scores[1] and scores[0]["again"]["count"] == 4


def test_the_set_keeps_its_bytes_in_memory_in_a_cache_and_mapped(tmp_path, pictures, monkeypatch) -> None:
    maps = tmp_path / "maps"
    maps.mkdir()
    for file in (pictures / "masks").iterdir():
        Image.open(file).resize((20, 20)).save(maps / file.name)
    options = {"size": 32, "native": True, "teacher": str(maps)}
    plain = open_photos(str(pictures), cache_dir=None, **options)
    kept = [open_photos(str(pictures), cache_dir=tmp_path / "cache", **options)]
    monkeypatch.setattr("nas.task.cache._IN_MEMORY", 0)
    kept.append(open_photos(str(pictures), cache_dir=tmp_path / "cache", **options))
    assert plain.shapes == ((64, 64), (51, 97), (80, 33), (41, 41)) and len(list((tmp_path / "cache").iterdir())) == 1
    for i, (name, shape) in enumerate(zip(plain.names, plain.shapes, strict=True)):
        image, both = plain.batch(torch.tensor([i]), train=True)
        assert image.shape == (1, 3, *shape) and both.shape == (1, 2, *shape)
        assert np.array_equal(both[0, 0].numpy(), np.asarray(Image.open(pictures / f"masks/{name}.png")))
        for other in kept:
            assert all(map(torch.equal, other.batch(torch.tensor([i]), train=True), (image, both)))
    assert {other.fingerprint for other in kept} == {plain.fingerprint}
    part = plain.subset([2, 1])
    assert part.names == ("p2", "p1") and torch.equal(
        part.batch(torch.tensor([0]))[0], plain.batch(torch.tensor([2]))[0]
    )
    assert part.fingerprint != plain.subset([1, 2]).fingerprint


def test_what_makes_no_sense_is_refused(tmp_path, pictures, small_file) -> None:
    for recipe, message in (
        ({"passes": 1}, "passes must be batch_size, not 1 of 2"),
        ({"augment": AugmentConfig(rotate=5.0)}, "no augment.rotate"),
        ({"augment": AugmentConfig(scales=(0.5, 1.0))}, r"augment.scales \[1.0\]"),
        ({"first_size": 0.5}, "first_size 1"),
        ({"masks": "nearest"}, "native masks are not resized"),
    ):
        with pytest.raises(UserError, match=message):
            Recipe(**NATIVE | recipe)
    with pytest.raises(UserError, match=r"--compile on: with recipe\.native each photograph has a size of its own"):
        open_training(config(genotype=str(small_file), data=str(pictures), compile="on", recipe=NATIVE))
    for word in ("native=true,false", "size=32,64"):
        with pytest.raises(UserError, match=f"{word}: .* set recipe.native for all"):
            candidates([word], Recipe(**NATIVE))
    Image.open(pictures / "images/p1.png").resize((40, 31)).save(pictures / "images/p1.png")
    Image.open(pictures / "masks/p1.png").resize((40, 31)).save(pictures / "masks/p1.png")
    (pictures / "images/p2.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"(?s)p1.png is 40 x 31: a network takes 32 .*cannot read .*p2.png"):
        open_photos(str(pictures), size=32, cache_dir=None, native=True)


def test_a_study_of_native_trainings(tmp_path, pictures, small_file) -> None:
    words = (
        f"--genotype {small_file} --data {pictures} --held_out 0.5 --recipe.size 32 --recipe.steps 2 --recipe.native"
    )
    words += (
        f" --recipe.batch_size 2 --recipe.passes 2 --search optim.lr=1e-3,1e-2 --trials.count 2 --out {tmp_path / 'a'}"
    )
    assert run_command(tune, words.split()) == 0
    assert len((tmp_path / "a/trials.csv").read_text().splitlines()) == 3
