"""The study: short trainings with settings of a recipe, each scored on the held-out part."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice, product
from typing import Any

import genotypes
from genotypes import Genotype, UserError
from genotypes.files import quoted
from nas.run import RunFolder, quiet
from nas.task import PhotoSet, Protocol, evaluate
from nas.training import Diverged, fit
from nas.trials import Report, Trials, TrialsConfig, anchor_storage, check_trials, comparable, run_trials
from retrain.predictor import Predictor
from retrain.tables import markdown_table
from retrain.train import open_training, training_photos
from retrain.train.setup import start_content
from retrain.train.training import check_recipe, held_out_of, training_of
from retrain.tune.config import TuneConfig, train_config
from retrain.tune.settings import candidates, changed

__all__ = ["TuneSetup", "markdown", "open_tuning", "tune"]

_LOOKS = 10_000  # combinations that are looked through for one that is a recipe


@dataclass(frozen=True, kw_only=True)
class TuneSetup:
    """What a study starts from.

    space: field -> values; photos: by (size, masks); accept: whether values go together; contents: of the weight files
    that trials read, see `RunFolder.agree`.
    """

    space: Mapping[str, Sequence[Any]]
    genotype: Genotype
    photos: Mapping[tuple[int, str], PhotoSet]
    trials: TrialsConfig
    accept: Callable[[Mapping[str, Any]], bool]
    contents: Mapping[str, str]


def open_tuning(cfg: TuneConfig, began: str | None) -> TuneSetup:
    """All that a study needs, opened and checked; nothing is written, but a storage's tables.

    began: the folder where it did, if it is gone on with. Raises UserError for whatever cannot be used: in a trial it
    would end the study, and each time that it is gone on with.
    """
    space = candidates(cfg.search, cfg.recipe)
    trials = replace(cfg.trials, storage=anchor_storage(cfg.trials.storage, began))
    check_trials(trials)
    genotype = genotypes.load(cfg.genotype)
    share = max(space.get("loss.teacher", [cfg.recipe.loss.teacher]))
    if cfg.teacher and not share:
        raise UserError("--teacher: its maps have no share in the loss, as recipe.loss.teacher is 0")
    taught = {"loss.teacher": share}
    photos = {
        (size, masks): training_photos(train_config(cfg, changed(cfg.recipe, {**taught, "size": size, "masks": masks})))
        for size in sorted(set(space.get("size", [cfg.recipe.size])))
        for masks in sorted(set(space.get("masks", [cfg.recipe.masks])))
    }
    usual = {**taught, "size": min(photos)[0], "masks": min(photos)[1]}

    def check(choices: Mapping[str, Any]) -> None:
        recipe = changed(cfg.recipe, {**usual, **choices})
        setup = open_training(train_config(cfg, recipe), genotype=genotype, photos=photos[recipe.size, recipe.masks])
        check_recipe(recipe, setup.net)

    check({})
    for name in _of_the_network(space):
        for value in space[name]:
            try:
                check({name: value})
            except UserError as error:
                raise UserError(f"--search {name}: {value}: {error}") from None
    return TuneSetup(
        space=space,
        genotype=genotype,
        photos=photos,
        trials=trials,
        accept=_accept(cfg, space, check),
        contents=start_content(train_config(cfg, changed(cfg.recipe, taught)), genotype),
    )


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
        return _error(lambda: train_config(cfg, changed(cfg.recipe, dict(zip(space, values, strict=True)))))

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


def tune(cfg: TuneConfig, run: RunFolder, opened: TuneSetup) -> Trials:
    """Work on the study until it has its number of trials; all of them, smaller values being better.

    Settings that are no recipe together are not tried. run: its folder; opened: what `open_tuning` gave. Raises
    Interrupted once a stop was asked for: the same call goes on.
    """
    genotype, photos = opened.genotype, opened.photos
    some = next(iter(photos.values()))
    left_out = ("genotype", "search", "data", "limit", "cache", "trials", "workers", "device", "out")
    pruners = ("held_out_limit", "evaluate_every")
    alike = comparable(cfg, (*left_out, *pruners), files=("backbone_weights", "init", "teacher", "unlabelled"))
    scored = {"tuning": alike, "genotype": genotype.hash, "photographs": [some.name, len(some)]}
    return run_trials(
        opened.space,
        lambda choices, report: [_score(cfg, genotype, photos, choices, report)],
        opened.trials,
        seed=cfg.seed,
        accept=opened.accept,
        objectives=(_OBJECTIVES[cfg.objective][0],),
        scored=scored,
        folder=run.path,
        seen={"set of photographs": cfg.identity_of(some)} | dict(opened.contents),
        to_continue=f"python -m retrain.tune --out {quoted(run.path)}",
    )


# What is smaller where a setting is better: its name, and how it is made from a score.
_OBJECTIVES: dict[str, tuple[str, Callable[[float], float]]] = {
    "MAE_raw": ("MAE_raw", lambda value: value),
    "maxF": ("1 - maxF", lambda value: 1 - value),
}


def _score(
    cfg: TuneConfig,
    genotype: Genotype,
    photos: Mapping[tuple[int, str], PhotoSet],
    choices: Mapping[str, Any],
    report: Report,
) -> float:
    """Train once and score the held-out part at the largest size, on the same masks for all: settings compare."""
    recipe = changed(cfg.recipe, choices)
    config = train_config(cfg, recipe)
    setup = open_training(config, genotype=genotype, photos=photos[recipe.size, recipe.masks])
    trainer, net = training_of(config, setup)
    held_out = held_out_of(config, setup)
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


def markdown(trials: Trials, space: Mapping[str, Sequence[Any]]) -> str:
    """All trials, the best first."""
    ranked = sorted(trials.trials, key=lambda t: (t.state != "complete", t.values or (math.inf,), t.number))
    rows = [
        [str(t.number), t.state, f"{t.values[0]:.4f}" if t.values else "", *(str(t.choices.get(f, "")) for f in space)]
        for t in ranked
    ]
    return markdown_table(["trial", "state", trials.objectives[0], *space], rows)
