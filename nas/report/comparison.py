"""The page of a comparison: table, every training as a dot, scores against cost, networks, predictions.

Its charts are `retrain.compare`'s figures, too.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

import genotypes
from genotypes.errors import plural
from genotypes.files import file_name, quoted
from nas.report.parts import (
    Facts,
    Link,
    Page,
    Part,
    Section,
    Table,
    Text,
    charts,
    drawing,
    number,
    origin,
    photograph,
)
from nas.run_files import RANDOM, Run, done_of, lower_is_better, read_table, trainings_of
from nas.visualize.charts import CostPoint, Dots, dots, lines, pareto, trade_off

__all__ = ["comparison_page", "cost_charts", "dot_charts"]


def comparison_page(run: Run) -> Page:
    """The page of a comparison's folder, as far as its trainings came."""
    table: list[Mapping[str, Any]] = run.json("table.json") or []
    trainings = trainings_of(run.path)
    labels = {file_name(row["label"]): row["label"] for row in table}
    seeds = [f"-seed{seed}" for seed in run.config.get("seeds") or ()]  # the folder may hold trainings of others
    folders = [path for seed in seeds for path in (run.path / "runs").glob(f"*{seed}") if path.is_dir()]
    folders.sort(key=_genotype)  # of each genotype its first seed stays first
    # What is trained and not in the table is of genotypes that are no longer named.
    if table:
        folders = [path for path in folders if _genotype(path) in labels or not (path / "scores.json").is_file()]
    done, wanted = done_of(run) or (0, 0)
    sections = [
        _summary(run, done, wanted),
        _table(table) if table else None,
        _dots(table, trainings) if table else None,
        _costs(table) if table else None,
        _histories(folders, labels),
        _trainings(folders),
        _networks(run, set(map(_genotype, folders)), labels),
        _predictions(folders, labels),
        origin(run, f"python -m retrain.compare --out {quoted(run.path)}      # continue"),
    ]
    return Page(
        title=f"Comparison: {run.path.name}",
        state="complete" if done >= wanted else f"not complete: {done} of {plural(wanted, 'training')} done",
        complete=done >= wanted,
        sections=[section for section in sections if section],
    )


def _genotype(folder: Path) -> str:
    """Whose training lies in a folder LABEL-seedN."""
    return folder.name.rpartition("-seed")[0]


def _summary(run: Run, done: int, wanted: int) -> Section:
    seeds = run.config.get("seeds") or ()
    tests = run.config.get("test") or ()
    facts = [
        ("genotypes", ", ".join(str(entry) for entry in run.config.get("genotypes") or ())),
        ("seeds", ", ".join(str(seed) for seed in seeds)),
        ("trainings", f"{done} of {wanted}"),
        ("photographs", str(run.setting("data", default="?"))),
        ("test sets", ", ".join(str(test) for test in tests) or "none; the held-out part only"),
    ]
    return Section("summary", "What was compared", [Facts(facts)])


def _statistic(value: Mapping[str, Any] | None, sign: str = "") -> str:
    if not value:
        return ""
    return number(value["mean"], sign=sign) + (f" ± {value['std']:.4f}" if value["std"] is not None else "")


def _table(table: Sequence[Mapping[str, Any]]) -> Section:
    """A table for each set, and one of what the networks cost."""
    names = [row["label"] + (" (all)" if row["pooled"] else "") for row in table]
    parts: list[Part] = []
    for name, metrics in table[0]["scores"].items():
        gaps = [metric for metric in metrics if any(row["difference"].get(name, {}).get(metric) for row in table)]
        rows = [
            [
                label,
                *(_statistic(row["scores"][name][metric]) for metric in metrics),
                *(_statistic(row["difference"].get(name, {}).get(metric), "+") for metric in gaps),
            ]
            for label, row in zip(names, table, strict=True)
        ]
        parts.append(Text(f"On {name}:"))
        parts.append(Table(["genotype", *metrics, *(f"{metric} - random" for metric in gaps)], rows))
    timed = [row for row in table if row.get("latency_ms")]
    costs = [
        [
            label,
            str(row["trainings"]),
            f"{row['params']:,.0f}",
            f"{row['macs'] / 1e6:,.1f}",
            f"{row['images_per_second']:.1f}",
            *([f"{row['latency_ms']:.2f}" if row.get("latency_ms") else ""] if timed else []),
        ]
        for label, row in zip(names, table, strict=True)
    ]
    caption = "Best held-out score first."
    if any(row["trainings"] > 1 for row in table):
        caption += " ±: standard deviation over seeds."
    if any(row["pooled"] for row in table):
        caption += " For (all): over the means of its genotypes, but for differences."
    if any(gaps for row in table for gaps in row["difference"].values()):
        caption += " '- random': the difference to the mean of the random genotypes with the same seed."
    parts.append(Text("What the networks cost:"))
    head = ["genotype", "trainings", "parameters", "million multiply-adds", "images/s in training"]
    parts.append(Table([*head, *(["ms of one photograph"] if timed else [])], costs, caption))
    return Section("table", "The table", parts)


def _dots(table: Sequence[Mapping[str, Any]], trainings: Sequence[Mapping[str, Any]]) -> Section:
    caption = "A dot per training, a bar at the mean."
    if any(row["pooled"] and row["label"] == RANDOM for row in table):
        caption += " Shaded: mean and standard deviation of the random genotypes."
    figures = [draw() for draw in dot_charts(table, trainings)]
    return Section("dots", "Every training", [charts("dots", figures, caption=caption)])


def _costs(table: Sequence[Mapping[str, Any]]) -> Section:
    figures = [draw() for draw in cost_charts(table)]
    spread = any(row["trainings"] > 1 and not row["pooled"] for row in table)
    caption = "Bars: standard deviation over seeds." if spread else ""
    return Section("costs", "Scores against cost", [charts("costs", figures, caption=caption)])


def dot_charts(
    table: Sequence[Mapping[str, Any]], trainings: Sequence[Mapping[str, Any]]
) -> list[Callable[..., Figure]]:
    """Every training's scores, a chart for each set and metric: a row of dots a genotype, a band for the random ones.

    table: the rows of table.json; trainings: those of trainings.csv. Each chart is still to be drawn: called, it is a
    figure of its own; called with panel=AXES, it is drawn there.
    """
    chance = next((row for row in table if row["pooled"] and row["label"] == RANDOM), None)
    labels = [row["label"] for row in table if not row["pooled"]]
    found: list[Callable[..., Figure]] = []
    for name, metric in _metrics(table):
        rows = [
            Dots(
                label=label,
                values=[t[metric] for t in trainings if t["label"] == label and t["set"] == name],
                grey=label.startswith(f"{RANDOM}:"),
            )
            for label in labels
        ]
        band = chance["scores"][name][metric] if chance else None
        found.append(
            partial(
                dots,
                rows,
                title=f"{name}: {metric}",
                xlabel="lower is better" if lower_is_better(metric) else "higher is better",
                band=(band["mean"], band["std"] or 0.0) if band else None,
            )
        )
    return found


def cost_charts(
    table: Sequence[Mapping[str, Any]], metrics: Collection[str] | None = None
) -> list[Callable[..., Figure]]:
    """Scores against multiply-adds, and against milliseconds where all were timed, the front drawn; as `dot_charts`.

    A chart for each set, metric (None: all) and cost, in this order.
    """
    rows = [row for row in table if not row["pooled"]]
    costs = {"macs": "multiply-adds"}
    if all(row.get("latency_ms") for row in rows):
        costs["latency_ms"] = "ms of one photograph"
    found: list[Callable[..., Figure]] = []
    for name, metric in _metrics(table):
        if metrics is not None and metric not in metrics:
            continue
        rising = not lower_is_better(metric)
        ylabel = metric if rising else f"{metric} (lower is better)"
        for kind, told in costs.items():
            scores = [(row, row["scores"][name][metric]) for row in rows]
            points = [
                CostPoint(x=row[kind], y=score["mean"], spread=score["std"] or 0.0, label=row["label"])
                for row, score in scores
            ]
            front = pareto(points, lambda p: p.x, (lambda p: -p.y) if rising else (lambda p: p.y))
            title = f"{name}: {metric}"
            found.append(partial(trade_off, points, front, title=title, xlabel=told, ylabel=ylabel, rising=rising))
    return found


def _metrics(table: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """(set, metric) in the order of the table."""
    return [(name, metric) for name, row in table[0]["scores"].items() for metric in row]


def _histories(folders: Sequence[Path], labels: Mapping[str, str]) -> Section | None:
    """Held-out scores while training, one line a genotype: the first of its seeds."""
    shown: dict[str, list[dict[str, Any]]] = {}
    for folder in folders:
        shown.setdefault(_genotype(folder), read_table(folder / "history.csv"))
    histories = {labels.get(name, name): rows for name, rows in shown.items() if rows}
    if not histories:
        return None
    figures = []
    steps = sorted({row["step"] for rows in histories.values() for row in rows})
    for column in [key for key in next(iter(histories.values()))[0] if key.startswith("held_out_")]:
        known = {label: {row["step"]: row.get(column, math.nan) for row in rows} for label, rows in histories.items()}
        series = {label: [values.get(step, math.nan) for step in steps] for label, values in known.items()}
        figures.append(lines(steps, series, title=column.removeprefix("held_out_") + ", held out"))
    return Section("curves", "Curves", [charts("curves", figures, caption="The first seed of each genotype.")])


def _trainings(folders: Sequence[Path]) -> Section | None:
    rows: list[list[str | Link]] = []
    for folder in folders:
        has_page = (folder / "report.html").is_file()
        cell = Link(folder.name, f"runs/{folder.name}/report.html") if has_page else folder.name
        rows.append([cell, "done" if (folder / "scores.json").is_file() else "not complete"])
    return Section("trainings", "The trainings", [Table(("training", "state"), rows)]) if rows else None


def _networks(run: Run, shown: Collection[str], labels: Mapping[str, str]) -> Section | None:
    parts: list[Part] = []
    paths = sorted(path for path in (run.path / "genotypes").glob("*.yaml") if path.stem in shown)
    for index, path in enumerate(paths):
        parts.append(drawing(f"cells{index}", genotypes.load(path), caption=labels.get(path.stem, path.stem)))
    return Section("cells", "The networks", parts) if parts else None


def _predictions(folders: Sequence[Path], labels: Mapping[str, str]) -> Section | None:
    """The same held-out photographs through every network: the first seed of each."""
    strips: dict[str, Path] = {}
    for folder in folders:
        if (folder / "predictions.png").is_file():
            strips.setdefault(_genotype(folder), folder / "predictions.png")
    parts = [photograph(path, f"{labels.get(name, name)}: photographs, masks, maps") for name, path in strips.items()]
    return Section("predictions", "Predictions", parts) if parts else None
