"""The page of a training: what was trained, its curves and scores, what it predicts."""

from collections.abc import Mapping
from typing import Any

from genotypes.errors import plural
from genotypes.files import quoted
from nas.report.parts import Facts, Page, Part, Section, Table, curves, drawing, number, origin, predictions
from nas.run_files import Run

__all__ = ["training_page"]

_CURVES = {
    "Loss": {"training": "train_loss", "held out": "held_out_loss"},
    "Held-out maxF (higher is better)": {"maxF": "held_out_maxF"},
    "Held-out MAE_raw (lower is better)": {"MAE_raw": "held_out_MAE_raw"},
    "Learning rate": {"lr": "lr"},
}

# Where weights come from: the setting, and what they are of.
_STARTS = {"init": "whole network", "start_from": "supernet", "backbone_weights": "backbone"}

_WHAT_SCORES_ARE = (
    "MAE, the mean error of a pixel: lower is better; all others: higher. maxF, avgF, wF: F-measures at the best "
    "threshold, at twice the map's mean, weighted; Sm: structure; Em: the E-measure. _raw: of maps as they are, not "
    "stretched to 0..1; _img: the mean of the photographs' own. table.md of retrain.evaluate has the definitions."
)


def training_page(run: Run) -> Page:
    """The page of a training's folder, as far as the training came."""
    scores = run.json("scores.json")
    genotype = run.genotype("genotype.yaml")
    facts = [
        ("genotype", f"{genotype.name}, hash {genotype.hash[:12]}" if genotype else str(run.setting("genotype"))),
        ("photographs", str(run.setting("data", default="?"))),
        ("recipe", f"{run.setting('recipe.size', default='?')} pixels, batch {run.setting('recipe.batch_size')}"),
        ("seed", str(run.setting("seed", default="?"))),
    ]
    facts += [("starts from", f"{run.setting(name)} ({what})") for name, what in _STARTS.items() if run.setting(name)]
    if scores:
        facts += [
            ("length", f"{plural(scores['steps'], 'step')}, {scores['train_seconds']:,.0f} s"),
            ("trained on", f"{scores['train_images']:,} photographs, {scores['images_per_second']:.1f} a second"),
            ("parameters", f"{scores['params']:,}"),
        ]
    native = " --native" if run.setting("recipe.native") else ""
    config, weights = (quoted(run.path / name) for name in ("config.yaml", "weights.safetensors"))
    next_step = f"python -m retrain.predict{native} --weights {weights} PHOTO -o maps"
    sections = [
        Section("summary", "What was trained", [Facts(facts)]),
        _scores(scores) if scores else None,
        curves(run.history, _CURVES),
        predictions(run, "Held-out photographs, their masks and maps."),
        Section("cells", "The network", [drawing("cells", genotype), drawing("network", genotype, what="network")])
        if genotype
        else None,
        origin(
            run,
            f"python -m retrain.train --config {config} --out NEW      # the same training again",
            next_step if scores else f"python -m retrain.train --out {quoted(run.path)} --resume",
        ),
    ]
    begun = f"{plural(int(run.history[-1]['step']), 'step')} recorded" if run.history else "nothing evaluated yet"
    return Page(
        title=f"Training: {genotype.name if genotype else run.path.name}",
        state="complete" if scores else f"not complete: {begun}",
        complete=bool(scores),
        sections=[section for section in sections if section],
    )


def _scores(document: Mapping[str, Any]) -> Section:
    """Every score of every set, in the names that scores.json has for their conventions."""
    sets: Mapping[str, Mapping[str, Any]] = document["scores"]
    keys = list(dict.fromkeys(key for row in sets.values() for key, value in row.items() if value is not None))
    shown = [key for key in keys if key != "count"]
    rows = [(name, number(row.get("count")), *(number(row.get(key)) for key in shown)) for name, row in sets.items()]
    parts: list[Part] = [Table(("set", "images", *shown), rows, _WHAT_SCORES_ARE)]
    return Section("scores", "Scores", parts)
