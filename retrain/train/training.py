"""The training: one network, one stream of batches, a held-out part to watch; then weights, scores and pictures."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

import genotypes
from genotypes import Genotype, UserError
from genotypes.files import json_text, write_atomically
from nas.network import Network, batch_norms, to_device
from nas.report import report_at_the_end
from nas.run import RunFolder
from nas.run.distributed import go_on_alone
from nas.run_files import read_json
from nas.task import Batches, PhotoSet, Protocol, Scores, evaluate, evenly, pixels, write_png
from nas.training import (
    Change,
    Diverged,
    Events,
    HeldOut,
    History,
    Listener,
    MovingAverage,
    Progress,
    Supervised,
    SupervisedNative,
    Trainer,
    check_groups,
    check_patterns,
    fit,
    registered_listeners,
)
from retrain.predictor import Predictor, save
from retrain.recipe import Recipe
from retrain.train.config import TrainConfig
from retrain.train.dynamic_decay import DynamicDecay
from retrain.train.setup import TrainSetup, open_training

__all__ = [
    "Best",
    "TrainResult",
    "check_recipe",
    "held_out_of",
    "read_scores",
    "recipe_changes",
    "train",
    "training_of",
]

_SHOWN = {"loss": "train_loss", "maxF": "held_out_maxF", "MAE_raw": "held_out_MAE_raw"}
_BEST = "best.safetensors"
_PICTURES = 6  # photographs in the strip of predictions
_SMALL = 2_000_000  # pixels to score for which starting worker processes takes longer than the scoring


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """The network trained, its scores by set ("held_out" first), how long it took, and where it lies.

    ran: how the steps ran: whether they were compiled and, on a GPU, how many were replayed and the peak memory.
    """

    genotype: Genotype
    scores: dict[str, Scores]
    steps: int
    images_per_second: float
    path: Path
    ran: str | None = None


def train(
    cfg: TrainConfig,
    run: RunFolder,
    *,
    setup: TrainSetup | None = None,
    training: tuple[Trainer, Network] | None = None,
) -> TrainResult:
    """Train, or continue the training that `run` holds. Raises Interrupted once saved, if asked to stop.

    setup, training: what `open_training(cfg)` and `training_of(cfg, setup)` gave, where the caller has them already: a
    mistake that they tell of leaves no folder.
    """
    setup = setup or open_training(cfg)
    trainer, net = training or training_of(cfg, setup)
    trainer.resume(run)  # or its error: what the run began with stays
    genotypes.save(setup.genotype, run.path / "genotype.yaml")
    held_out = held_out_of(cfg, setup)

    def row() -> dict[str, Any]:
        scores = held_out.score(net.eval())
        trainer.check(scores["loss"])
        means = {"lr": float(trainer.lr.value), "train_loss": trainer.totals.means()["train"]}
        return {"step": trainer.step} | means | {f"held_out_{name}": value for name, value in scores.items()}

    def pictures() -> Mapping[str, np.ndarray]:
        return {"predictions/photo_mask_map": _strip(net, setup)}

    every = cfg.evaluate_every or max(1, math.ceil(trainer.steps / 10))
    bar = Progress(f"train {setup.genotype.name}", _SHOWN)
    listeners = [History(run), Best(run, net), Events(run, "train", pictures), bar, *registered_listeners(run)]
    try:
        fit(trainer, row, at=lambda step: step % every == 0, listeners=listeners, run=run)
    except Diverged as error:
        if (kept := run.path / _BEST).is_file():
            raise Diverged(f"{error}; the best weights until then are {kept} (--init starts from them)") from None
        raise
    go_on_alone()
    return _finish(cfg, run, setup, net, trainer)


class Best(Listener):
    """RUN/best.safetensors: the weights whose held-out MAE_raw was smallest so far; to stand after `History`."""

    def __init__(self, run: RunFolder, net: Network) -> None:
        self._run, self._net = run, net

    def row(self, trainer: Trainer, row: Mapping[str, Any]) -> None:
        if best_row(self._run.history)["step"] == row["step"]:
            save(self._run.path / _BEST, self._net)


def best_row(history: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The row of the history whose weights are the best so far."""
    return min(history, key=lambda row: row["held_out_MAE_raw"])


def training_of(cfg: TrainConfig, setup: TrainSetup) -> tuple[Trainer, Network]:
    """What trains, and the network to score and to save: the moving average where the recipe asks for one."""
    recipe = cfg.recipe
    net = to_device(setup.net, setup.device)
    changes, result = recipe_changes(net, recipe)
    steps = recipe.total_steps(len(setup.train_rows))
    batches = Batches(
        samples=setup.samples(setup.train_rows),
        batch_size=recipe.batch_size,
        augment=recipe.augment,
        seed=cfg.seed,
        stream="train",
        first_size=recipe.first_size,
        grown_at=steps // 2,
        plain_from=steps - round(recipe.plain * steps),
        teacher=setup.teacher,
        blend=recipe.blend,
    )
    identity = {"genotype": setup.genotype.hash, "set of photographs": setup.photos.fingerprint}
    if setup.teacher is not None:
        identity["teacher"] = setup.teacher.fingerprint
    kind = SupervisedNative if recipe.native else Supervised
    trainer = Trainer(
        kind(net, batches, recipe.loss, recipe.precision, recipe.passes),
        recipe.optim,
        steps,
        changes=changes,
        identity=identity,
        blame="--recipe.optim.lr",
        capture=cfg.capture,
        compile="off" if recipe.native else cfg.compile,  # a shape each would be compiled each
    )
    return trainer, result


def held_out_of(cfg: TrainConfig, setup: TrainSetup) -> HeldOut:
    """The held-out photographs that are scored while training, judged by the recipe's loss."""
    recipe, rows = cfg.recipe, evenly(setup.held_out_rows, cfg.held_out_limit)
    return HeldOut(samples=setup.samples(rows), loss=recipe.loss, chunk=4 * recipe.batch_size // recipe.passes)


def recipe_changes(net: Network, recipe: Recipe) -> tuple[list[Change], Network]:
    """What a recipe adds to a step, and the network that is scored and saved: the moving average, or `net` itself.

    Parameters that it freezes are frozen from now on.
    """
    changes: list[Change] = [_freeze(net, recipe)]
    if recipe.dynamic_decay:
        changes.append(DynamicDecay(net, recipe.dynamic_decay))
    if not recipe.ema:
        return changes, net
    average = MovingAverage(net, recipe.ema)
    return [*changes, average], average.net


def check_recipe(recipe: Recipe, net: Network) -> None:
    """UserError where the recipe does not fit the network, which is changed: it is not to be trained afterwards."""
    recipe_changes(net, recipe)
    check_groups(recipe.optim, net)


class FrozenNorms(Change):
    """BatchNorms that compute with the running statistics that they started with, and keep them."""

    def __init__(self, norms: Sequence[nn.Module]) -> None:
        self.norms = norms

    def before(self, trainer: Trainer, batch: Any) -> None:
        for norm in self.norms:
            norm.eval()


def _freeze(net: Network, recipe: Recipe) -> FrozenNorms:
    frozen = batch_norms(net) if recipe.norms == "eval" else []
    if recipe.freeze_backbone_norms and net.backbone is not None:
        frozen += batch_norms(net.backbone)
        for norm in batch_norms(net.backbone):
            norm.requires_grad_(False)
    check_patterns("recipe: frozen", recipe.frozen, net)
    for name, parameter in net.named_parameters():
        if any(re.match(pattern, name) for pattern in recipe.frozen):
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in net.parameters()):
        raise UserError(f"recipe: frozen: {', '.join(recipe.frozen)} leaves no parameter to train")
    return FrozenNorms(frozen)


def _strip(net: Network, setup: TrainSetup) -> np.ndarray:
    """uint8[H, W, 3]: some held-out photographs, their masks and maps."""
    photos, rows, predictor = setup.photos, setup.held_out_rows[:_PICTURES], Predictor(net, setup.device)
    inputs = (pixels(photos.batch(part, "cpu")[0]) for part in photos.alike(rows, len(rows)))
    return photos.strip(rows, [one for x in inputs for one in predictor.probabilities(x)])


def _finish(cfg: TrainConfig, run: RunFolder, setup: TrainSetup, net: Network, trainer: Trainer) -> TrainResult:
    """Score the held-out part and the test sets; write weights, drawings, a strip of predictions, then scores.json."""
    from nas.visualize import draw  # matplotlib, which no step needs

    save(run.path / "weights.safetensors", net)
    draw(setup.genotype, run.path / "cells.svg")
    with write_atomically(run.path / "predictions.png") as file:
        write_png(_strip(net, setup), file)
    scores = {}
    for name, data in ({"held_out": setup.photos.subset(setup.held_out_rows, name="held_out")} | setup.tests).items():
        small = isinstance(data, PhotoSet) and data.masks.numel() < _SMALL
        scores[name] = evaluate(
            Predictor(net, setup.device).probabilities,
            data,
            size=cfg.recipe.size,
            protocol=Protocol().changed(native=cfg.recipe.native),
            workers=0 if small else cfg.workers,
            quick=cfg.quick_scores,
            name=name,
        ).scores
    best = best_row(run.history)
    speed = trainer.step * cfg.recipe.batch_size / trainer.seconds
    document = {
        "genotype": setup.genotype.name,
        "genotype_hash": setup.genotype.hash,
        "params": sum(p.numel() for p in net.parameters()),
        "steps": trainer.step,
        "train_images": len(setup.train_rows),
        "train_seconds": round(trainer.seconds, 2),
        "images_per_second": round(speed, 2),
        "best": {name: best[name] for name in ("step", "held_out_MAE_raw")},
        "scores": {name: s.plain() for name, s in scores.items()},
    }
    run.write_text("scores.json", json_text(document))  # last: where it is, the run is complete
    run.close()
    report_at_the_end(run.path)
    return TrainResult(
        genotype=setup.genotype,
        scores=scores,
        steps=trainer.steps,
        images_per_second=speed,
        path=run.path,
        ran=trainer.summary(),
    )


def read_scores(folder: Path) -> dict[str, Any]:
    """The scores.json of the complete run in this folder; UserError where it is not as a training writes it."""
    file = folder / "scores.json"
    document = read_json(file)
    try:
        numbers = [document["params"], document["images_per_second"], document["best"]["step"]]
        for scores in (document["scores"]["held_out"], *document["scores"].values()):
            numbers += [scores["maxF"], scores["MAE_raw"]]
        good = all(isinstance(number, int | float) for number in numbers)
    except (AttributeError, LookupError, TypeError):
        good = False
    if not good:
        raise UserError(f"{file}: not the scores of a training; delete it, and the same command scores anew")
    return document
