"""Rewrites of a captured graph that leave its function as it is: what is linear and follows a convolution joins it.

A norm in evaluation mode is a scale and a shift for each channel. It joins the convolution before it (Jacob et al.,
CVPR 2018, section 3.2), and reaches further back through what commutes with it: sums, concatenation along the channels,
and resizing and averaging, whose weights sum to 1. Tensors are computed in 64-bit floats and rounded once. What has all
but vanished in them is zero: many processors take far longer for subnormal numbers (`nas.subnormals`).
"""

from itertools import count
from typing import Any

import torch
from torch import fx

__all__ = ["RESIZES", "fold"]

_ATEN = torch.ops.aten
_CONV, _NORM = _ATEN.conv2d.default, _ATEN.batch_norm.default
RESIZES = (_ATEN.upsample_bilinear2d.vec, _ATEN.upsample_nearest2d.vec)
_VANISHED = 1e-30  # what it adds to a map is below the last bit of any value above 1e-22
# What a node's arguments are where they are left out (schema of aten.conv2d).
_CONV_DEFAULTS: dict[str, Any] = {"bias": None, "stride": [1, 1], "padding": [0, 0], "dilation": [1, 1], "groups": 1}


def fold(graph: fx.GraphModule) -> None:
    """Rewrite a graph of ATen operations in place: norms, chains of convolutions; what nothing reads any more goes."""
    folder = _Folder(graph)
    for node in list(graph.graph.nodes):
        if node.target is _NORM:
            folder.fold_norm(node)
    for node in list(graph.graph.nodes):
        if node.target is _CONV:
            folder.merge(node)
    graph.graph.eliminate_dead_code()
    folder.drop_unread_tensors()
    folder.drop_what_vanished()
    graph.recompile()


class _Folder:
    def __init__(self, module: fx.GraphModule) -> None:
        self.module, self.graph = module, module.graph
        self.fresh = count()

    def fold_norm(self, norm: fx.Node) -> None:
        """Let what computes a norm's input take up its scale and shift, where that can and the statistics are known."""
        x, weight, bias, mean, variance, training, _, epsilon, *_ = _arguments(norm)
        mean, variance = self._tensor(mean), self._tensor(variance)
        known = mean is not None and variance is not None and _known(weight, bias)
        if training or not known or not self._absorbs(x, norm):
            return
        weight, bias = self._tensor(weight), self._tensor(bias)
        scale = (variance + epsilon).rsqrt() * (1 if weight is None else weight)
        self._absorb(x, scale, (0 if bias is None else bias) - mean * scale)
        self._replace(norm, x)

    def _absorbs(self, node: fx.Node, reader: fx.Node) -> bool:
        """Whether a scale and a shift of `node`'s channels can be taken up by what computes it, for `reader` alone."""
        if list(node.users) != [reader]:
            return False
        if node.target is _CONV:
            return _known(_conv(node)["weight"], _conv(node)["bias"])
        if node.target is _ATEN.add.Tensor:
            return _terms_alike(node) and all(self._absorbs(term, node) for term in _arguments(node))
        if node.target is _ATEN.cat.default:
            parts, *dim = _arguments(node)
            return dim == [1] and len(set(parts)) == len(parts) and all(self._absorbs(part, node) for part in parts)
        return _averages(node) and self._absorbs(_arguments(node)[0], node)

    def _absorb(self, node: fx.Node, scale: torch.Tensor, shift: torch.Tensor) -> None:
        if node.target is _CONV:
            given = _conv(node)
            weight, bias = self._tensor(given["weight"]), self._tensor(given["bias"])
            assert weight is not None
            self._set_conv(node, weight * scale[:, None, None, None], shift if bias is None else bias * scale + shift)
        elif node.target is _ATEN.add.Tensor:
            first, second = _arguments(node)
            self._absorb(first, scale, shift)
            self._absorb(second, scale, torch.zeros_like(shift))
        elif node.target is _ATEN.cat.default:
            parts = _arguments(node)[0]
            widths = [part.meta["val"].shape[1] for part in parts]
            for part, *own in zip(parts, scale.split(widths), shift.split(widths), strict=True):
                self._absorb(part, *own)
        else:
            self._absorb(_arguments(node)[0], scale, shift)

    def merge(self, second: fx.Node) -> None:
        """Make one convolution of a 1x1 and the one before it, with nothing between, where that is no dearer."""
        pointwise, first = _conv(second), _arguments(second)[0]
        if first.target is not _CONV or list(first.users) != [second]:
            return
        given = _conv(first)
        kernel, mix = self._tensor(given["weight"]), self._tensor(pointwise["weight"])
        if kernel is None or mix is None or given["groups"] != 1 or pointwise["groups"] != 1:
            return
        if not _known(given["bias"], pointwise["bias"]):
            return
        if tuple(mix.shape[2:]) != (1, 1) or set(pointwise["stride"]) != {1} or set(pointwise["padding"]) != {0}:
            return
        if mix.shape[0] * kernel[0].numel() > kernel.numel() + mix.numel():
            return
        mix = mix[:, :, 0, 0]
        inner, outer = self._tensor(given["bias"]), self._tensor(pointwise["bias"])
        bias = outer if inner is None else mix @ inner + (0 if outer is None else outer)
        first.meta["val"] = second.meta["val"]
        self._set_conv(first, torch.einsum("om,mihw->oihw", mix, kernel), bias)
        self._replace(second, first)

    def _tensor(self, node: fx.Node | None) -> torch.Tensor | None:
        """The constant behind a node, in 64-bit floats; None for what is computed, or nothing."""
        if node is None or node.op != "get_attr":
            return None
        owner, _, name = str(node.target).rpartition(".")
        constant: torch.Tensor = getattr(self.module.get_submodule(owner), name)
        return constant.detach().double()

    def _set_conv(self, node: fx.Node, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        """Tensors of its own for a convolution: others may share those that it had."""
        given, index = _conv(node), next(self.fresh)
        with self.graph.inserting_before(node):
            for kind, value in (("weight", weight), ("bias", bias)):
                if value is not None:
                    self.module.register_buffer(f"folded{index}_{kind}", value.float())
                    given[kind] = self.graph.get_attr(f"folded{index}_{kind}")
        node.args, node.kwargs = tuple(given[word] for word in ("input", "weight", *_CONV_DEFAULTS)), {}

    def _replace(self, node: fx.Node, by: fx.Node) -> None:
        node.replace_all_uses_with(by)
        self.graph.erase_node(node)

    def drop_unread_tensors(self) -> None:
        read = {node.target for node in self.graph.nodes if node.op == "get_attr"}
        for owner, leaf, _ in self._tensors():
            if ".".join(filter(None, (owner, leaf))) not in read:
                delattr(self.module.get_submodule(owner), leaf)

    def drop_what_vanished(self) -> None:
        """Zero for what has all but vanished, in tensors of the graph's own: the network may share those it has."""
        for owner, leaf, tensor in self._tensors():
            if tensor.is_floating_point() and (vanished := tensor.detach().abs() < _VANISHED).any():
                module = self.module.get_submodule(owner)
                delattr(module, leaf)
                module.register_buffer(leaf, torch.where(vanished, 0, tensor.detach()))

    def _tensors(self) -> list[tuple[str, str, torch.Tensor]]:
        """The module that holds it, its name there, and the tensor."""
        tensors: dict[str, Any] = dict(self.module.named_parameters(remove_duplicate=False))
        tensors |= dict(self.module.named_buffers(remove_duplicate=False))
        return [(owner, leaf, tensor) for name, tensor in tensors.items() for owner, _, leaf in [name.rpartition(".")]]


def _known(*nodes: fx.Node | None) -> bool:
    """Whether none of these is computed: each is a constant, or left out."""
    return all(node is None or node.op == "get_attr" for node in nodes)


def _terms_alike(total: fx.Node) -> bool:
    """Whether a plain sum has two different terms, both with all of its channels."""
    terms = _arguments(total)
    if total.kwargs or not all(isinstance(term, fx.Node) for term in terms) or terms[0] is terms[1]:
        return False
    shapes = [term.meta["val"].shape for term in (*terms, total)]
    return all(len(shape) == 4 and shape[1] == shapes[-1][1] for shape in shapes)


def _averages(node: fx.Node) -> bool:
    """Whether each value is an average of values of its channel, with weights that sum to 1."""
    if node.target is not _ATEN.avg_pool2d.default:
        return node.target in RESIZES
    padding = _arguments(node)[3:4] or ([0, 0],)
    return not any(padding[0]) and len(node.args) < 7  # the seventh is a divisor of its own


def _conv(node: fx.Node) -> dict[str, Any]:
    """All arguments of a convolution by name, with the defaults of those that are left out."""
    given = dict(zip(("input", "weight", *_CONV_DEFAULTS), _arguments(node), strict=False))
    return _CONV_DEFAULTS | given | dict(node.kwargs)


def _arguments(node: fx.Node) -> tuple[Any, ...]:
    """A node's arguments, for the type checker: which kind each is follows from the operator."""
    return node.args
