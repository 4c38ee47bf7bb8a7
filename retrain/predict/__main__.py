"""`python -m retrain.predict`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from genotypes import UserError
from genotypes.plugins import PLUGIN_HELP
from nas.run import run_command
from nas.run.sizes import parse_size
from retrain.networks import DEFAULT, network_names
from retrain.predict import contact, plan, predict_map, read_photo
from retrain.predictor import load

_EXAMPLES = """examples:
  python -m retrain.predict cat.jpg                                with sod_s, which comes with the package
  python -m retrain.predict --weights runs/b/weights.safetensors holiday/ -o maps --overlay

Maps are 8-bit grey PNG files of the photographs' own size, DIR/NAME.png; contact pictures are DIR/overlay/NAME.png.
Files that are there already stop the command before it starts, unless --overwrite."""


def main(argv: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(argv)
    predictor = load(
        options.weights,
        options.device,
        size=parse_size(options.size) if options.size else None,
        precision=options.precision,
        antialias=not options.no_antialias,
    )
    jobs = plan(options.photos, options.output, overlay=options.overlay, overwrite=options.overwrite)
    failed: list[str] = []
    for job in tqdm(jobs, desc="predict", unit="img"):
        try:
            photo = read_photo(job.photo)
        except UserError as error:  # the other photographs still get their maps
            failed.append(str(error))
            continue
        saliency = predict_map(predictor.probabilities, photo, predictor.size, antialias=predictor.antialias)
        _write(job.map, saliency)
        if job.overlay is not None:
            _write(job.overlay, contact(photo, saliency))
    written = len(jobs) - len(failed)
    if written:
        print(f"saved   {written} map{'s' * (written > 1)} in {options.output}")
    if failed:
        raise UserError(f"{len(failed)} of {len(jobs)} photographs could not be read:\n  " + "\n  ".join(failed))


def _write(path: Path, pixels: np.ndarray) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m retrain.predict",
        description="Write the saliency maps of photographs.",
        epilog=f"{_EXAMPLES}\n\nand, as with every command, --plugin FILE: {PLUGIN_HELP}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("photos", nargs="+", metavar="IMAGE|DIR", help="photographs of any format, folders of them")
    parser.add_argument(
        "--weights",
        default=DEFAULT,
        metavar="NAME|FILE",
        help=f"a network of the package ({', '.join(network_names())}; default: %(default)s), or a weight file",
    )
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("maps"), metavar="DIR", help="folder (default: %(default)s)"
    )
    parser.add_argument("--overlay", action="store_true", help="also write photograph, map and cut-out side by side")
    parser.add_argument("--overwrite", action="store_true", help="replace maps that are there already")
    parser.add_argument("--size", help="input side, or H,W (default: what the genotype says)")
    parser.add_argument(
        "--no-antialias",
        action="store_true",
        help="read four points where photographs shrink, as CSNet's own scripts do",
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda or auto (default: %(default)s)")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="(default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(run_command(main))
