"""Training: its numbers, its held-out part, its moving average, and resuming to the same bits."""

import csv
import itertools
import json
import math
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from contextvars import ContextVar
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from tiny_training import config, run_training, stopped_in_step

import genotypes
from genotypes import Record, UserError
from nas.command import run_command
from nas.network.weights import load_weights
from nas.options import to_yaml
from nas.run import Interrupted, RunFolder, load_checkpoint, progress
from nas.task import AugmentConfig, LossConfig, batches, network_input, synthetic_set
from nas.task import augment as augment_batch
from nas.training import (
    DIVERGED_SCORES,
    METRICS,
    Diverged,
    HeldOut,
    Listener,
    MovingAverage,
    OptimConfig,
    Progress,
    Supervised,
    fit,
    loop,
    precision,
)
from retrain import Recipe, load
from retrain.compare.__main__ import main as compare
from retrain.predict.__main__ import main as predict
from retrain.train import open_training, training
from retrain.train.__main__ import main


def history(path):
    with open(path / "history.csv", newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def same_weights(one, other) -> bool:
    """Bit for bit; the files may differ in the order of their metadata."""
    (_, ours), (_, theirs) = load_weights(one), load_weights(other)
    return list(ours) == list(theirs) and all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_golden_losses(tmp_path, small_file) -> None:
    """A change that should not change numbers must show the same losses."""
    result = run_training(tmp_path / "run", config(genotype=str(small_file)))
    rows = history(tmp_path / "run")
    assert [row["step"] for row in rows] == [2, 4, 6]
    assert [row["train_loss"] for row in rows] == pytest.approx(GOLDEN_TRAIN, rel=2e-3)
    assert [row["held_out_loss"] for row in rows] == pytest.approx(GOLDEN_HELD_OUT, rel=2e-3)
    assert result.scores["held_out"].MAE_raw == pytest.approx(rows[-1]["held_out_MAE_raw"], abs=1e-9)
    assert result.scores["held_out"].maxF == pytest.approx(rows[-1]["held_out_maxF"], abs=1e-9)


def test_first_size_grows_in_steps_of_16_until_half_of_the_steps(small_file) -> None:
    cfg = config(genotype=str(small_file), recipe={"size": 64, "steps": 8, "first_size": 0.5})
    trainer, _ = training.training_of(cfg, open_training(cfg))
    sizes = [tuple(trainer.task.batches(step)[0].shape[-2:]) for step in range(8)]
    assert sizes == [(side, side) for side in (32, 32, 48, 64, 64, 64, 64, 64)]
    with pytest.raises(UserError, match=r"first_size is a share of size in 0\.1\.\.1, not 1\.5"):
        Recipe(first_size=1.5)


def test_the_last_share_of_the_steps_sees_photographs_as_they_are(small_file) -> None:
    augment = AugmentConfig(flip=0.0, crop=0.5, colour=0.5, rotate=20.0, scales=(1.5,))
    recipe = {"size": 64, "steps": 8, "augment": augment, "plain": 0.25}
    cfg = config(genotype=str(small_file), recipe=recipe)
    stream = training.training_of(cfg, open_training(cfg))[0].task.batches
    assert [stream(step)[0].shape[-1] for step in range(8)] == [96] * 6 + [64] * 2
    batch = stream.draw(7)
    assert torch.equal(stream(7)[1], (batch.masks > 127).float())
    assert torch.equal(stream(7)[0], network_input(batch.images, stream.samples.convention))
    flipped = replace(stream, augment=replace(augment, flip=1.0, vertical=1.0))
    assert torch.equal(flipped(7)[0], stream(7)[0].flip(-1)), "left to right alone"
    with pytest.raises(UserError, match=r"plain is a share of the training in 0\.\.1, not 1\.5"):
        Recipe(plain=1.5)


def test_precision_auto_is_settled_by_the_device_and_what_a_run_writes_down(tmp_path, monkeypatch) -> None:
    flags = tmp_path / "cpuinfo"
    monkeypatch.setattr(precision, "Path", lambda _: flags)
    asked = {"recipe": {"precision": "auto"}}
    assert config(**asked).recipe.precision == "fp32"  # nothing is known of the processor
    flags.write_text("flags : fpu avx512f\n")
    assert config(**asked).recipe.precision == "fp32"
    flags.write_text("flags : fpu avx512f avx512_bf16\n")
    assert "precision: bf16" in to_yaml(config(**asked))


GOLDEN_TRAIN = (3.91638, 3.72802, 3.62788)
GOLDEN_HELD_OUT = (3.88548, 3.85814, 3.83833)


@pytest.mark.parametrize("stop_at", [2, 3])  # at a checkpoint, and between two
def test_an_interrupted_training_ends_as_if_never_interrupted(tmp_path, small_file, stop_at) -> None:
    augment = AugmentConfig(crop=0.2, rotate=10.0, colour=0.2, scales=(1.0, 1.5))
    cfg = config(genotype=str(small_file), recipe={"augment": augment, "first_size": 0.5})
    run_training(tmp_path / "whole", cfg)

    with stopped_in_step(stop_at), pytest.raises(Interrupted, match=f"saved at step {stop_at}") as stop:
        run_training(tmp_path / "parts", cfg)
    assert stop.value.code == 143
    assert load_checkpoint(tmp_path / "parts/checkpoint.pt")["step"] == stop_at
    assert not (tmp_path / "parts/weights.safetensors").exists()
    run_training(tmp_path / "parts", cfg, resume=True)

    assert (tmp_path / "parts/history.csv").read_bytes() == (tmp_path / "whole/history.csv").read_bytes()
    assert same_weights(tmp_path / "parts/weights.safetensors", tmp_path / "whole/weights.safetensors")
    for name in ("genotype.yaml", "predictions.png"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    ours, theirs = (load_checkpoint(tmp_path / name / "checkpoint.pt") for name in ("parts", "whole"))
    for one, other in ((ours["net"], theirs["net"]), (ours["changes"]["average"], theirs["changes"]["average"])):
        assert all(torch.equal(one[key], value) for key, value in other.items())
    scores = [json.loads((tmp_path / name / "scores.json").read_text())["scores"] for name in ("parts", "whole")]
    assert scores[0] == scores[1]


def test_a_signal_in_the_last_step_does_not_cut_short_what_follows(tmp_path, small_file) -> None:
    with stopped_in_step(2):
        result = run_training(tmp_path / "run", config(genotype=str(small_file), recipe={"steps": 2}))
    assert result.scores and (tmp_path / "run/scores.json").is_file()


def test_a_training_that_stopped_early_is_not_gone_on_with(tmp_path, small_file) -> None:
    """Killed between its last checkpoint and its end, as a search that its guard ended."""
    cfg = config(genotype=str(small_file))
    for expected in ([1, 2], []):
        run, steps = RunFolder.open(str(tmp_path / "run"), "train", "", resume=not expected), []
        trainer, _ = training.training_of(cfg, open_training(cfg))
        trainer.resume(run)

        def row(trainer=trainer, steps=steps):
            trainer.stopped = trainer.step == 2
            steps.append(trainer.step)
            return {"step": trainer.step}

        fit(trainer, row, at=lambda step: True, run=run)
        run.close()
        assert steps == expected and trainer.step == 2 and trainer.stopped


@pytest.mark.parametrize("fails", [False, True])
def test_a_listener_is_told_of_the_end_also_where_the_training_fails(small_file, fails) -> None:
    told = []

    class Noting(Listener):
        begin, row, end = (lambda self, *given, name=name: told.append(name) for name in ("begin", "row", "end"))

        def step(self, trainer):
            told.append("step")
            if fails:
                raise Diverged("so it is")

    cfg = config(genotype=str(small_file), recipe={"steps": 2})
    trainer, _ = training.training_of(cfg, open_training(cfg))
    trainer.clock = itertools.count().__next__  # a step takes a second, whatever else is done
    with pytest.raises(Diverged) if fails else nullcontext():
        fit(trainer, lambda: {"step": trainer.step}, at=lambda step: False, listeners=[Noting()])
    assert trainer.seconds == told.count("step")
    assert told == (["begin", "step", "end"] if fails else ["begin", "step", "step", "row", "end"])


def test_the_bar_of_a_resumed_training_begins_where_it_was(capsys, monkeypatch) -> None:
    monkeypatch.setattr(progress, "_shown", ContextVar("shown", default=True))
    bar, trainer = Progress("train", {"loss": "held_out_loss", "F": "held_out_maxF"}), SimpleNamespace(step=3, steps=9)
    bar.begin(trainer)
    bar.step(trainer)
    bar.row(trainer, {"held_out_loss": 0.25, "held_out_maxF": math.nan})
    bar.end(trainer)
    assert "| 4/9 [" in (shown := capsys.readouterr().err) and "loss=0.250]" in shown and "F=" not in shown


def test_when_its_minutes_are_over_a_training_stops_and_goes_on(tmp_path, small_file, capsys) -> None:
    words = f"--genotype {small_file} --data synthetic:40 --size 32 --recipe.batch_size 4 --recipe.steps 3 --workers 0"
    words = [*words.split(), "--quick_scores", "--out"]
    parts, whole = str(tmp_path / "parts"), str(tmp_path / "whole")
    assert run_command(main, [*words, whole, "--minutes", "60"]) == 0
    assert run_command(main, [*words, parts, "--minutes", "1e-6"]) == 128 + signal.SIGALRM
    assert f"time is up: saved at step 1; continue: --out {parts} --resume" in capsys.readouterr().err
    assert run_command(main, ["--out", parts, "--resume"]) == 128 + signal.SIGALRM  # for as long again
    assert "time is up: saved at step 2" in capsys.readouterr().err
    assert run_command(main, ["--out", parts, "--resume", "--minutes", "0"]) == 0
    assert same_weights(tmp_path / "parts/weights.safetensors", tmp_path / "whole/weights.safetensors")


def test_a_thread_of_a_page_can_train(tmp_path, small_file) -> None:
    """Python refuses signal handlers there."""
    with ThreadPoolExecutor(1) as thread:
        cfg = config(genotype=small_file, recipe={"steps": 2})
        result = thread.submit(run_training, tmp_path / "run", cfg).result()
    assert (tmp_path / "run/weights.safetensors").is_file() and result.scores


def test_resuming_a_finished_training_changes_nothing(tmp_path, small_file) -> None:
    cfg = config(genotype=str(small_file))
    first = run_training(tmp_path / "run", cfg)
    (tmp_path / "run/weights.safetensors").rename(tmp_path / "before.safetensors")
    again = run_training(tmp_path / "run", cfg, resume=True)
    assert same_weights(tmp_path / "run/weights.safetensors", tmp_path / "before.safetensors")
    assert again.scores["held_out"].maxF == first.scores["held_out"].maxF


def test_a_run_goes_on_with_its_own_copy_of_the_genotype(tmp_path, small_file) -> None:
    moved = tmp_path / "moved.yaml"
    moved.write_bytes(small_file.read_bytes())
    cfg = config(genotype=str(moved), out=str(tmp_path / "run"))
    run_training(tmp_path / "run", cfg)
    moved.unlink()
    assert open_training(cfg).genotype == genotypes.load(small_file)


def test_a_checkpoint_of_another_genotype_is_refused(tmp_path, small_file, space_file) -> None:
    cfg = config(genotype=str(small_file), out=str(tmp_path / "run"))
    run_training(tmp_path / "run", cfg)
    genotypes.save(genotypes.load("fpn_tiny"), tmp_path / "run/genotype.yaml")
    with pytest.raises(UserError, match="another genotype"):
        run_training(tmp_path / "run", cfg, resume=True)


def test_every_genotype_and_seed_holds_out_the_same_photographs(small_file) -> None:
    rows = [
        open_training(config(genotype=genotype, seed=seed)).held_out_rows.tolist()
        for genotype in (str(small_file), "fpn_tiny")
        for seed in (0, 1)
    ]
    assert rows[0] == rows[1] == rows[2] == rows[3] and len(rows[0]) == 4
    other = open_training(config(genotype=str(small_file), data_seed=1))
    assert other.held_out_rows.tolist() != rows[0]
    assert not set(other.held_out_rows.tolist()) & set(other.train_rows.tolist())


def test_the_held_out_part_is_never_trained_on(tmp_path, small_file, monkeypatch) -> None:
    trained_on = set()
    augment = batches.augment

    def watch(images, *args):
        trained_on.update(picture.numpy().tobytes() for picture in images)
        return augment(images, *args)

    monkeypatch.setattr(batches, "augment", watch)
    cfg = config(genotype=str(small_file), recipe={"steps": 9})  # 9 x 4: the training part once
    run_training(tmp_path / "run", cfg)
    opened = open_training(cfg)
    held_out = {opened.photos.images[row].numpy().tobytes() for row in opened.held_out_rows}
    assert len(held_out) == 4 and len(trained_on) == 36 and not held_out & trained_on


def test_the_held_out_part_is_judged_alike_whatever_a_recipe_does_to_masks(tmp_path, small_file, pictures) -> None:
    trained, scores = [], []
    for masks in ("bilinear", "nearest"):
        cfg = config(genotype=str(small_file), data=str(pictures), held_out=0.5, recipe={"masks": masks})
        setup = open_training(cfg)
        trainer, _ = training.training_of(cfg, setup)
        trained.append(trainer.task.draw(0).masks)
        held_out = training.held_out_of(cfg, setup)
        scores.append(held_out.score(lambda x: [x.mean(1, keepdim=True)]))
    names = [setup.photos.names[i] for i in setup.held_out_rows]
    size = (cfg.recipe.size, cfg.recipe.size)
    expected = [Image.open(pictures / f"masks/{name}.png").resize(size, Image.Resampling.BILINEAR) for name in names]
    assert scores[0] == scores[1]
    samples = held_out.samples
    assert torch.equal(samples.photos.batch(samples.rows)[1][:, 0], torch.from_numpy(np.stack(expected)))
    assert not torch.equal(*trained)


def test_a_network_that_diverged_has_the_worst_scores_and_of_a_plugins_metric_none(small_file, monkeypatch) -> None:
    share = Record(name="share", summary="of what is salient", source=lambda maps, masks: (maps > 0.5).float().mean())
    monkeypatch.setitem(METRICS._records, "share", share)
    cfg = config(genotype=str(small_file))
    held_out = training.held_out_of(cfg, open_training(cfg))
    assert held_out.score(lambda x: [torch.ones_like(x[:, :1])])["share"] == 1
    scores = held_out.score(lambda x: [torch.full_like(x[:, :1], math.nan)])
    assert {**scores, "share": str(scores["share"])} == {**DIVERGED_SCORES, "share": "nan"}


def test_a_resumed_run_that_is_refused_keeps_its_genotype(tmp_path, small_file) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_bytes(small_file.read_bytes())
    run_training(tmp_path / "run", config(genotype=str(mine)))
    before = (tmp_path / "run/genotype.yaml").read_bytes()
    genotypes.save(genotypes.load("fpn_tiny"), mine)
    with pytest.raises(UserError, match="another genotype"):
        run_training(tmp_path / "run", config(genotype=str(mine)), resume=True)
    assert (tmp_path / "run/genotype.yaml").read_bytes() == before


def test_synthetic_test_pictures_are_new_ones(tmp_path, small_file) -> None:
    opened = open_training(config(genotype=str(small_file), test=("new=synthetic:8",)))
    assert not any(torch.equal(a, b) for a in opened.tests["new"].images for b in opened.photos.images)
    assert torch.equal(opened.photos.images[3], synthetic_set(4, 32, 0).images[3])


@pytest.mark.parametrize("on_a_gpu", [False, True])  # where its share is a tensor, as captured steps need it
def test_the_moving_average_is_the_one_of_the_formula(small_file, monkeypatch, on_a_gpu) -> None:
    monkeypatch.setattr(loop, "capturable", lambda device: on_a_gpu)
    cfg = config(genotype=str(small_file))
    opened = open_training(cfg)
    average = MovingAverage(opened.net, 0.5)
    key = next(iter(opened.net.state_dict()))
    weight = opened.net.state_dict()[key]
    count = next(name for name in opened.net.state_dict() if name.endswith("num_batches_tracked"))
    expected, generator = weight.double().clone(), torch.Generator().manual_seed(0)
    for k in range(12):
        weight.copy_(torch.randn(weight.shape, generator=generator))
        opened.net.state_dict()[count].add_(1)
        step = SimpleNamespace(step=k)  # all that it asks of a trainer
        average.prepare(step)
        average.after(step)
        decay = min(0.5, (1 + k) / (10 + k))
        expected = decay * expected + (1 - decay) * weight.double()
    assert torch.allclose(average.net.state_dict()[key].double(), expected, atol=1e-6)
    assert average.net.state_dict()[count] == 12


def test_a_network_without_norms_is_averaged_too(tmp_path) -> None:
    """It has no counts to copy, and torch copies no empty list: the first step ended in a traceback."""
    text = """format: 1
name: bare
cells:
- {name: c, template: lateral, inputs: [image], channels: 1, kernel: 3}
outputs: [c.f1]
"""
    (tmp_path / "bare.yaml").write_text(text)
    result = run_training(tmp_path / "run", config(genotype=str(tmp_path / "bare.yaml")))
    assert result.steps == 6


def test_the_saved_weights_are_the_average_or_without_one_the_weights(tmp_path, small_file) -> None:
    for decay, part in ((0.9, "average"), (0.0, "net")):
        path = tmp_path / part
        run_training(path, config(genotype=str(small_file), recipe={"ema": decay, "steps": 2}))
        checkpoint = load_checkpoint(path / "checkpoint.pt")
        checkpoint["average"] = checkpoint["changes"].get("average")
        _, weights = load_weights(path / "weights.safetensors")
        assert all(torch.equal(weights[key], value) for key, value in checkpoint[part].items())
        assert (checkpoint["average"] is None) == (decay == 0)


def test_a_training_starts_from_the_weights_it_is_given(tmp_path, trained, small_file, space_file) -> None:
    start = str(trained / "weights.safetensors")
    inputs = open_training(config(genotype=str(small_file), init=start))
    _, weights = load_weights(start)
    assert all(torch.equal(value, weights[key]) for key, value in inputs.net.state_dict().items())
    with pytest.raises(UserError, match="weights of another network"):
        open_training(config(genotype="fpn_tiny", init=start))
    with pytest.raises(UserError, match="give one of --backbone_weights"):
        config(genotype=str(small_file), init=start, backbone_weights=start)


def test_frozen_norms_stay_as_they_came(tmp_path, small_file) -> None:
    cfg = config(genotype=str(small_file), recipe={"freeze_backbone_norms": True, "steps": 3, "ema": 0.0})
    before = {key: value.clone() for key, value in open_training(cfg).net.state_dict().items()}
    run_training(tmp_path / "run", cfg)
    after = load_checkpoint(tmp_path / "run/checkpoint.pt")["net"]
    norms = {key.rsplit(".", 1)[0] for key in before if key.startswith("backbone.") and key.endswith("running_mean")}
    assert norms
    changed = {key for key, value in before.items() if not torch.equal(value, after[key])}
    assert not [key for key in changed if key.rsplit(".", 1)[0] in norms]
    assert [key for key in changed if key.startswith("backbone.")]  # its convolutions do learn
    assert [key for key in changed if key.startswith("cells.") and key.endswith("running_mean")]


def test_what_a_run_leaves(trained, small) -> None:
    expected = {"config.yaml", "environment.json", "checkpoint.pt", "history.csv", "events", "genotype.yaml"}
    expected |= {"weights.safetensors", "scores.json", "cells.svg", "predictions.png", "best.safetensors"}
    assert {path.name for path in trained.iterdir()} == expected
    document = json.loads((trained / "scores.json").read_text())
    net = load(trained / "weights.safetensors").network
    assert net.genotype == small and document["genotype_hash"] == small.hash
    assert net.genotype.input.size == (32, 32)  # the size it was trained at
    assert document["params"] == sum(p.numel() for p in net.parameters())
    assert document["scores"]["held_out"]["count"] == 4 and document["scores"]["held_out"]["wF"] is None


def test_test_sets_are_scored_at_the_end(tmp_path, small_file, pictures) -> None:
    cfg = config(genotype=str(small_file), test=(f"mine={pictures}", "more=synthetic:3"), quick_scores=False)
    result = run_training(tmp_path / "run", cfg)
    assert {name: scores.count for name, scores in result.scores.items()} == {"held_out": 4, "mine": 4, "more": 3}
    assert all(0 < scores.wF < 1 for scores in result.scores.values())
    some = open_training(replace(cfg, test_limit=2)).tests
    assert {name: len(photos) for name, photos in some.items()} == {"mine": 2, "more": 2}


def test_two_photographs_are_enough_and_one_is_not(tmp_path, small_file) -> None:
    run_training(tmp_path / "run", config(genotype=str(small_file), data="synthetic:2", recipe={"steps": 1}))
    with pytest.raises(UserError, match="single photograph"):
        open_training(config(genotype=str(small_file), data="synthetic:1"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--recipe.frozen", ".*"], "recipe: frozen: .* leaves no parameter to train"),  # a traceback, once
        (["--recipe.frozen", "cellar"], "'cellar' matches no parameter"),
        (["--recipe.optim.groups", "[{match: cellar, lr: 1}]"], "'cellar' matches no parameter"),
        (["--recipe.dynamic_decay", "1"], "dynamic_decay needs cells of octave_block"),
    ],
)
def test_what_does_not_fit_the_network_leaves_no_folder(words, message, tmp_path, small_file, capsys) -> None:
    """The same --out was refused once the mistake was mended."""
    shared = ["--data", "synthetic:20", "--recipe.size", "32", "--out", str(tmp_path / "run"), *words]
    for command, option in ((main, "--genotype"), (compare, "--genotypes")):
        assert run_command(command, [option, str(small_file), *shared]) == 2
        assert message in capsys.readouterr().err and not (tmp_path / "run").exists()


def test_batches_of_one_where_the_norms_allow_them(tmp_path, small_file) -> None:
    smaller = ({"first_size": 0.5}, {"augment": AugmentConfig(scales=(1.0, 0.5))})  # some batches: a traceback, once
    for changes in ({"size": 32}, *smaller):
        with pytest.raises(UserError, match="two images or more at a time"):  # stride 32 leaves one value a channel
            open_training(config(genotype=str(small_file), recipe={"batch_size": 1, "size": 64, "steps": 1} | changes))
    result = run_training(
        tmp_path / "run", config(genotype=str(small_file), recipe={"batch_size": 1, "size": 64, "steps": 1})
    )
    assert result.steps == 1


def test_a_loss_that_explodes_stops_the_run(tmp_path, small_file, monkeypatch) -> None:
    monkeypatch.setattr(loop, "multi_output_loss", lambda outputs, masks, cfg: outputs[0].sum() * torch.nan)
    for name, stop in (("run", nullcontext()), ("asked to stop", stopped_in_step(1))):
        with stop, pytest.raises(UserError, match=r"step 0: the loss is nan; try a smaller --recipe\.optim\.lr"):
            run_training(tmp_path / name, config(genotype=str(small_file), recipe={"loss": LossConfig()}))
        assert not (tmp_path / name / "checkpoint.pt").exists()


def test_bf16_trains_too(tmp_path, small_file) -> None:
    result = run_training(tmp_path / "run", config(genotype=str(small_file), recipe={"precision": "bf16", "steps": 2}))
    assert result.steps == 2


def test_a_run_folder_in_use_is_not_touched(trained) -> None:
    before = {path: path.stat().st_mtime_ns for path in trained.rglob("*")}
    with pytest.raises(UserError, match="already exists: choose another --out, or continue it with --resume"):
        RunFolder.open(str(trained), "train", "")
    assert {path: path.stat().st_mtime_ns for path in trained.rglob("*")} == before


def _write_maps(folder, maps):
    folder.mkdir()
    for i, pixels in enumerate(maps):
        Image.fromarray(pixels).save(folder / f"{i:06d}.png")


def test_a_teacher_is_learned_from(tmp_path, small_file) -> None:
    """A teacher that says the opposite of the masks, alone in the loss, is what the network follows."""
    masks = synthetic_set(40, 32, 0).masks[:, 0].numpy()
    _write_maps(tmp_path / "opposite", 255 - masks)
    recipe = {"steps": 60, "ema": 0.0, "loss": LossConfig(teacher=1.0)}
    cfg = config(genotype=str(small_file), recipe=recipe)
    plain = run_training(tmp_path / "plain", cfg).scores["held_out"].MAE_raw
    taught = replace(cfg, teacher=str(tmp_path / "opposite"), evaluate_every=30)
    assert plain < 0.4 and run_training(tmp_path / "taught", taught).scores["held_out"].MAE_raw > 0.6
    shutil.rmtree(tmp_path / "opposite")
    _write_maps(tmp_path / "opposite", masks)
    with pytest.raises(UserError, match="another set of photographs"):
        run_training(tmp_path / "taught", taught, resume=True)
    with pytest.raises(UserError, match=r"--teacher: its maps have no share in the loss"):
        config(genotype=str(small_file), recipe={"loss": LossConfig(teacher=0.0)}, teacher=str(tmp_path / "opposite"))


def test_a_network_labels_what_the_student_sees(small_file, trained) -> None:
    """The whole picture as it was varied and blended, though the student gets it smaller."""
    augment = AugmentConfig(flip=1.0, crop=0.3, colour=0.3, scales=(0.5,))
    recipe = {"augment": augment, "blend": 0.5, "plain": 0.5, "steps": 4, "size": 64, "loss": LossConfig(teacher=1.0)}
    weights = str(trained / "weights.safetensors")
    cfg = config(genotype=str(small_file), recipe=recipe, teacher=weights)
    setup = open_training(cfg)
    task = training.training_of(cfg, setup)[0].task
    batch = task.draw(0)
    x, y = task.make(batch)
    assert 0 < (batch.change.blend > 0).sum() < len(x) and batch.change.blend.max() <= 0.5
    whole, masks = augment_batch(batch.images, batch.masks, batch.change._replace(shape=(64, 64)))
    share = batch.change.blend[:, None, None, None]
    whole = (1 - share) * whole + share * whole.roll(1, 0)
    small, masks = (F.interpolate(some, size=(32, 32), mode="bilinear", antialias=True) for some in (whole, masks))
    maps = np.stack(load(weights).probabilities(small))  # 32 px are the teacher's own size, too
    torch.testing.assert_close(x, network_input(small, setup.genotype.input))
    torch.testing.assert_close(y[:, 1:], torch.from_numpy(maps), atol=1e-5, rtol=0)
    assert torch.equal(y[:, :1], (masks > 0.5).float())
    as_it_is = task.draw(2)  # of the plain half
    assert as_it_is.change.blend is None and task.make(as_it_is)[0].shape[-1] == 64
    assert as_it_is.change.flipped.all()  # as the recipe says, there too


def test_a_network_that_teaches_is_checked(tmp_path, small_file, trained, monkeypatch) -> None:
    weights, taught = str(trained / "weights.safetensors"), {"loss": LossConfig(teacher=1.0)}
    with pytest.raises(UserError, match=r"--teacher: no folder of maps, and no weight file at .*none, and no network"):
        open_training(config(genotype=str(small_file), recipe=taught, teacher=str(tmp_path / "none")))
    with pytest.raises(UserError, match=r"recipe\.blend: a network labels the blends"):
        config(genotype=str(small_file), recipe=taught | {"blend": 0.5}, teacher=str(tmp_path))
    with pytest.raises(UserError, match=r"blended pictures have no mask: loss\.teacher must be 1, not 0\.5"):
        config(genotype=str(small_file), recipe={"blend": 0.5}, teacher=weights)
    with pytest.raises(UserError, match=r"blend is a share .* not 1\.5"):
        config(genotype=str(small_file), recipe=taught | {"blend": 1.5}, teacher=weights)
    for nothing in ({"plain": 1.0}, {"batch_size": 1}):
        with pytest.raises(UserError, match=r"recipe: blend has no effect with"):
            config(genotype=str(small_file), recipe=taught | {"blend": 0.5} | nothing, teacher=weights)
    with pytest.raises(UserError, match=r"--unlabelled: --teacher must be a folder of maps"):
        open_training(config(genotype=str(small_file), recipe=taught, teacher=weights, unlabelled=str(tmp_path)))
    (tmp_path / "sod_s").mkdir()
    monkeypatch.chdir(tmp_path)  # a folder of a network's name does not hide it
    assert open_training(config(genotype=str(small_file), recipe=taught, teacher="sod_s")).teacher is not None
    with pytest.raises(UserError, match="sod_s lacks the maps of"):
        open_training(config(genotype=str(small_file), recipe=taught, teacher="./sod_s"))
    run_training(tmp_path / "run", config(genotype=str(small_file), recipe=taught, teacher=weights))
    with pytest.raises(UserError, match="its checkpoint belongs to another teacher"):
        run_training(tmp_path / "run", config(genotype=str(small_file), recipe=taught, teacher="sod_s"), resume=True)
    with pytest.raises(UserError, match=r"another teacher: [0-9a-f]+ then, None now"):  # it went on without one
        run_training(tmp_path / "run", config(genotype=str(small_file), recipe=taught), resume=True)


@pytest.mark.parametrize("blend", [0.0, 0.5])
def test_an_interrupted_training_with_a_teacher_ends_as_if_never_interrupted(
    tmp_path, small_file, trained, blend
) -> None:
    _write_maps(tmp_path / "maps", synthetic_set(40, 32, 7).images[:, 0].numpy())
    augment = AugmentConfig(crop=0.2, rotate=10.0, scales=(1.0, 1.5))
    recipe = {"augment": augment, "blend": blend, "loss": LossConfig(teacher=1.0 if blend else 0.5)}
    teacher = trained / "weights.safetensors" if blend else tmp_path / "maps"
    cfg = config(genotype=str(small_file), recipe=recipe, teacher=str(teacher))
    run_training(tmp_path / "whole", cfg)
    with stopped_in_step(3), pytest.raises(Interrupted):
        run_training(tmp_path / "parts", cfg)
    run_training(tmp_path / "parts", cfg, resume=True)
    assert (tmp_path / "parts/history.csv").read_bytes() == (tmp_path / "whole/history.csv").read_bytes()
    assert same_weights(tmp_path / "parts/weights.safetensors", tmp_path / "whole/weights.safetensors")


def test_the_maps_that_predict_writes_are_found_and_unlabelled_photographs_are_trained_on(
    tmp_path, trained, small_file, pictures
) -> None:
    more = tmp_path / "more"
    (more / "deep").mkdir(parents=True)
    (pictures / "images/p3.png").rename(more / "deep/p3.png")
    (pictures / "masks/p3.png").unlink()
    weights = str(trained / "weights.safetensors")
    predict([str(pictures / "images"), str(more), "--weights", weights, "-o", str(tmp_path / "maps")])
    files = {"data": str(pictures), "teacher": str(tmp_path / "maps"), "unlabelled": str(more)}
    setup = open_training(config(genotype=str(small_file), held_out=0.4, **files))
    assert setup.photos.names[-1] == "deep/p3" and setup.train_rows.tolist()[-1] == 3
    assert sorted([*setup.train_rows.tolist(), *setup.held_out_rows.tolist()]) == [0, 1, 2, 3]
    run_training(tmp_path / "run", config(genotype=str(small_file), held_out=0.4, **files))


def test_the_best_weights_are_kept_beside_the_last(tmp_path, small_file) -> None:
    run = tmp_path / "run"
    run_training(run, config(genotype=str(small_file), recipe={"optim": OptimConfig(lr=0.05), "ema": 0.0}))
    rows = history(run)
    best = min(rows, key=lambda row: row["held_out_MAE_raw"])
    told = json.loads((run / "scores.json").read_text())["best"]
    assert (told["step"], told["held_out_MAE_raw"]) == (best["step"], best["held_out_MAE_raw"])
    setup = open_training(config(genotype=str(small_file), init=str(run / "best.safetensors")))
    held_out = HeldOut(samples=setup.samples(setup.held_out_rows), loss=LossConfig(), chunk=16)
    assert held_out.score(setup.net.eval())["MAE_raw"] == pytest.approx(best["held_out_MAE_raw"], abs=1e-6)


def test_a_training_that_diverges_says_where_its_best_weights_are(tmp_path, small_file, monkeypatch) -> None:
    class Bad(Supervised):
        def loss(self, batch):
            self.seen = getattr(self, "seen", 0) + 1
            return super().loss(batch) * (math.nan if self.seen > 4 else 1.0)

    monkeypatch.setattr(training, "Supervised", Bad)
    with pytest.raises(Diverged, match=r"step 4: the loss is nan; .*best weights until then are .*best\.safetensors"):
        run_training(tmp_path / "run", config(genotype=str(small_file)))
    assert load(tmp_path / "run/best.safetensors").genotype.name == "small"


def test_scoring_takes_no_more_memory_than_passes_leave(small_file) -> None:
    """Whoever trains in parts is short of memory when the held-out photographs are scored, too."""
    for passes, chunk in ((1, 32), (4, 8)):
        cfg = config(genotype=str(small_file), recipe={"batch_size": 8, "passes": passes})
        assert training.held_out_of(cfg, open_training(cfg)).chunk == chunk


def test_a_batch_in_passes_trains_as_the_whole(small_file) -> None:
    """Without norms that look at the batch, up to rounding."""
    grads = []
    for passes in (1, 4):
        cfg = config(
            genotype=str(small_file), recipe={"passes": passes, "norms": "eval", "loss": LossConfig(terms={"bce": 1.0})}
        )
        trainer, _ = training.training_of(cfg, open_training(cfg))
        trainer.optimizer.step = lambda: None
        trainer.advance()
        grads.append([p.grad for p in trainer.net.parameters() if p.grad is not None])
        grads[-1].append(torch.tensor(trainer.totals.means()["train"]))
    for one, other in zip(*grads, strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-6)
    with pytest.raises(UserError, match="passes must divide batch_size"):
        config(recipe={"passes": 3})
