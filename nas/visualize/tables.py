"""A genotype as a table of its edges, for terminals without pictures."""

from collections.abc import Mapping

from genotypes import Genotype, incoming
from nas.visualize._cells import check_probabilities
from nas.visualize._words import edge_text

__all__ = ["text_table"]


def text_table(genotype: Genotype, probabilities: Mapping[str, Mapping[str, float]] | None = None) -> str:
    """One block a cell, one line an edge: source, what it computes in order, target. `*`: a search decides it."""
    probabilities = check_probabilities(genotype, probabilities or {})
    graph = genotype.graph
    blocks: dict[str, list[tuple[str, ...]]] = {}
    for name, node in graph.nodes(data=True):
        for edge in incoming(graph, name) if node["kind"] == "cell" else ():
            text = edge_text(edge, graph.nodes[edge["source"]]["stride"], node["stride"])
            shares = probabilities.get(edge["id"], {})
            text += "".join(f", {op} {share:.0%}" for op, share in sorted(shares.items(), key=lambda i: -i[1])[:2])
            mark = "*" if edge["choice"] or not isinstance(edge["op"], str) else " "
            row = (mark, edge["name"], edge["source"], text, f"{name.split('.', 1)[1]} ({_feature(node)})")
            blocks.setdefault(node["cell"], []).append(row)
    lines = [f"{genotype.name}: {len(blocks)} cells, {graph.number_of_edges()} edges, hash {genotype.hash[:12]}"]
    templates = {cell.name: cell.template for cell in genotype.cells}
    for cell, rows in blocks.items():
        lines += ["", f"{cell} ({templates[cell]})"]
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        for mark, name, source, text, target in rows:
            line = f"{name:{widths[1]}}  {source:{widths[2]}} -> {text:{widths[3]}} -> {target}"
            lines.append(f"  {mark} {line}")
    lines += ["", f"outputs: {', '.join(genotype.outputs)}   (* decided by a search)"]
    return "\n".join(lines)


def _feature(node: Mapping) -> str:
    parts = [f"stride {node['stride']}", f"{node['width']} ch", node["combine"], node["post"]]
    return ", ".join(part for part in parts if part not in ("sum", "none"))
