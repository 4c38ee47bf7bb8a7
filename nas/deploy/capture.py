"""A network as one graph of ATen operations: for any batch, height and width, or for one size.

`torch.export` writes down what it assumed about free sizes while it traced. Some of that is about memory layout only
and does not hold for every size (a feature of one pixel, a size that divides another), so that a program would refuse
pictures which its operations compute correctly. Such notes are dropped; `deploy` compares the graph with the network.
"""

import io
import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from functools import lru_cache
from typing import Any

import sympy
import torch
from torch import fx, nn
from torch.export import Dim, ExportedProgram, export
from torch.torch_version import TorchVersion
from torch.utils._sympy.numbers import int_oo
from torch.utils._sympy.value_ranges import ValueRanges

from genotypes import UserError
from genotypes.parts import SMALLEST
from nas.deploy.folding import RESIZES
from search_spaces.steps import PICTURE_SIDES

__all__ = ["OLDEST", "capture", "errors_alone", "one_at_a_time", "program"]

OLDEST = "2.9"  # torch that leaves what it does not know of free sizes open

# Where a graph of free sizes is traced. 0 and 1 would be taken for constants, and a number one below a power of two is
# odd however often it is halved, so that sizes which are not always equal differ here.
_TRACED = (2, 3, 127, 191)
_FREE = {0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC}

_turn = threading.RLock()


def _after_fork() -> None:
    """Who held the lock stays behind: the new process would wait without end."""
    global _turn
    _turn = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Other threads wait to convert a network: of two that torch traces at once, both fail."""
    with _turn:
        yield


def capture(module: nn.Module, size: tuple[int, int] | None = None) -> fx.GraphModule:
    """The graph of a module from [B, 3, H, W] to one tensor, in evaluation mode; it shares the module's tensors.

    size: (H, W) of the one picture that the graph is for; None: any batch, and any sides from `SMALLEST` up.
    """
    graph = program(module, size).module()
    for node in list(graph.graph.nodes):
        if node.op == "call_module":  # the program's own check of its inputs
            graph.graph.erase_node(node)
        elif node.op == "call_function" and _changes_nothing(node):
            node.replace_all_uses_with(node.args[0])
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return graph


@one_at_a_time()
def program(module: nn.Module, size: tuple[int, int] | None = None) -> ExportedProgram:
    """The `torch.export` program of such a module, or of its graph.

    Raises UserError for a graph of any size where torch is too old for it.
    """
    if size is None and TorchVersion(torch.__version__) < OLDEST:
        raise UserError(
            f"a network for pictures of any size needs torch {OLDEST} to be exported; here is {torch.__version__}"
        )
    with torch.no_grad(), _not_in_place(module), _failing_in_silence():
        if size is not None:
            return export(module, (torch.rand(1, 3, *size),))
        exported = export(
            _Bounded(module),
            (torch.rand(_TRACED),),
            dynamic_shapes=(_FREE,),
            prefer_deferred_runtime_asserts_over_guards=True,
        )
    for node in reversed(exported.graph.nodes):
        if node.target is torch.ops.aten._assert_scalar.default:
            exported.graph.erase_node(node)
        node.meta.pop("stack_trace", None)  # lines of this machine's files, which a program would take along
    exported.graph.eliminate_dead_code()
    exported.graph_module.recompile()
    exported.example_inputs = None  # noise, which would be saved, too
    (name,) = exported.graph_signature.user_inputs
    (picture,) = (node for node in exported.graph.nodes if node.name == name)
    batch, _, height, width = picture.meta["val"].shape
    for side, least in ((batch, 1), (height, SMALLEST), (width, SMALLEST)):
        exported.range_constraints[side.node.expr] = ValueRanges(least, int_oo)
    return exported


class _Bounded(nn.Module):
    """Tells the tracer which sides there are: most questions about sizes are settled by that."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        for side in picture.shape[2:]:
            torch._check(side >= SMALLEST)
        return self.module(picture)


@contextmanager
def errors_alone(logger: str | None) -> Iterator[None]:
    """Inside, a library's logger (None: the root one) tells of errors alone."""
    log = logging.getLogger(logger)
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


@contextmanager
def _failing_in_silence() -> Iterator[None]:
    """Where torch fails inside, it prints the whole graph, hundreds of lines: what there is to say is in the error."""
    printed = io.StringIO()
    with redirect_stderr(printed), errors_alone("torch.fx.experimental.symbolic_shapes"):
        yield
    if sys.stderr is not None:  # of a program without a terminal it is
        sys.stderr.write(printed.getvalue())


@contextmanager
def _not_in_place(module: nn.Module) -> Iterator[None]:
    """Activations write to tensors of their own: a graph can be rewritten where nothing changes behind its back."""
    changed: list[Any] = [inner for inner in module.modules() if getattr(inner, "inplace", False)]
    for inner in changed:
        inner.inplace = False
    try:
        yield
    finally:
        for inner in changed:
            inner.inplace = True


def _changes_nothing(node: fx.Node) -> bool:
    """Whether a node resizes to the size there is, whatever the picture's size, or averages single pixels."""
    arguments: tuple[Any, ...] = node.args
    if node.target is torch.ops.aten.avg_pool2d.default and list(arguments[1]) != [1, 1]:
        return False
    if node.target not in (*RESIZES, torch.ops.aten.avg_pool2d.default):
        return False
    before, after = (each.meta["val"].shape[2:] for each in (arguments[0], node))
    return all(_sides(here) == _sides(there) for here, there in zip(before, after, strict=True))


def _sides(size: int | torch.SymInt) -> tuple[int, ...]:
    """A feature's height (or width) for pictures of different heights (or widths)."""
    return (size,) * len(PICTURE_SIDES) if isinstance(size, int) else _values(size.node.expr)


@lru_cache(maxsize=1024)
def _values(expression: sympy.Expr) -> tuple[int, ...]:
    (symbol,) = expression.free_symbols
    return tuple(int(expression.xreplace({symbol: sympy.Integer(side)})) for side in PICTURE_SIDES)
