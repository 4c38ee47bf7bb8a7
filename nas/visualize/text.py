"""Edges in words: their steps in the order of computation, tooltips, and a genotype as a table for terminals."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from genotypes import BACKBONES, OPERATIONS, RESAMPLINGS, Backbone, Edge, Genotype, Graph, Input, Node, Size, UserError
from genotypes.errors import plural

__all__ = [
    "Probabilities",
    "around_cells",
    "blocks_text",
    "check_probabilities",
    "differences",
    "edge_steps",
    "edge_tooltip",
    "likeliest",
    "text_table",
]

Probabilities = Mapping[str, Mapping[str, float]]  # edge id -> operation -> probability


def check_probabilities(genotype: Genotype, probabilities: Probabilities | None) -> Probabilities:
    """`probabilities` or an empty table; UserError where they do not belong to the genotype."""
    open_edges = genotype.open_edges()
    for edge, shares in (probabilities or {}).items():
        if edge not in open_edges:
            raise UserError(f"probabilities: {edge!r} is not an open edge; open: {', '.join(open_edges) or 'none'}")
        if not shares:
            raise UserError(f"probabilities: {edge!r} names no operation")
        for op, share in shares.items():
            if op not in open_edges[edge]:
                raise UserError(f"probabilities: {op!r} is no candidate of {edge!r}: {', '.join(open_edges[edge])}")
            # Rounding of a float32 softmax may exceed 1 by a little.
            if not 0 <= share <= 1.0001:
                raise UserError(f"probabilities: {edge!r}, {op!r}: expected a number from 0 to 1, not {share!r}")
    return probabilities or {}


def likeliest(edge: Edge, probabilities: Probabilities) -> str | None:
    """The operation an edge is drawn as: its own, or the likeliest candidate; None for an open edge without any."""
    if isinstance(edge.op, str):
        return edge.op
    shares = probabilities.get(edge.id)
    return max(edge.op, key=lambda op: shares.get(op, 0.0)) if shares else None


def edge_steps(edge: Edge, stride: int, target: int) -> tuple[list[str], list[str]]:
    """Resampling before and after the operation, as in ["↓2 avg"], ["↑4 bilinear"]."""
    before = list(_resampling(edge.pre, stride, target))
    reached = before[-1][1] if before else stride
    return [text for text, _ in before], [text for text, _ in _resampling(edge.post, reached, target)]


def edge_text(edge: Edge, stride: int, target: int) -> str:
    """An edge in one line, in the order in which it computes: "↓2 avg · conv2d_3x3 · ↑4 bilinear"."""
    before, after = edge_steps(edge, stride, target)
    op = edge.op if isinstance(edge.op, str) else f"{len(edge.op)} candidates"
    return " · ".join([*before, op, *after])


def edge_tooltip(edge: Edge, node: str, stride: int, target: int, shares: Mapping[str, float]) -> str:
    """Name, way and steps of an edge, then its operation, or its candidates with the likeliest first."""
    text = f"{edge.id}: {edge.source} → {node}\n{edge_text(edge, stride, target)}"
    ops = sorted(edge.candidates, key=lambda op: -shares.get(op, 0.0))
    rows = (f"{shares[op]:6.1%} {_summary(op)}" if op in shares else _summary(op) for op in ops)
    return "\n".join([text, *rows])


def text_table(genotype: Genotype) -> str:
    """One block a cell, one line an edge: source, what it computes in order, target. `*`: a search decides it."""
    graph = genotype.graph
    blocks: dict[str, list[tuple[str, ...]]] = {}
    for node in graph.nodes.values():
        for edge in node.edges:
            text = edge_text(edge, graph[edge.source].stride, node.stride)
            mark = "*" if edge.choice or edge.is_open else " "
            parts = [f"stride {node.stride}", f"{node.width} ch", node.combine, node.post]
            target = f"{node.local} ({', '.join(part for part in parts if part not in ('sum', 'none'))})"
            blocks.setdefault(node.cell, []).append((mark, edge.name, edge.source, text, target))
    counts = f"{plural(len(blocks), 'cell')}, {plural(len(graph.edges), 'edge')}"
    lines = [f"{genotype.name}: {counts}, hash {genotype.hash[:12]}", f"input: {_input(genotype.input)}"]
    if genotype.backbone:
        lines.append(f"backbone: {_backbone(genotype.backbone)}")
        if genotype.backbone.hidden:
            lines.append(f"  hidden channels of its blocks: {', '.join(map(str, genotype.backbone.hidden))}")
    templates = {cell.name: cell.template for cell in genotype.cells}
    for cell, rows in blocks.items():
        lines += ["", f"{cell} ({templates[cell]})"]
        _, name_width, source_width, text_width, _ = (max(map(len, column)) for column in zip(*rows, strict=True))
        for mark, edge_name, source, text, target in rows:
            line = f"{edge_name:{name_width}}  {source:{source_width}} -> {text:{text_width}} -> {target}"
            lines.append(f"  {mark} {line}")
    others = {key: found for key, found in genotype.choices().items() if key not in graph.edges}
    lines += ["", *(f"* {key}: {_candidates(found)}" for key, found in others.items())] if others else []
    lines += ["", f"outputs: {', '.join(genotype.outputs)}   (* decided by a search)"]
    return "\n".join(lines)


def differences(first: Genotype, second: Genotype) -> list[str]:
    """What differs, a line each: first what is around the cells, then features and edges, in their order."""
    lines = around_cells(first, second)
    graphs = first.graph, second.graph
    for name in dict.fromkeys([*graphs[0], *graphs[1]]):
        if any(name in graph and graph[name].kind != "cell" for graph in graphs):
            continue
        if name not in graphs[0] or name not in graphs[1]:
            lines.append(f"{name}: only in {'A' if name in graphs[0] else 'B'}")
            continue
        nodes = graphs[0][name], graphs[1][name]
        for key in ("stride", "width", "combine", "post", "size"):
            one, other = (_words(getattr(node, key)) for node in nodes)
            if one != other:
                lines.append(f"{name}, {key}: {one} -> {other}")
        pairs = zip(nodes, graphs, strict=True)
        edges = [{edge.id: _way(edge, node, graph) for edge in node.edges} for node, graph in pairs]
        for edge in dict.fromkeys([*edges[0], *edges[1]]):
            lines += _both(edge, edges[0].get(edge, "nothing"), edges[1].get(edge, "nothing"))
    choices = [{key: set(found) for key, found in one.choices().items()} for one in (first, second)]
    for key in dict.fromkeys([*choices[0], *choices[1]]):
        if key not in graphs[0].edges and key not in graphs[1].edges:
            lines += _both(f"{key}, a choice", choices[0].get(key, ()), choices[1].get(key, ()), _candidates)
    return lines or _both("hash", first.hash, second.hash)  # such as edges that are concatenated in another order


def around_cells(first: Genotype, second: Genotype) -> list[str]:
    """What differs that is no cell's: input, backbone and outputs, a line each."""
    lines = _both("input", first.input.size, second.input.size, _sides)
    for name in ("mean", "std"):
        lines += _both(f"input, {name}", getattr(first.input, name), getattr(second.input, name), _listed)
    lines += _backbones(first.backbone, second.backbone)
    return lines + _both("outputs", first.outputs, second.outputs, _listed)


def _both(what: str, one: Any, other: Any, words: Callable[[Any], str] = str) -> list[str]:
    """The line that says that two things differ, if they do in words."""
    texts = words(one), words(other)
    return [] if texts[0] == texts[1] else [f"{what}: {texts[0]} -> {texts[1]}"]


def _backbones(one: Backbone | None, other: Backbone | None) -> list[str]:
    """Where backbones differ; of two of one name in which options, and in which blocks."""
    lines = _both("backbone", one, other, lambda b: _backbone(b) if b else "none")
    if one is None or other is None or one.name != other.name:
        return lines
    options = [BACKBONES[b.name].all_options(b.options) for b in (one, other)]
    for name in options[0]:
        lines += _both(f"backbone, {name}", options[0][name], options[1][name])
    for index, (width, then) in enumerate(zip(one.hidden, other.hidden, strict=False)):
        lines += _both(
            f"backbone, block {index}", width, then, lambda width: f"{width} hidden" if width else "left out"
        )
    return lines


def _backbone(of: Backbone) -> str:
    return f"{of.name} with {', '.join(of.taps)}"


def blocks_text(backbone: Backbone) -> str:
    """How many blocks are otherwise than in the published backbone, as in "blocks: 2 left out, 3 narrower"; or ""."""
    published = [block.width for block in BACKBONES[backbone.name].blocks]
    kinds = Counter(
        "open" if isinstance(width, Mapping) else "left out" if not width else "narrower"
        for width, full in zip(backbone.widths, published, strict=False)
        if width != full
    )
    told = [f"{count} {kind}" for kind, count in sorted(kinds.items())]
    return f"blocks: {', '.join(told)}" if told else ""


def _way(edge: Edge, node: Node, graph: Graph) -> str:
    """An edge from its source on, without its name; with its width where it is not the node's."""
    text = f"{edge.source} · {edge_text(edge, graph[edge.source].stride, node.stride)}"
    if edge.is_open:
        text += f" ({', '.join(sorted(edge.candidates))})"
    return text if node.combine == "sum" else f"{text} · {edge.width} ch"


def _candidates(found: Collection[Any]) -> str:
    return f"one of {', '.join(map(str, sorted(found)))}" if found else "none"


def _words(value: object) -> str:
    return f"{value.rule} {value.of}" if isinstance(value, Size) else str(value)


def _input(of: Input) -> str:
    return f"{_sides(of.size)}, mean {_listed(of.mean)}, std {_listed(of.std)}"


def _sides(size: Iterable[int]) -> str:
    return " x ".join(map(str, size))


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(map(str, values))


def _resampling(steps: tuple[str, ...], stride: int, target: int) -> Iterator[tuple[str, int]]:
    """Each step in words with the stride after it."""
    for step in steps:
        factor = RESAMPLINGS[step].factor
        after = target if factor is None else stride * factor
        name = RESAMPLINGS[step].label or step
        if after == stride:
            yield f"resize {name}", after
        else:
            arrow, ratio = ("↓", after / stride) if after > stride else ("↑", stride / after)
            yield f"{arrow}{ratio:g} {name}", after
        stride = after


def _summary(op: str) -> str:
    summary = OPERATIONS[op].summary
    return f"{op}: {summary}" if summary else op
