"""Applying the rules of `names`, strictly: every key of both sides is accounted for."""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import nas
from genotypes import Genotype, UserError
from retrain.authors.checkpoint import unwrap
from retrain.authors.names import Rule, names_for

__all__ = ["import_authors"]

_COUNTER = "num_batches_tracked"  # of batches, in a norm: without effect, and older files lack it


@dataclass(frozen=True)
class _Part:
    """One of our tensors, and which block of the authors' it is."""

    ours: str
    scale: float
    to: str = ""
    source: str = ""


def import_authors(genotype: Genotype, state_dict: Mapping[str, Any]) -> dict[str, Tensor]:
    """The authors' weights as a state dict for `nas.build(genotype)`, which loads it strictly.

    state_dict: as in the authors' file, bare or under `state_dict` or `net_state`, with or without `module.`.
    Factors that the authors apply in the forward pass (CSNet's 100) are folded into the weights.

    Raises UserError that names the first key that is missing, unexpected or of another shape, and where no
    authors' network is like the genotype.

    >>> g = genotypes.load("csnet_l_x2")
    >>> net = nas.build(g)
    >>> net.load_state_dict(import_authors(g, torch.load("csnet-L-x2.pth.tar", weights_only=True)))
    <All keys matched successfully>
    """
    theirs = {key: value for key, value in unwrap(state_dict).items() if not key.endswith(_COUNTER)}
    names = names_for(genotype)
    theirs = {key: value for key, value in theirs.items() if not key.startswith(names.unused)}
    with torch.device("meta"):  # names and shapes only
        ours = nas.build(genotype).state_dict()
    advice = f"; is this the authors' checkpoint of {genotype.name}?"

    parts: dict[str, list[_Part]] = defaultdict(list)
    state = {}
    for key in ours:
        if key.endswith(_COUNTER):
            state[key] = torch.zeros((), dtype=torch.int64)
        else:
            source, part = _translate(key, names.rules, genotype)
            parts[source].append(part)
            state[key] = None  # keeps the order
    for key, group in parts.items():
        if key not in theirs:
            raise UserError(f"the key {key!r} is missing{advice}")
        shapes = {part.ours: tuple(ours[part.ours].shape) for part in group}
        rows, columns = _bounds(group, shapes, 0, "to"), _bounds(group, shapes, 1, "source")
        expected = _whole(group, shapes, rows, columns)
        if tuple(theirs[key].shape) != expected:
            raise UserError(f"the key {key!r} has the shape {list(theirs[key].shape)}, not {list(expected)}{advice}")
        for part in group:
            value = theirs[key]
            if len(group) > 1:
                value = value[slice(*rows[part.to]), slice(*columns[part.source])]
            # A copy of its own: weight files refuse tensors that share memory.
            state[part.ours] = value.detach().to(ours[part.ours].dtype).mul(part.scale).contiguous()
    for key in theirs:
        if key not in parts:
            raise UserError(f"the key {key!r} is unexpected{advice}")
    return state


def _translate(key: str, rules: tuple[Rule, ...], genotype: Genotype) -> tuple[str, _Part]:
    """Our key -> the authors', and which part of it ours is."""
    module, _, leaf = key.rpartition(".")
    for rule in rules:
        match = re.fullmatch(rule.ours, module)
        if match:
            groups = match.groupdict()
            word = rule.leaf if leaf == "weight" else leaf
            part = _Part(key, rule.scale, groups.get("to", ""), groups.get("from", ""))
            return f"{match.expand(rule.theirs)}.{word}", part
    raise UserError(f"{genotype.name!r} differs from every authors' network: they have nothing like {key!r}")


def _bounds(group: list[_Part], shapes: Mapping[str, tuple[int, ...]], axis: int, side: str) -> dict[str, tuple]:
    """Branch -> its first and one-past-last channel along an axis, branches in order."""
    widths = {getattr(part, side): shapes[part.ours][axis] for part in group if len(shapes[part.ours]) > axis}
    bounds, start = {}, 0
    for branch in sorted(widths):
        bounds[branch] = (start, start + widths[branch])
        start += widths[branch]
    return bounds


def _whole(group: list[_Part], shapes: Mapping[str, tuple[int, ...]], rows: dict, columns: dict) -> tuple[int, ...]:
    """The shape of the authors' tensor whose blocks are ours."""
    shape = shapes[group[0].ours]
    if len(group) == 1:
        return shape
    return (max(end for _, end in rows.values()), max(end for _, end in columns.values()), *shape[2:])
