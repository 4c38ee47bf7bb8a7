"""Which channels of a supernet's features a narrower member has."""

from genotypes import OPERATIONS, Edge, Graph, UserError

__all__ = ["channels_of", "keeps_channels"]


def keeps_channels(edge: Edge) -> bool:
    """Whether an edge hands its source's channels on, each by itself: an operation on it maps C channels to C.

    One that delivers zeros hands on nothing.
    """
    return any(OPERATIONS[op].widths == "same" and not OPERATIONS[op].zero for op in edge.candidates)


def channels_of(graph: Graph, whole: Graph) -> dict[str, tuple[int, ...]]:
    """Feature of a member -> which channels of the supernet's feature of that name it has.

    The first ones, but where features are concatenated: there each part's first ones. What keeps channels apart
    (an operation that maps C to C) hands this on.
    """
    found: dict[str, tuple[int, ...]] = {}
    for name, node in graph.nodes.items():
        first = tuple(range(node.width))
        if node.kind != "cell":
            found[name] = first
            continue
        edges = {edge.name: edge for edge in whole[name].edges} if name in whole else {}
        if node.combine == "concat":
            offsets, total = {}, 0
            for edge_name, edge in edges.items():
                offsets[edge_name], total = total, total + (edge.width or 0)
            parts: list[int] = []
            for edge in node.edges:
                if edge.name not in offsets:
                    raise UserError(f"the supernet has no edge {edge.id}: it belongs to another space")
                part = found[edge.source] if keeps_channels(edge) else tuple(range(edge.width or 0))
                parts += [offsets[edge.name] + channel for channel in part]
            found[name] = tuple(parts)
            continue
        kept = {found[edge.source] for edge in node.edges if keeps_channels(edge)} or {first}
        if len(kept) > 1:
            raise UserError(f"{name} sums features whose channels are different ones of the supernet's")
        found[name] = kept.pop()
    return found
