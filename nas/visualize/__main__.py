"""`python -m nas.visualize NAME|FILE`: draw a genotype, or print it as a table."""

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import genotypes
from genotypes import UserError
from genotypes.plugins import PLUGIN_HELP, load_plugin, with_hint
from nas.visualize.drawing import ENGINES, WHAT, DrawingWarning, draw, network_path
from nas.visualize.page import MARK, PAGES
from nas.visualize.text import text_table

__all__ = ["main"]

_EXAMPLES = """examples:
  python -m nas.visualize fpn_tiny                       # fpn_tiny.svg and fpn_tiny_network.svg
  python -m nas.visualize runs/mine/genotype.yaml -o mine.png
  python -m nas.visualize mine.yaml -o figure.pdf --size paper --what cells
  python -m nas.visualize mine.yaml --text               # a table of all edges, no picture

Colours and dashes are the same for an operation in every picture. In a browser, rest the pointer on an arrow or a
feature of an .svg to read what it computes."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code is 0, or 2 after one message on stderr for a user's mistake."""
    options = _parser().parse_args(arguments)
    try:
        for file in options.plugin:
            load_plugin(file)
        genotype = genotypes.load(options.genotype)
        if options.text:
            print(text_table(genotype))
            return 0
        path = _where(options.output, genotype.name, options.what)
        keys = ("what", "engine", "size", "hide_none")
        with warnings.catch_warnings(record=True) as notes:
            warnings.simplefilter("always", DrawingWarning)
            written = draw(genotype, path, **{key: getattr(options, key) for key in keys})
        for text in dict.fromkeys(str(note.message) for note in notes if note.category is DrawingWarning):
            print(f"note: {text}", file=sys.stderr)
    except UserError as error:
        print(f"error: {with_hint(error)}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: cannot write {error.filename or options.output}: {error.strerror or error}", file=sys.stderr)
        return 2
    for file in written:
        print(f"drawn: {file}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m nas.visualize",
        description="Draw a genotype: its cells, and an overview of the network beside them (OUT_network.svg).",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("genotype", metavar="NAME|FILE", help="a genotype of the zoo, or a YAML file")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help=".svg, .png or .pdf (default: NAME.svg in this folder)"
    )
    parser.add_argument("--what", choices=WHAT, default="both", help="what to draw (default: %(default)s)")
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default="auto",
        help="graphviz needs the program `dot`; matplotlib does without; auto takes dot where it is (default)",
    )
    parser.add_argument(
        "--size", choices=tuple(PAGES), default="screen", help="paper: two columns wide, 7.16 in (default: screen)"
    )
    parser.add_argument("--hide-none", action="store_true", help="leave out edges whose operation is `none`")
    parser.add_argument("--plugin", action="append", default=[], metavar="FILE", help=PLUGIN_HELP)
    parser.add_argument("--text", action="store_true", help="print a table of all edges instead of drawing")
    return parser


def _where(output: Path | None, name: str, what: str) -> Path:
    """Where to draw: `output`, or NAME.svg here.

    Raises UserError where a file exists that is no drawing of ours.
    """
    path = output
    if path is None:
        path = Path("".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in name) + ".svg")
    written = {path, network_path(path)} if what == "both" else {path}
    for target in sorted(written):
        if target.is_file() and MARK.encode() not in target.read_bytes():
            advice = "say where to draw with -o FILE.svg" if output is None else "choose another -o"
            raise UserError(f"{target} exists and is no drawing of ours; {advice}")
    return path


if __name__ == "__main__":
    sys.exit(main())
