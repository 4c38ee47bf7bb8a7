"""A page for every run: `report.html` in its folder, one file that needs no network. Also `python -m nas.report RUN`.

Pages are made from the files of a run's folder alone, so they can be made again at any time, by any later version, and
for a run that was interrupted. No torch.
"""

import warnings
from pathlib import Path

from genotypes import UserError, UserNote
from genotypes.files import quoted, write_text
from nas.run_files import read_run

__all__ = ["ReportWarning", "report_at_the_end", "write_report"]


class ReportWarning(UserNote):
    """A run is done, but its page could not be made."""


def write_report(path: str | Path) -> Path:
    """Make `report.html` in the folder of a search, a training, a comparison, a tuning, a gate or a pruning; the file.

    Raises UserError for a folder that is no run's, and for files in it that are not what they should be.
    """
    from nas.report.comparison import comparison_page  # matplotlib: a second, for whoever makes a page
    from nas.report.gate import gate_page
    from nas.report.parts import render
    from nas.report.pruning import pruning_page
    from nas.report.search import search_page
    from nas.report.training import training_page
    from nas.report.tuning import tuning_page

    pages = {
        "search": search_page,
        "gate": gate_page,
        "training": training_page,
        "comparison": comparison_page,
        "tuning": tuning_page,
        "pruning": pruning_page,
    }
    run = read_run(path)
    try:
        html = render(pages[run.kind](run))
    except UserError as error:
        if str(run.path) in str(error):
            raise
        raise UserError(f"{path}: {error}") from error
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:  # files that someone changed
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"{path}: its files are not those that a {run.kind} writes ({reason})") from error
    write_text(run.path / "report.html", html)
    return run.path / "report.html"


def report_at_the_end(path: str | Path) -> Path | None:
    """`write_report` for a run that has just ended: whatever goes wrong here, the run stays a success."""
    try:
        return write_report(path)
    except Exception as error:  # a page is not worth a failed run
        warnings.warn(
            f"{path}: report.html could not be made ({type(error).__name__}: {error}); "
            f"`python -m nas.report {quoted(path)}` tries again",
            ReportWarning,
            stacklevel=2,
        )
        return None
