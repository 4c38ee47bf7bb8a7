"""What an edge does, in words: its steps in the order of computation, and its tooltip."""

from collections.abc import Iterator, Mapping
from typing import Any

from genotypes.vocabulary import OPERATIONS, RESAMPLES

__all__ = ["edge_steps", "edge_text", "edge_tooltip", "likeliest"]

Probabilities = Mapping[str, Mapping[str, float]]


def likeliest(edge: Mapping[str, Any], probabilities: Probabilities) -> str | None:
    """The operation an edge is drawn as: its own, or the likeliest candidate; None for an open edge without any."""
    if isinstance(edge["op"], str):
        return edge["op"]
    shares = probabilities.get(edge["id"])
    return max(edge["op"], key=lambda op: shares.get(op, 0.0)) if shares else None


def edge_steps(edge: Mapping[str, Any], stride: int, target: int) -> tuple[list[str], list[str]]:
    """Resampling before and after the operation, as in ["↓2 avg"], ["↑4 bilinear"]."""
    before = list(_resampling(edge["pre"], stride, target))
    reached = before[-1][1] if before else stride
    return [text for text, _ in before], [text for text, _ in _resampling(edge["post"], reached, target)]


def edge_text(edge: Mapping[str, Any], stride: int, target: int) -> str:
    """An edge in one line, in the order in which it computes: "↓2 avg · conv2d_3x3 · ↑4 bilinear"."""
    before, after = edge_steps(edge, stride, target)
    op = edge["op"] if isinstance(edge["op"], str) else f"{len(edge['op'])} candidates"
    return " · ".join([*before, op, *after])


def edge_tooltip(edge: Mapping[str, Any], node: str, stride: int, target: int, shares: Mapping[str, float]) -> str:
    """Name, way and steps of an edge, then its operation, or its candidates with the likeliest first."""
    text = f"{edge['id']}: {edge['source']} → {node}\n{edge_text(edge, stride, target)}"
    ops = (edge["op"],) if isinstance(edge["op"], str) else sorted(edge["op"], key=lambda op: -shares.get(op, 0.0))
    rows = (f"{shares[op]:6.1%} {_summary(op)}" if op in shares else _summary(op) for op in ops)
    return "\n".join([text, *rows])


def _resampling(steps: tuple[str, ...], stride: int, target: int) -> Iterator[tuple[str, int]]:
    """Each step in words with the stride after it."""
    for step in steps:
        factor = RESAMPLES[step]
        after = target if factor is None else stride * factor
        name = "avg, ceil" if step == "avg2_ceil" else step.rstrip("0123456789")
        if after == stride:
            yield f"resize {name}", after
        else:
            arrow, ratio = ("↓", after / stride) if after > stride else ("↑", stride / after)
            yield f"{arrow}{ratio:g} {name}", after
        stride = after


def _summary(op: str) -> str:
    summary = OPERATIONS[op].summary
    return f"{op}: {summary}" if summary else op
