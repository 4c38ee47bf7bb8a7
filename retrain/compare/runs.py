"""The trainings of a comparison: each in its own run folder, the finished ones not done again."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import genotypes
from genotypes import Genotype, UserError
from nas.cost import count, latencies
from nas.cost.clock import warn_if_busy
from nas.cost.measuring import prepare
from nas.options import difference, from_file, to_dict, to_yaml
from nas.report import report_at_the_end
from nas.run import Interrupted, RunFolder, open_device
from nas.run_files import identity_of
from nas.task import PhotoOptions, PhotoSet
from nas.task.evaluation import content_of_sets
from nas.task.folders import parse_data
from nas.training import Diverged
from retrain.compare.config import CompareConfig, starts
from retrain.compare.entries import Entry
from retrain.train import TrainConfig, TrainingOptions, open_training, train, training_photos
from retrain.train.setup import start_content
from retrain.train.training import check_recipe, read_scores

__all__ = ["ComparisonPlan", "Training", "compare", "left_out", "plan_comparison", "run_folder"]


_FILES = ("teacher", "unlabelled", "init", "backbone_weights")  # options that name files or folders


@dataclass(frozen=True, kw_only=True)
class Training:
    """One training's outcome. latency_ms: see `nas.cost.latencies`, None where it was not measured. scores: set
    -> metric -> value (see nas.task.Scores), "held_out" first.
    """

    label: str
    group: str
    seed: int
    params: int
    macs: int
    images_per_second: float
    latency_ms: float | None
    scores: dict[str, dict[str, float]]


@dataclass(frozen=True, kw_only=True)
class ComparisonPlan:
    """What a comparison has to do.

    jobs: (entry, seed), in order; waiting: those yet to train; photos: to train on, None where nothing waits. starts:
    label -> the weights that it starts from; macs: label -> multiply-adds. contents: of the files that those which wait
    read, and of the test sets, see `RunFolder.agree`.
    """

    jobs: list[tuple[Entry, int]]
    waiting: list[tuple[Entry, int]]
    photos: PhotoSet | None
    starts: dict[str, dict[str, str]]
    macs: dict[str, int]
    contents: dict[str, str]


def plan_comparison(cfg: CompareConfig, entries: list[Entry], earlier: Collection[str] = ()) -> ComparisonPlan:
    """Open and check all that the trainings need; nothing is written. earlier: as `starts` has it.

    Raises UserError for anything missing or not fitting, and where the folder `cfg.out` holds, under the same label,
    a training of another genotype or configuration.
    """
    jobs = [(entry, seed) for seed in cfg.seeds for entry in entries]  # seed by seed: early tables are fair ones
    out = Path(cfg.out or "")
    start = starts(cfg, entries, earlier)
    configs = {(e.label, seed): _config(cfg, start[e.label], e, seed, out) for e, seed in jobs}
    waiting = [job for job in jobs if cfg.out is None or not (run_folder(*job, out) / "scores.json").is_file()]
    noted = identity_of(out) if cfg.out else {}
    for entry, seed in jobs if cfg.out else ():
        _check_same(configs[entry.label, seed], entry, noted)
    photos = training_photos(next(iter(configs.values()))) if waiting else None
    contents: dict[str, str] = {}
    for entry in {entry.label: entry for entry, _ in waiting}.values():
        config = configs[entry.label, cfg.seeds[0]]
        for what, now in start_content(config, entry.genotype).items():  # by file: a row more may share one
            file = getattr(config, what.removeprefix("content of "))
            own = f" of {entry.label}" if file == "package" else ""  # which is another file for another backbone
            contents[f"{what} {file}{own}"] = now
        setup = open_training(config, genotype=entry.genotype, photos=photos)
        check_recipe(config.recipe, setup.net)
    if waiting:
        contents |= content_of_sets(setup.tests)
    size = (cfg.recipe.size, cfg.recipe.size)
    macs = {entry.label: count(entry.genotype, size).macs for entry in entries}
    return ComparisonPlan(jobs=jobs, waiting=waiting, photos=photos, starts=start, macs=macs, contents=contents)


def compare(
    cfg: CompareConfig, plan: ComparisonPlan, out: Path, *, after_each: Callable[[list[Training]], None]
) -> tuple[list[Training], list[str]]:
    """Train every entry with every seed under `out`/runs; those that are complete there are read, not trained again.

    plan: of `plan_comparison(cfg, ...)`. after_each: called with all outcomes so far. Returns the outcomes, and what is
    to be said of each training that diverged. Raises Interrupted once saved, if asked to stop.
    """
    done: list[Training] = []
    diverged: list[str] = []
    latency = _latencies(cfg, {entry.label: entry.genotype for entry, _ in plan.jobs}) if cfg.latency else {}
    for number, (entry, seed) in enumerate(plan.jobs, 1):
        if (entry, seed) in plan.waiting:
            print(f"[{number}/{len(plan.jobs)}] {entry.label}, seed {seed}", flush=True)
            try:
                signum = _train(_config(cfg, plan.starts[entry.label], entry, seed, out), entry, plan.photos, out)
            except Diverged as error:  # the others go on
                diverged.append(f"{entry.label}, seed {seed}: {error}")
                continue
            if signum and (entry, seed) != plan.waiting[-1]:
                raise _stopped(signum, out)
        folder = run_folder(entry, seed, out)
        if not (folder / "report.html").is_file():  # of a training that was killed behind its scores
            report_at_the_end(folder)
        document = read_scores(folder)
        done.append(
            Training(
                label=entry.label,
                group=entry.group,
                seed=seed,
                params=document["params"],
                macs=plan.macs[entry.label],
                images_per_second=document["images_per_second"],
                latency_ms=latency.get(entry.label),
                scores=document["scores"],
            )
        )
        after_each(done)
    return done, diverged


def _latencies(cfg: CompareConfig, networks: dict[str, Genotype]) -> dict[str, float]:
    device, size = open_device(cfg.device), (cfg.recipe.size, cfg.recipe.size)
    with warn_if_busy():
        return latencies({label: (prepare(genotype, device, size)[0], size) for label, genotype in networks.items()})


def run_folder(entry: Entry, seed: int, out: Path) -> Path:
    """Where one training lies."""
    return out / "runs" / f"{entry.folder}-seed{seed}"


def left_out(plan: ComparisonPlan, out: Path) -> list[str]:
    """The folders of complete trainings of the comparison that are none of the plan's."""
    named = {run_folder(entry, seed, out) for entry, seed in plan.jobs}
    return sorted(file.parent.name for file in (out / "runs").glob("*/scores.json") if file.parent not in named)


def _config(cfg: CompareConfig, start: dict[str, str], entry: Entry, seed: int, out: Path) -> TrainConfig:
    """One training of the comparison. start: one of `starts`."""
    values = {f.name: getattr(cfg, f.name) for f in fields(TrainingOptions)}
    genotype, folder = out / "genotypes" / f"{entry.folder}.yaml", run_folder(entry, seed, out)
    return TrainConfig(genotype=str(genotype), seed=seed, out=str(folder), **values | start)


def _check_same(config: TrainConfig, entry: Entry, noted: Mapping[str, str]) -> None:
    """UserError if the training's folder holds one of something else.

    Photographs and files may be elsewhere now: whether they are the same, `RunFolder.agree` checks. noted: what it has
    noted of the comparison.
    """
    folder = Path(str(config.out))
    if (saved := folder / "config.yaml").is_file():
        # What a folder from before some option does not say, was as that option's default still is.
        before = from_file(TrainConfig(), saved)
        free = ["out", "genotype", "workers", *PhotoOptions().changeable]
        if _names(before.test) == _names(config.test):
            free.append("test")
        free += [name for name in _FILES if _was_moved(name, before, config, entry, noted)]
        same = replace(before, **{name: getattr(config, name) for name in free})
        if found := difference(to_dict(same), to_dict(config)):
            name, old, new = found
            raise UserError(f"{folder} was trained with {name} {old!r}, now {new!r}: choose another --out")
    if (folder / "genotype.yaml").is_file() and genotypes.load(folder / "genotype.yaml") != entry.genotype:
        raise UserError(f"{folder} holds another genotype than {entry.label} is now: choose another --out, or a LABEL=")


def _was_moved(name: str, before: TrainConfig, config: TrainConfig, entry: Entry, noted: Mapping[str, str]) -> bool:
    """Whether what this option names lies elsewhere now, as the same content.

    What nothing is noted of is a folder of maps or photographs: a part of the set of photographs.
    """
    then, now = getattr(before, name), getattr(config, name)
    if then is None or now is None or then == now:
        return False
    content = f"content of {name}"
    return noted.get(f"{content} {then}") == start_content(config, entry.genotype).get(content)


def _names(sets: Sequence[str]) -> list[str]:
    return [parse_data(text)[0] for text in sets]


def _train(config: TrainConfig, entry: Entry, photos: PhotoSet | None, out: Path) -> int | None:
    """Train; the signal that came in the last step, which is for what comes next."""
    folder = Path(str(config.out))
    genotypes.save(entry.genotype, config.genotype)
    setup = open_training(config, genotype=entry.genotype, photos=photos)
    resume = (folder / "config.yaml").is_file()
    run = RunFolder.open(str(folder), "train", to_yaml(config), resume=resume)
    try:
        train(config, run, setup=setup)
    except Interrupted as stop:
        raise _stopped(stop.code - 128, out) from None
    return run.interrupts.signum


def _stopped(signum: int, out: Path) -> Interrupted:
    return Interrupted(signum, f"saved; the same command with --out {out} continues")
