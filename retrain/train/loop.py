"""The training: one network, one stream of batches, a held-out part to watch."""

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from genotypes import Genotype, UserError, save
from nas.optim import descend, set_progress
from nas.run import Interrupted, Interrupts, RunFolder
from nas.task import Feed, Scores, check_finite, multi_output_loss, quick_scores
from retrain.train.config import TrainConfig
from retrain.train.inputs import Inputs, open_inputs
from retrain.train.products import finish, show
from retrain.train.state import TrainState

__all__ = ["TrainResult", "train"]


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """The network trained, its scores by set ("held_out" first), how long it took, and where it lies."""

    genotype: Genotype
    scores: dict[str, Scores]
    steps: int
    images_per_second: float
    path: Path


def train(cfg: TrainConfig, run: RunFolder, *, inputs: Inputs | None = None, progress: bool = True) -> TrainResult:
    """Train, or continue the training that `run` holds. Raises Interrupted once saved, if asked to stop.

    inputs: what `open_inputs(cfg)` gave, where the caller has opened it already.
    """
    inputs = inputs or open_inputs(cfg, progress=progress)
    recipe, device, genotype = cfg.recipe, inputs.device, inputs.genotype
    save(genotype, run.path / "genotype.yaml")
    state = TrainState(inputs.net, recipe, device)
    saved = run.load()  # to the CPU: the optimiser keeps its step counts there, and moves the rest
    if saved is not None:
        if saved.get("genotype_hash") != genotype.hash:
            raise UserError(f"{run.path}: its checkpoint belongs to another genotype than its genotype.yaml")
        state.load_state_dict(saved)
    feed = Feed(
        photos=inputs.photos,
        rows=inputs.train_rows,
        batch_size=recipe.batch_size,
        augment=recipe.augment,
        convention=genotype.input,
        device=device,
        seed=cfg.seed,
        stream="train",
    )
    steps = recipe.total_steps(len(inputs.train_rows))
    evaluate_every = cfg.evaluate_every or max(1, math.ceil(steps / 10))
    lr = math.nan

    bar = tqdm(total=steps, initial=state.step, desc=f"train {genotype.name}", unit="step", disable=not progress)
    with bar, Interrupts() as interrupts:
        while state.step < steps:
            began = time.perf_counter()
            lr = recipe.optim.lr * set_progress(state.optimizer, recipe.optim, state.step / steps)
            x, y = feed(state.step)
            state.train_mode()
            with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
                outputs = state.net(x)
            loss = multi_output_loss(outputs, y, recipe.loss)
            check_finite(loss, state.step, "--recipe.optim.lr")
            descend(loss, state.net, state.optimizer, recipe.optim)
            state.advance()
            state.sums["loss"] += float(loss.detach())
            state.sums["count"] += 1
            state.seconds += time.perf_counter() - began
            bar.update()
            if state.step % evaluate_every == 0 or state.step == steps:
                row = _evaluate(cfg, state, inputs, lr)
                run.record(row)
                show(run, state, row, inputs)
                run.save(state.state_dict())
                bar.set_postfix({key: f"{row[k]:.3f}" for key, k in _SHOWN.items()})
            if interrupts.signum and state.step < steps:
                run.save(state.state_dict())
                raise Interrupted(interrupts.signum, f"saved at step {state.step}; continue: --out {run.path} --resume")
    images_per_second = state.step * recipe.batch_size / state.seconds
    scores = finish(cfg, run, state, inputs, images_per_second, progress=progress)
    return TrainResult(
        genotype=genotype, scores=scores, steps=steps, images_per_second=images_per_second, path=run.path
    )


_SHOWN = {"loss": "train_loss", "maxF": "held_out_maxF", "MAE": "held_out_MAE"}


def _evaluate(cfg: TrainConfig, state: TrainState, inputs: Inputs, lr: float) -> dict[str, Any]:
    """A row of the history: the loss since the last row, and scores of some held-out photographs at training size."""
    rows = inputs.held_out_rows[: cfg.held_out_limit]
    scores = quick_scores(
        state.result.eval(),
        inputs.photos,
        rows,
        inputs.genotype.input,
        cfg.recipe.loss,
        chunk=4 * cfg.recipe.batch_size,
        device=inputs.device,
    )
    check_finite(scores["loss"], state.step, "--recipe.optim.lr")
    row = {
        "step": state.step,
        "lr": lr,
        "train_loss": state.sums["loss"] / max(1, state.sums["count"]),
        "held_out_loss": scores["loss"],
        "held_out_maxF": scores["maxF"],
        "held_out_MAE": scores["MAE"],
    }
    state.sums = {"loss": 0.0, "count": 0}
    return row
