"""`python -m retrain.data`: what a set of photographs holds, and all that is wrong with it."""

import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from genotypes.errors import UserError, check_least, plural
from genotypes.files import check_file, write_atomically
from nas.command import Command, run_command
from nas.run import progress_bar
from nas.task import DataError, Pair, parse_data, read_image, read_mask, resize
from nas.task.folders import few, size_problem, survey
from nas.task.splits import spread

__all__ = ["DataReport", "contact_sheet", "inspect"]

_TILE, _COLUMNS, _MOST = 160, 4, 24  # of the contact sheet: pixels, pairs a row, pairs of a set


@dataclass(kw_only=True)
class DataReport:
    """What a set holds. shares: of each mask that is object; problems: what would be refused, a line each."""

    name: str
    pairs: list[Pair]
    problems: list[str]
    left_out: list[str]
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)  # (height, width)
    shares: list[float] = field(default_factory=list)
    black: list[str] = field(default_factory=list)
    white: list[str] = field(default_factory=list)
    read: int = 0  # pairs, of these
    grey: int = 0  # masks with more grey than a graded edge has

    def text(self) -> str:
        """The report as the command prints it."""
        all_read = self.read == len(self.pairs)
        some = "" if all_read else f", {self.read} of them read"
        lines = [f"{self.name}: {plural(len(self.pairs), 'pair')} of photograph and mask{some}"]
        if self.sizes:
            heights, widths = zip(*self.sizes.elements(), strict=True)
            (common, count), *_ = self.sizes.most_common(1)
            most = f"{common[0]} x {common[1]} (height x width)"
            spans = f"{min(heights)} to {max(heights)} high, {min(widths)} to {max(widths)} wide"
            different = f"{spans}; {len(self.sizes)} different, {count} of them {most}"
            lines += [
                f"  sizes     {different if len(self.sizes) > 1 else f'all {most}'}",
                f"  objects   {np.min(self.shares):.1%} to {np.max(self.shares):.1%} of the picture, "
                f"half of them below {np.median(self.shares):.1%}",
            ]
        for kind, names in (("all black (no object)", self.black), ("all white (no background)", self.white)):
            if names:
                lines.append(f"  masks     {len(names)} {kind}: {few(names)}")
        if self.grey:
            lines.append(f"  masks     {self.grey} grey in over a tenth of their pixels; the object is > 127")
        if self.left_out:
            lines.append(f"  left out  {len(self.left_out)}: {few(self.left_out)}")
        lines += [f"  refused   {problem}" for problem in self.problems]
        usable = f"  all {'of it' if all_read else 'that was read'} can be used"
        return "\n".join(lines if self.problems else [*lines, usable])


def inspect(spec: str, *, limit: int | None = None, workers: int = 2) -> DataReport:
    """Read a whole set (`NAME=DIR`, `DIR`, a .lst file) and report on it.

    limit: only so many pairs, evenly spread. Raises DataError where there is no set at all.
    """
    name, source = parse_data(spec)
    found = survey(source)
    report = DataReport(name=name, pairs=found.pairs, problems=list(found.problems), left_out=found.left_out)

    def read(pair: Pair) -> tuple[tuple[int, int], float, float] | list[str]:
        """Size, share of object, share of grey; or problems."""
        problems = []
        try:
            image = read_image(pair.image)
        except DataError as error:
            problems.append(str(error))
        try:
            mask = read_mask(pair.mask)
        except DataError as error:
            problems.append(str(error))
        if problems or (problems := size_problem(pair, image.shape, mask.shape)):
            return problems
        grey = ((mask > 16) & (mask < 239)).mean()
        return (mask.shape[0], mask.shape[1]), float((mask > 127).mean()), float(grey)

    pairs = spread(found.pairs, limit)
    report.read = len(pairs)
    with ThreadPoolExecutor(max(1, workers)) as pool:
        done = progress_bar(iterable=pool.map(read, pairs), total=len(pairs), desc=f"read {name}", unit="pair")
        for pair, facts in zip(pairs, done, strict=True):
            if isinstance(facts, list):
                report.problems += facts
                continue
            size, share, grey = facts
            report.sizes[size] += 1
            report.shares.append(share)
            report.grey += grey > 0.1
            if share in (0, 1):
                (report.white if share else report.black).append(pair.name)
    return report


def contact_sheet(pairs: list[Pair]) -> np.ndarray:
    """uint8[H, W, 3]: some photographs, evenly spread, each with its mask drawn over it and the mask itself beside."""
    tiles = []
    for pair in spread(pairs, _MOST):
        try:
            image, mask = read_image(pair.image), read_mask(pair.mask)
        except DataError:
            continue
        height, width = image.shape[:2]
        scale = _TILE / max(height, width)
        size = (max(1, round(height * scale)), max(1, round(width * scale)))
        small, cover = resize(image, size), resize(mask, size)[..., None] / 255.0
        red = (small * (1 - 0.5 * cover) + np.array([255, 40, 40]) * 0.5 * cover).astype(np.uint8)
        tile = np.full((_TILE, 2 * _TILE, 3), 255, np.uint8)
        tile[: size[0], : size[1]] = red
        tile[: size[0], _TILE : _TILE + size[1]] = resize(mask, size)[..., None]
        tiles.append(tile)
    if not tiles:
        raise DataError("no pair of the set can be read: there is nothing to draw")
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % _COLUMNS)
    return np.vstack([np.hstack(tiles[i : i + _COLUMNS]) for i in range(0, len(tiles), _COLUMNS)])


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which sets to report on.

    Attributes:
        data: sets: NAME=DIR, DIR or a .lst file.
        out: a contact sheet of photographs and masks.
        overwrite: replace the contact sheet if it is there.
        limit: read only so many pairs of each set, evenly spread.
        workers: threads that read.
    """

    data: tuple[str, ...] = ()
    out: Path | None = None
    overwrite: bool = False
    limit: int | None = None
    workers: int = 2

    def __post_init__(self) -> None:
        check_least(self, "--", limit=1)
        if self.out is not None:
            check_file(self.out, overwrite=self.overwrite)
            if _kind(self.out) not in Image.SAVE:
                raise UserError(f"{self.out}: expected the name of a picture, such as sheet.jpg or sheet.png")

    def unused(self) -> dict[str, str]:
        """See `nas.options.unused_of`."""
        return {} if self.out else {"overwrite": "it is for a contact sheet, which needs -o FILE"}


COMMAND = Command(
    config=DataConfig,
    name="retrain.data",
    description="Report on sets of photographs with masks: counts, sizes, and all that would be refused.",
    examples="""\
  python -m retrain.data DUTS-TR
  python -m retrain.data mine=photos/ ECSSD=ECSSD -o sheet.jpg""",
    notes="""
Every file is read as search, training and evaluation read it. Exit code 2 if they would refuse something.""",
    first="data out overwrite limit workers",
    positional="data",
    required=("data",),
)


def _kind(path: Path) -> str | None:
    """Pillow's word for the format that a file's name means."""
    return Image.registered_extensions().get(path.suffix.lower())


def main(argv: Sequence[str] | None = None) -> None:
    options, _ = COMMAND.parse(argv)
    reports = []
    for spec in options.data:
        reports.append(inspect(spec, limit=options.limit, workers=options.workers))
        print(reports[-1].text())
    if options.out is not None:
        sheet = np.vstack([contact_sheet(report.pairs) for report in reports])
        with write_atomically(options.out) as file:
            Image.fromarray(sheet).save(file, format=_kind(options.out))
        print(f"saved   {options.out} (photographs with their masks in red, and the masks)")
    if count := sum(len(report.problems) for report in reports):
        raise UserError(f"{plural(count, 'problem')} that search and training would refuse")


if __name__ == "__main__":
    sys.exit(run_command(main))
