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

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

import networkx

from genotypes import expand, vocabulary
from genotypes._checks import at, check_keys, check_mapping, freeze, numbers, strings, thaw
from genotypes.errors import GenotypeError

__all__ = ["FORMAT", "Backbone", "Cell", "Genotype", "Input"]

FORMAT = 1
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class Input:
    """How a picture in [0, 1] becomes the network's input: (x - mean) / std; size: the (H, W) it was meant for."""

    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    size: tuple[int, int] = (256, 256)

    @classmethod
    def from_dict(cls, data: Any) -> "Input":
        check_keys(data, optional=("mean", "std", "size"))
        fields = {key: numbers(data[key], count, key) for key, count in _INPUT_LENGTHS.items() if key in data}
        if any(value <= 0 for value in fields.get("std", ())):
            raise GenotypeError(f"std must be positive, not {list(fields['std'])}", ("std",))
        if any(value < 1 or not isinstance(value, int) for value in fields.get("size", ())):
            raise GenotypeError(f"size must be two positive integers, not {list(fields['size'])}", ("size",))
        return cls(**fields)

    def to_dict(self) -> dict[str, Any]:
        return {"mean": list(self.mean), "std": list(self.std), "size": list(self.size)}


_INPUT_LENGTHS = {"mean": 3, "std": 3, "size": 2}


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A backbone of the vocabulary, the features the cells tap, and its options (those that differ from the default)."""

    name: str
    taps: tuple[str, ...]
    options: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, data: Any) -> "Backbone":
        check_keys(data, required=("name", "taps"), optional=("options",))
        word = at(("name",), vocabulary.look_up, vocabulary.BACKBONES, "backbone", data["name"])
        taps = strings(data["taps"], "taps")
        for index, tap in enumerate(taps):
            at(("taps", index), word.feature, tap)
        if len(set(taps)) != len(taps) or not taps:
            raise GenotypeError(f"expected distinct feature names, at least one, not {list(taps)}", ("taps",))
        options = data.get("options", {})
        at(("options",), check_keys, options, optional=tuple(word.options))
        for key, value in options.items():
            if value not in word.options[key]:
                allowed = ", ".join(word.options[key])
                raise GenotypeError(f"unknown {key} {value!r}; allowed: {allowed}", ("options", key))
        return cls(name=data["name"], taps=taps, options=MappingProxyType(dict(options)))

    def to_dict(self) -> dict[str, Any]:
        data = {"name": self.name, "taps": list(self.taps)}
        return data | ({"options": dict(self.options)} if self.options else {})


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A named group of nodes made by a template.

    inputs: name inside the cell -> feature outside ("s4" of the backbone, "image", or "cell.node").
    params: the template's own parameters (for the template `graph`: the literal nodes).
    operations: edge -> operation (decided) or tuple of candidates (open); overrides the template's default.
    candidates: what the template's remaining choice edges are open over; empty: they take their default.
    """

    name: str
    template: str
    inputs: Mapping[str, str]
    params: Mapping[str, Any] = field(default_factory=dict)
    operations: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    candidates: tuple[str, ...] = ()

    @classmethod
    def from_dict(cls, data: Any) -> "Cell":
        check_mapping(data)
        for key in ("name", "template", "inputs"):
            if key not in data:
                raise GenotypeError(f"a cell needs the key {key!r}")
        name = data["name"]
        if not isinstance(name, str) or not name.isidentifier():
            raise GenotypeError(f"a cell's name must be an identifier, not {name!r}", ("name",))
        operations = data.get("operations", {})
        at(("operations",), check_mapping, operations)
        for edge, op in operations.items():
            at(("operations", edge), expand.check_operation, freeze(op))
        candidates = strings(data.get("candidates", []), "candidates")
        if candidates:
            at(("candidates",), expand.check_operation, candidates)
        own = ("name", "template", "inputs", "operations", "candidates")
        return cls(
            name=name,
            template=data["template"],
            inputs=at(("inputs",), _parse_inputs, data["inputs"]),
            params=freeze({key: value for key, value in data.items() if key not in own}),
            operations=freeze(dict(operations)),
            candidates=candidates,
        )

    def to_dict(self) -> dict[str, Any]:
        aliases = [reference.rsplit(".", 1)[-1] for reference in self.inputs.values()]
        plain = aliases == list(self.inputs)
        data: dict[str, Any] = {"name": self.name, "template": self.template}
        data["inputs"] = list(self.inputs.values()) if plain else dict(self.inputs)
        data |= thaw(self.params)
        if self.candidates:
            data["candidates"] = list(self.candidates)
        if self.operations:
            data["operations"] = thaw(self.operations)
        return data


@dataclass(frozen=True, kw_only=True, eq=False)
class Genotype:
    """A network, decided or with open edges. Immutable; equal to another if both describe the same network.

    `graph` is its expansion: a frozen networkx.MultiDiGraph whose nodes are features ("image", backbone taps,
    "cell.node") and whose edges carry operations. `hash` identifies the network whatever its name or spelling.

    >>> import genotypes
    >>> g = genotypes.load("fpn_tiny")
    >>> g.open_edges()
    {}
    """

    name: str
    cells: tuple[Cell, ...]
    outputs: tuple[str, ...]
    backbone: Backbone | None = None
    input: Input = field(default_factory=Input)
    description: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise GenotypeError(f"the name must be a non-empty string, not {self.name!r}", ("name",))
        self.graph  # noqa: B018 - expanding is validating

    @classmethod
    def from_dict(cls, data: Any) -> "Genotype":
        """The genotype a document describes; GenotypeError (with the place) for anything wrong with it."""
        keys = ("format", "name", "cells", "outputs")
        check_keys(data, required=keys, optional=("description", "input", "backbone"))
        if data["format"] != FORMAT:
            raise GenotypeError(f"format {data['format']!r} is not known; this version reads {FORMAT}", ("format",))
        cells = data["cells"]
        if not isinstance(cells, list) or not cells:
            raise GenotypeError("expected a list of cells, at least one", ("cells",))
        description = data.get("description", "")
        if not isinstance(description, str):
            raise GenotypeError(f"expected a text, not {description!r}", ("description",))
        backbone = data.get("backbone")
        return cls(
            name=data["name"],
            description=description,
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
    def graph(self) -> networkx.MultiDiGraph:
        """The flat graph (see `genotypes.expand`)."""
        return expand.expand(self)

    @cached_property
    def hash(self) -> str:
        """64 hex digits of the network itself: graph, outputs, backbone, mean and std; not name, size or spelling."""
        document = {
            "backbone": self.backbone.to_dict() | {"taps": sorted(self.backbone.taps)} if self.backbone else None,
            "input": [list(self.input.mean), list(self.input.std)],
            "graph": expand.canonical(self.graph),
            "outputs": list(self.outputs),
        }
        return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()

    def open_edges(self) -> dict[str, tuple[str, ...]]:
        """Edge id ("cell.edge") -> candidates, in the order in which the network computes them."""
        return {data["id"]: data["op"] for data in self._edges() if isinstance(data["op"], tuple)}

    @property
    def is_decided(self) -> bool:
        return not self.open_edges()

    def decide(self, choices: Mapping[str, str], *, name: str | None = None) -> "Genotype":
        """Close open edges: choices maps edge id to one of its candidates. Edges not named stay open.

        Raises GenotypeError for an edge that is not open and for an operation that is not a candidate.
        """
        open_edges = self.open_edges()
        for edge, op in choices.items():
            if edge not in open_edges:
                raise GenotypeError(f"{edge!r} is not an open edge; open: {', '.join(open_edges) or 'none'}")
            if op not in open_edges[edge]:
                raise GenotypeError(f"{op!r} is no candidate of {edge!r}; candidates: {', '.join(open_edges[edge])}")
        left = {edge.split(".")[0] for edge in open_edges if edge not in choices}
        cells = tuple(_decide_cell(cell, choices, keep_candidates=cell.name in left) for cell in self.cells)
        return self.replace(cells=cells, name=name or self.name)

    def replace(self, **changes: Any) -> "Genotype":
        """A copy with some fields changed, validated anew."""
        fields = {key: getattr(self, key) for key in self.__dataclass_fields__}
        return Genotype(**fields | changes)

    def _edges(self) -> Iterator[dict[str, Any]]:
        for node in networkx.lexicographical_topological_sort(self.graph, key=self._node_rank.__getitem__):
            yield from expand.incoming(self.graph, node)

    @cached_property
    def _node_rank(self) -> dict[str, int]:
        return {node: rank for rank, node in enumerate(self.graph)}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Genotype) and self.hash == other.hash

    def __hash__(self) -> int:
        return int(self.hash[:15], 16)

    def __deepcopy__(self, memo: dict) -> "Genotype":
        return self

    def __reduce__(self) -> tuple:
        return Genotype.from_dict, (self.to_dict(),)


def _decide_cell(cell: Cell, choices: Mapping[str, str], *, keep_candidates: bool) -> Cell:
    mine = {key.split(".", 1)[1]: op for key, op in choices.items() if key.split(".", 1)[0] == cell.name}
    return Cell(
        name=cell.name,
        template=cell.template,
        inputs=cell.inputs,
        params=cell.params,
        operations=freeze({**cell.operations, **mine}),
        candidates=cell.candidates if keep_candidates else (),
    )


def _parse_inputs(data: Any) -> Mapping[str, str]:
    """A list of references (each called by its last part inside the cell) or a mapping name -> reference."""
    if isinstance(data, Mapping):
        pairs = list(data.items())
    elif isinstance(data, list):
        pairs = [(ref.rsplit(".", 1)[-1] if isinstance(ref, str) else ref, ref) for ref in data]
    else:
        raise GenotypeError(f"expected a list of features or a mapping name: feature, not {data!r}")
    for name, reference in pairs:
        if not isinstance(reference, str) or not isinstance(name, str) or not name.isidentifier():
            raise GenotypeError(f"expected a feature such as s4 or cell.node, not {reference!r}")
    if len(dict(pairs)) < len(pairs):
        names = ", ".join(name for name, _ in pairs)
        raise GenotypeError(f"two inputs share a name ({names}); use a mapping name: feature")
    return MappingProxyType(dict(pairs))
