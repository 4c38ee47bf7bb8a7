"""`python -m retrain.evaluate`."""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from genotypes import UserError
from nas.command import Command, run_command
from nas.run.sizes import parse_size
from retrain.evaluate import load_predictors, markdown, score, write_report
from retrain.evaluate.report import REPORT_FILES
from retrain.outputs import check_folder


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Which networks to score, on which sets.

    Attributes:
        weights: networks: FILE or LABEL=FILE; a name of the package for a file.
        data: sets: NAME=DIR, DIR, synthetic or synthetic:COUNT.
        out: folder for the report (default: print only).
        size: input side, or H,W (default: what each genotype says).
        limit: only so many images of each set, evenly spread.
        quick_scores: only F-measures and MAE, many times faster.
        antialias: read four points where photographs shrink, as CSNet's own scripts do.
        maps: also write every map, as maps/LABEL/SET/NAME.png.
        worst: images listed in worst.csv.
        batch_size: images at a time.
        workers: processes that score; 0 for none beside this one.
        device: cpu, cuda or auto.
        precision: fp32, or bf16 autocast.
    """

    weights: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    out: Path | None = None
    size: tuple[int, ...] = ()
    limit: int | None = None
    quick_scores: bool = False
    antialias: bool = True
    maps: bool = False
    worst: int = 10
    batch_size: int = 8
    workers: int = 2
    device: str = "cpu"
    precision: Literal["fp32", "bf16"] = "fp32"

    def __post_init__(self) -> None:
        for name, least in (("batch_size", 1), ("limit", 1), ("worst", 1), ("workers", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise UserError(f"--{name} must be at least {least}, not {value}")
        if self.maps and self.out is None:
            raise UserError("--maps needs -o DIR to write them to")


COMMAND = Command(
    config=EvaluateConfig,
    name="retrain.evaluate",
    description="Score trained networks on data sets, with every metric the papers report.",
    examples="""\
  python -m retrain.evaluate --weights runs/b/weights.safetensors --data ECSSD=ECSSD
  python -m retrain.evaluate --weights ours=a.safetensors fpn=b.safetensors --data ECSSD=ECSSD PASCAL=PASCAL-S -o report
  python -m retrain.evaluate --weights a.safetensors --data synthetic:200 --quick""",
    notes="""
With -o: table.md, scores.csv, scores.json, worst.csv and curves.png (and maps/ with --maps). The folder must be new,
empty, or an earlier report, which is replaced.""",
    first=("weights", "data", "out", "size", "quick_scores", "maps", "limit", "device"),
    required=("weights", "data"),
)


def main(argv: Sequence[str] | None = None) -> None:
    options, _ = COMMAND.parse(argv)
    size = parse_size(options.size) if options.size else None
    networks = load_predictors(
        options.weights, options.device, size=size, precision=options.precision, antialias=options.antialias
    )
    if options.out is not None:
        # maps/ alone may be anyone's; an earlier report's lies beside its table.
        is_report = (options.out / "scores.json").is_file()
        check_folder(options.out, REPORT_FILES if is_report else ())
    maps = options.out / "maps" if options.maps and options.out else None
    scored = score(
        networks,
        options.data,
        batch_size=options.batch_size,
        workers=options.workers,
        limit=options.limit,
        quick=options.quick_scores,
        maps=maps,
    )
    print(markdown(scored))
    if options.out is not None:
        if maps is None:
            shutil.rmtree(options.out / "maps", ignore_errors=True)  # an earlier report's, not of these scores
        write_report(scored, options.out, worst=options.worst)
        print(f"saved   {options.out / 'table.md'} (scores.csv, scores.json, worst.csv, curves.png beside it)")


if __name__ == "__main__":
    sys.exit(run_command(main))
