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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from genotypes._checks import at, check_keys, show, strings, text
from genotypes.choices import KINDS, Candidate
from genotypes.errors import GenotypeError
from genotypes.expand import expand
from genotypes.graph import Graph
from genotypes.parts import Backbone, Cell, Input, Parts
from genotypes.vocabulary import OPERATIONS

__all__ = ["FORMAT", "Genotype"]

FORMAT = 1


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
        if not self.graph.reaches_image():  # expanding it has checked all else
            zeros = ", ".join(dict.fromkeys(op for op in self.graph.operations().values() if OPERATIONS[op].zero))
            message = f"the network would ignore the image: every way from it to an output is cut by {zeros}"
            raise GenotypeError(message, ("outputs",))

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
        return expand(self.backbone, self.cells, self.outputs)

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
            if kind.hashed_as and (found := kind.find(self._parts)):
                document[kind.hashed_as] = {choice: list(candidates) for choice, candidates in found.items()}
        return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()

    def choices(self) -> dict[str, tuple[Candidate, ...]]:
        """What is open: id -> candidates, see `genotypes.choices`; edges in the order in which they are computed.

        Raises GenotypeError where two choices have one id, such as those of a cell that is called `backbone`.
        """
        found: dict[str, tuple[Candidate, ...]] = {}
        for kind in KINDS:
            for choice, candidates in kind.find(self._parts).items():
                if choice in found:
                    raise GenotypeError(f"{self.name}: two choices are called {choice!r}: rename the cell or the edge")
                found[choice] = candidates
        return found

    def chosen(self, member: "Genotype") -> dict[str, Candidate]:
        """What a decided member of this space took of each choice: id -> candidate; `decide` the other way round.

        A choice of which the others left nothing (an edge from a feature that is not read) is not in it.
        """
        taken = {
            choice: kind.read(member._parts, choice, candidates)
            for kind in KINDS
            for choice, candidates in kind.find(self._parts).items()
        }
        return {choice: candidate for choice, candidate in taken.items() if candidate is not None}

    def open_edges(self) -> dict[str, tuple[str, ...]]:
        """The choices that are operations: edge id ("cell.edge") -> candidates."""
        return self.graph.open

    def open_widths(self) -> dict[str, tuple[int, ...]]:
        """The choices that are channel counts, of cells and then of the backbone's blocks: id -> candidates."""
        return {choice: widths for kind in KINDS if kind.widths for choice, widths in kind.find(self._parts).items()}

    @property
    def is_decided(self) -> bool:
        return not self.choices()

    def decide(self, choices: Mapping[str, Candidate], *, name: str | None = None) -> "Genotype":
        """Close choices: id -> one of its candidates. What is not named stays open.

        Raises GenotypeError for an id that is not open, for what is no candidate, and where no network is left: nothing
        of the image reaches an output any more, widths do not agree, or a cell lacks an input that it needs.
        """
        there = self.choices()
        for choice, candidate in choices.items():
            if choice not in there:
                known = ", ".join(there) or "none"
                raise GenotypeError(f"{show(choice)} is not open; open: {known}")
            if candidate not in there[choice]:
                known = ", ".join(map(str, there[choice]))
                raise GenotypeError(f"{show(candidate)} is no candidate of {choice!r}; candidates: {known}")
        with self._closed(choices) as parts:
            return self.replace(name=name or self.name, input=parts.input, backbone=parts.backbone, cells=parts.cells)

    @contextmanager
    def _closed(self, choices: Mapping[str, Candidate]) -> Iterator[Parts]:
        """The parts with these choices made; what is wrong with them is said of this space: no file holds them."""
        try:
            parts = self._parts
            for kind in KINDS:
                chosen = {choice: choices[choice] for choice in kind.find(self._parts) if choice in choices}
                parts = kind.close(parts, chosen)
            yield parts
        except GenotypeError as error:
            problem = f"what it leaves open may be chosen so that it is no network: {error}"
            raise GenotypeError(f"{self.name}: {problem}") from None

    @cached_property
    def _graphs(self) -> dict[tuple[tuple[str, Candidate], ...], Graph]:
        """The graphs that were asked for so far, by the cells' inputs that are chosen."""
        return {(): self.graph}

    @property
    def _parts(self) -> Parts:
        return Parts(input=self.input, backbone=self.backbone, cells=self.cells, outputs=self.outputs, graph=self.graph)

    @property
    def identity(self) -> tuple[str, tuple[int, int]]:
        """What tells members of a space apart: the hash, which any size shares, and the input size."""
        return self.hash, self.input.size

    def reaches_image(self, choices: Mapping[str, Candidate]) -> bool:
        """Whether these choices leave a way from the image to an output; `decide` refuses them otherwise.

        Takes microseconds: for samplers, to draw again. Raises GenotypeError where a cell lacks an input that it needs.

        >>> import search_spaces
        >>> space = search_spaces.fusion_cells("tiny")
        >>> space.reaches_image(dict.fromkeys(space.open_edges(), "none"))
        False
        """
        inputs = [f"{cell.name}.inputs" for cell in self.cells if cell.input_sets]
        chosen = tuple((choice, choices[choice]) for choice in inputs if choice in choices)
        if chosen not in self._graphs:  # a way that leads through what is not read is none
            with self._closed(dict(chosen)) as parts:
                self._graphs[chosen] = expand(parts.backbone, parts.cells, parts.outputs)
        return self._graphs[chosen].reaches_image(choices)

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
