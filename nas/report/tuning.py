"""The page of a study of recipes: the best settings, every trial, what each setting's values led to."""

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from genotypes.errors import plural
from genotypes.files import quoted
from genotypes.yaml_io import parse_yaml, read_text
from nas.report.parts import Facts, Page, Section, Table, charts, number, origin
from nas.run_files import Run, done_of, read_table, training_command
from nas.visualize.charts import Dots, dots, lines

__all__ = ["tuning_page"]

_FIRST = ("number", "state")  # the columns of trials.csv before the objective, and after it
_AFTER = ("seconds", "repeat_of")


def tuning_page(run: Run) -> Page:
    """The page of a study's folder, as far as the study came."""
    trials = read_table(run.path / "trials.csv")
    done, wanted = done_of(run) or (0, 0)
    pruned = sum(row["state"] == "pruned" for row in trials)
    facts = [
        ("genotype", str(run.setting("genotype"))),
        ("photographs", str(run.setting("data", default="?"))),
        ("tried", ", ".join(run.config.get("search") or ())),
        (
            "sampler, pruner",
            f"{run.setting('trials.sampler', default='tpe')}, {run.setting('trials.pruner', default='none')}",
        ),
        ("trials", f"{done} of {wanted}, {pruned} ended early"),
    ]
    sections = [
        Section("summary", "What was tried", [Facts(facts)]),
        *(_trials(trials) if trials else []),
        origin(
            run,
            f"python -m retrain.tune --out {quoted(run.path)} --trials.count {wanted + 20}      # continue, or extend",
            _training(run),
        ),
    ]
    return Page(
        title=f"Study of a recipe: {run.path.name}",
        state="complete" if done >= wanted else f"not complete: {done} of {plural(wanted, 'trial')} done",
        complete=done >= wanted,
        sections=sections,
    )


def _training(run: Run) -> str:
    """The command that trains with what was found, on the same photographs and from the same weights."""
    words = ["--genotype", str(run.setting("genotype")), "--recipe", f"{run.path}/recipe.yaml"]
    taught = ("teacher", "unlabelled") if _is_taught(run) else ()
    return training_command(words, run.config, ("backbone_weights", "init", *taught))


def _is_taught(run: Run) -> bool:
    """Whether a teacher has a share in the loss of the recipe that was found: else a training refuses one."""
    recipe = run.path / "recipe.yaml"
    found, _ = parse_yaml(read_text(recipe), str(recipe)) if recipe.is_file() else ({}, None)
    loss = found.get("loss") if isinstance(found, dict) else None
    return not isinstance(loss, dict) or loss.get("teacher") != 0


def _trials(trials: Sequence[Mapping[str, Any]]) -> list[Section]:
    """Every trial, the best first; the best so far over the trials; and each setting's values as rows of dots."""
    objective = next(key for key in trials[0] if key not in _FIRST)
    settings = [key for key in trials[0] if key not in (*_FIRST, objective, *_AFTER)]
    ranked = sorted(trials, key=lambda row: (row["state"] != "complete", _finite(row[objective]), row["number"]))
    table = [
        [f"{row['number']:.0f}", str(row["state"]), number(row[objective]), *(_text(row[key]) for key in settings)]
        for row in ranked
    ]
    complete = [row for row in trials if row["state"] == "complete" and math.isfinite(row[objective])]
    numbers, losses = [row["number"] for row in complete], [row[objective] for row in complete]
    series = {"trial": losses, "best so far": list(accumulate(losses, min))}
    figures = [lines(numbers, series, title=objective, xlabel="trial")] if complete else []
    for key in settings:
        values = sorted({row[key] for row in complete}, key=lambda value: (isinstance(value, str), value))
        rows = [Dots(label=_text(v), values=[row[objective] for row in complete if row[key] == v]) for v in values]
        figures.append(dots(rows, title=key, xlabel=f"{objective} (lower is better)"))
    heads = ("trial", "state", objective, *settings)
    return [
        Section("trials", "Every trial", [Table(heads, table, "The best first.", strong=[0])]),
        Section(
            "settings",
            "What the settings led to",
            [charts("settings", figures, caption="A dot per trial, a bar at the mean.")],
        ),
    ]


def _finite(value: float) -> float:
    return value if math.isfinite(value) else math.inf


def _text(value: Any) -> str:
    """As it was given: trials.csv tells no whole numbers from others, and none has more than 15 digits."""
    return f"{value:.15g}" if isinstance(value, float) else str(value)
