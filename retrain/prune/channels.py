"""Which channels of a CSNet are of no use, and the narrower network without them (Gao et al., ECCV 2020, section 3.3).

A channel goes once a norm scale on its way has vanished: in an in-layer block the octave convolution's or either
depthwise one's, in the fusion head the layer's own. What such a channel still sends on is its shift, a constant; the
norms that read it take the constant over into their means, so that nothing changes but at the borders of 3x3
convolutions, which see zeros beyond the picture.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genotypes import Cell, Edge, Genotype, Graph, UserError
from nas.network import Network, build
from nas.network.network import edge_key, node_key

__all__ = ["THRESHOLD", "Pruned", "prune_channels"]

THRESHOLD = 1e-20  # the authors': coupled decay under Adam ends there

# Template -> the parameters that hold its widths.
_WIDTHS = {
    "octave_block": ("widths",),
    "octave_stage": ("widths",),
    "cross_stage_fusion": ("fuse", "dilated", "channels"),
}


class Pruned(NamedTuple):
    """net: of the channels left, in eval mode; before, after: width ("stage1.widths.0.1") -> channels."""

    net: Network
    before: dict[str, int]
    after: dict[str, int]


@torch.no_grad()
def prune_channels(net: Network, threshold: float = THRESHOLD) -> Pruned:
    """The network without the channels of which a norm scale is smaller than `threshold`.

    With scales and shifts of the dropped channels at zero it computes the same. Otherwise re-estimate its norm
    statistics (`nas.network.reestimate_norms`), as the authors do.

    Raises UserError for a network without cells of CSNet's, and where nothing would be left of a block.
    """
    widths = _Widths(net)
    widths.drop_vanished(threshold)
    widths.drop_unread()
    genotype = _narrowed(net.genotype, {path: int(keep.sum()) for path, keep in widths.keep.items()})
    narrow = build(genotype)
    narrow.load_state_dict(widths.state(widths.constants(threshold)))
    before = {path: len(keep) for path, keep in widths.keep.items()}
    return Pruned(narrow.eval(), before, {path: int(keep.sum()) for path, keep in widths.keep.items()})


class _Widths:
    """What each width of a network decides: which channels of which nodes it counts, and which of them stay."""

    def __init__(self, net: Network) -> None:
        self.net, self.graph = net, net.genotype.graph
        tagged, paths = _tagged(net.genotype)
        if not paths:
            raise UserError(
                f"{net.genotype.name} has no cell of {', '.join(_WIDTHS)}: pruning by norm scales is CSNet's; another "
                "network needs a budget, and data"
            )
        # Node -> the widths that its channels belong to, in order: of a concatenation one for each edge.
        self.parts: dict[str, list[str]] = {}
        for name, node in tagged.nodes.items():
            tags = [edge.width for edge in node.edges] if node.combine == "concat" else [node.width]
            if tags[0] in paths:
                self.parts[name] = [paths[tag] for tag in tags if tag]
        device = next(net.parameters()).device
        sizes = {paths[tag]: width for tag, width in _pairs(tagged, self.graph) if tag in paths}
        self.keep = {path: torch.ones(sizes[path], dtype=torch.bool, device=device) for path in paths.values()}

    def alive(self, node: str) -> Tensor:
        """bool[width of the node]: the channels that stay."""
        if node in self.parts:
            return torch.cat([self.keep[path] for path in self.parts[node]])
        return torch.ones(self.graph[node].width, dtype=torch.bool, device=next(self.net.parameters()).device)

    def part(self, node: str, edge: Edge) -> slice:
        """The channels of a node that an edge into it fills."""
        if self.graph[node].combine != "concat":
            return slice(None)
        start = 0
        for other in self.graph.incoming(node):
            if other.id == edge.id:
                break
            start += other.width or 0
        return slice(start, start + (edge.width or 0))

    def drop_vanished(self, threshold: float) -> None:
        for node, paths in self.parts.items():
            vanished = self.post(node)[0].weight.abs() < threshold
            for path, part in zip(paths, vanished.split([len(self.keep[path]) for path in paths]), strict=True):
                self.keep[path] &= ~part

    def drop_unread(self) -> None:
        """Channels that are made of constants alone, and those that nothing reads, go too; UserError if all do."""
        before = -1
        while before != (left := sum(int(keep.sum()) for keep in self.keep.values())):
            before = left
            for node, paths in self.parts.items():
                # A concatenation has one source: what feeds or reads a part of it does so for all.
                fed = any(bool(self.alive(edge.source).any()) for edge in self.graph.incoming(node))
                read = any(bool(self.alive(reader).any()) for reader in self.graph.readers[node])
                for path in paths if not (fed and read) else ():
                    self.keep[path].zero_()
        blocks: dict[str, int] = {}
        for path, keep in self.keep.items():
            if ".widths." in path:
                block = path.rpartition(".")[0]
                blocks[block] = blocks.get(block, 0) + int(keep.sum())
        gone = [block for block, left in blocks.items() if not left]
        for output in self.net.genotype.outputs:
            if not any(bool(self.alive(edge.source).any()) for edge in self.graph.incoming(output)):
                gone.append(output)
        if gone:
            raise UserError(
                f"{self.net.genotype.name}: every channel of {gone[0]} has vanished, so no network is left; "
                "a weaker dynamic_decay or a smaller threshold leaves more"
            )

    def constants(self, threshold: float) -> dict[str, Tensor]:
        """Node -> float[width]: what the dropped channels before it add to its sum (or concatenation)."""
        # Node -> what its dropped channels hold. (Of one that is no constant, nothing that stays reads it: its own
        # depthwise convolutions do, which are dropped with it, or nothing at all.)
        values: dict[str, Tensor] = {}
        added: dict[str, Tensor] = {}
        for node, data in self.graph.nodes.items():
            if data.kind != "cell":
                continue
            total = torch.zeros(data.width, device=next(self.net.parameters()).device)
            for edge in data.edges:
                if not edge.carries():
                    continue
                alive, place = self.alive(edge.source), self.part(node, edge)
                if not alive.all():
                    weight = self.convolution(edge.id).weight.sum((2, 3))
                    value = values[edge.source]
                    if _is_depthwise(edge):
                        total[place] += torch.where(alive, 0.0, weight[:, 0] * value)
                    else:
                        total[place] += weight[:, ~alive] @ value[~alive]
            added[node] = total
            if node in self.parts:
                norm, act = self.post(node)
                shift = act(norm.bias[None, :, None, None]).flatten()
                statistics = norm.running_mean, norm.running_var
                normed = F.batch_norm(total[None], *statistics, norm.weight, norm.bias, eps=norm.eps)
                still = act(normed[:, :, None, None]).flatten()
                values[node] = torch.where(norm.weight.abs() < threshold, shift, still)
        return added

    def state(self, added: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The state dict of what is left."""
        old = self.net.state_dict()
        new = {key: value for key, value in old.items() if not key.startswith("cells.")}
        for node, data in self.graph.nodes.items():
            alive = self.alive(node)
            if data.kind != "cell" or not alive.any():
                continue
            for key, value in _below(old, f"{node_key(node)}."):
                value = value - added[node] if key.endswith("running_mean") else value
                new[key] = value[alive] if value.ndim else value
            for edge in data.edges:
                outputs, inputs = alive[self.part(node, edge)], self.alive(edge.source)
                if not outputs.any() or not inputs.any():
                    continue
                for key, value in _below(old, f"{edge_key(edge.id)}."):
                    value = value[outputs]
                    if value.ndim > 1 and not _is_depthwise(edge):
                        value = value[:, inputs]
                    new[key] = value
            self._shift_bias(new, node, added[node])
        return new

    def _shift_bias(self, new: dict[str, Tensor], node: str, added: Tensor) -> None:
        """Where no norm can take the constant, the bias does: the classifier's."""
        if f"{node_key(node)}.norm.running_mean" in new or not added.any():
            return
        edge = self.graph.incoming(node)[0]
        key = f"{edge_key(edge.id)}.bias"
        if key not in new:
            raise UserError(f"{node} reads channels that vanished, but has no norm and no bias to take their shift")
        new[key] = new[key] + added

    def post(self, node: str) -> tuple[nn.BatchNorm2d, nn.Module]:
        """The norm and the activation behind a node."""
        post = self.net.get_submodule(node_key(node))
        norm, act = getattr(post, "norm", None), getattr(post, "act", None)
        if not isinstance(norm, nn.BatchNorm2d):
            raise UserError(f"{node} has no batch norm: pruning looks at the scales of batch norms")
        return norm, act if isinstance(act, nn.Module) else nn.Identity()

    def convolution(self, edge: str) -> nn.Conv2d:
        module = self.net.get_submodule(edge_key(edge))
        if not isinstance(module, nn.Conv2d):
            raise UserError(f"{edge} is no plain convolution: what a vanished channel sends through it is unknown")
        return module


def _is_depthwise(edge: Edge) -> bool:
    return str(edge.op).startswith("depthwise")


def _below(state: Mapping[str, Tensor], prefix: str) -> Iterator[tuple[str, Tensor]]:
    return ((key, value) for key, value in state.items() if key.startswith(prefix))


def _pairs(tagged: Graph, graph: Graph) -> Iterator[tuple[int, int]]:
    """(tag, width) of every node and edge: the same places of two graphs."""
    for name, node in tagged.nodes.items():
        yield node.width, graph[name].width
        for edge, same in zip(node.edges, graph.incoming(name), strict=True):
            yield edge.width or 0, same.width or 0


def _tagged(genotype: Genotype) -> tuple[Graph, dict[int, str]]:
    """The graph with a number of its own in place of every width that pruning may change, and number -> width's name.

    Which nodes a parameter widens is then read off the graph: the templates alone know it.
    """
    paths: dict[int, str] = {}

    def tag(width: int, path: str) -> int:
        if width == 0:
            return 0
        number = 100_003 + len(paths)
        paths[number] = path
        return number

    cells = tuple(Cell.from_dict(_with_widths(cell, tag)) for cell in genotype.cells)
    return genotype.replace(cells=cells).graph, paths


def _narrowed(genotype: Genotype, widths: Mapping[str, int]) -> Genotype:
    """The genotype with other widths; a branch without channels is absent, and nothing names it as an input."""
    gone = {
        f"{cell.name}.out{branch}"
        for cell in genotype.cells
        if cell.template.startswith("octave")
        for branch, width in enumerate(_last_widths(cell, widths))
        if width == 0
    }
    cells = []
    for cell in genotype.cells:
        inputs = {alias: source for alias, source in cell.inputs.items() if source not in gone}
        cells.append(Cell.from_dict(_with_widths(cell, lambda _, path: widths.get(path, 0)) | {"inputs": inputs}))
    return genotype.replace(
        name=f"{genotype.name}_pruned",
        description=f"{genotype.name} with the widths that pruning left.",
        cells=tuple(cells),
    )


def _last_widths(cell: Cell, widths: Mapping[str, int]) -> list[int]:
    """Channels of each branch that the cell hands on."""
    own = cell.params["widths"]
    path = f"{cell.name}.widths" + (f".{len(own) - 1}" if cell.template == "octave_stage" else "")
    branches = own[-1] if cell.template == "octave_stage" else own
    return [widths.get(f"{path}.{branch}", 0) for branch in range(len(branches))]


def _with_widths(cell: Cell, change: Callable[[int, str], int]) -> dict[str, Any]:
    """The cell's document, with its widths changed; change: of a width and its name."""

    def changed(value: Any, path: str) -> Any:
        if isinstance(value, tuple):
            return [changed(item, f"{path}.{index}") for index, item in enumerate(value)]
        return change(value, path)

    names = _WIDTHS.get(cell.template, ())
    return cell.to_dict() | {name: changed(cell.params[name], f"{cell.name}.{name}") for name in names}
