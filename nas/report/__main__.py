"""`python -m nas.report RUN`: make the page of a run again."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from genotypes import UserError
from genotypes.plugins import PLUGIN_HELP, load_plugin, with_hint
from nas.report import write_report

__all__ = ["main"]

_EXAMPLES = """examples:
  python -m nas.report runs/search-001                   # runs/search-001/report.html
  python -m nas.report runs/*                            # the pages of all runs"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code is 0, or 2 after one message on stderr for a user's mistake."""
    parser = argparse.ArgumentParser(
        prog="python -m nas.report",
        description="Make report.html in the folder of a search, a training or a comparison, from its files.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a run, also of an interrupted one")
    parser.add_argument("--plugin", action="append", default=[], metavar="FILE", help=PLUGIN_HELP)
    options = parser.parse_args(arguments)
    try:
        for file in options.plugin:
            load_plugin(file)
        for path in options.runs:
            print(f"saved: {write_report(path)}")
    except UserError as error:
        print(f"error: {with_hint(error)}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror or error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
