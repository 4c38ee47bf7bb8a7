"""`python -m retrain.export`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from genotypes.errors import check_least, check_most
from nas.command import Command, aligned, run_command
from nas.run.sizes import MOST_WORKERS, parse_size
from retrain.export import FORMATS, export
from retrain.export.readme import table
from retrain.networks import DEFAULT
from retrain.predictor import load


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Which network to write, and how.

    Attributes:
        weights: a network of the package, or a weight file.
        out: folder for the files.
        formats: what to write; default: all but rembg that can be written here, int8 only with --calibrate.
        calibrate: photographs for int8, DIR or synthetic:COUNT; those with masks that calibrate nothing are scored.
        limit: photographs that calibrate, at most.
        test: photographs with masks on which what rounding costs is printed, DIR or NAME=DIR (default: those of
            --calibrate that calibrate nothing, all of them).
        test_limit: at most so many of --test, evenly spread.
        target: write rembg.onnx, for rembg's u2net_custom, and of the others those of --formats.
        size: input side, or H,W, to time and calibrate at (default: what the genotype says).
        threads: of each runtime, while it is timed.
    """

    weights: str = DEFAULT
    out: Path | None = None
    formats: tuple[str, ...] = ()
    calibrate: str | None = None
    limit: int = 100
    test: str | None = None
    test_limit: int = 300
    target: Literal["rembg"] | None = None
    size: tuple[int, ...] = ()
    threads: int = 1

    def __post_init__(self) -> None:
        check_least(self, "--", limit=1, test_limit=1, threads=1)
        check_most(self, "--", threads=MOST_WORKERS)

    def unused(self) -> dict[str, str]:
        """See `nas.options.unused_of`."""
        found = {} if self.calibrate else {"limit": "it needs --calibrate"}
        return found | ({} if self.test else {"test_limit": "it needs --test"})


COMMAND = Command(
    config=ExportConfig,
    name="retrain.export",
    description="Write a trained network as files that run without this package, each checked and timed beside it.",
    examples="""\
  python -m retrain.export --weights runs/b/weights.safetensors -o deployed
  python -m retrain.export --weights sod_s -o int8 --calibrate DUTS-TR=../data/DUTS-TR --test ECSSD=../data/ECSSD
  python -m retrain.export --weights runs/b/weights.safetensors -o cutter --for rembg""",
    notes=f"""
Formats: {", ".join(FORMATS)}; OpenVINO and ONNX need pip install 'sod-nas[export,openvino]'. Input of every file:
float32 [batch, 3, height, width], RGB, 0 to 1, any size from 32 up; output: probabilities of the same size. The
folder's README.md shows how to run them. An earlier export in it gives way; a folder of something else is refused.""",
    first="weights out formats calibrate test target size threads",
    required=("out",),
)


def main(argv: Sequence[str] | None = None) -> None:
    options, _ = COMMAND.parse(argv)
    assert options.out is not None
    formats = options.formats + (("rembg",) if options.target == "rembg" else ())
    made = export(
        load(options.weights).network,
        options.out,
        formats=formats or None,
        calibrate=options.calibrate,
        limit=options.limit,
        test=options.test,
        test_limit=options.test_limit,
        size=parse_size(options.size),
        threads=options.threads,
        tell=lambda message: print(f"{message} ...", file=sys.stderr),
    )
    print(aligned(table(made)))
    for line in made.losses():
        print(line)
    for reason in made.skipped:
        print(f"left out: {reason}")
    if made.busy:
        print(f"note: {made.busy}: times mislead", file=sys.stderr)
    print(f"saved   {made.folder} (README.md says how to run it)")


if __name__ == "__main__":
    sys.exit(run_command(main))
