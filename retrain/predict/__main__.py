"""`python -m retrain.predict`."""

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from genotypes.errors import UserError, check_least, plural
from genotypes.files import content_digest, write_atomically
from nas.command import Command, run_command
from nas.run import progress_bar
from nas.task import DataError, Picture, read_picture
from nas.task.folders import few
from nas.task.reading import header_size, read_ahead
from retrain.networks import DEFAULT, find_weights, network_names
from retrain.predict import Plan, plan
from retrain.predict.files import MAKER, AlreadyThere, Job, read_bytes
from retrain.predictor import Predictor, PredictorOptions, load, tell_times, write_picture


@dataclass(frozen=True, kw_only=True)
class PredictConfig(PredictorOptions):
    """Which photographs get maps, from which network.

    Attributes:
        photos: photographs of any format, folders of them; -: standard input.
        weights: a network of the package, or a weight file.
        out: folder for the maps; -: one picture to standard output.
        cutout: also write the photograph with the map as its alpha.
        overlay: also write photograph, map and cut-out side by side, to look at: each at most 2,048 pixels a side.
        overwrite: replace maps that are there already.
        resume: keep maps that the same network and options made already, and make those that are missing.
        native: feed each photograph at its own size, as networks want it that were trained so (recipe.native).
        batch_size: photographs at a time.
    """

    photos: tuple[str, ...] = ()
    weights: str = DEFAULT
    out: str = "maps"
    cutout: bool = False
    overlay: bool = False
    overwrite: bool = False
    resume: bool = False
    native: bool = False
    batch_size: int = 8

    def __post_init__(self) -> None:
        check_least(self, "--", batch_size=1)
        if self.resume and self.overwrite:
            raise UserError("--resume keeps the maps that are there, --overwrite replaces them: give one of them")

    def unused(self) -> dict[str, str]:
        """See `nas.options.unused_of`."""
        native = ("size", "antialias", "batch_size") if self.native else ()
        found = dict.fromkeys(native, "--native shows the network each photograph by itself, at its own size")
        one = ("batch_size", "resume", "overwrite") if self.out == "-" else ()
        return found | dict.fromkeys(one, "-o - writes one picture, and no file")


_PIXELS = 32_000_000  # of a batch's photographs together

COMMAND = Command(
    config=PredictConfig,
    name="retrain.predict",
    description="Write the saliency maps of photographs.",
    examples="""\
  python -m retrain.predict cat.jpg                                with sod_s, which comes with the package
  python -m retrain.predict --weights runs/b/weights.safetensors holiday/ -o maps --cutout --overlay
  python -m retrain.predict --cutout - -o - < cat.jpg > cut-out.png""",
    notes=f"""
Networks of the package: {", ".join(network_names())}. Maps are 8-bit grey PNG files of the photographs' own size,
DIR/NAME.png; cut-outs (RGBA) are DIR/cutout/NAME.png, contact pictures DIR/overlay/NAME.png. Folders are searched with
all that is below them; NAME keeps the path, and the ending where two photographs differ in nothing else. Files that are
there already stop the command, unless --resume keeps them or --overwrite replaces them.""",
    first="photos weights out cutout overlay resume overwrite size flip runtime device",
    positional="photos",
    required=("photos",),
)


def main(argv: Sequence[str] | None = None) -> None:
    options, _ = COMMAND.parse(argv)
    kinds = ["map", *(kind for kind in ("cutout", "overlay") if getattr(options, kind))]
    to_files = options.out != "-"
    if not to_files and (len(options.photos) != 1 or Path(options.photos[0]).is_dir() or len(kinds) > 2):
        raise UserError("-o - writes one picture: give one photograph, and one of --cutout and --overlay at most")
    there: AlreadyThere = "keep" if options.resume else "replace" if options.overwrite else "refuse"
    maker = _maker(options)
    todo = plan(options.photos, Path(options.out), kinds, there=there, made_by=maker) if to_files else Plan()
    predictor = load(options.weights, options.device, **options.loading())
    tell_times(predictor)
    if not to_files:
        _to_standard_output(predictor, options, kinds)
        return
    failed: list[str] = []
    began = time.perf_counter()
    with progress_bar(total=len(todo.jobs), desc="predict", unit="img") as bar:
        for jobs, photos in _batches(todo.jobs, options.batch_size, failed):
            maps = predictor.maps([photo.pixels for photo in photos], native=options.native) if photos else []
            for job, photo, saliency in zip(jobs, photos, maps, strict=True):
                for kind, target in job.targets.items():
                    with write_atomically(target, flush=False) as file:
                        write_picture(kind, photo, saliency, file, (MAKER, maker))
            bar.update(len(jobs))
    seconds = time.perf_counter() - began
    written = len(todo.jobs) - len(failed)
    if written:
        speed = f"{written / seconds:.1f} photographs/s" if seconds > 0 else ""
        print(f"saved   {plural(written, 'map')} in {options.out} ({speed}, reading and writing included)")
    if todo.kept:
        print(f"kept    {todo.kept} that {'were' if todo.kept > 1 else 'was'} there already")
    if todo.left_out:
        print(f"left out {len(todo.left_out)}, no pictures: {few(todo.left_out)}", file=sys.stderr)
    if failed:
        listed = "\n  ".join(failed)
        raise UserError(f"{len(failed)} of {plural(len(todo.jobs), 'photograph')} could not be read:\n  {listed}")


def _maker(options: PredictConfig) -> str:
    """The weights, and the options on which maps depend (but for the runtime): a text that maps carry for --resume."""
    named = ("size", "antialias", "precision", "flip", "native")
    usual = PredictConfig()
    others = [f"{name} {getattr(options, name)}" for name in named if getattr(options, name) != getattr(usual, name)]
    return ", ".join([f"weights {content_digest(find_weights(options.weights))[:12]}", *others])


def _batches(jobs: list[Job], size: int, failed: list[str]) -> Iterator[tuple[list[Job], list[Picture]]]:
    """Photographs that could be read, a batch at a time, the next one read ahead; the others' errors go to `failed`.

    A batch ends early where its photographs have many pixels: two batches are in memory at once.
    """

    def groups() -> Iterator[list[Job]]:
        group: list[Job] = []
        pixels = 0
        for job in jobs:
            more = _pixels(job)
            if group and (len(group) == size or pixels + more > _PIXELS):
                yield group
                group, pixels = [], 0
            group.append(job)
            pixels += more
        if group:
            yield group

    def read(chosen: Sequence[Job]) -> tuple[list[Job], list[Picture]]:
        good, photos = [], []
        for job in chosen:
            try:
                photos.append(read_picture(read_bytes(job.photo)))
                good.append(job)
            except DataError as error:  # the other photographs still get their maps
                failed.append(str(error))
        return good, photos

    return read_ahead(read, groups())


def _pixels(job: Job) -> int:
    """Of the photograph, by its header; 0 where that cannot be read, and for standard input."""
    try:
        height, width = header_size(Path(job.photo)) if job.photo != "-" else (0, 0)
    except DataError:
        return 0
    return height * width


def _to_standard_output(predictor: Predictor, options: PredictConfig, kinds: Sequence[str]) -> None:
    """One photograph's map, or its cut-out or contact picture, as PNG."""
    photo = read_picture(read_bytes(options.photos[0]))
    (saliency,) = predictor.maps([photo.pixels], native=options.native)
    write_picture(kinds[-1], photo, saliency, sys.stdout.buffer)


if __name__ == "__main__":
    sys.exit(run_command(main))
