"""`python -m nas.report RUN`: make the page of a run again."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from genotypes import UserError
from nas.command import Command, run_command
from nas.report import write_report


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """Whose page to make.

    Attributes:
        runs: folders of runs, also of interrupted ones.
    """

    runs: tuple[Path, ...] = ()


COMMAND = Command(
    config=ReportConfig,
    name="nas.report",
    description="Make report.html from the files of a search, training, comparison, tuning, gate or pruning.",
    examples="""\
  python -m nas.report runs/search-001                   runs/search-001/report.html
  python -m nas.report runs/*                            the pages of all runs""",
    first="runs",
    positional="runs",
    required=("runs",),
)


def main(argv: Sequence[str] | None = None) -> None:
    options, _ = COMMAND.parse(argv)
    failed: list[str] = []
    for path in options.runs:
        try:
            print(f"saved: {write_report(path)}")
        except UserError as error:  # the other runs still get their pages
            failed.append(str(error))
    if failed:
        raise UserError("\n  ".join(failed))


if __name__ == "__main__":
    sys.exit(run_command(main))
