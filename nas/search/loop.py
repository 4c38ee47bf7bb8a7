"""The search: weights on one half of the photographs, architecture on the other, selection on a held-out part."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.func import functional_call
from tqdm import tqdm

from genotypes import Genotype, UserError, save
from nas.network import Network, inherit, norm_statistics_frozen, reestimate_norms
from nas.optim import set_progress
from nas.run import Interrupted, Interrupts, RunFolder, open_device
from nas.search import log
from nas.search.config import SearchConfig, open_space
from nas.search.state import SearchState
from nas.strategies.base import Loss
from nas.task import Feed, PhotoSet, fast_scores, multi_output_loss, normalise, open_photos, split

__all__ = ["SearchResult", "search"]

_NORM_BATCHES = 20  # batches that re-estimate the norms of a derived network before it is judged


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """The genotype found, its held-out scores with the supernet's weights (before retraining), and where it lies."""

    genotype: Genotype
    scores: dict[str, float]
    path: Path


def search(cfg: SearchConfig, run: RunFolder, *, progress: bool = True) -> SearchResult:
    """Search, or continue the search that `run` holds. Raises Interrupted once saved, if asked to stop."""
    device = open_device(cfg.device)
    space = open_space(cfg)
    photos = open_photos(
        cfg.data, size=cfg.size, cache_dir=_path(cfg.cache), limit=cfg.limit, seed=cfg.seed, progress=progress
    ).to(device)
    weight_rows, architecture_rows, held_out_rows = split(len(photos), cfg.fractions, cfg.seed)
    held_out_rows = held_out_rows[: cfg.held_out_limit]

    save(space, run.path / "space.yaml")  # what was open: random rivals are drawn from it

    state = SearchState(cfg, space, device)
    saved = run.load(device)
    if saved is not None:
        state.load_state_dict(saved)
    net, strategy = state.net, state.strategy
    shared = {"photos": photos, "batch_size": cfg.batch_size, "augment": cfg.augment, "convention": space.input}
    shared |= {"device": device, "seed": cfg.seed}
    train_feed = Feed(rows=weight_rows, stream="weights", **shared)
    valid_feed = Feed(rows=architecture_rows, stream="architecture", **shared)
    steps = cfg.steps if strategy.learns else 0

    def loss_of(x: torch.Tensor, y: torch.Tensor) -> Loss:
        def loss(weights: torch.Tensor, params: dict[str, torch.Tensor]) -> torch.Tensor:
            with torch.autocast(device.type, torch.bfloat16, enabled=cfg.precision == "bf16"):
                outputs = functional_call(net, params, (x, weights))
            return multi_output_loss(outputs, y, cfg.loss)

        return loss

    bar = tqdm(total=steps, initial=state.step, desc="search", unit="step", disable=not progress)
    with bar, Interrupts() as interrupts:
        while state.step < steps:
            step = state.step
            factor = set_progress(state.optimizer, cfg.optim, step / steps)
            train_loss = loss_of(*train_feed(step))
            net.train()
            if step >= cfg.warmup_steps and step % cfg.architecture_every == 0:
                with norm_statistics_frozen(net):
                    valid_loss = loss_of(*valid_feed(step))
                    value = strategy.architecture_step(step, train_loss, valid_loss, cfg.optim.lr * factor)
                state.sums["valid"] += value
                state.sums["valid_count"] += 1
            loss = train_loss(strategy.weights(step), dict(net.named_parameters()))
            if not torch.isfinite(loss):
                raise UserError(f"step {step}: the loss is {float(loss)}; try a smaller --optim.lr")
            state.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), cfg.optim.clip or math.inf)
            state.optimizer.step()
            state.sums["train"] += float(loss.detach())
            state.sums["train_count"] += 1
            state.step = step + 1
            bar.update()
            if state.step % cfg.evaluate_every == 0 or state.step == steps:
                row = _evaluate(cfg, state, photos, held_out_rows, device)
                run.record(row)
                log.write(run, state, row, photos, held_out_rows, cfg)
                run.save(state.state_dict())
                shown = {"loss": row["train_loss"], "maxF": row["held_out_maxF"], "entropy": row["entropy"]}
                bar.set_postfix({key: f"{value:.3f}" for key, value in shown.items()})
            if interrupts.signum and state.step < steps:
                run.save(state.state_dict())
                raise Interrupted(interrupts.signum, f"saved at step {state.step}; continue: --out {run.path} --resume")
    return _finish(cfg, run, state, space, photos, held_out_rows, train_feed, device)


def _finish(
    cfg: SearchConfig,
    run: RunFolder,
    state: SearchState,
    space: Genotype,
    photos: PhotoSet,
    held_out: torch.Tensor,
    feed: Feed,
    device: torch.device,
) -> SearchResult:
    """Let the last derived genotypes compete with inherited weights, and write down the best."""
    name = f"{space.name}_{cfg.strategy}"
    state.remember(state.strategy.choices(), cfg.select)
    judged = []
    for choices in state.derived:
        genotype = space.decide(choices, name=name)
        if not state.strategy.learns:
            judged.append((genotype, {}))
            continue
        net = inherit(state.net, genotype).to(memory_format=torch.channels_last)
        reestimate_norms(net, (feed(k)[0] for k in range(_NORM_BATCHES)))
        judged.append((genotype, score_held_out(net, None, photos, held_out, cfg, device)))
    genotype, scores = min(judged, key=lambda pair: pair[1].get("loss", 0.0))
    log.products(run, genotype, state)
    run.close()
    return SearchResult(genotype=genotype, scores=scores, path=run.path)


def _evaluate(
    cfg: SearchConfig, state: SearchState, photos: PhotoSet, held_out: torch.Tensor, device: torch.device
) -> dict[str, Any]:
    """A row of the history, and the genotype that would be derived now noted as a candidate."""
    sums = state.sums
    scores = score_held_out(state.net, state.strategy.weights(state.step), photos, held_out, cfg, device)
    row = {
        "step": state.step,
        "train_loss": sums["train"] / max(1, sums["train_count"]),
        "architecture_loss": sums["valid"] / sums["valid_count"] if sums["valid_count"] else math.nan,
        "entropy": log.entropy(state.strategy.probabilities()),
        "held_out_loss": scores["loss"],
        "held_out_maxF": scores["maxF"],
        "held_out_MAE": scores["MAE"],
    }
    state.sums = dict.fromkeys(sums, 0)
    choices = state.strategy.choices()
    row |= {f"derived_{op}": list(choices.values()).count(op) for op in ("none", "skip_connect")}
    if state.step > cfg.warmup_steps:
        state.remember(choices, cfg.select)
    return row


@torch.no_grad()
def score_held_out(
    net: Network,
    weights: torch.Tensor | None,
    photos: PhotoSet,
    rows: torch.Tensor,
    cfg: SearchConfig,
    device: torch.device,
) -> dict[str, float]:
    """Loss, maxF and raw MAE on some images of a set, at the training size."""
    net.eval()
    convention = net.genotype.input
    loss, maps = 0.0, []
    for chunk in rows.split(4 * cfg.batch_size):
        images, masks = photos.batch(chunk, device)
        outputs = net(normalise(images.float() / 255, convention.mean, convention.std), weights)
        target = (masks > 127).float()
        loss += float(multi_output_loss(outputs, target, cfg.loss)) * len(chunk)
        maps.append(outputs[0].sigmoid())
    scores = fast_scores(torch.cat(maps), photos.batch(rows, device)[1])
    return {"loss": loss / len(rows), "maxF": scores.maxF, "MAE": scores.MAE_raw}


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None
