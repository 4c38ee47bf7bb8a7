"""The search: weights on one half of the photographs, architecture on the other, selection on a held-out part."""

import math
from typing import Any

import torch
from torch.func import functional_call
from tqdm import tqdm

from genotypes import UserError, save
from nas.network import Mixture, norm_statistics_frozen
from nas.optim import descend, set_progress
from nas.run import Interrupted, Interrupts, RunFolder
from nas.search import log
from nas.search.config import SearchConfig
from nas.search.finish import SearchResult, finish
from nas.search.held_out import score_held_out, score_path
from nas.search.inputs import Inputs, open_inputs
from nas.search.objective import COSTS
from nas.search.state import SearchState
from nas.search.watch import curvature
from nas.strategies import Loss
from nas.task import check_finite, multi_output_loss

__all__ = ["SearchResult", "search"]


def search(cfg: SearchConfig, run: RunFolder, *, inputs: Inputs | None = None, progress: bool = True) -> SearchResult:
    """Search, or continue the search that `run` holds. Raises Interrupted once saved, if asked to stop.

    inputs: what `open_inputs(cfg)` gave, where the caller has opened it already.
    """
    inputs = inputs or open_inputs(cfg, folder=run.path, progress=progress)
    save(inputs.export, run.path / "space.yaml")  # what was open: random rivals are drawn from it
    if inputs.objective:
        run.write_text(COSTS, inputs.objective.to_json())
    state = SearchState(cfg, inputs.net)
    saved = run.load()  # to the CPU: the optimisers keep their step counts there, and move the rest
    if saved is not None:
        if saved.get("space_hash") != inputs.space.hash:
            raise UserError(f"{run.path}: its checkpoint belongs to another space than its config.yaml describes")
        state.load_state_dict(saved)
    strategy = state.strategy
    steps = cfg.steps if strategy.learns else 0

    def loss_of(x: torch.Tensor, y: torch.Tensor) -> Loss:
        def loss(mixture: Mixture, params: dict[str, torch.Tensor]) -> torch.Tensor:
            with torch.autocast(inputs.device.type, torch.bfloat16, enabled=cfg.precision == "bf16"):
                outputs = functional_call(state.net, params, (x, mixture))
            return multi_output_loss(outputs, y, cfg.loss)

        return loss

    bar = tqdm(total=steps, initial=state.step, desc="search", unit="step", disable=not progress)
    with bar, Interrupts() as interrupts:
        while state.step < steps and state.stop is None:
            step = state.step
            state.prepare()
            net = state.net
            factor = set_progress(state.optimizer, cfg.optim, step / steps)
            train_loss = loss_of(*inputs.train(step))
            net.train()
            if step >= cfg.warmup_steps and step % cfg.architecture_every == 0:
                with norm_statistics_frozen(net):
                    valid_loss = _with_cost(loss_of(*inputs.valid(step)), inputs)
                    value = strategy.architecture_step(step, train_loss, valid_loss, cfg.optim.lr * factor)
                state.sums["valid"] += value
                state.sums["valid_count"] += 1
            loss = train_loss(strategy.mixture(step), dict(net.named_parameters()))
            check_finite(loss, step, "--optim.lr")
            descend(loss, net, state.optimizer, cfg.optim)
            state.sums["train"] += float(loss.detach())
            state.sums["train_count"] += 1
            state.step = step + 1
            bar.update()
            if state.step % cfg.evaluate_every == 0 or state.step == steps:
                row = _evaluate(cfg, state, inputs)
                run.record(row)
                log.write(run, state, row, inputs, last=state.step == steps)
                run.save(state.state_dict())
                bar.set_postfix(_shown(row))
            if interrupts.signum and state.step < steps:
                run.save(state.state_dict())
                raise Interrupted(interrupts.signum, f"saved at step {state.step}; continue: --out {run.path} --resume")
    return finish(cfg, run, state, inputs, progress=progress)


def _shown(row: dict[str, Any]) -> dict[str, str]:
    """What the progress bar shows of a row of the history."""
    keys = {"loss": "train_loss", "maxF": "held_out_maxF", "entropy": "entropy", "eig": "eigenvalue"}
    shown = {name: f"{row[key]:.3f}" for name, key in keys.items() if not math.isnan(row[key])}
    return shown | {"none": str(row["derived_none"]), "skip": str(row["derived_skip_connect"])}


def _with_cost(valid: Loss, inputs: Inputs) -> Loss:
    """What the architecture parameters descend: the loss, and the expected cost where the search minds it."""
    if inputs.objective is None:
        return valid
    return lambda mixture, params: valid(mixture, params) + inputs.objective.penalty(mixture.weights)


def _evaluate(cfg: SearchConfig, state: SearchState, inputs: Inputs) -> dict[str, Any]:
    """A row of the history; the genotype that would be derived now is noted as a candidate."""
    sums, mixture, objective = state.sums, state.strategy.evaluated(), inputs.objective
    choices = state.derive(objective)
    score = score_held_out if mixture.active is None else score_path
    scores = score(state.net, mixture, inputs, cfg)
    check_finite(scores["loss"], state.step, "--optim.lr")
    row = {
        "step": state.step,
        "train_loss": sums["train"] / max(1, sums["train_count"]),
        "architecture_loss": sums["valid"] / sums["valid_count"] if sums["valid_count"] else math.nan,
        "entropy": log.entropy(state.strategy.probabilities()),
        "held_out_loss": scores["loss"],
        "held_out_maxF": scores["maxF"],
        "held_out_MAE": scores["MAE"],
    }
    derived = list(choices.values()) if choices else []
    row |= {f"derived_{op}": derived.count(op) for op in ("none", "skip_connect")}
    row["eigenvalue"] = curvature(cfg, state, inputs)
    if objective:
        row["derived_cost"] = objective.table.of(choices) if choices else math.nan
    state.sums = dict.fromkeys(sums, 0)
    if choices and state.step > cfg.warmup_steps:
        state.remember(choices, cfg.select)
        state.stop = state.guard.observe(state.step, choices, row["entropy"], row["eigenvalue"], row["held_out_loss"])
    return row
