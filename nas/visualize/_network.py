"""The overview of a network: the backbone's taps, the cells and what flows between them, the outputs."""

from genotypes import Genotype, incoming
from nas.visualize._cells import stride_keys
from nas.visualize._colours import Stroke, darker, stride_colour, text_colour
from nas.visualize._scene import Line, Link, Panel, Picture, Shape

__all__ = ["network_picture"]

_PLAIN = "#f2f2f2"


def network_picture(genotype: Genotype) -> Picture:
    """One panel: an arrow is a feature that a cell reads, coloured by its stride."""
    graph = genotype.graph
    shapes, links = {}, []
    readers = [name for name, node in graph.nodes(data=True) if node["kind"] == "cell"]
    image_read = any(graph.nodes[reader]["cell"] for reader in graph.successors("image"))
    if genotype.backbone or image_read:
        shapes["image"] = _box("image", "image", "3 ch", "#ffffff", form="pill")
    if genotype.backbone:
        shapes["backbone"] = _box("backbone", genotype.backbone.name, "backbone", _PLAIN)
        links.append(_link("image", "backbone", "image", 1, "image"))
        for tap in sorted(genotype.backbone.taps, key=lambda tap: graph.nodes[tap]["stride"]):
            node = graph.nodes[tap]
            shapes[tap] = _box(tap, tap, f"{node['width']} ch", stride_colour(node["stride"]), form="pill")
            links.append(_link("backbone", tap, tap, node["stride"], tap))
    seen = set()
    strides = {graph.nodes[tap]["stride"] for tap in genotype.backbone.taps} if genotype.backbone else set()
    strides |= {graph.nodes[output]["stride"] for output in genotype.outputs}
    for name in readers:
        cell = graph.nodes[name]["cell"]
        if cell not in shapes:
            shapes[cell] = _cell(genotype, cell)
        for edge in incoming(graph, name):
            source = edge["source"]
            origin = graph.nodes[source]["cell"] or source
            if origin != cell and (source, cell) not in seen:
                seen.add((source, cell))
                if source != "image":
                    strides.add(graph.nodes[source]["stride"])
                links.append(_link(origin, cell, source, graph.nodes[source]["stride"], f"{source} to {cell}"))
    for number, output in enumerate(genotype.outputs, start=1):
        node = graph.nodes[output]
        key = f"output {number}"
        shapes[key] = _box(key, key, output, stride_colour(node["stride"]), form="pill", outline=2.2)
        links.append(_link(node["cell"], key, output, node["stride"], f"{output} to {key}"))
    panel = Panel(title="network", subtitle="", shapes=tuple(shapes.values()), links=tuple(links))
    return Picture(
        title=genotype.name,
        subtitle=f"network overview, {len(genotype.cells)} cells, hash {genotype.hash[:12]}",
        panels=(panel,),
        keys=(stride_keys(strides),),
        notes=("Arrows are features that a cell reads. A box has the colour of its outputs' stride, grey if several.",),
    )


def _cell(genotype: Genotype, cell: str) -> Shape:
    graph = genotype.graph
    nodes = [name for name, node in graph.nodes(data=True) if node["cell"] == cell]
    edges = [edge for name in nodes for edge in incoming(graph, name)]
    leaving = [
        name
        for name in nodes
        if name in genotype.outputs or any(graph.nodes[reader]["cell"] != cell for reader in graph.successors(name))
    ]
    strides = {graph.nodes[name]["stride"] for name in leaving}
    fill = stride_colour(*strides) if len(strides) == 1 else _PLAIN
    template = next(item.template for item in genotype.cells if item.name == cell)
    opened = sum(not isinstance(edge["op"], str) for edge in edges)
    counts = f"{_plural(len(nodes), 'feature')}, {_plural(len(edges), 'edge')}" + (f", {opened} open" if opened else "")
    return _box(cell, cell, template, fill, tooltip=f"{cell} ({template}): {counts}", third=counts)


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _box(key, title, detail, fill, *, form="box", outline=0.8, tooltip="", third="") -> Shape:
    colour = text_colour(fill)
    lines = [Line(text=title, size=9.0, bold=True, colour=colour), Line(text=detail, size=7.0, colour=colour)]
    if third:
        lines.append(Line(text=third, size=6.5, colour=colour))
    return Shape(
        key=key, lines=tuple(lines), fill=fill, form=form, outline=outline, tooltip=tooltip or f"{title}: {detail}"
    )


def _link(source: str, target: str, feature: str, stride: int, key: str) -> Link:
    # The palest strides would vanish as lines on white.
    colour = darker(stride_colour(stride), 0.6 if stride < 4 else 0.45 if stride < 16 else 0.2)
    stroke = Stroke(colour="#888888" if feature == "image" else colour, width=1.4)
    return Link(key=key, source=source, target=target, stroke=stroke, tooltip=f"{feature}, stride {stride}")
