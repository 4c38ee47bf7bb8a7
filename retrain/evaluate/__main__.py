"""`python -m retrain.evaluate`."""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from genotypes import UserError
from genotypes.plugins import PLUGIN_HELP
from nas.run import run_command
from nas.run.sizes import parse_size
from retrain.evaluate import load_predictors, markdown, score, write_report
from retrain.evaluate.report import REPORT_FILES
from retrain.outputs import check_folder

_EXAMPLES = """examples:
  python -m retrain.evaluate --weights runs/b/weights.safetensors --data ECSSD=ECSSD
  python -m retrain.evaluate --weights ours=a.safetensors fpn=b.safetensors --data ECSSD=ECSSD PASCAL=PASCAL-S -o report
  python -m retrain.evaluate --weights a.safetensors --data synthetic:200 --quick

With -o: table.md, scores.csv, scores.json, worst.csv and curves.png (and maps/ with --maps). The folder must be new,
empty, or an earlier report, which is replaced."""


def main(argv: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(argv)
    for name in ("batch_size", "limit", "worst"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise UserError(f"--{name.replace('_', '-')} must be at least 1, not {value}")
    if options.workers < 0:
        raise UserError(f"--workers must not be negative, not {options.workers}")
    if options.maps and options.output is None:
        raise UserError("--maps needs -o DIR to write them to")
    size = parse_size(options.size) if options.size else None
    networks = load_predictors(
        options.weights,
        options.device,
        size=size,
        precision=options.precision,
        antialias=not options.no_antialias,
    )
    if options.output is not None:
        # maps/ alone may be anyone's; an earlier report's lies beside its table.
        is_report = (options.output / "scores.json").is_file()
        check_folder(options.output, REPORT_FILES if is_report else ())
    maps = options.output / "maps" if options.maps else None
    scored = score(
        networks,
        options.data,
        batch_size=options.batch_size,
        workers=options.workers,
        limit=options.limit,
        quick=options.quick,
        maps=maps,
    )
    print(markdown(scored))
    if options.output is not None:
        if maps is None:
            shutil.rmtree(options.output / "maps", ignore_errors=True)  # an earlier report's, not of these scores
        write_report(scored, options.output, worst=options.worst)
        print(f"saved   {options.output / 'table.md'} (scores.csv, scores.json, worst.csv, curves.png beside it)")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m retrain.evaluate",
        description="Score trained networks on data sets, with every metric the papers report.",
        epilog=f"{_EXAMPLES}\n\nand, as with every command, --plugin FILE: {PLUGIN_HELP}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--weights", nargs="+", required=True, metavar="FILE", help="networks: FILE or LABEL=FILE; a name for a file"
    )
    parser.add_argument(
        "--data", nargs="+", required=True, metavar="NAME=DIR", help="sets: NAME=DIR, DIR, synthetic or synthetic:COUNT"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="folder for the report (default: print only)")
    parser.add_argument("--size", help="input side, or H,W (default: what each genotype says)")
    parser.add_argument("--limit", type=int, help="only so many images of each set, evenly spread")
    parser.add_argument("--quick", action="store_true", help="only F-measures and MAE, many times faster")
    parser.add_argument(
        "--no-antialias",
        action="store_true",
        help="read four points where photographs shrink, as CSNet's own scripts do",
    )
    parser.add_argument("--maps", action="store_true", help="also write every map, as maps/LABEL/SET/NAME.png")
    parser.add_argument("--worst", type=int, default=10, help="images listed in worst.csv (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=8, help="images at a time (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes that score (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or auto (default: %(default)s)")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="(default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(run_command(main))
