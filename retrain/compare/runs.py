"""The trainings of a comparison: each in its own run folder, the finished ones not done again."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import genotypes
from genotypes import UserError
from nas.command import to_yaml
from nas.cost import count
from nas.run import Interrupted, RunFolder, open_device, progress_shown
from nas.task import PhotoSet, open_photos
from retrain.compare.config import CompareConfig, train_config
from retrain.compare.entries import Entry
from retrain.train import TrainConfig, open_training, train
from retrain.train.training import read_scores

__all__ = ["Plan", "Training", "compare", "plan_comparison"]


@dataclass(frozen=True, kw_only=True)
class Training:
    """One training's outcome. scores: set -> metric -> value (see nas.task.Scores), "held_out" first."""

    label: str
    group: str
    seed: int
    params: int
    macs: int
    images_per_second: float
    scores: dict[str, dict[str, float]]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """jobs: (entry, seed), in order; waiting: those yet to train; photos: None where none is; macs: by label."""

    jobs: list[tuple[Entry, int]]
    waiting: list[tuple[Entry, int]]
    photos: PhotoSet | None
    macs: dict[str, int]


def plan_comparison(cfg: CompareConfig, entries: list[Entry]) -> Plan:
    """Open and check all that the trainings need; nothing is written.

    Raises UserError for anything missing or not fitting, and where the folder `cfg.out` holds, under the same label,
    a training of another genotype or configuration.
    """
    jobs = [(entry, seed) for seed in cfg.seeds for entry in entries]  # seed by seed: early tables are fair ones
    out = Path(cfg.out or "")
    waiting = [job for job in jobs if cfg.out is None or not _is_complete(cfg, *job, out)]
    photos = _photos(cfg) if waiting else None
    for entry in {entry.label: entry for entry, _ in waiting}.values():
        open_training(_config(cfg, entry, cfg.seeds[0], out), genotype=entry.genotype, photos=photos)
    size = (cfg.recipe.size, cfg.recipe.size)
    macs = {entry.label: count(entry.genotype, size).macs for entry in entries}
    return Plan(jobs=jobs, waiting=waiting, photos=photos, macs=macs)


def compare(
    cfg: CompareConfig,
    plan: Plan,
    out: Path,
    *,
    after_each: Callable[[list[Training]], None] = lambda done: None,
) -> list[Training]:
    """Train every entry with every seed under `out`/runs; those that are complete there are read, not trained again.

    plan: of `plan_comparison(cfg, ...)`. after_each: called with all outcomes so far. Raises Interrupted once saved, if
    asked to stop.
    """
    done = []
    for number, (entry, seed) in enumerate(plan.jobs, 1):
        if (entry, seed) in plan.waiting:
            print(f"[{number}/{len(plan.jobs)}] {entry.label}, seed {seed}", flush=True)
            _train(cfg, entry, seed, out, plan.photos)
        done.append(_outcome(entry, seed, plan.macs[entry.label], out))
        after_each(done)
    return done


def _photos(cfg: CompareConfig) -> PhotoSet:
    cache = Path(cfg.cache) if cfg.cache else None
    photos = open_photos(
        cfg.data, size=cfg.recipe.size, cache_dir=cache, limit=cfg.limit, seed=cfg.data_seed, progress=progress_shown()
    )
    return photos.to(open_device(cfg.device))


def _folder(entry: Entry, seed: int, out: Path) -> Path:
    return out / "runs" / f"{entry.folder}-seed{seed}"


def _config(cfg: CompareConfig, entry: Entry, seed: int, out: Path) -> TrainConfig:
    return train_config(cfg, out / "genotypes" / f"{entry.folder}.yaml", seed, _folder(entry, seed, out))


def _is_complete(cfg: CompareConfig, entry: Entry, seed: int, out: Path) -> bool:
    """Whether the training's folder holds scores; UserError if it is a training of something else."""
    folder = _folder(entry, seed, out)
    if (folder / "config.yaml").is_file():
        before = _flat(yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8")))
        now = _flat(yaml.safe_load(to_yaml(_config(cfg, entry, seed, out))))
        for key in {**before, **now}:
            if key not in ("out", "genotype", "workers") and before.get(key) != now.get(key):
                raise UserError(
                    f"{folder} was trained with {key} {before.get(key)!r}, now {now.get(key)!r}: choose another --out"
                )
    if (folder / "genotype.yaml").is_file() and genotypes.load(folder / "genotype.yaml") != entry.genotype:
        raise UserError(f"{folder} holds another genotype than {entry.label} is now: choose another --out, or a LABEL=")
    return (folder / "scores.json").is_file()


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} -> {"a.b": 1}, as options are written."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _train(cfg: CompareConfig, entry: Entry, seed: int, out: Path, photos: PhotoSet | None) -> None:
    config, folder = _config(cfg, entry, seed, out), _folder(entry, seed, out)
    genotypes.save(entry.genotype, config.genotype)
    setup = open_training(config, genotype=entry.genotype, photos=photos)
    resume = (folder / "config.yaml").is_file()
    run = RunFolder.open(str(folder), "train", to_yaml(config), resume=resume)
    try:
        train(config, run, setup=setup)
    except Interrupted as stop:
        raise Interrupted(stop.code - 128, f"saved; the same command with --out {out} continues") from None


def _outcome(entry: Entry, seed: int, macs: int, out: Path) -> Training:
    document = read_scores(_folder(entry, seed, out))
    return Training(
        label=entry.label,
        group=entry.group,
        seed=seed,
        params=document["params"],
        macs=macs,
        images_per_second=document["images_per_second"],
        scores=document["scores"],
    )
