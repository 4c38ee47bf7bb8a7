"""`python -m nas.visualize NAME|FILE [NAME|FILE]`: draw a genotype or what differs between two, or print it."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import genotypes
from genotypes import Genotype, UserError
from genotypes.files import check_file
from nas.command import Command, run_command
from nas.visualize.drawing import draw, draw_difference, network_path
from nas.visualize.page import MARK
from nas.visualize.text import differences, text_table


@dataclass(frozen=True, kw_only=True)
class VisualizeConfig:
    """What to draw, and where.

    Attributes:
        genotype: a genotype of the zoo, a YAML file, or the folder of a search; two of them: what differs is drawn.
        out: FILE.svg, .png or .pdf (default: NAME.svg in this folder).
        what: what to draw.
        engine: graphviz needs the program `dot`; matplotlib does without; auto takes dot where it is.
        size: paper is two columns wide, 7.16 in.
        hide_none: leave out edges whose operation is `none`.
        text: print a table of all edges (of two genotypes: the differences) instead of drawing.
    """

    genotype: tuple[str, ...] = ()
    out: Path | None = None
    what: Literal["cells", "network", "both"] = "both"
    engine: Literal["auto", "graphviz", "matplotlib"] = "auto"
    size: Literal["screen", "paper"] = "screen"
    hide_none: bool = False
    text: bool = False

    def __post_init__(self) -> None:
        if len(self.genotype) > 2:
            raise UserError(f"genotype: expected one, or two to compare, not {len(self.genotype)}")
        if len(self.genotype) == 2 and (self.what == "network" or self.hide_none):
            option = "--hide_none" if self.hide_none else "--what network"
            raise UserError(f"{option} is for one genotype: of two the cells are drawn, with all that differs")
        if self.text and self.out is not None:
            raise UserError("--text prints and draws nothing: leave out -o, or --text")

    def unused(self) -> dict[str, str]:
        """See `nas.options.unused_of`."""
        drawn = ("what", "engine", "size", "hide_none") if self.text else ()
        return dict.fromkeys(drawn, "--text prints and draws nothing")


COMMAND = Command(
    config=VisualizeConfig,
    name="nas.visualize",
    description="Draw a genotype: its cells, and an overview of the network beside them (OUT_network.svg).",
    examples="""\
  python -m nas.visualize fpn_tiny                       fpn_tiny.svg and fpn_tiny_network.svg
  python -m nas.visualize runs/mine/genotype.yaml -o mine.png
  python -m nas.visualize mine.yaml -o figure.pdf --size paper --what cells
  python -m nas.visualize mine.yaml --text               a table of all edges, no picture
  python -m nas.visualize mine.yaml other.yaml           what differs, in words and drawn""",
    notes="""
Colours and dashes are the same for an operation in every picture. In a browser, rest the pointer on an arrow or a
feature of an .svg to read what it computes.""",
    first="genotype out what engine size hide_none text",
    positional="genotype",
    required=("genotype",),
)


def main(argv: Sequence[str] | None = None) -> None:
    options, _ = COMMAND.parse(argv)
    first, *others = (genotypes.load(name) for name in options.genotype)
    told, wanted = [], not options.text
    if others:
        found = differences(first, others[0])
        told = found or [f"{first.name} and {others[0].name} do not differ"]
        wanted = wanted and first.graph.cells != others[0].graph.cells  # else there is nothing to draw
    elif options.text:
        told = [text_table(first)]
    written = _draw(options, first, others) if wanted else []
    print("\n".join([*told, *(f"drawn: {file}" for file in written)]))


def _draw(options: VisualizeConfig, first: Genotype, others: Sequence[Genotype]) -> list[Path]:
    looks: dict[str, Any] = {"engine": options.engine, "size": options.size}
    if others:
        path = _where(options.out, f"{first.name}_and_{others[0].name}", "cells")
        return draw_difference(first, others[0], path, **looks)
    path = _where(options.out, first.name, options.what)
    return draw(first, path, what=options.what, hide_none=options.hide_none, **looks)


def _where(output: Path | None, name: str, what: str) -> Path:
    """Where to draw: `output`, or NAME.svg here.

    Raises UserError where a file exists that is no drawing of ours, or none can be written.
    """
    path = output
    if path is None:
        path = Path("".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in name) + ".svg")
    check_file(path, overwrite=True)
    written = {path, network_path(path)} if what == "both" else {path}
    for target in sorted(written):
        if target.is_file() and MARK.encode() not in target.read_bytes():
            advice = "say where to draw with -o FILE.svg" if output is None else "choose another -o"
            raise UserError(f"{target} exists and is no drawing of ours; {advice}")
    return path


if __name__ == "__main__":
    sys.exit(run_command(main))
