"""A trained network as a function from a photograph to its map, what is made of both, and the files that hold one."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from textwrap import shorten
from typing import IO, TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from genotypes import Genotype, UserError
from nas.network import Network, build, to_device
from nas.network.weights import load_weights, save_weights
from nas.run.device import open_device, own_defaults
from nas.run.sizes import parse_size
from nas.subnormals import flush_subnormals
from nas.task import Photograph, Picture, Protocol, network_input, pixels, read_image, resize, write_png
from retrain.networks import find_weights

if TYPE_CHECKING:
    from nas.deploy import Run

__all__ = [
    "Predictor",
    "PredictorOptions",
    "Runtime",
    "cutout",
    "load",
    "overlay",
    "save",
    "tell_times",
    "write_picture",
]

_PAPER = 215  # grey behind a cut-out
_SHOWN = 2048  # pixels: the longest side of a photograph in a contact picture, which is to be looked at

if hasattr(os, "register_at_fork"):  # torch's threads stay behind: the new process would wait for them without end
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))

Runtime = Literal["torch", "onnxruntime", "openvino", "auto"]  # nas.deploy.RUNTIMES; auto: the fastest one here


@dataclass(frozen=True, kw_only=True)
class PredictorOptions:
    """How a command runs networks: the base of its configuration.

    Attributes:
        size: input side, or H,W (default: what the genotype says); best a multiple of 32, or else of 16.
        antialias: read four points where photographs shrink, as CSNet's own scripts do.
        device: cpu, cuda or auto.
        precision: fp32, or bf16 autocast.
        flip: show each photograph mirrored, too, and take the mean: better maps for twice the time.
        runtime: on a CPU onnxruntime and openvino are often 2 to 3 times as fast; they need pip install
            'sod-nas[export,openvino]', and some seconds for a conversion that is kept in ~/.cache/sod-nas; auto: the
            fastest one here, timed on this network.
    """

    size: tuple[int, ...] = ()
    antialias: bool = True
    device: str = "cpu"
    precision: Literal["fp32", "bf16"] = "fp32"
    flip: bool = False
    runtime: Runtime = "torch"

    def loading(self) -> dict[str, Any]:
        """What `load` takes of them, but the device; UserError for a size that no network takes."""
        taken = {name: getattr(self, name) for name in ("precision", "antialias", "flip", "runtime")}
        return {"size": parse_size(self.size)} | taken


class Predictor:
    """Calls a network with photographs of any size; from several threads, too, and in processes that it is sent to.

    Attributes:
        network: the network, in eval mode, on the device.
        size: (H, W) that it sees.
        antialias: how photographs are resized to that, see `nas.task.resize`.
        flip: whether it sees each photograph mirrored, too; the logits are the mean of both.
        runtime: what computes it: torch, the network as it was trained; onnxruntime or openvino, its deployed form.
        times: milliseconds a picture of the runtimes that were compared, empty unless "auto" was asked for.
    """

    @own_defaults()
    def __init__(
        self,
        network: Network,
        device: torch.device | str = "cpu",
        *,
        size: int | tuple[int, int] | None = None,
        precision: str = "fp32",
        antialias: bool = True,
        flip: bool = False,
        runtime: Runtime = "torch",
    ) -> None:
        """size: (H, W), the side of a square, or None for what the genotype says; precision: fp32, or bf16 (autocast).

        runtime: auto times those that are installed and takes the fastest. Raises UserError for one that is not
        installed or not for this device or precision, and where the network cannot be deployed.
        """
        own = network.genotype.input.size
        sides = own if size is None else size if isinstance(size, tuple | list) else (size,)
        height, width = parse_size(sides) or own
        if precision not in ("fp32", "bf16"):
            raise UserError(f"precision must be fp32 or bf16, not {precision!r}")
        if runtime not in (known := get_args(Runtime)):
            raise UserError(f"runtime must be one of {', '.join(known)}, not {runtime!r}")
        self.network = to_device(network, device).eval()
        self.device, self.size = torch.device(device), (height, width)
        self.precision, self.antialias, self.flip = precision, antialias, flip
        self.runtime: str = runtime
        self.times: dict[str, float] = {}
        self._runs: dict[tuple[int, int] | None, Run] = {}  # by (H, W); None: of any other size
        if runtime == "auto":
            self._take_fastest()
        elif runtime != "torch":
            self._check_runtime(runtime)
            self._runs[self.size] = self._open(self.size)[runtime]

    def _check_runtime(self, runtime: str) -> None:
        from nas.deploy import check_runtime  # torch.export and sympy: a second, for whoever deploys

        check_runtime(runtime, self.precision)
        if self.device.type != "cpu":
            raise UserError(f"the runtime {runtime} is for the CPU; on {self.device} it is torch")

    @own_defaults()
    def _open(self, size: tuple[int, int] | None, runtimes: Sequence[str] = ()) -> dict[str, Run]:
        """Runtime (None given: this one) -> the network's logits of one picture of this size, or of any."""
        from nas.deploy.kept import open_network

        threads, wanted = torch.get_num_threads(), runtimes or [self.runtime]
        return open_network(self.network, wanted, size=size, threads=threads, precision=self.precision)

    def _take_fastest(self) -> None:
        from nas.cost.clock import milliseconds
        from nas.deploy import RUNTIMES

        self.runtime, installed = "torch", []
        for runtime in RUNTIMES[1:]:
            with suppress(UserError):
                self._check_runtime(runtime)
                installed.append(runtime)
        if not installed:
            return
        picture = torch.rand(1, 3, *self.size, generator=torch.Generator().manual_seed(0))
        runs = self._open(self.size, installed)
        calls: dict[str, Callable[[], object]] = {"torch": lambda: self._logits(picture)}
        calls |= {runtime: partial(run, picture.numpy()) for runtime, run in runs.items()}
        times = milliseconds(calls, repeats=5, threads=torch.get_num_threads())
        self.times = dict(sorted(times.items(), key=lambda pair: pair[1]))
        self.runtime = next(iter(self.times))
        if self.runtime != "torch":
            self._runs[self.size] = runs[self.runtime]

    def __getstate__(self) -> dict[str, Any]:
        """As it is sent to another process: that opens the runtime for itself.

        The network goes as bytes. Torch would send a file handle for each tensor, of which a process may have 1,024.
        """
        return self.__dict__ | {"_runs": {}, "network": pickle.dumps(self.network)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, network=pickle.loads(state["network"]))

    @property
    def genotype(self) -> Genotype:
        """What the network is."""
        return self.network.genotype

    def __call__(self, photograph: Photograph) -> Image.Image:
        """The saliency map of one photograph: an 8-bit grey picture of its size, white where the object is.

        Args:
            photograph: a file's path, its bytes, or the file opened; a Pillow image; an array uint8[H, W, 3] or
                [H, W]; a tensor [3, H, W]; arrays and tensors of floats are in 0..1.

        Raises:
            DataError: a file that cannot be read, an array of another shape or range, a network whose output is not
                finite.
        """
        return Image.fromarray(self.maps([photograph])[0])

    def maps(self, photographs: Iterable[Photograph], *, native: bool = False) -> list[np.ndarray]:
        """The maps uint8[H, W] of photographs of any sizes, in one batch: those that are scored.

        photographs, errors: as above. native: the network sees each at its own size, one by one.
        """
        photos = [read_image(photograph) for photograph in photographs]
        if native:
            inputs = (pixels(torch.tensor(photo).permute(2, 0, 1)[None]) for photo in photos)
            return [Protocol().to_bytes(self.probabilities(x)[0, 0].cpu().numpy(), *x.shape[2:]) for x in inputs]
        if not photos:
            return []
        seen = np.stack([resize(photo, self.size, antialias=self.antialias) for photo in photos])
        probs = self.probabilities(pixels(torch.from_numpy(seen).permute(0, 3, 1, 2)))[:, 0].cpu().numpy()
        return [Protocol().to_bytes(p, *photo.shape[:2]) for p, photo in zip(probs, photos, strict=True)]

    def probabilities(self, pictures: Tensor) -> Tensor:
        """Pictures float[B, 3, h, w] in 0..1 -> float32[B, 1, h, w] of the finest output, on the network's device."""
        return self.logits(pictures).sigmoid()

    def logits(self, pictures: Tensor) -> Tensor:
        """The same before the sigmoid."""
        logits = self._logits(pictures)
        return (logits + self._logits(pictures.flip(3)).flip(3)) / 2 if self.flip else logits

    @flush_subnormals()
    @torch.inference_mode()
    def _logits(self, pictures: Tensor) -> Tensor:
        """Of the network, as it sees them."""
        if self.runtime != "torch":
            return self._logits_of_each(pictures)
        x = network_input(pictures.to(self.device), self.genotype.input)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            return self.network(x)[0].float()

    def _logits_of_each(self, pictures: Tensor) -> Tensor:
        """One by one: no slower than a batch in these runtimes, and no picture depends on what else is in its batch."""
        size: tuple[int, int] | None = (pictures.shape[2], pictures.shape[3])
        if size != self.size:
            size = None
        if (run := self._runs.get(size)) is None:
            from nas.deploy.capture import one_at_a_time

            with one_at_a_time():  # and the others find it
                run = self._runs[size] = self._runs.get(size) or self._open(size)[self.runtime]
        arrays = pictures.cpu().float().contiguous().numpy()
        return torch.from_numpy(np.concatenate([run(arrays[index : index + 1]) for index in range(len(arrays))]))


def tell_times(predictor: Predictor) -> None:
    """Say, in one line on stderr, which runtime was taken, where several were compared."""
    if predictor.times:
        first, *others = (f"{runtime} {ms:.1f} ms" for runtime, ms in predictor.times.items())
        print(f"runtime {first} a picture of {predictor.genotype.name} ({', '.join(others)})", file=sys.stderr)


def cutout(photo: np.ndarray, saliency: np.ndarray, alpha: np.ndarray | None = None) -> np.ndarray:
    """uint8[H, W, 4]: the photograph uint8[H, W, 3] with its map uint8[H, W] as alpha channel.

    alpha: uint8[H, W], the photograph's own; what it hides stays hidden.
    """
    if alpha is not None:
        saliency = ((saliency.astype(np.uint16) * alpha + 127) // 255).astype(np.uint8)
    return np.dstack([photo, saliency])


def overlay(photo: np.ndarray, saliency: np.ndarray, alpha: np.ndarray | None = None) -> np.ndarray:
    """uint8[H, 3 W, 3]: photograph, map and cut-out side by side, each of at most 2,048 pixels a side."""
    longest = max(photo.shape[:2])
    if longest > _SHOWN:
        height, width = (max(1, round(side * _SHOWN / longest)) for side in photo.shape[:2])
        photo, saliency = resize(photo, (height, width)), resize(saliency, (height, width))
        alpha = None if alpha is None else resize(alpha, (height, width))
    shown = cutout(photo, saliency, alpha)[..., 3:].astype(np.uint16)
    on_paper = ((photo * shown + _PAPER * (255 - shown) + 127) // 255).astype(np.uint8)  # 16 bits hold 255 x 255
    return np.concatenate([photo, np.repeat(saliency[..., None], 3, axis=2), on_paper], axis=1)


_MADE: dict[str, Callable[..., np.ndarray]] = {"cutout": cutout, "overlay": overlay}


def write_picture(
    kind: str, photo: Picture, saliency: np.ndarray, file: IO[bytes], note: tuple[str, str] | None = None
) -> None:
    """Write what is made of a photograph and its map as PNG.

    kind: "map", "cutout" or "overlay"; the last two carry the photograph's colour profile. note: see `write_png`.
    """
    if kind == "map":
        write_png(saliency, file, note=note)
    else:
        write_png(_MADE[kind](photo.pixels, saliency, photo.alpha), file, photo.profile, note)


def save(path: str | os.PathLike[str], network: Network) -> None:
    """Write a network: its weights and its genotype, one file that `load` reads.

    Raises:
        UserError: the file cannot be written.
    """
    network = getattr(network, "_orig_mod", network)  # what torch.compile was given: it has keys of its own
    save_weights(path, network.state_dict(), network.genotype)


def load(
    path: str | os.PathLike[str],
    device: torch.device | str = "cpu",
    *,
    size: int | tuple[int, int] | None = None,
    precision: str = "fp32",
    antialias: bool = True,
    flip: bool = False,
    runtime: Runtime = "torch",
) -> Predictor:
    """A network, ready to predict: one of the package by its name, or that of a weight file.

    `retrain.load("sod_s")("cat.jpg").save("map.png")`

    Args:
        path: a name (`retrain.networks.network_names()`), or a file of `save`, `retrain.train` or `retrain.authors`.
        device: cpu, cuda, or auto.
        size, precision, antialias, flip, runtime: see `Predictor`.

    Raises:
        UserError: the file is missing, damaged or not one of ours, or there is no such device or runtime.
    """
    genotype, state = load_weights(find_weights(path))
    with own_defaults():
        network = build(genotype)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        lines = str(error).splitlines()
        first = shorten(lines[1 if len(lines) > 1 else 0], 300, placeholder=" ...")  # it may name all that there are
        raise UserError(f"{path}: its weights do not fit its genotype: {first}") from None
    return Predictor(
        network,
        open_device(str(device)),
        size=size,
        precision=precision,
        antialias=antialias,
        flip=flip,
        runtime=runtime,
    )
