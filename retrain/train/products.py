"""What a training shows while it runs, and the files it leaves."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image

from nas.run import RunFolder
from nas.task import PhotoSet, Scores, evaluate
from nas.visualize import draw
from retrain.pictures import strip
from retrain.predictor import Predictor, save
from retrain.train.config import TrainConfig
from retrain.train.inputs import Inputs
from retrain.train.state import TrainState

__all__ = ["finish", "read_scores", "show"]

_SHOWN = 6  # photographs in the strip of predictions
_SMALL = 2_000_000  # pixels to score for which starting worker processes takes longer than the scoring


def show(run: RunFolder, state: TrainState, row: dict[str, Any], inputs: Inputs) -> None:
    """One evaluation's TensorBoard events."""
    events = run.events(state.step)
    for key, value in row.items():
        if key != "step":
            events.add_scalar(f"train/{key}", value, state.step)
    predict = Predictor(state.result, inputs.device)
    events.add_image(
        "predictions/photo_mask_map", strip(predict, inputs.photos, inputs.held_out_rows[:_SHOWN]), state.step
    )


def finish(
    cfg: TrainConfig,
    run: RunFolder,
    state: TrainState,
    inputs: Inputs,
    images_per_second: float,
    *,
    progress: bool = True,
) -> dict[str, Scores]:
    """Score the held-out part and the test sets; write weights, drawings, a strip of predictions, then scores.json."""
    net = state.result
    save(run.path / "weights.safetensors", net)
    draw(inputs.genotype, run.path / "cells.svg")
    predict = Predictor(net, inputs.device)
    pixels = strip(predict, inputs.photos, inputs.held_out_rows[:_SHOWN])
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(run.path / "predictions.png")

    held_out = inputs.photos.subset(inputs.held_out_rows, name="held_out")
    sets = {"held_out": held_out} | inputs.tests
    scores = {}
    for name, data in sets.items():
        small = isinstance(data, PhotoSet) and len(data) * data.size**2 < _SMALL
        scores[name] = evaluate(
            predict.probabilities,
            data,
            size=cfg.recipe.size,
            workers=0 if small else cfg.workers,
            quick=cfg.quick_scores,
            name=name,
            progress=progress,
        ).scores
    document = {
        "genotype": inputs.genotype.name,
        "genotype_hash": inputs.genotype.hash,
        "params": sum(p.numel() for p in net.parameters()),
        "steps": state.step,
        "train_images": len(inputs.train_rows),
        "train_seconds": round(state.seconds, 2),
        "images_per_second": round(images_per_second, 2),
        "scores": {name: _plain(asdict(s)) for name, s in scores.items()},
    }
    run.write_text("scores.json", json.dumps(document, indent=1))  # last: where it is, the run is complete
    run.close()
    return scores


def read_scores(folder: Path) -> dict[str, Any] | None:
    """The scores.json of a complete run in this folder, None where there is none."""
    path = folder / "scores.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _plain(row: dict[str, float]) -> dict[str, float | None]:
    """JSON knows no NaN: what was not scored is null."""
    return {key: None if math.isnan(value) else value for key, value in row.items()}
