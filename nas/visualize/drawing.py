"""Draw a genotype into files or into an array."""

import functools
import io
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy
from PIL import Image

from genotypes import Genotype, UserError, UserNote
from genotypes.files import write_bytes
from nas.visualize.charts import page_svg
from nas.visualize.layout import DotError, dot_is_there
from nas.visualize.page import PAGES, ComposedPage, compose, render
from nas.visualize.pictures import Mark, cells_picture, difference_picture, network_picture
from nas.visualize.scene import Picture
from nas.visualize.text import Probabilities

__all__ = ["DrawingWarning", "draw", "draw_difference", "network_path", "render_png", "render_svg"]

_KINDS = ("svg", "png", "pdf")
_ENGINES = ("auto", "graphviz", "matplotlib")
_WHAT = ("cells", "network", "both")
_MAX_PIXELS = 12_000  # a side; more than that few viewers open


class DrawingWarning(UserNote):
    """The picture was drawn, but not as well as it could be."""


def draw(
    genotype: Genotype,
    path: str | os.PathLike[str],
    *,
    what: str = "cells",
    **look: Any,
) -> list[Path]:
    """Draw into `path` (.svg, .png or .pdf) and return the files written, in whole or not at all.

    what: "cells", "network" (the overview), or "both": cells at `path`, the overview at `network_path(path)`.
    probabilities: edge id -> operation -> probability, for open edges: they show their leading candidate.
    marks: edge id -> what else to say about an edge, as a text and by the strength of its arrow.
    hide_none: leave out edges whose operation is `none`.
    engine: "graphviz" lays out with dot, "matplotlib" without; "auto" takes dot where it is (but for panels that dot
    shuffles) and warns (DrawingWarning, once a process) where it is not. size: "screen", "paper" for the width of a
    two-column page (7.16 in), or "phone".

    Raises UserError for a value that is none of these and for a missing dot, OSError if a file cannot be written.

    >>> draw(genotypes.load("fpn_tiny"), "fpn.svg")                                     # doctest: +SKIP
    [PosixPath('fpn.svg')]
    """
    path = Path(path)
    kind = path.suffix.lower().removeprefix(".")
    _one_of(f"{path}: unknown extension", kind, _KINDS)
    _one_of("unknown what", what, _WHAT)
    contents = {}
    for part in _WHAT[:2] if what == "both" else (what,):
        page, dpi = _composed(genotype, what=part, **look)
        target = network_path(path) if (what, part) == ("both", "network") else path
        contents[target] = render(page, kind, dpi=dpi)
    for target, data in contents.items():
        write_bytes(target, data)
    return list(contents)


def draw_difference(
    first: Genotype,
    second: Genotype,
    path: str | os.PathLike[str],
    *,
    engine: str = "auto",
    size: str = "screen",
) -> list[Path]:
    """Draw the cells that differ between two genotypes, as they are in both; arguments and errors as in `draw`.

    Raises UserError also where no cell differs.
    """
    path = Path(path)
    kind = path.suffix.lower().removeprefix(".")
    _one_of(f"{path}: unknown extension", kind, _KINDS)
    page = _page(difference_picture(first, second, compact=size != "screen"), engine, size)
    write_bytes(path, render(page, kind, dpi=_dpi(page, size)))
    return [path]


def render_png(genotype: Genotype, *, width: int = 1600, **look: Any) -> numpy.ndarray:
    """The picture as uint8[H, W, 3], at most `width` pixels wide; `look` as in `draw`, but not what="both"."""
    page, dpi = _composed(genotype, **look)
    dpi = min(dpi, width / (page.width * page.scale) * 72)
    with Image.open(io.BytesIO(render(page, "png", dpi=dpi))) as image:
        return numpy.asarray(image.convert("RGB"))


def render_svg(genotype: Genotype, *, name: str, **look: Any) -> str:
    """The picture as one <svg> element of an HTML page; name: keeps its ids apart from those of others there.

    look: as in `draw`, but not what="both".
    """
    return page_svg(render(_composed(genotype, **look)[0], "svg").decode(), name)


def network_path(path: Path) -> Path:
    """Where the overview goes beside the cells: out.svg -> out_network.svg."""
    return path.with_name(f"{path.stem}_network{path.suffix}")


def _composed(
    genotype: Genotype,
    *,
    what: str = "cells",
    probabilities: Probabilities | None = None,
    marks: Mapping[str, Mark] | None = None,
    engine: str = "auto",
    size: str = "screen",
    hide_none: bool = False,
) -> tuple[ComposedPage, float]:
    """The page of one picture, and its dots an inch; arguments as in `draw`."""
    _one_of("unknown what", what, _WHAT[:2])
    if what == "network":
        picture = network_picture(genotype)
    else:
        picture = cells_picture(genotype, probabilities, marks=marks, hide_none=hide_none, compact=size != "screen")
    page = _page(picture, engine, size)
    return page, _dpi(page, size)


def _page(picture: Picture, engine: str, size: str) -> ComposedPage:
    _one_of("unknown engine", engine, _ENGINES)
    _one_of("unknown size", size, tuple(PAGES))
    if engine == "graphviz" and not dot_is_there():
        raise UserError("engine 'graphviz' needs Graphviz' `dot`, which is not on the PATH; use 'auto' or 'matplotlib'")
    if engine != "matplotlib" and dot_is_there():
        try:
            return compose(picture, engine, size)
        except DotError as error:
            if engine == "graphviz":
                raise UserError(f"Graphviz' `dot` failed: {error}") from error
            _warn_once(f"Graphviz' `dot` failed ({error}); drawn with our own layout instead")
    elif engine == "auto":
        _warn_once("Graphviz' `dot` is not on the PATH; drawn with our own layout instead (apt install graphviz)")
    return compose(picture, "matplotlib", size)


@functools.cache  # a run draws many pictures
def _warn_once(message: str) -> None:
    warnings.warn(message, DrawingWarning, stacklevel=5)


def _dpi(page: ComposedPage, size: str) -> float:
    longest = max(page.width, page.height) * page.scale / 72
    return min(300.0 if size == "paper" else 144.0, _MAX_PIXELS / longest)


def _one_of(problem: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UserError(f"{problem} {value!r}; known: {', '.join(known)}")
