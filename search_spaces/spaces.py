"""The spaces that `--space` names, each with options of its own; a genotype file with open edges is one, too."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypeVar

from genotypes import BACKBONES, Genotype, Input, Record, Registry, UserError, load, names
from genotypes.errors import check_least
from genotypes.parts import SMALLEST
from search_spaces.compact import COMPACT_OPERATIONS, LeaveOut, check_compact, compact
from search_spaces.fusion_cells import AUTO_MSFNET_OPERATIONS, fusion_cells
from search_spaces.minet import MINET_OPERATIONS, minet

__all__ = [
    "SPACES",
    "BackboneOptions",
    "BackboneSpace",
    "CompactSpace",
    "FusionCells",
    "GenotypeFile",
    "MinetSpace",
    "Space",
    "load_space",
    "register_space",
    "space_named",
]


@dataclass(frozen=True, kw_only=True)
class Space(ABC):
    """A search space: its fields are its options. Registered, it has a name."""

    name: ClassVar[str]

    @abstractmethod
    def build(self, size: tuple[int, int]) -> Genotype:
        """The open genotype, for an input of size (height, width)."""


SPACES = Registry("space", Record)
_Class = TypeVar("_Class", bound=type[Space])


def register_space(name: str) -> Callable[[_Class], _Class]:
    """Make a frozen dataclass derived from `Space` available as `--space NAME`; UserError if the name is taken."""

    def register(space: _Class) -> _Class:
        SPACES.register(name)(space)
        space.name = name
        return space

    return register


@dataclass(frozen=True, kw_only=True)
class BackboneOptions(Space):
    """What the spaces on a backbone share.

    Attributes:
        backbone: makes the features: tiny, mobilenet_v2, efficientnet_lite0 (to 2), vgg16_bn, resnet50, res2net50.
        backbone_options: of the backbone, such as {padding: tf_same} for mobilenet_v2.
        mean: of the input convention that goes with the backbone's weights; default the backbone's own.
        std: standard deviation of the input convention; default the backbone's own.
    """

    backbone: str = "tiny"
    backbone_options: dict[str, str] = field(default_factory=dict)
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        BACKBONES[self.backbone]  # or its error

    def input(self, size: tuple[int, int]) -> Input:
        """The backbone's convention, but for what is said otherwise."""
        said = {key: value for key, value in (("mean", self.mean), ("std", self.std)) if value is not None}
        return Input.of_backbone(self.backbone, size=size, **said)


@dataclass(frozen=True, kw_only=True)
class BackboneSpace(BackboneOptions):
    """What the spaces on a backbone share whose cells are open.

    Attributes:
        channels: width of the supernet's cells.
        operations: candidates on every edge; none: the space's own.
    """

    channels: int = 16
    operations: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        check_least(self, channels=1)
        super().__post_init__()


@register_space("fusion_cells")
@dataclass(frozen=True, kw_only=True)
class FusionCells(BackboneSpace):
    """Auto-MSFNet's FusionCells (Zhang et al., ACM MM 2021).

    Attributes:
        wiring: code (as Auto-MSFNet's release) or figure7 (as its paper's figure).
    """

    wiring: Literal["code", "figure7"] = "code"

    def build(self, size: tuple[int, int]) -> Genotype:
        operations = AUTO_MSFNET_OPERATIONS if self.operations is None else self.operations
        return fusion_cells(
            self.backbone,
            self.channels,
            operations,
            wiring=self.wiring,
            input=self.input(size),
            backbone_options=self.backbone_options,
        )


@register_space("minet")
@dataclass(frozen=True, kw_only=True)
class MinetSpace(BackboneSpace):
    """MINet's interaction modules, open (Pang et al., CVPR 2020).

    Attributes:
        internal: width inside the three-input modules; none: the narrowest input's.
    """

    internal: int | None = None

    def __post_init__(self) -> None:
        check_least(self, internal=1)
        super().__post_init__()

    def build(self, size: tuple[int, int]) -> Genotype:
        operations = MINET_OPERATIONS if self.operations is None else self.operations
        return minet(
            self.backbone,
            self.channels,
            operations,
            internal=self.internal,
            input=self.input(size),
            backbone_options=self.backbone_options,
        )


@register_space("compact")
@dataclass(frozen=True, kw_only=True)
class CompactSpace(BackboneOptions):
    """Whole networks: the backbone's blocks, the decoder and the input size shrink together.

    Attributes:
        backbone: makes the features; mobilenet_v2 and efficientnet_lite0 to 2 have blocks that can be narrowed.
        channels: widths of the decoder to choose from.
        operations: candidates on every level of the decoder.
        sizes: sides of the picture to choose from; none: four from half the training size up to it.
        shares: of a block's published hidden width, to choose from.
        open_blocks: so many of the backbone's blocks can be narrowed or absent, the deepest; the others stay whole.
        leave_out: which tap the decoder may do without: the coarsest, either the finest or the coarsest, or none.
        step: hidden widths are multiples of it.
    """

    backbone: str = "mobilenet_v2"
    channels: tuple[int, ...] = (16, 24, 32, 48, 64)
    operations: tuple[str, ...] = COMPACT_OPERATIONS
    sizes: tuple[int, ...] = ()
    shares: tuple[float, ...] = (0.5, 0.75, 1.0)
    open_blocks: int = 8
    leave_out: LeaveOut = "coarsest"
    step: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        sizes = self.sizes or (SMALLEST,)
        check_compact(self.channels, sizes, self.shares, self.open_blocks, self.leave_out, self.step)

    def build(self, size: tuple[int, int]) -> Genotype:
        side = max(size)
        sides = sorted({max(SMALLEST, 8 * round(side * share / 8)) for share in (1 / 2, 2 / 3, 5 / 6)} | {side})
        return compact(
            self.backbone,
            self.channels,
            self.operations,
            sizes=self.sizes or sides,
            shares=self.shares,
            open_blocks=self.open_blocks,
            leave_out=self.leave_out,
            step=self.step,
            input=self.input(size),
            backbone_options=self.backbone_options,
        )


@dataclass(frozen=True, kw_only=True)
class GenotypeFile(Space):
    """A genotype of the zoo or a file, with open edges; it says its own backbone, widths and input size."""

    name: str  # type: ignore[misc]  # of each file its own

    def build(self, size: tuple[int, int]) -> Genotype:
        return load_space(self.name)


def load_space(name: str) -> Genotype:
    """The genotype of the zoo, or in that file, that is a space; UserError where nothing of it is open."""
    genotype = load(name)
    if genotype.is_decided:
        raise UserError(f"{name}: every edge is decided; a space needs an edge with a list of candidates")
    return genotype


def space_named(name: str) -> Space:
    """The space of that name with its default options, or the genotype file; UserError if there is neither."""
    if name in SPACES:
        return SPACES[name].make()
    if name not in names() and not os.path.isfile(name):
        raise UserError(f"unknown space {name!r}: expected {', '.join(SPACES)}, or a genotype file with choices")
    return GenotypeFile(name=name)
