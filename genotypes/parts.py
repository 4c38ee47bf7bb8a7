"""The parts of a genotype, each checked at construction: the input convention, the backbone, the cells."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from genotypes._checks import at, check_keys, check_mapping, freeze, integers, numbers, show, strings, thaw
from genotypes._open_values import checked_candidates, is_open
from genotypes.errors import GenotypeError, plural
from genotypes.graph import Graph
from genotypes.vocabulary import BACKBONES, IMAGENET_MEAN, IMAGENET_STD, OPERATIONS

__all__ = ["SMALLEST", "Backbone", "Cell", "Input", "Parts", "check_operation"]

SMALLEST = 32  # pixels: the least side of a picture that networks take


@dataclass(frozen=True, kw_only=True)
class Input:
    """How a picture in [0, 1] becomes the network's input: (x - mean) / std; size: the (H, W) it was meant for.

    sizes: sides to choose from, in a space; `size` is then the largest. In a file: `size: {choose: [96, 128]}`.
    """

    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    size: tuple[int, int] = (256, 256)
    sizes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for key in ("mean", "std"):
            object.__setattr__(self, key, numbers(getattr(self, key), 3, key))
        if self.sizes:
            object.__setattr__(self, "sizes", _check_sides(tuple(self.sizes)))
            object.__setattr__(self, "size", (max(self.sizes), max(self.sizes)))
        object.__setattr__(self, "size", integers(self.size, 2, "size"))
        if min(self.std) <= 0:
            raise GenotypeError(f"std must be positive, not {show(self.std)}", ("std",))

    @classmethod
    def of_backbone(cls, name: str, **given: Any) -> "Input":
        """The convention that a backbone's published weights expect; given: fields that are to differ."""
        record = BACKBONES[name]
        return cls(**{"mean": record.mean, "std": record.std} | given)

    @classmethod
    def from_dict(cls, data: Any) -> "Input":
        check_keys(data, optional=("mean", "std", "size"))
        if is_open(data.get("size")):
            rest = {key: value for key, value in data.items() if key != "size"}
            return cls(**rest, sizes=_check_sides(freeze(data["size"]["choose"])))
        return cls(**data)

    def to_dict(self) -> dict[str, Any]:
        size = {"choose": list(self.sizes)} if self.sizes else list(self.size)
        return {"mean": list(self.mean), "std": list(self.std), "size": size}


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A backbone of the vocabulary, the features the cells tap, and its options (left out: the default).

    widths: hidden channels of each of its blocks up to the deepest tap, or `{choose: [...]}`; 0: the block is absent.
    Left out: as published. Weights of the published network fit: the most important channels are taken.
    """

    name: str
    taps: tuple[str, ...]
    options: Mapping[str, str] = field(default_factory=dict)
    widths: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        word = at(("name",), BACKBONES.__getitem__, self.name)
        object.__setattr__(self, "taps", strings(self.taps, "taps"))
        for index, tap in enumerate(self.taps):
            at(("taps", index), word.feature, tap)
        if len(set(self.taps)) != len(self.taps) or not self.taps:
            raise GenotypeError(f"expected different feature names, at least one, not {show(self.taps)}", ("taps",))
        at(("options",), check_keys, self.options, optional=tuple(word.options))
        for key, value in self.options.items():
            if value not in word.options[key]:
                allowed = ", ".join(word.options[key])
                raise GenotypeError(f"unknown {key} {show(value)}; known: {allowed}", ("options", key))
        object.__setattr__(self, "options", MappingProxyType(dict(self.options)))
        object.__setattr__(self, "widths", at(("widths",), _check_hidden, freeze(self.widths), self.name, self.taps))

    @classmethod
    def from_dict(cls, data: Any) -> "Backbone":
        check_keys(data, required=("name", "taps"), optional=("options", "widths"))
        return cls(**data)

    def to_dict(self) -> dict[str, Any]:
        data: dict[str, Any] = {"name": self.name, "taps": list(self.taps)}
        data |= {"options": dict(self.options)} if self.options else {}
        return data | ({"widths": thaw(self.widths)} if self.widths else {})

    @property
    def hidden(self) -> tuple[int, ...]:
        """Of each block up to the deepest tap, the hidden channels: the most that may be chosen."""
        record = BACKBONES[self.name]
        full = tuple(block.width for block in record.blocks[: record.depth(self.taps)])
        return tuple(max(width["choose"]) if is_open(width) else width for width in self.widths) or full

    def canonical(self) -> list[Any]:
        """What a genotype's hash is made of: what is spelt out though it is the default changes nothing."""
        record = BACKBONES[self.name]
        document = [self.name, sorted(self.taps), record.all_options(self.options)]
        full = [block.width for block in record.blocks[: len(self.hidden)]]
        return document + ([list(self.hidden)] if list(self.hidden) != full else [])


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A named group of nodes made by a template.

    inputs: name inside the cell -> feature outside ("s4" of the backbone, "image", or "cell.node").
    params: the template's own parameters (for the template `graph`: the literal nodes).
    operations: edge -> operation (decided) or tuple of candidates (open); overrides the template's default.
    candidates: what the template's remaining choice edges are open over; empty: they take their default.
    input_sets: the references of `inputs` to choose from, each candidate in one string; `inputs` are then all of them.
    """

    name: str
    template: str
    inputs: Mapping[str, str]
    params: Mapping[str, Any] = field(default_factory=dict)
    operations: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    candidates: tuple[str, ...] = ()
    input_sets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.isidentifier():
            raise GenotypeError(f"a cell's name must be an identifier such as fuse4, not {show(self.name)}", ("name",))

    @classmethod
    def from_dict(cls, data: Any) -> "Cell":
        check_mapping(data)
        for key in ("name", "template", "inputs"):
            if key not in data:
                raise GenotypeError(f"a cell needs the key {key!r}")
        operations = data.get("operations", {})
        at(("operations",), check_mapping, operations)
        for edge, op in operations.items():
            at(("operations", edge), check_operation, freeze(op))
        candidates = strings(data.get("candidates", []), "candidates")
        if candidates:
            at(("candidates",), check_operation, candidates)
        own = ("name", "template", "inputs", "operations", "candidates")
        inputs, sets = data["inputs"], tuple[str, ...]()
        if is_open(inputs) and not isinstance(inputs["choose"], str):
            sets = at(("inputs", "choose"), _check_input_sets, freeze(inputs["choose"]))
            inputs = max((item.split() for item in sets), key=len)
        return cls(
            name=data["name"],
            template=data["template"],
            inputs=at(("inputs",), _parse_inputs, inputs),
            input_sets=sets,
            params=freeze({key: value for key, value in data.items() if key not in own}),
            operations=freeze(dict(operations)),
            candidates=candidates,
        )

    def to_dict(self) -> dict[str, Any]:
        aliases = [reference.rsplit(".", 1)[-1] for reference in self.inputs.values()]
        plain = aliases == list(self.inputs)
        data: dict[str, Any] = {"name": self.name, "template": self.template}
        data["inputs"] = list(self.inputs.values()) if plain else dict(self.inputs)
        if self.input_sets:
            data["inputs"] = {"choose": list(self.input_sets)}
        data |= thaw(self.params)
        if self.candidates:
            data["candidates"] = list(self.candidates)
        if self.operations:
            data["operations"] = thaw(self.operations)
        return data


@dataclass(frozen=True, kw_only=True)
class Parts:
    """All that describes a network. graph: what the parts make, before any choice is closed (see `choices`)."""

    input: Input
    backbone: Backbone | None
    cells: tuple[Cell, ...]
    outputs: tuple[str, ...]
    graph: Graph


def check_operation(op: Any) -> None:
    """Accept a known operation or a tuple of different known candidates; GenotypeError otherwise."""
    for candidate in op if isinstance(op, tuple) else (op,):
        OPERATIONS[candidate]
    if isinstance(op, tuple) and (len(op) < 2 or len(set(op)) < len(op)):
        raise GenotypeError(f"an open edge needs two or more different candidates, not {show(op)}")


def _check_sides(sides: Any) -> tuple[int, ...]:
    return checked_candidates(sides, SMALLEST, ("size", "choose"), what="sides")


def _check_hidden(widths: Any, name: str, taps: tuple[str, ...]) -> tuple[Any, ...]:
    record = BACKBONES[name]
    blocks = record.blocks[: record.depth(taps)]
    if not isinstance(widths, tuple) or (widths and len(widths) != len(blocks)):
        before = f"{plural(len(blocks), 'block')} before its deepest tap"
        there = before if record.blocks else "its blocks have no hidden width"
        raise GenotypeError(f"expected a list of widths, one a block ({name}: {there}), not {show(widths)}")
    for index, (width, block) in enumerate(zip(widths, blocks, strict=False)):
        if is_open(width):
            checked_candidates(width["choose"], 0, (index, "choose"))
        for value in width["choose"] if is_open(width) else (width,):
            if type(value) is not int or not block.least <= value <= block.width:
                span = f"{block.least} to {block.width}" if block.least < block.width else str(block.width)
                absent = ", 0 to leave the block out" if block.least == 0 else ""
                raise GenotypeError(
                    f"block {index} of {name} has {span} hidden channels{absent}, not {show(value)}", (index,)
                )
    return widths


def _check_input_sets(sets: Any) -> tuple[str, ...]:
    if not isinstance(sets, tuple) or len(sets) < 2 or not all(isinstance(item, str) and item.split() for item in sets):
        raise GenotypeError(f"expected two or more lists of features such as 's32 s16', not {show(sets)}")
    parts = [item.split() for item in sets]
    if len({frozenset(part) for part in parts}) < len(parts):
        raise GenotypeError(f"expected different lists of features, not {show(sets)}")
    most = max(parts, key=len)
    for part in parts:
        if [reference for reference in most if reference in part] != part:
            raise GenotypeError(f"{show(' '.join(part))} is no part of {show(' '.join(most))} in its order")
    return tuple(" ".join(part) for part in parts)


def _parse_inputs(data: Any) -> Mapping[str, str]:
    """A list of references (each called by its last part inside the cell) or a mapping name -> reference."""
    if isinstance(data, Mapping):
        pairs = list(data.items())
    elif isinstance(data, list):
        pairs = [(ref.rsplit(".", 1)[-1] if isinstance(ref, str) else ref, ref) for ref in data]
    else:
        raise GenotypeError(f"expected a list of features, or a mapping (name: feature), not {show(data)}")
    for index, (name, reference) in enumerate(pairs):
        place = (name if isinstance(data, Mapping) else index,)
        if not isinstance(reference, str):
            raise GenotypeError(f"expected a feature such as s4 or cell.node, not {show(reference)}", place)
        if not isinstance(name, str) or not name.isidentifier():
            raise GenotypeError(f"an input's name must be an identifier such as s4, not {show(name)}", place)
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise GenotypeError(f"two inputs share a name ({', '.join(names)}); use a mapping (name: feature)")
    return MappingProxyType(dict(pairs))
