"""The page of a search: what was searched, what was found and why, how choices moved, and how far from chance."""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import accumulate
from operator import itemgetter
from typing import Any

from markupsafe import Markup

from genotypes import Genotype
from genotypes.errors import plural
from genotypes.files import quoted
from nas.report.parts import (
    Drawing,
    Facts,
    Keys,
    Link,
    Page,
    Part,
    Section,
    Table,
    Text,
    charts,
    cost,
    curves,
    drawing,
    number,
    origin,
    predictions,
)
from nas.run_files import Run, read_table
from nas.visualize import Mark
from nas.visualize.charts import CostPoint, Dots, area_colour, bars, dots, heat_map, lines, shares, trade_off
from nas.visualize.style import mixed, operation_label

__all__ = ["counted", "search_page"]

_LOSS = "held-out loss (lower is better)"
_MOVED = "How the choices moved"
_WINDOWS = 5  # parts of a study in each of which it is shown what was tried
_SHADES = ("#cfe3f1", "#0b2f4f")
_PALE_TO_DARK = " Of what is no operation the first candidate is the palest, the last one the darkest."
_ROWS = 40  # of what was found beside operations
_RIVALS = {"runner_up": "runner-up", "none": "none"}  # of an edge's choice
_CURVES = {
    "Loss": {"weights": "train_loss", "architecture": "architecture_loss", "held out": "held_out_loss"},
    "Held-out scores": {"maxF": "held_out_maxF", "MAE_raw": "held_out_MAE_raw"},
    "Held-out loss of members": {"largest": "largest_loss", "smallest": "smallest_loss"},
    "Held-out MAE_raw of members": {"largest": "largest_MAE_raw", "smallest": "smallest_MAE_raw"},
    "How undecided: entropy (1: uniform)": {"entropy": "entropy"},
    "Edges that would be none or skip": {"none": "derived_none", "skip_connect": "derived_skip_connect"},
    "Curvature: climbs before a collapse": {"eigenvalue": "eigenvalue"},
    "Cost of what would be derived": {"cost": "derived_cost"},
}


def search_page(run: Run) -> Page:
    """The page of a search's folder, as far as the search came."""
    found, space = run.genotype("genotype.yaml"), run.genotype("space.yaml")
    scores = run.json("scores.json") or {}
    complete = bool(scores) and found is not None
    choices = _latest(run.json_lines("choices.jsonl"), run.history)
    sections = [
        _summary(run, space, found, scores),
        _drawn(found) if found else None,
        _worth(run, space, found, choices),
        _evolution(choices, space) or (_tried(run, space) if space else None),
        curves(run.history, _CURVES),
        _trials(run),
        _rivals(scores) or _beside_scaling(run, scores),
        _front(run, scores),
        predictions(run, "Held-out photographs, their masks, and maps of the result with inherited weights."),
        origin(
            run,
            f"python -m nas.search --config {quoted(run.path / 'config.yaml')} --out NEW      # the same search again",
            *([f"python -m retrain.train --genotype {quoted(run.path)}"] if found else []),
            *([] if complete else [f"python -m nas.search --out {quoted(run.path)} --resume"]),
        ),
    ]
    return Page(
        title=f"Search: {found.name if found else run.path.name}",
        state=_state(run, complete, scores),
        complete=complete,
        sections=[section for section in sections if section],
    )


def _state(run: Run, complete: bool, scores: Mapping[str, Any]) -> str:
    if scores.get("stopped"):
        return f"stopped early: {scores['stopped']}"
    if complete:
        return "complete"
    if _tries(run):
        tried = sum(row.get("state") in ("complete", "pruned") for row in read_table(run.path / "trials.csv"))
        return f"not complete: {tried} of {plural(run.setting('trials.count', default='?'), 'trial')} finished"
    if not run.history:
        return "not complete: nothing evaluated yet"
    step = int(run.history[-1]["step"])
    return f"not complete: {step} of {plural(run.setting('steps', default='?'), 'step')} recorded"


def _tries(run: Run) -> bool:
    """Whether genotypes are trained one by one, so that `steps`, which are a supernet's, mean nothing."""
    return run.setting("strategy.name") == "optuna" and run.setting("strategy.score") == "training"


def _length(run: Run) -> str:
    if not _tries(run):
        return plural(run.setting("steps", default="?"), "step")
    trials = plural(run.setting("trials.count", default="?"), "trial")
    return f"{trials} of {plural(run.setting('score_steps', default='?'), 'step')}"


def _latest(rows: Sequence[dict[str, Any]], history: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row a step, in order: a resumed run writes steps again, and steps after its last evaluation do not count."""
    last = history[-1]["step"] if history else math.inf
    by_step = {row["step"]: row for row in rows if row["step"] <= last}
    return [by_step[step] for step in sorted(by_step)]


def _summary(run: Run, space: Genotype | None, found: Genotype | None, scores: Mapping[str, Any]) -> Section:
    size = max(space.input.size) if space and space.open_widths() else run.setting("size")
    facts = _facts_of_space(space) if space else []
    facts += [
        ("strategy", str(run.setting("strategy.name", "strategy", default="?"))),
        ("photographs", f"{run.setting('data', default='?')}" + (f", {size} x {size} pixels" if size else "")),
        ("length", f"{_length(run)}, seed {run.setting('seed', default='?')}"),
    ]
    if found and space and space.open_edges():
        operations = Counter(op for edge, op in found.graph.operations().items() if edge in space.open_edges())
        facts.append(("found", ", ".join(f"{count} {op}" for op, count in operations.most_common())))
    parts: list[Part] = [Facts(facts + _facts_of_scores(run, scores))]
    if found and space and (rows := _other_choices(space, found)):
        more = f" {len(rows) - _ROWS} more are in genotype.yaml." if len(rows) > _ROWS else ""
        caption = f"absent: the block or branch is left out.{more}"
        parts.append(Table(("choice", "found", "candidates"), rows[:_ROWS], caption))
    if str(run.setting("data", default="")).startswith("synthetic"):
        parts.append(Text("Searched on synthetic pictures: the scores say nothing about photographs.", muted=True))
    return Section("summary", "What was searched, what was found", parts)


def counted(members: int) -> str:
    """A number of any size that can be read: 2,560, or 6.76e+322, which no float holds."""
    return f"{members:,}" if members < 10**6 else f"{Decimal(members):.3g}"


def _facts_of_space(space: Genotype) -> list[tuple[str, str]]:
    open_edges, choices = space.open_edges(), space.choices()
    members = math.prod(map(len, choices.values()))
    others = len(choices) - len(open_edges)
    more = f", and {others} more (widths, inputs, sizes)" if others else ""
    names = dict.fromkeys(op for ops in open_edges.values() for op in ops)
    backbone = f", backbone {space.backbone.name}" if space.backbone else ""
    return [
        ("space", f"{space.name}{backbone}, {plural(len(space.cells), 'cell')}"),
        ("open edges", f"{len(open_edges)}{more}, so {counted(members)} genotypes"),
        *([("candidates", ", ".join(names))] if names else []),
    ]


def _facts_of_scores(run: Run, scores: Mapping[str, Any]) -> list[tuple[str, str]]:
    facts = []
    result, chance = scores.get("found") or {}, scores.get("random") or {}
    if "loss" in result:
        values = ", ".join(f"{key} {result[key]:.4f}" for key in ("loss", "maxF", "MAE_raw") if key in result)
        facts.append(("held-out scores", f"{values} (before retraining)"))
    if chance:
        several = plural(len(chance["losses"]), "random one")
        facts.append(("beside chance", f"better than {chance['beaten']:.0%} of {several}"))
    budget = run.setting("budget")
    within = f", budget {cost(budget)}" if budget else ""
    if "cost" in result:
        costs = run.json("costs.json") or result
        facts.append(("cost", f"{cost(result['cost'])} {costs.get('unit', '')} ({costs.get('kind', 'cost')}){within}"))
    if timed := result.get("timed"):
        busy = f"; {timed['busy']}" if timed["busy"] else ""
        facts.append(("timed as a whole", f"{timed['ms']:.3g} ms ({timed['form']}){within}{busy}"))
    return facts


def _other_choices(space: Genotype, found: Genotype) -> list[tuple[str, str, str]]:
    """What was found of choices that are no edges, beside their candidates."""
    taken, open_edges = space.chosen(found), space.open_edges()
    return [
        (choice, _in_words(taken.get(choice) or 0), ", ".join(map(_in_words, candidates)))
        for choice, candidates in space.choices().items()
        if choice not in open_edges
    ]


def _in_words(candidate: Any) -> str:
    """A candidate of any choice; a width of 0 is a part that is left out."""
    return "absent" if candidate == 0 else str(candidate)


def _drawn(found: Genotype) -> Section:
    return Section(
        "cells",
        "The cells found",
        [
            drawing("cells", found, caption="Rest the pointer on an arrow or a box to read what it computes."),
            drawing("network", found, what="network", caption="The network around the cells."),
        ],
    )


def _worth(
    run: Run, space: Genotype | None, found: Genotype | None, choices: Sequence[Mapping[str, Any]]
) -> Section | None:
    """Each choice's worth: what the held-out loss loses when it is decided otherwise, with inherited weights."""
    worth = run.json("worth.json")
    if not worth or not space or not found:
        return None
    edges: Mapping[str, Mapping[str, Any]] = worth["edges"]
    rows = {edge: {what: _rise(row.get(what), worth["loss"]) for what in _RIVALS} for edge, row in edges.items()}
    # Of each edge the smaller of its rises; an edge without an alternative has none.
    known = {edge: min(there) for edge, gains in rows.items() if (there := [g for g in gains.values() if g == g])}
    order = sorted(rows, key=lambda edge: -known.get(edge, -math.inf))
    probabilities = choices[-1]["probabilities"] if choices else {}
    measured = {edge: rows[edge] for edge in order if edge in known}
    rivals = {w: label for w, label in _RIVALS.items() if any(gains[w] == gains[w] for gains in measured.values())}
    table = [_worth_row(edge, edges[edge], rows[edge], rivals, probabilities.get(edge, {})) for edge in order]
    conditions = (
        f"Held-out loss of the result {worth['loss']:.4f}, on {plural(worth['images'], 'photograph')}; every change "
        f"with the supernet's weights, norm statistics estimated anew, {worth['seconds']:.0f} s in all."
    )
    edge = "edge" if len(space.choices()) == len(space.open_edges()) else "choice"
    if left := worth["edges_left"]:
        conditions += f" {plural(left, edge)} left out: the time was over (--worth_seconds)."
    if len(known) < len(rows):
        conditions += " Without a number: no other candidate was tried there, or none that sees the image."
    title = f"Why: what each {edge} is worth"
    if not measured:
        return Section("why", title, [Text(f"No {edge} was measured in time."), Text(conditions, muted=True)])
    by = "most probable of the others" if choices else "best of the others by the mean loss of their trials"
    mattered = "mattered little, or was not the best one"
    if edge == "choice":
        mattered += ", or is cheaper than its runner-up"
    return Section(
        "why",
        title,
        [
            Text(
                f"By how much the held-out loss rises when one {edge} becomes its runner-up (the {by}), or none. A "
                f"small or negative number: what was chosen {mattered}. Weights are inherited, so these are estimates."
            ),
            *_drawn_worth(space, found, known),
            charts(
                "worthbars",
                [
                    bars(
                        {edge: [gains[what] for what in rivals] for edge, gains in measured.items()},
                        list(rivals.values()),
                        title="Rise of the held-out loss",
                        xlabel="difference of the loss",
                    )
                ],
                size="large",
            ),
            Table(
                (edge, "chosen", "runner-up", *(f"rise with {label}" for label in rivals.values())), table, conditions
            ),
        ],
    )


def _drawn_worth(space: Genotype, found: Genotype, known: Mapping[str, float]) -> list[Drawing]:
    """The cells, the strength of each edge's arrow by its worth; known: choice -> the smaller of its rises."""
    marks = {edge: Mark("", 0.0) for edge in space.open_edges()}  # nothing is known of them: as thin as can be
    known = {edge: loss for edge, loss in known.items() if edge in marks}
    if not known:
        return []
    largest = max((0.0, *known.values())) or 1.0  # what falls without an edge is worth nothing: a thin arrow
    marks |= {edge: Mark(f"{loss:+.4f}", max(0.0, loss / largest)) for edge, loss in known.items()}
    caption = "Below each label the smaller of the two rises: what deciding otherwise would have cost."
    caption += " Thin arrows without a number were not measured." if len(known) < len(marks) else ""
    return [drawing("worth", found, marks=marks, caption=caption)]


def _rise(rival: Mapping[str, Any] | None, base: float) -> float:
    """Of the loss, with a rival of an edge's choice; NaN where there is none, or it diverged."""
    loss = rival["loss"] if rival else None
    return math.nan if loss is None else loss - base


def _worth_row(
    edge: str, row: Mapping[str, Any], gains: Mapping[str, float], rivals: Collection[str], likely: Mapping[str, float]
) -> tuple[str, ...]:
    """gains: by rival; likely: the candidates' probabilities, as far as they are known."""
    ops = (row["chosen"], (row.get("runner_up") or {}).get("op", ""))
    told = (_in_words(op) + (f" ({likely[str(op)]:.0%})" if str(op) in likely else "") for op in ops)
    return (edge, *told, *(number(gains[what], sign="+") for what in rivals))


def _evolution(choices: Sequence[Mapping[str, Any]], space: Genotype | None) -> Section | None:
    if not choices or not choices[-1]["probabilities"]:
        return None
    steps = [row["step"] for row in choices]
    every: Mapping[str, Mapping[str, float]] = choices[-1]["probabilities"]
    widths = space.open_widths() if space else {}
    edges = {choice: row for choice, row in every.items() if choice not in widths}
    decided = sum(max(row.values()) for row in every.values()) / len(every)
    chance = sum(1 / len(row) for row in every.values()) / len(every)
    small = [
        shares(
            steps,
            [row["probabilities"][choice] for row in choices],
            title=choice,
            colours=_shades(len(widths[choice])) if choice in widths else None,
        )
        for choice in every
    ]
    one, an = ("choice", "a choice") if widths else ("edge", "an edge")
    text = (
        f"Every {one}'s candidates over the steps; the height of a colour is its probability. At the end {an}'s "
        f"likeliest candidate has {decided:.0%} on average; undecided it would have {chance:.0%}."
    )
    parts: list[Part] = [Text(text + (_PALE_TO_DARK if widths else ""))]
    parts += [_keys(edges.values())] if edges else []
    parts += [charts("shares", small, size="small")]
    if edges:
        title = f"Probabilities in percent, step {steps[-1]}"
        parts += [charts("heat", [heat_map(edges, title=title)], size="large")]
    return Section("choices", _MOVED, parts)


def _tried(run: Run, space: Genotype) -> Section | None:
    """What the trials of a study tried: of each choice the shares of its candidates in the latest trials."""
    choices, open_edges = space.choices(), space.open_edges()
    trials = _complete_trials(run, words=choices)
    tried = {choice: found for choice, found in choices.items() if trials and choice in trials[0]}
    if not tried:
        return None
    window = max(1, round(len(trials) / _WINDOWS))
    order = [trial["number"] for trial in trials]
    small = []
    for choice, candidates in tried.items():
        rows = []
        for end in range(1, len(trials) + 1):
            latest = Counter(trial[choice] for trial in trials[max(0, end - window) : end])
            rows.append({name: latest[name] / latest.total() for name in map(str, candidates)})
        colours = None if choice in open_edges else _shades(len(candidates))
        small.append(shares(order, rows, title=choice, colours=colours))
    share = f"its share of the last {plural(window, 'trial')}"
    text = f"Every choice's candidates over the trials; the height of a colour is {share}."
    if len(tried) > len(open_edges):
        text += _PALE_TO_DARK
    operations = [_keys(open_edges.values())] if open_edges else []
    return Section("choices", _MOVED, [Text(text), *operations, charts("shares", small, size="small")])


def _shades(candidates: int) -> list[str]:
    """From a choice's first candidate to its last, where they are no operations."""
    return [mixed(*_SHADES, place / (candidates - 1 or 1)) for place in range(candidates)]


def _keys(edges: Iterable[Iterable[str]]) -> Keys:
    """The colours of all candidates of edges."""
    names = dict.fromkeys(op for candidates in edges for op in candidates)
    return Keys([(_sample(name), operation_label(name)) for name in names])


def _sample(name: str) -> Markup:
    """A patch with the colour of an operation's areas."""
    patch = '<svg viewBox="0 0 30 12" aria-hidden="true"><rect width="30" height="12" fill="{}"/></svg>'
    return Markup(patch).format(area_colour(name))


def _complete_trials(run: Run, words: Collection[str] = ()) -> list[dict[str, Any]]:
    return [row for row in read_table(run.path / "trials.csv", words=words) if row.get("state") == "complete"]


def _trials(run: Run) -> Section | None:
    """The study of a strategy whose trials decide."""
    trials = _complete_trials(run)
    if not trials:
        return None
    order = [trial["number"] for trial in trials]
    losses = [trial["loss"] for trial in trials]
    best = list(accumulate(losses, min))
    chart = lines(
        order, {"trial": losses, "best so far": best}, title="Loss of the trials", xlabel="number of the trial"
    )
    return Section(
        "trials",
        "The trials",
        [charts("trials", [chart], size="large", caption=f"{plural(len(trials), 'genotype')} (trials.csv).")],
    )


def _rivals(scores: Mapping[str, Any]) -> Section | None:
    found, chance = scores.get("found") or {}, scores.get("random") or {}
    tried = chance.get("losses") or []
    losses = [loss for loss in tried if loss is not None]
    if "loss" not in found or not losses:
        return None
    diverged = f", {len(tried) - len(losses)} of which diverged" if len(losses) < len(tried) else ""
    mean = sum(losses) / len(losses)
    spread = math.sqrt(sum((loss - mean) ** 2 for loss in losses) / max(1, len(losses) - 1))
    rows = [Dots(label="found", values=[found["loss"]]), Dots(label="random", values=losses, grey=True)]
    table = [
        ("found", number(found["loss"]), number(found.get("maxF")), number(found.get("MAE_raw"))),
        (f"random, mean of {len(losses)}", number(mean), "", ""),
        ("random, best", number(min(losses)), "", ""),
        ("random, worst", number(max(losses)), "", ""),
    ]
    return Section(
        "rivals",
        "Beside random genotypes of the same space",
        [
            charts(
                "rivals",
                [dots(rows, title="The same scorer, the same budget", xlabel=_LOSS, band=(mean, spread))],
                caption="A dot per genotype, a bar at the mean. Shaded: mean and deviation of the random ones.",
                size="large",
            ),
            Table(("genotype", "held-out loss", "maxF", "MAE_raw"), table, strong=[0]),
            Text(f"The result is better than {chance['beaten']:.0%} of {len(tried)}{diverged}.", muted=True),
        ],
    )


def _beside_scaling(run: Run, scores: Mapping[str, Any]) -> Section | None:
    """A search over whole networks beside uniform scaling, scored alike: the best point that costs no more."""
    found, line = scores.get("found") or {}, read_table(run.path / "line.csv")
    kind = found.get("kind")
    if "loss" not in found or not line or kind not in line[0]:
        return None
    cheaper = [row for row in line if row[kind] <= found["cost"] * (1 + 1e-9)]
    rows = {"found": {**found, kind: found["cost"], "size": found["size"][0]}}
    if cheaper:
        rows["uniform scaling, at most as costly"] = min(cheaper, key=itemgetter("loss"))
    rows["uniform scaling, best of all"] = min(line, key=itemgetter("loss"))
    table = [
        (label, f"{row['size']:.0f}", cost(row[kind]), *(number(row.get(key)) for key in ("loss", "maxF", "MAE_raw")))
        for label, row in rows.items()
    ]
    head = ("network", "input side", f"{kind} ({found['unit']})", "held-out loss", "maxF", "MAE_raw")
    told = "Uniform scaling: the whole backbone, a plain decoder, the side of the picture and widths scaled together."
    told += f" With the supernet's weights, scored alike; all {plural(len(line), 'point')}: line.csv."
    return Section("rivals", "Beside uniform scaling", [Table(head, table, told, strong=[0])])


def _front(run: Run, scores: Mapping[str, Any]) -> Section | None:
    front = read_table(run.path / "front" / "front.csv")
    if not front:
        return None
    kind = next(key for key in front[0] if key not in ("file", "trial", "loss", "hash"))
    points = [CostPoint(x=row[kind], y=row["loss"]) for row in _complete_trials(run) if math.isfinite(row["loss"])]
    found = scores.get("found") or {}
    chosen = [index for index, row in enumerate(front) if row[kind] == found.get("cost")]  # no two cost the same
    points += [CostPoint(x=front[index][kind], y=front[index]["loss"], marked=True) for index in chosen]
    steps = [CostPoint(x=row[kind], y=row["loss"], label=f"{row['trial']:.0f}") for row in front]
    unit = (run.json("costs.json") or found).get("unit", "")
    rows = [
        (
            Link(str(row["file"]), f"front/{row['file']}"),
            f"{row['trial']:.0f}",
            number(row["loss"]),
            cost(row[kind]),
        )
        for row in front
    ]
    line = [
        CostPoint(x=row[kind], y=row["loss"]) for row in read_table(run.path / "line.csv") if math.isfinite(row["loss"])
    ]
    beside = {"uniform scaling": line} if line else {}
    told = f"{kind} ({unit})"
    figure = trade_off(points, steps, title="Loss against cost", xlabel=told, ylabel=_LOSS, beside=beside)
    return Section(
        "front",
        "The Pareto front",
        [charts("front", [figure], size="large"), Table(("genotype", "trial", "loss", told), rows, strong=chosen)],
    )
