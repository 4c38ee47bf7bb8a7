"""Edges in words: their steps in the order of computation, tooltips, and a genotype as a table for terminals."""

from collections.abc import Iterator, Mapping

from genotypes import OPERATIONS, RESAMPLINGS, Edge, Genotype, Input, Size, UserError

__all__ = [
    "Probabilities",
    "check_probabilities",
    "differences",
    "edge_steps",
    "edge_text",
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
    ops = (edge.op,) if isinstance(edge.op, str) else sorted(edge.op, key=lambda op: -shares.get(op, 0.0))
    rows = (f"{shares[op]:6.1%} {_summary(op)}" if op in shares else _summary(op) for op in ops)
    return "\n".join([text, *rows])


def text_table(genotype: Genotype) -> str:
    """One block a cell, one line an edge: source, what it computes in order, target. `*`: a search decides it."""
    graph = genotype.graph
    blocks: dict[str, list[tuple[str, ...]]] = {}
    for name, node in graph.nodes.items():
        for edge in node.edges:
            text = edge_text(edge, graph[edge.source].stride, node.stride)
            mark = "*" if edge.choice or edge.is_open else " "
            parts = [f"stride {node.stride}", f"{node.width} ch", node.combine, node.post]
            target = f"{name.split('.', 1)[1]} ({', '.join(part for part in parts if part not in ('sum', 'none'))})"
            blocks.setdefault(node.cell, []).append((mark, edge.name, edge.source, text, target))
    lines = [f"{genotype.name}: {len(blocks)} cells, {len(graph.edges)} edges, hash {genotype.hash[:12]}"]
    templates = {cell.name: cell.template for cell in genotype.cells}
    for cell, rows in blocks.items():
        lines += ["", f"{cell} ({templates[cell]})"]
        _, name_width, source_width, text_width, _ = (max(map(len, column)) for column in zip(*rows, strict=True))
        for mark, edge_name, source, text, target in rows:
            line = f"{edge_name:{name_width}}  {source:{source_width}} -> {text:{text_width}} -> {target}"
            lines.append(f"  {mark} {line}")
    lines += ["", f"outputs: {', '.join(genotype.outputs)}   (* decided by a search)"]
    return "\n".join(lines)


def differences(first: Genotype, second: Genotype) -> list[str]:
    """What differs, a line each: first what is around the cells, then features and edges, in their order."""
    lines = []
    for what, texts in (
        ("input", [_input(one.input) for one in (first, second)]),
        (
            "backbone",
            [f"{b.name} with {', '.join(b.taps)}" if b else "none" for b in (first.backbone, second.backbone)],
        ),
        ("outputs", [", ".join(one.outputs) for one in (first, second)]),
    ):
        if texts[0] != texts[1]:
            lines.append(f"{what}: {texts[0]} -> {texts[1]}")
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
        edges = [{edge.id: edge for edge in node.edges} for node in nodes]
        for edge in dict.fromkeys([*edges[0], *edges[1]]):
            pair = [known.get(edge) for known in edges]
            if pair[0] != pair[1]:
                texts = [
                    f"{known.source} · {edge_text(known, graph[known.source].stride, graph[name].stride)}"
                    if known
                    else "nothing"
                    for known, graph in zip(pair, graphs, strict=True)
                ]
                lines.append(f"{edge}: {texts[0]} -> {texts[1]}")
    return lines


def _words(value: object) -> str:
    return f"{value.rule} {value.of}" if isinstance(value, Size) else str(value)


def _input(of: Input) -> str:
    sides = f"one of {', '.join(map(str, of.sizes))}" if of.sizes else f"{of.size[0]} x {of.size[1]}"
    return f"{sides}, mean {', '.join(map(str, of.mean))}, std {', '.join(map(str, of.std))}"


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
