"""The page of a pruning: what went, cost and scores before and after, the width of every layer, maps side by side."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from genotypes import UserError
from genotypes.files import quoted
from nas.report.parts import Facts, Page, Section, Table, charts, drawing, number, origin, predictions
from nas.run_files import Run, training_command
from nas.visualize.charts import CostPoint, bars, trade_off

__all__ = ["pruning_page"]

_UNITS = {"params": "parameters", "macs": "multiply-adds"}
_SCORES = ("maxF", "MAE_raw")


def pruning_page(run: Run) -> Page:
    """The page of a pruning's folder. UserError where its pruning.json is missing: all files are written at once."""
    document = run.json("pruning.json")
    if document is None:
        raise UserError(f"{run.path}: no pruning.json in it, so no page can be made")
    genotype, weights = (run.path / name for name in ("genotype.yaml", "weights.safetensors"))
    words = ["--genotype", str(genotype), "--init", str(weights), "--recipe.size", str(document["after"]["size"][0])]
    found = run.genotype(genotype.name)
    sections = [
        Section("summary", "What was pruned", [Facts(_facts(run, document))]),
        _scores(document),
        _widths(document["widths"]),
        _rounds(document),
        predictions(run, "Held-out photographs, their masks, the maps before and after."),
        Section("network", "What is left", [drawing("network", found, what="network")]) if found else None,
        origin(
            run,
            f"python -m retrain.prune --config {quoted(run.path / 'config.yaml')} --out NEW      # the same again",
            training_command(words, run.config),
        ),
    ]
    return Page(
        title=f"Pruning: {document['genotype']}",
        state="complete",
        complete=True,
        sections=[section for section in sections if section],
    )


def _facts(run: Run, document: Mapping[str, Any]) -> list[tuple[str, str]]:
    before, after = (sum(channels) for channels in zip(*document["widths"].values(), strict=True))
    if "budget" in document:
        rule = f"within {document['budget']:,.10g} {_UNITS[document['cost']]}: first what changes the maps least"
    else:
        rule = f"channels of which a norm scale is below {document['threshold']:g}"
    return [
        ("weights", str(run.setting("weights"))),
        ("pruned", rule),
        ("left", f"{after:,} of {before:,} channels"),
        ("photographs", str(run.setting("data") or "none")),
    ]


def _scores(document: Mapping[str, Any]) -> Section:
    """What the network costs and scores at each stage; what was dropped and not estimated anew costs what is left."""
    before, after = document["before"], document["after"]
    stages = {"before": before, "after": after}
    if "dropped" in document:
        stages = {"before": before, "after, norms as they were": after | document["dropped"], "after": after}
    rows = [
        (
            name,
            *(f"{stage[key]:,} ({stage[key] / before[key]:.0%})" for key in _UNITS),
            *(number(stage["held_out"][key]) for key in _SCORES if "held_out" in stage),
        )
        for name, stage in stages.items()
    ]
    caption = "Multiply-adds at {} x {} pixels.".format(*after["size"])
    if "held_out" in before:
        caption += (
            f" maxF (higher is better), MAE_raw (lower): of {before['held_out']['images']:,} held-out photographs."
        )
        caption += " after: norm statistics estimated anew." if before["params"] != after["params"] else ""
    head = ("", *_UNITS.values(), *(_SCORES if "held_out" in before else ()))
    return Section("scores", "Cost and scores", [Table(head, rows, caption)])


def _widths(widths: Mapping[str, Sequence[int]]) -> Section:
    """A chart of each cell's layers, in the order of computation."""
    figures = []
    for cell, names in groupby(widths, lambda name: name.partition(".")[0]):
        rows = {name.partition(".")[2]: widths[name] for name in names}
        figures.append(bars(rows, ("before", "after"), title=cell, xlabel="channels"))
    return Section("widths", "Widths", [charts("widths", figures, caption="Without a second bar: left out.")])


def _rounds(document: Mapping[str, Any]) -> Section | None:
    """How far the maps moved while the network became cheaper; a CSNet loses all of its channels at once."""
    kind = str(document.get("cost"))
    points = [
        CostPoint(x=row[kind], y=row["change"]) for row in document.get("rounds", ()) if row["change"] is not None
    ]
    if not points:
        return None
    figure = trade_off(points, title="Every round", xlabel=_UNITS[kind], ylabel="change of the maps")
    caption = (
        "Change: mean difference of a pixel (0 to 1) to the whole network's maps, each round on photographs of its own."
    )
    return Section("rounds", "Towards the budget", [charts("rounds", [figure], caption=caption)])
