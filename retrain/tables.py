"""Tables as Markdown, LaTeX and spreadsheets; and what a row is called on a command line."""

import importlib.util
import io
import math
import re
from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from pathlib import Path

from genotypes import UserError
from genotypes.files import write_bytes

__all__ = ["cell", "check_spreadsheets", "labelled", "latex_table", "markdown_table", "write_spreadsheet"]


def labelled(text: str) -> tuple[str | None, str]:
    """(label or None, the rest) of LABEL=REST; a file of that very name is no label.

    >>> labelled("ours=runs/a"), labelled("runs/a")
    (('ours', 'runs/a'), (None, 'runs/a'))
    """
    label, equals, rest = text.partition("=")
    if not equals or not label or Path(text).exists():
        return None, text
    if not rest:
        raise UserError(f"{text}: nothing is behind the =; is a variable of the shell not set?")
    return label, rest


def cell(value: float | None, spec: str) -> str:
    """A number for a table, as `format` writes it; empty for what is none (None, NaN)."""
    return "" if value is None or math.isnan(value) else f"{value:{spec}}"


def markdown_table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """names: of the columns. A bar in a cell is escaped."""
    head, *body = ("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |" for cells in (names, *rows))
    return "\n".join([head, "|" + " --- |" * len(names), *body])


def latex_table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    left: int,
    bold: Collection[tuple[int, int]] = (),
    comments: Sequence[str] = (),
) -> str:
    """A `tabular` for booktabs. left: columns of text, the others are flush right; bold: (row, column) of the best.

    comments: lines above it, after %. Scores lose the 0 before their point, as the field prints them.
    """
    lines = [f"% {line}" for line in comments]
    lines += [f"\\begin{{tabular}}{{{'l' * left}{'r' * (len(head) - left)}}}", "\\toprule"]
    lines += [" & ".join(map(_tex, head)) + r" \\", "\\midrule"]
    for i, row in enumerate(rows):
        cells = [_tex(cell) for cell in row[:left]]
        for j, cell in enumerate(row[left:], left):
            text = _tex(re.sub(r"\b0(?=\.\d{3})", "", cell))
            cells.append(f"\\textbf{{{text}}}" if (i, j) in bold else text)
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])


def _tex(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {c: f"\\{c}" for c in "&%$#_{}"} | {">": "$>$", "<": "$<$", "±": r"$\pm$", "²": "$^2$"}
    return "".join(special.get(c, c) for c in text)


def check_spreadsheets() -> None:
    """UserError where the library that writes spreadsheets is not installed."""
    if importlib.util.find_spec("openpyxl") is None:
        raise UserError("--xlsx needs openpyxl: pip install 'sod-nas[xlsx]'")


_NO_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")  # what XML cannot hold


def write_spreadsheet(path: Path, sheets: Mapping[str, Sequence[Sequence[object]]]) -> None:
    """An .xlsx file with a sheet for each table, the head first: bold, and in sight while one scrolls.

    Raises:
        UserError: openpyxl is not installed, or the file cannot be written.
    """
    check_spreadsheets()
    from openpyxl import Workbook
    from openpyxl.styles import Font

    book = Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append([_NO_TEXT.sub("\ufffd", value) if isinstance(value, str) else value for value in row])
        for cell in chain.from_iterable(sheet.iter_rows()):
            if cell.data_type in ("f", "e"):  # a name that begins with = is no formula, and one like #N/A no error
                cell.data_type = "s"
        for cell in sheet[1]:
            cell.font = Font(bold=True)
        sheet.freeze_panes = "A2"
    whole = io.BytesIO()
    book.save(whole)
    write_bytes(path, whole.getvalue())
