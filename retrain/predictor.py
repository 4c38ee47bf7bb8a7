"""A trained network as a function from a photograph to its map, and the files that hold one."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from genotypes import Genotype, UserError
from nas.network import Network, build
from nas.network.weights import load_weights, save_weights
from nas.run.device import open_device
from nas.run.sizes import check_side
from nas.task import Photograph, Protocol, network_input, read_image, resize
from retrain.networks import find_weights

__all__ = ["Predictor", "load", "predict_map", "predict_maps", "save"]


class Predictor:
    """Calls a network with photographs of any size.

    Attributes:
        network: the network, in eval mode, on the device.
        size: (H, W) that it sees.
        antialias: how photographs are resized to that, see `nas.task.resize`.
    """

    def __init__(
        self,
        network: Network,
        device: torch.device | str = "cpu",
        *,
        size: int | tuple[int, int] | None = None,
        precision: str = "fp32",
        antialias: bool = True,
    ) -> None:
        """size: (H, W), the side of a square, or None for what the genotype says; precision: fp32, or bf16 autocast."""
        height, width = (size, size) if isinstance(size, int) else size or network.genotype.input.size
        check_side(height)
        check_side(width)
        self.network = network.to(device).eval()
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
        self.device, self.size = torch.device(device), (height, width)
        self.precision, self.antialias = precision, antialias

    @property
    def genotype(self) -> Genotype:
        """What the network is."""
        return self.network.genotype

    def __call__(self, photograph: Photograph) -> Image.Image:
        """The saliency map of one photograph: an 8-bit grey picture of its size, white where the object is.

        Args:
            photograph: a file, or the bytes of one; a Pillow image; an array uint8[H, W, 3] or [H, W]; a tensor
                [3, H, W]; arrays and tensors of floats are in 0..1.

        Raises:
            DataError: a file that cannot be read, an array of another shape or range, a network whose output is not
                finite.
        """
        return Image.fromarray(self.maps([read_image(photograph)])[0])

    def maps(self, photos: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Maps uint8[H, W] of photographs uint8[H, W, 3] (see `nas.task.read_image`), in one batch."""
        return predict_maps(self.probabilities, photos, self.size, antialias=self.antialias)

    def probabilities(self, pictures: Tensor) -> Tensor:
        """Pictures float[B, 3, h, w] in 0..1 -> float32[B, 1, h, w] of the finest output, on the network's device."""
        return self.logits(pictures).sigmoid()

    @torch.inference_mode()
    def logits(self, pictures: Tensor) -> Tensor:
        """The same before the sigmoid."""
        x = network_input(pictures.to(self.device), self.genotype.input)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            return self.network(x)[0].float()


def predict_map(
    probabilities: Callable[[Tensor], Tensor], photo: np.ndarray, size: tuple[int, int], *, antialias: bool = True
) -> np.ndarray:
    """The map uint8[H, W] of one photograph uint8[H, W, 3]: see `predict_maps`."""
    return predict_maps(probabilities, [photo], size, antialias=antialias)[0]


def predict_maps(
    probabilities: Callable[[Tensor], Tensor],
    photos: Sequence[np.ndarray],
    size: tuple[int, int],
    *,
    antialias: bool = True,
) -> list[np.ndarray]:
    """The maps uint8[H, W] of photographs uint8[H, W, 3], those that `retrain.evaluate` scores.

    Args:
        probabilities: float32[B, 3, h, w] in 0..1 -> float[B, 1, h', w'].
        photos: as `nas.task.read_image` gives them, of any sizes.
        size: the (h, w) that the network sees.
        antialias: see `nas.task.resize`.

    Raises:
        DataError: the output is not finite.
    """
    seen = np.stack([resize(photo, size, antialias=antialias) for photo in photos])
    probs = probabilities(torch.from_numpy(seen).permute(0, 3, 1, 2).float() / 255)[:, 0].float().cpu().numpy()
    return [Protocol().to_bytes(p, photo.shape[0], photo.shape[1]) for p, photo in zip(probs, photos, strict=True)]


def save(path: str | os.PathLike[str], network: Network) -> None:
    """Write a network: its weights and its genotype, one file that `load` reads.

    Raises:
        UserError: the file cannot be written.
    """
    save_weights(path, network.state_dict(), network.genotype)


def load(
    path: str | os.PathLike[str],
    device: torch.device | str = "cpu",
    *,
    size: int | tuple[int, int] | None = None,
    precision: str = "fp32",
    antialias: bool = True,
) -> Predictor:
    """A network, ready to predict: one of the package by its name, or that of a weight file.

    `retrain.load("sod_s")("cat.jpg").save("map.png")`

    Args:
        path: a name (`retrain.networks.network_names()`), or a file of `save`, `retrain.train` or `retrain.authors`.
        device: cpu, cuda, or auto.
        size, precision, antialias: see `Predictor`.

    Raises:
        UserError: the file is missing, damaged or not one of ours, or there is no such device.
    """
    genotype, state = load_weights(find_weights(path))
    network = build(genotype)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        lines = str(error).splitlines()
        raise UserError(
            f"{path}: its weights do not fit its genotype: {lines[1 if len(lines) > 1 else 0].strip()}"
        ) from None
    where = device if isinstance(device, torch.device) else open_device(device)
    return Predictor(network, where, size=size, precision=precision, antialias=antialias)
