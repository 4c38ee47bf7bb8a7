"""`python -m retrain.predict`."""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image
from tqdm import tqdm

from genotypes import UserError
from genotypes.plugins import PLUGIN_HELP
from nas.run import run_command
from nas.run.sizes import parse_size
from nas.task import DataError, read_image
from retrain.networks import DEFAULT, network_names
from retrain.predict import contact, cutout, plan
from retrain.predict.files import Job, read_bytes
from retrain.predictor import Predictor, load

_EXAMPLES = """examples:
  python -m retrain.predict cat.jpg                                with sod_s, which comes with the package
  python -m retrain.predict --weights runs/b/weights.safetensors holiday/ -o maps --cutout --overlay
  python -m retrain.predict --cutout - -o - < cat.jpg > cut-out.png

Maps are 8-bit grey PNG files of the photographs' own size, DIR/NAME.png; cut-outs (RGBA) are DIR/cutout/NAME.png,
contact pictures DIR/overlay/NAME.png. Folders are searched with all that is below them; NAME keeps the path. Files that
are there already stop the command before it starts, unless --overwrite."""

_MADE = {"map": lambda photo, saliency: saliency, "cutout": cutout, "overlay": contact}


def main(argv: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(argv)
    if options.batch_size < 1:
        raise UserError(f"--batch-size must be at least 1, not {options.batch_size}")
    predictor = load(
        options.weights,
        options.device,
        size=parse_size(options.size) if options.size else None,
        precision=options.precision,
        antialias=not options.no_antialias,
    )
    kinds = ["map", *(kind for kind in ("cutout", "overlay") if getattr(options, kind))]
    if options.output == "-":
        _to_standard_output(predictor, options.photos, kinds)
        return
    todo = plan(options.photos, Path(options.output), kinds, overwrite=options.overwrite)
    failed: list[str] = []
    began = time.perf_counter()
    with tqdm(total=len(todo.jobs), desc="predict", unit="img") as bar:
        for jobs, photos in _batches(todo.jobs, options.batch_size, failed):
            maps = predictor.maps(photos) if photos else []
            for job, photo, saliency in zip(jobs, photos, maps, strict=True):
                for kind, target in job.targets.items():
                    _write(target, _MADE[kind](photo, saliency))
            bar.update(len(jobs))
    seconds = time.perf_counter() - began
    written = len(todo.jobs) - len(failed)
    if written:
        speed = f"{written / seconds:.1f} photographs/s" if seconds > 0 else ""
        print(f"saved   {written} map{'s' * (written > 1)} in {options.output} ({speed}, reading and writing included)")
    if todo.left_out:
        print(f"left out {len(todo.left_out)}, no pictures: {', '.join(todo.left_out)}", file=sys.stderr)
    if failed:
        listed = "\n  ".join(failed)
        raise UserError(f"{len(failed)} of {len(todo.jobs)} photographs could not be read:\n  {listed}")


def _batches(jobs: list[Job], size: int, failed: list[str]) -> Iterator[tuple[list[Job], list[np.ndarray]]]:
    """Photographs that could be read, a batch at a time, the next one read ahead; the others' errors go to `failed`."""

    def read(chosen: list[Job]) -> tuple[list[Job], list[np.ndarray]]:
        good, photos = [], []
        for job in chosen:
            try:
                photos.append(read_image(read_bytes(job.photo)))
                good.append(job)
            except DataError as error:  # the other photographs still get their maps
                failed.append(str(error))
        return good, photos

    waiting = iter(jobs)
    with ThreadPoolExecutor(1) as thread:
        ahead = thread.submit(read, list(islice(waiting, size)))
        while chosen := list(islice(waiting, size)):
            batch, ahead = ahead.result(), thread.submit(read, chosen)
            yield batch
        yield ahead.result()


def _to_standard_output(predictor: Predictor, photos: Sequence[str], kinds: Sequence[str]) -> None:
    """One photograph's map, or its cut-out or contact picture, as PNG."""
    if len(photos) != 1 or Path(photos[0]).is_dir() or len(kinds) > 2:
        raise UserError("-o - writes one picture: give one photograph, and one of --cutout and --overlay at most")
    photo = read_image(read_bytes(photos[0]))
    _save(_MADE[kinds[-1]](photo, predictor.maps([photo])[0]), sys.stdout.buffer)


def _write(path: Path, pixels: np.ndarray) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb") as file:
            _save(pixels, file)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from None


def _save(pixels: np.ndarray, file: BinaryIO) -> None:
    Image.fromarray(pixels).save(file, format="PNG")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m retrain.predict",
        description="Write the saliency maps of photographs.",
        epilog=f"{_EXAMPLES}\n\nand, as with every command, --plugin FILE: {PLUGIN_HELP}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "photos", nargs="+", metavar="IMAGE|DIR|-", help="photographs of any format, folders of them; -: stdin"
    )
    parser.add_argument(
        "--weights",
        default=DEFAULT,
        metavar="NAME|FILE",
        help=f"a network of the package ({', '.join(network_names())}; default: %(default)s), or a weight file",
    )
    parser.add_argument(
        "-o",
        "--output",
        default="maps",
        metavar="DIR|-",
        help="folder for the maps (default: %(default)s); -: one picture to standard output",
    )
    parser.add_argument("--cutout", action="store_true", help="also write the photograph with the map as its alpha")
    parser.add_argument("--overlay", action="store_true", help="also write photograph, map and cut-out side by side")
    parser.add_argument("--overwrite", action="store_true", help="replace maps that are there already")
    parser.add_argument("--size", help="input side, or H,W (default: what the genotype says)")
    parser.add_argument(
        "--no-antialias",
        action="store_true",
        help="read four points where photographs shrink, as CSNet's own scripts do",
    )
    parser.add_argument("--batch-size", type=int, default=8, help="photographs at a time (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or auto (default: %(default)s)")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="(default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(run_command(main))
