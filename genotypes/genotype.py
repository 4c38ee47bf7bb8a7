"""The genotype: an immutable description of a whole network, the same thing as its YAML document.

    format: 1
    name: my_net
    input: {mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], size: [256, 256]}
    backbone: {name: mobilenet_v2, taps: [s32, s16, s8, s4]}
    cells:
    - {name: reduce, template: lateral, inputs: [s32, s16, s8, s4], channels: 32}
    - ...
    outputs: [head.logits]

Everything is checked at construction: a Genotype that exists describes a network that can be built.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

from genotypes._checks import at, check_keys, check_mapping, freeze, integers, numbers, show, strings, text, thaw
from genotypes.choices import KINDS, Candidate, candidates, is_open
from genotypes.errors import GenotypeError
from genotypes.expand import check_operation, expand
from genotypes.graph import Graph
from genotypes.vocabulary import BACKBONES, IMAGENET_MEAN, IMAGENET_STD

__all__ = ["FORMAT", "Backbone", "Cell", "Genotype", "Input"]

FORMAT = 1


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
            object.__setattr__(self, "sizes", candidates(tuple(self.sizes), 1, ("size", "choose")))
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
            return cls(**rest, sizes=candidates(freeze(data["size"]["choose"]), 1, ("size", "choose")))
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
        defaults = {key: values[0] for key, values in record.options.items()}
        document = [self.name, sorted(self.taps), defaults | dict(self.options)]
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

    @classmethod
    def from_dict(cls, data: Any) -> "Cell":
        check_mapping(data)
        for key in ("name", "template", "inputs"):
            if key not in data:
                raise GenotypeError(f"a cell needs the key {key!r}")
        name = data["name"]
        if not isinstance(name, str) or not name.isidentifier():
            raise GenotypeError(f"a cell's name must be an identifier such as fuse4, not {show(name)}", ("name",))
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
            name=name,
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


@dataclass(frozen=True, kw_only=True, eq=False)
class Genotype:
    """A network, decided or with open edges. Immutable; equal to another if both describe the same network.

    `graph` is its expansion to nodes and edges; `hash` identifies the network whatever its name or spelling.

    >>> import genotypes
    >>> g = genotypes.load("fpn_tiny")
    >>> g.choices()
    {}
    """

    name: str
    cells: tuple[Cell, ...]
    outputs: tuple[str, ...]
    backbone: Backbone | None = None
    input: Input = field(default_factory=Input)
    description: str = ""

    def __post_init__(self) -> None:
        if not text(self.name, "name").isprintable() or not self.name.strip():
            raise GenotypeError(f"expected a name in one line, not {show(self.name)}", ("name",))
        text(self.description, "description")
        self.graph  # noqa: B018 - expanding is validating

    @classmethod
    def from_dict(cls, data: Any) -> "Genotype":
        """The genotype a document describes; GenotypeError (with the place) for anything wrong with it."""
        keys = ("format", "name", "cells", "outputs")
        check_keys(data, required=keys, optional=("description", "input", "backbone"))
        if type(data["format"]) is not int or data["format"] != FORMAT:
            raise GenotypeError(f"unknown format {show(data['format'])}; this version reads {FORMAT}", ("format",))
        cells = data["cells"]
        if not isinstance(cells, list) or not cells:
            raise GenotypeError(f"expected a list of cells, at least one, not {show(cells)}", ("cells",))
        backbone = data.get("backbone")
        return cls(
            name=data["name"],
            description=data.get("description", ""),
            input=at(("input",), Input.from_dict, data.get("input", {})),
            backbone=None if backbone is None else at(("backbone",), Backbone.from_dict, backbone),
            cells=tuple(at(("cells", index), Cell.from_dict, cell) for index, cell in enumerate(cells)),
            outputs=strings(data["outputs"], "outputs"),
        )

    def to_dict(self) -> dict[str, Any]:
        """The document: `Genotype.from_dict(g.to_dict()) == g`."""
        data: dict[str, Any] = {"format": FORMAT, "name": self.name}
        if self.description:
            data["description"] = self.description
        data["input"] = self.input.to_dict()
        if self.backbone is not None:
            data["backbone"] = self.backbone.to_dict()
        data["cells"] = [cell.to_dict() for cell in self.cells]
        data["outputs"] = list(self.outputs)
        return data

    @cached_property
    def graph(self) -> Graph:
        """The flat graph of all nodes and edges."""
        return expand(self)

    @cached_property
    def hash(self) -> str:
        """64 hex digits of the network itself: graph, outputs, backbone, mean and std; not name, size or spelling."""
        document = {
            "backbone": self.backbone.canonical() if self.backbone else None,
            "input": [list(self.input.mean), list(self.input.std)],
            "graph": self.graph.canonical(),
            "outputs": list(self.outputs),
        }
        for kind in KINDS:
            if kind.hashed_as and (found := kind.find(self)):
                document[kind.hashed_as] = {choice: list(candidates) for choice, candidates in found.items()}
        return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()

    def choices(self) -> dict[str, tuple[Candidate, ...]]:
        """What is open: id -> candidates, see `genotypes.choices`; edges in the order in which they are computed."""
        return {choice: candidates for kind in KINDS for choice, candidates in kind.find(self).items()}

    def open_edges(self) -> dict[str, tuple[str, ...]]:
        """The choices that are operations: edge id ("cell.edge") -> candidates."""
        return self.graph.open

    @property
    def is_decided(self) -> bool:
        return not self.choices()

    def decide(self, choices: Mapping[str, Candidate], *, name: str | None = None) -> "Genotype":
        """Close choices: id -> one of its candidates. What is not named stays open.

        Raises GenotypeError for an id that is not open, for what is no candidate, and where nothing of the image
        reaches an output any more.
        """
        there = self.choices()
        for way, choice in choices.items():
            if way not in there:
                known = ", ".join(there) or "none"
                raise GenotypeError(f"{show(way)} is not open; open: {known}")
            if choice not in there[way]:
                known = ", ".join(map(str, there[way]))
                raise GenotypeError(f"{show(choice)} is no candidate of {way!r}; candidates: {known}")
        fields: dict[str, Any] = {"cells": self.cells, "backbone": self.backbone}
        for kind in KINDS:
            mine = {way: choices[way] for way in kind.find(self) if way in choices}
            fields |= kind.close(self, fields, mine)
        return self.replace(**fields, name=name or self.name)

    @property
    def identity(self) -> tuple[str, tuple[int, int]]:
        """What tells members of a space apart: the hash, which any size shares, and the input size."""
        return self.hash, self.input.size

    def reaches_image(self, choices: Mapping[str, Candidate]) -> bool:
        """Whether these choices leave a way from the image to an output; `decide` refuses them otherwise.

        Takes microseconds: for samplers, to draw again.

        >>> import search_spaces
        >>> space = search_spaces.fusion_cells("tiny")
        >>> space.reaches_image(dict.fromkeys(space.open_edges(), "none"))
        False
        """
        return self.graph.reaches_image(choices)

    def replace(self, **changes: Any) -> "Genotype":
        """A copy with some fields changed, validated anew."""
        return dataclasses.replace(self, **changes)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Genotype) and self.hash == other.hash

    def __hash__(self) -> int:
        return int(self.hash[:15], 16)

    def __deepcopy__(self, memo: dict) -> "Genotype":
        return self

    def __reduce__(self) -> tuple:
        return Genotype.from_dict, (self.to_dict(),)


def _check_hidden(widths: Any, name: str, taps: tuple[str, ...]) -> tuple[Any, ...]:
    record = BACKBONES[name]
    blocks = record.blocks[: record.depth(taps)]
    if not isinstance(widths, tuple) or (widths and len(widths) != len(blocks)):
        there = f"{len(blocks)} blocks lead to its deepest tap" if record.blocks else "its blocks have no hidden width"
        raise GenotypeError(f"expected a list of widths, one a block ({name}: {there}), not {show(widths)}")
    for index, (width, block) in enumerate(zip(widths, blocks, strict=False)):
        if is_open(width):
            candidates(width["choose"], 0, (index, "choose"))
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
