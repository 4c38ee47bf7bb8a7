"""`python -m retrain.evaluate`."""

import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from genotypes.errors import UserError, check_least, check_most
from genotypes.files import check_folder, replacing
from nas.command import Command, run_command
from nas.run.sizes import MOST_WORKERS
from nas.task import PROTOCOLS, Protocol, get_protocol
from nas.task.folders import is_synthetic, parse_data
from nas.task.protocol import Cut
from retrain.evaluate import load_predictors, parse_saliency, score, write_report
from retrain.evaluate.report import REPORT_FILES, shown
from retrain.predictor import PredictorOptions, tell_times
from retrain.tables import check_spreadsheets


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(PredictorOptions):
    """Which networks to score, on which sets.

    Attributes:
        weights: networks: FILE or LABEL=FILE; a name of the package for a file.
        data: sets: NAME=DIR, DIR, a .lst file, synthetic or synthetic:COUNT.
        out: folder for the report (default: print only).
        saliency: maps of any tool, scored alike: NAME=DIR or DIR, of SET/NAME.png or NAME.png.
        protocol: how maps are compared with masks, a row each; the next six options change it.
        cut: a mask's object is > 127, > 128, >= 0.1 of white, or above half of the mask's own maximum.
        mae_mask: what MAE compares with: the cut mask, or the grey one.
        maps_as: avgF, wF, Sm and Em of maps stretched to 0..1, or raw.
        upsize: whether probabilities or logits are resized to the mask's size.
        interpolation: how they are resized.
        rounding: how their values become 8-bit ones.
        native: feed each photograph at its own size.
        limit: only so many images of each set, evenly spread.
        quick_scores: only F-measures and MAE, many times faster.
        latency: also measure the milliseconds of one photograph through each network.
        xlsx: also write scores.xlsx (needs openpyxl, the extra `xlsx`).
        maps: also write every map, as maps/LABEL/SET/NAME.png.
        worst: images listed in worst.csv.
        batch_size: photographs at a time.
        workers: processes that score; 0 for none beside this one.
    """

    weights: tuple[str, ...] = ()
    saliency: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    out: Path | None = None
    protocol: tuple[str, ...] = ("ours",)
    cut: Cut | None = None
    mae_mask: Literal["cut", "grey"] | None = None
    maps_as: Literal["stretched", "raw"] | None = None
    upsize: Literal["probabilities", "logits"] | None = None
    interpolation: Literal["bilinear", "nearest"] | None = None
    rounding: Literal["round", "truncate"] | None = None
    native: bool = False
    limit: int | None = None
    quick_scores: bool = False
    latency: bool = False
    xlsx: bool = False
    maps: bool = False
    worst: int = 10
    batch_size: int = 8
    workers: int = 2

    def __post_init__(self) -> None:
        check_least(self, "--", batch_size=1, limit=1, worst=1, workers=0)
        check_most(self, "--", workers=MOST_WORKERS)
        if self.maps and self.out is None:
            raise UserError("--maps needs -o DIR to write them to")
        if self.xlsx and self.out is None:
            raise UserError("--xlsx needs -o DIR to write the spreadsheet to")
        if self.latency and self.native:
            raise UserError("--latency is of one size, and with --native each photograph has its own: leave one out")

    def unused(self) -> dict[str, str]:
        """See `nas.options.unused_of`."""
        found: dict[str, str] = {}
        if self.native:
            found |= dict.fromkeys(("antialias", "batch_size"), "--native: each photograph has its own size")
        if self.native and not any(is_synthetic(parse_data(text)[1]) for text in self.data):
            found["size"] = "--native: each photograph has its own size"
        if not self.weights:
            of_networks = (*(f.name for f in fields(PredictorOptions)), "native", "batch_size", "latency", "maps")
            found |= dict.fromkeys(of_networks, "it is for networks, and --weights names none")
        if self.out is None:
            found["worst"] = "it is for a report, which needs -o DIR"
        return found

    def protocols(self) -> list[Protocol]:
        """Those named, with the conventions that were given."""
        given = {name: getattr(self, name) for name in ("cut", "mae_mask", "upsize", "interpolation", "rounding")}
        given |= {"maps": self.maps_as, "native": self.native or None}
        return [get_protocol(name, **given) for name in dict.fromkeys(self.protocol)]


COMMAND = Command(
    config=EvaluateConfig,
    name="retrain.evaluate",
    description="Score trained networks on data sets, with every metric the papers report.",
    examples="""\
  python -m retrain.evaluate --weights runs/b/weights.safetensors --data ECSSD=ECSSD
  python -m retrain.evaluate --weights ours=a.safetensors fpn=b.safetensors --data ECSSD=ECSSD PASCAL=PASCAL-S -o report
  python -m retrain.evaluate --weights a.safetensors --saliency U2Net=maps/u2net --data ECSSD=ECSSD --protocol csnet""",
    notes="""
With -o: report.html, table.md and .tex, scores.csv and .json, images.csv, worst.csv, curves.png, .pdf and .csv; with
--xlsx scores.xlsx; with --maps also maps/, and pictures/ of best and worst. A folder of something else is refused.
Protocols, after the first what differs from it:
"""
    + "\n".join(
        textwrap.fill(
            f"  {one.describe(None if one.name == 'ours' else PROTOCOLS['ours'])}", 112, subsequent_indent="    "
        )
        for one in PROTOCOLS.values()
    ),
    first="weights saliency data out protocol size quick_scores latency runtime device",
    required=("data",),
)


def main(argv: Sequence[str] | None = None) -> None:
    options, _ = COMMAND.parse(argv)
    loading = options.loading()
    if not options.weights and not options.saliency:
        raise UserError("give --weights FILE, or --saliency DIR for maps that are there already, or both")
    if options.xlsx:
        check_spreadsheets()
    if options.out is not None:
        check_folder(options.out, REPORT_FILES, mark="scores.json")
    protocols = options.protocols()
    networks = load_predictors(options.weights, options.device, **loading)
    for predictor in networks.values():
        tell_times(predictor)
    saliency = parse_saliency(options.saliency, list(networks))
    if options.out is not None:
        _check_kept(saliency, options.out / "maps")
    maps = options.out / "maps" if options.maps and options.out else None
    with nullcontext() if maps is None else replacing(maps) as kept:
        scored, sets = score(
            networks,
            options.data,
            saliency=saliency,
            protocols=protocols,
            batch_size=options.batch_size,
            workers=options.workers,
            limit=options.limit,
            quick=options.quick_scores,
            maps=kept,
            latency=options.latency,
        )
    try:  # the report first: a pipe that is closed must not cost it, nor a full disk what is printed
        if options.out is not None:
            if maps is None:
                shutil.rmtree(options.out / "maps", ignore_errors=True)  # an earlier report's, not of these scores
                shutil.rmtree(options.out / "pictures", ignore_errors=True)
            write_report(scored, options.out, worst=options.worst, sets=sets, maps=maps, spreadsheet=options.xlsx)
    finally:
        print(shown(scored, options.out))
    if options.out is not None:
        print(f"saved   {options.out / 'report.html'} (table.md, table.tex, scores.csv, images.csv, ... beside it)")


def _check_kept(saliency: Mapping[str, Path], replaced: Path) -> None:
    """UserError where maps to be scored lie among those that a new report replaces."""
    for label, folder in saliency.items():
        for inner in (folder.resolve(), *folder.resolve().parents):
            if inner == replaced.resolve():
                raise UserError(f"--saliency {label}: {folder} lies in the report that is replaced: choose another -o")


if __name__ == "__main__":
    sys.exit(run_command(main))
