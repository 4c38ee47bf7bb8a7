"""A network's parts, as its genotype names them: what counts and times are broken down by."""

from dataclasses import dataclass

from torch import nn

from nas.network import Network

__all__ = ["BY", "Part", "parts"]

BY = ("cell", "edge")


@dataclass(frozen=True, kw_only=True)
class Part:
    """kind: "backbone", "cell", "edge" or "node" (the post step of a node, after its edges are combined).

    name: "(backbone)", "cell", "cell.edge" or "cell.node.post", in the genotype's words. what: the backbone's name, the
    cell's template, the edge's operation or the node's post step. module: None for an edge that computes nothing.
    """

    name: str
    kind: str
    what: str
    cell: str | None
    module: nn.Module | None


def parts(net: Network, by: str) -> list[Part]:
    """The backbone and every cell, or (by="edge") the backbone and every edge and post step, in computing order.

    Together they hold all parameters, each once.
    """
    found = []
    if net.backbone is not None:
        name = net.genotype.backbone.name
        found.append(Part(name="(backbone)", kind="backbone", what=name, cell=None, module=net.backbone))
    templates = {cell.name: cell.template for cell in net.genotype.cells}
    for name, cell in net.cells.items():
        if by == "cell":
            found.append(Part(name=name, kind="cell", what=templates[name], cell=name, module=cell))
            continue
        for node in cell.plan:
            for edge in node.edges:
                module = cell.edges[edge["name"]] if edge["op"] != "none" else None
                found.append(Part(name=edge["id"], kind="edge", what=edge["op"], cell=name, module=module))
            if node.post != "none":
                module = cell.nodes[node.key]
                found.append(Part(name=f"{node.name}.post", kind="node", what=node.post, cell=name, module=module))
    return found
