"""`python -m retrain.tune`: which settings of a recipe train a network best, by an Optuna study of short trainings."""

import math
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache
from itertools import islice, product
from pathlib import Path
from typing import Any, Literal

import yaml

import genotypes
from genotypes import Genotype, UserError
from genotypes.files import quoted
from nas.command import Command, as_started, run_command
from nas.options import difference, from_dict, owner, read_file, to_dict, to_yaml
from nas.report import report_at_the_end
from nas.run import RunFolder, check_free, quiet
from nas.task import PhotoOptions, PhotoSet, Protocol, evaluate
from nas.training import Diverged, fit
from nas.trials import Report, Trials, TrialsConfig, anchor_storage, check_trials, comparable, run_trials
from retrain.predictor import Predictor
from retrain.recipe import Recipe, load_recipe, recipe_names
from retrain.tables import markdown_table
from retrain.train import TrainConfig, open_training, training_photos
from retrain.train.config import search_base
from retrain.train.training import check_recipe, held_out_of, training_of

__all__ = ["TuneConfig", "candidates", "changed", "tune"]

_GRID = 9  # values of LOW..HIGH
_LOOKS = 10_000  # combinations that are looked through for one that is a recipe


@dataclass(frozen=True, kw_only=True)
class TuneConfig(PhotoOptions):
    """Which settings to try, on which network and photographs.

    Attributes:
        genotype: what is trained: a name of the zoo, a genotype file, or the folder of a search.
        search: settings of the recipe with what to try: FIELD=A,B,C or, for numbers, FIELD=LOW..HIGH, which are nine
            values evenly spaced on a logarithmic scale (LOW..HIGH:COUNT: so many).
        objective: what makes a setting good on the held-out part: MAE_raw or maxF, at the largest size that is tried.
        recipe: what all trials share; parts of it below.
        trials: the study; count may be raised later.
        backbone_weights: file with the backbone's pre-trained weights, or package; none: it starts at random.
        init: weights of the same network to start from: a name such as sod_s, or a file.
        held_out: share of the photographs that trials are judged by and never trained on.
        held_out_limit: at most so many of them are scored while a trial trains, for the pruner; at its end all are.
        evaluate_every: steps between looks at a trial, for the pruner; 0 for a fifth of its steps.
        workers: processes that score; 0 for none beside this one.
        device: cpu, cuda, or auto.
        seed: of the study, and of every training's weights, order and augmentation.
        out: folder of the study; default the next free runs/tune-NNN. An earlier one is continued.
    """

    genotype: str = ""
    search: tuple[str, ...] = ()
    objective: Literal["MAE_raw", "maxF"] = "MAE_raw"
    recipe: Recipe = owner(load_recipe, recipe_names, "default", "NAME|FILE")
    trials: TrialsConfig = field(default_factory=lambda: TrialsConfig(count=20))
    backbone_weights: str | None = None
    init: str | None = None
    held_out: float = 0.1
    held_out_limit: int = 200
    evaluate_every: int = 0
    workers: int = 0
    device: str = "cpu"
    seed: int = 0
    out: str | None = None


def candidates(texts: Sequence[str], recipe: Recipe) -> dict[str, list[Any]]:
    """Field -> values to try, as a recipe has them, of texts FIELD=A,B,C or FIELD=LOW..HIGH[:COUNT].

    Raises UserError for anything that is no field of a recipe, or no value of it. A value that is given twice is tried
    once.
    """
    found: dict[str, list[Any]] = {}
    for text in texts:
        name, _, given = text.partition("=")
        low, dots, high = given.partition("..")
        try:
            values = _spaced(low, high) if dots else [yaml.safe_load(word) for word in given.split(",")]
        except (ValueError, yaml.YAMLError):
            values = []
        if not values or None in values or name in found:
            raise UserError(f"--search {text}: expected FIELD=A,B,C or FIELD=LOW..HIGH, each field once")
        try:
            if name == "native" or (recipe.native and name == "size"):
                raise UserError("trials are judged alike only if photographs are seen alike: set recipe.native for all")
            values = [_value(changed(recipe, {name: value}), name) for value in values]
            if any(isinstance(value, list | dict) for value in values):
                raise UserError(f"{name} holds several values, and what is tried is one; set recipe.{name} for all")
            found[name] = list(dict.fromkeys(values))
        except UserError as error:
            raise UserError(f"--search {text}: {error}") from None
    if not found:
        raise UserError("give --search FIELD=VALUES, such as optim.lr=1e-3..1e-2 size=96,128 loss.terms.iou=0,0.5,1")
    return found


def _spaced(low: str, high: str) -> list[float]:
    """Numbers evenly spaced on a logarithmic scale; whole ones as int, since fields that count take no floats."""
    high, _, count = high.partition(":")
    a, b, n = float(low), float(high), int(count or _GRID)
    if not 0 < a < b or n < 2:
        raise ValueError
    values = [float(f"{a * (b / a) ** (i / (n - 1)):.3g}") for i in range(n)]
    return [int(value) if value.is_integer() else value for value in values]


def changed(recipe: Recipe, choices: Mapping[str, Any]) -> Recipe:
    """The recipe with some fields, named with dots (`optim.lr`, `loss.terms.iou`), of other values.

    >>> changed(Recipe(), {"optim.lr": 1e-3, "loss.terms.iou": 0.5}).loss.terms
    {'bce': 1.0, 'iou': 0.5}
    """
    values: dict[str, Any] = {}
    for name, value in choices.items():
        *groups, last = name.split(".")
        place, there = values, to_dict(recipe)
        for group in groups:
            inner = there.get(group)
            there = inner if isinstance(inner, dict) else {}
            place = place.setdefault(group, dict(there))
        place[last] = value
    return from_dict(recipe, values)


def _value(recipe: Recipe, name: str) -> Any:
    value: Any = to_dict(recipe)
    for part in name.split("."):
        value = value[part]
    return value


@dataclass(frozen=True, kw_only=True)
class _Opened:
    """What a study starts from.

    space: field -> values; photos: by (size, masks); accept: whether values go together.
    """

    space: Mapping[str, Sequence[Any]]
    genotype: Genotype
    photos: Mapping[tuple[int, str], PhotoSet]
    trials: TrialsConfig
    accept: Callable[[Mapping[str, Any]], bool]


def _open(cfg: TuneConfig, began: str | None = None) -> _Opened:
    """All that a study needs, opened and checked; nothing is written, but a storage's tables.

    began: the folder where it did. Raises UserError for whatever cannot be used: in a trial it would end the study, and
    each time that it is gone on with.
    """
    space = candidates(cfg.search, cfg.recipe)
    trials = replace(cfg.trials, storage=anchor_storage(cfg.trials.storage, began))
    check_trials(trials)
    genotype = genotypes.load(Path(cfg.genotype) / "genotype.yaml" if Path(cfg.genotype).is_dir() else cfg.genotype)
    photos = {
        (size, masks): training_photos(_training(cfg, changed(cfg.recipe, {"size": size, "masks": masks})))
        for size in sorted(set(space.get("size", [cfg.recipe.size])))
        for masks in sorted(set(space.get("masks", [cfg.recipe.masks])))
    }
    usual = {"size": min(photos)[0], "masks": min(photos)[1]}

    def check(choices: Mapping[str, Any]) -> None:
        recipe = changed(cfg.recipe, {**usual, **choices})
        setup = open_training(_training(cfg, recipe), genotype=genotype, photos=photos[recipe.size, recipe.masks])
        check_recipe(recipe, setup.net)

    check({})
    for name in _of_the_network(space):
        for value in space[name]:
            try:
                check({name: value})
            except UserError as error:
                raise UserError(f"--search {name}: {value}: {error}") from None
    return _Opened(space=space, genotype=genotype, photos=photos, trials=trials, accept=_accept(cfg, space, check))


def _of_the_network(space: Mapping[str, Sequence[Any]]) -> list[str]:
    """The fields of which a network may not allow each value; those in groups (optim, loss, augment) suit any."""
    return [name for name in space if "." not in name]


def _accept(
    cfg: TuneConfig, space: Mapping[str, Sequence[Any]], check: Callable[[Mapping[str, Any]], None]
) -> Callable[[Mapping[str, Any]], bool]:
    """Whether values go together: passes must divide the batch, say. UserError where none seem to.

    check: whether a network allows some; raises UserError where it does not.
    """
    few = _of_the_network(space)

    @cache
    def recipe_refuses(values: tuple[Any, ...]) -> str:
        return _error(lambda: changed(cfg.recipe, dict(zip(space, values, strict=True))))

    @cache
    def network_refuses(values: tuple[Any, ...]) -> str:
        return _error(lambda: check(dict(zip(few, values, strict=True))))

    def refused(choices: Mapping[str, Any]) -> str:
        return recipe_refuses(tuple(choices[name] for name in space)) or network_refuses(
            tuple(choices[name] for name in few)
        )

    reasons: list[str] = []
    for values in islice(product(*space.values()), _LOOKS):
        if not (reason := refused(dict(zip(space, values, strict=True)))):
            return lambda choices: not refused(choices)
        reasons = reasons or [reason]
    raise UserError(f"--search: no values go together: {reasons[0]}")


def _error(call: Callable[[], object]) -> str:
    """What a UserError says; "" where there is none."""
    try:
        call()
    except UserError as error:
        return str(error)
    return ""


def tune(cfg: TuneConfig, run: RunFolder | None = None, *, opened: _Opened | None = None) -> Trials:
    """Work on the study until it has its number of trials; all of them, smaller values being better.

    Settings that are no recipe together are not tried. run: its folder; None: nothing is written. opened: where the
    caller has opened it already. Raises Interrupted once a stop was asked for: the same call goes on. UserError for
    whatever cannot be used.
    """
    opened = opened or _open(cfg, run.began.get("folder") if run else None)
    genotype, photos = opened.genotype, opened.photos
    some = next(iter(photos.values()))
    left_out = ("genotype", "search", "data", "limit", "cache", "trials", "workers", "device", "out")
    pruners = ("held_out_limit", "evaluate_every")
    alike = comparable(cfg, (*left_out, *pruners), files=("backbone_weights", "init"))
    scored = {"tuning": alike, "genotype": genotype.hash, "photographs": [some.name, len(some)]}
    return run_trials(
        opened.space,
        lambda choices, report: [_score(cfg, genotype, photos, choices, report)],
        opened.trials,
        seed=cfg.seed,
        accept=opened.accept,
        objectives=(_OBJECTIVES[cfg.objective][0],),
        scored=scored,
        folder=run.path if run else None,
        to_continue=f"python -m retrain.tune --out {quoted(run.path)}" if run else "the same call",
    )


# What is smaller where a setting is better: its name, and how it is made from a score.
_OBJECTIVES: dict[str, tuple[str, Callable[[float], float]]] = {
    "MAE_raw": ("MAE_raw", lambda value: value),
    "maxF": ("1 - maxF", lambda value: 1 - value),
}


def _training(cfg: TuneConfig, recipe: Recipe) -> TrainConfig:
    shared = {f.name for f in fields(TuneConfig)} & {f.name for f in fields(TrainConfig)} - {"out", "recipe"}
    return TrainConfig(recipe=recipe, **{name: getattr(cfg, name) for name in shared})


def _score(
    cfg: TuneConfig,
    genotype: Genotype,
    photos: Mapping[tuple[int, str], PhotoSet],
    choices: Mapping[str, Any],
    report: Report,
) -> float:
    """Train once and score the held-out part at the largest size, on the same masks for all: settings compare."""
    recipe = changed(cfg.recipe, choices)
    config = _training(cfg, recipe)
    setup = open_training(config, genotype=genotype, photos=photos[recipe.size, recipe.masks])
    trainer, net = training_of(config, setup)
    held_out = held_out_of(recipe, setup, limit=config.held_out_limit)
    value = _OBJECTIVES[cfg.objective][1]

    def row() -> dict[str, Any]:
        scores = held_out.score(net.eval())
        trainer.check(scores["loss"])
        report(trainer.step, value(scores[cfg.objective]))
        return {"step": trainer.step}

    every = cfg.evaluate_every or max(1, math.ceil(trainer.steps / 5))
    try:
        fit(trainer, row, at=lambda step: step % every == 0)
    except Diverged:
        return math.inf
    judged = photos[max(photos)].subset(setup.held_out_rows, name="held_out")
    predict, protocol = Predictor(net, setup.device).probabilities, Protocol().changed(native=recipe.native)
    options: dict[str, Any] = {"protocol": protocol, "workers": cfg.workers, "quick": True, "name": "held_out"}
    with quiet():
        scores = evaluate(predict, judged, size=recipe.size, **options).scores
    return value(getattr(scores, cfg.objective))


def _markdown(trials: Trials, space: Mapping[str, Sequence[Any]]) -> str:
    """All trials, the best first."""
    ranked = sorted(trials.trials, key=lambda t: (t.state != "complete", t.values or (math.inf,), t.number))
    rows = [
        [str(t.number), t.state, f"{t.values[0]:.4f}" if t.values else "", *(str(t.choices.get(f, "")) for f in space)]
        for t in ranked
    ]
    return markdown_table(["trial", "state", trials.objectives[0], *space], rows)


COMMAND = Command(
    config=TuneConfig,
    name="retrain.tune",
    description="Try settings of a recipe in short trainings; the result is OUT/recipe.yaml, for any --recipe.",
    examples=f"""\
  python -m retrain.tune --genotype fpn_tiny --search optim.lr=1e-3..1e-2 loss.terms.iou=0,0.5,1 --trials.count 12
  python -m retrain.tune --genotype runs/a --search optim.lr=5e-4..8e-3 optim.backbone_lr=0.05,0.1,0.3 size=96,128 \\
      --recipe photos_cpu --recipe.epochs 1 --pruner median --data DUTS=DUTS-TR --cache runs/cache --out runs/tune
  python -m retrain.tune --out runs/tune --trials.count 40     continue, or extend
  python -m retrain.tune --genotype runs/a --search size=96,128 --trials.storage sqlite:///study.db    on many machines

recipes: {", ".join(recipe_names())}; or your own YAML file""",
    first=[
        "genotype",
        "search",
        "objective",
        "data",
        "recipe",
        "recipe.steps",
        "trials.count",
        "trials.sampler",
        "trials.pruner",
        "trials.storage",
        "backbone_weights",
        "device",
        "out",
    ],
    required=("genotype",),
    base=search_base,
    continues=("tuning", "study"),
)


def main(argv: Sequence[str] | None = None) -> None:
    cfg, going_on = COMMAND.parse(argv)
    check_free(cfg.out, resume=going_on)
    if going_on:
        _check_extended(cfg)
    began = RunFolder(Path(str(cfg.out))).began.get("folder") if going_on else None
    opened = _open(cfg, began)  # whatever is wrong shows before a folder is made that would hold on to it
    run = RunFolder.open(cfg.out, "tune", to_yaml(cfg), resume=going_on)
    run.agree({"set of photographs": opened.photos[min(opened.photos)].fingerprint})
    run.write_text("config.yaml", to_yaml(cfg))
    trials = tune(cfg, run, opened=opened)
    run.write_text("table.md", _markdown(trials, opened.space) + "\n")
    best = trials.best
    if math.isinf(best.values[0]):
        report_at_the_end(run.path)
        raise UserError(f"{run.path}: every trial diverged, so there is no best one: try a smaller optim.lr")
    run.write_text("recipe.yaml", to_yaml(changed(cfg.recipe, best.choices)))
    page = report_at_the_end(run.path)
    settings = ", ".join(f"{name} {value}" for name, value in best.choices.items())
    print(
        f"best    {settings}: {trials.objectives[0]} {best.values[0]:.4f} (trial {best.number} of {len(trials.trials)})"
    )
    print(f"saved   {run.path / 'recipe.yaml'} (table.md and trials.csv beside it)")
    if page:
        print(f"page    {page}")
    print(f"next    {_next(cfg, run.path / 'recipe.yaml')}")


def _next(cfg: TuneConfig, recipe: Path) -> str:
    """The command that trains with what was found, on the same photographs and from the same weights."""
    usual = TuneConfig()
    words = ["python", "-m", "retrain.train", "--genotype", cfg.genotype, "--recipe", str(recipe), "--data", cfg.data]
    for name in ("limit", "cache", "data_seed", "held_out", "backbone_weights", "init", "device"):
        if (value := getattr(cfg, name)) != getattr(usual, name):
            words += [f"--{name}", str(value)]
    return as_started(shlex.join(words))


def _check_extended(cfg: TuneConfig) -> None:
    """UserError where more than the number of trials differs from the study in the folder."""
    config = Path(str(cfg.out)) / "config.yaml"
    before = from_dict(TuneConfig(), read_file(config), str(config))
    same = replace(before, out=cfg.out, workers=cfg.workers, trials=replace(before.trials, count=cfg.trials.count))
    if cfg.trials.count < before.trials.count:
        raise UserError(f"{cfg.out}: its study has {before.trials.count} trials; trials.count can only rise")
    if found := difference(to_dict(same), to_dict(cfg)):
        name, old, new = found
        raise UserError(f"{cfg.out} is a study with {name} {old!r}, not {new!r}: choose another --out")


if __name__ == "__main__":
    sys.exit(run_command(main))
