"""A trained network as a function from pictures to maps."""

import os

import torch
import torch.nn.functional as F

from genotypes import UserError
from nas.network import Network, build
from nas.network.weights import load_weights
from nas.run.sizes import parse_size
from nas.task import normalise

__all__ = ["Predictor", "load_network", "parse_size"]


class Predictor:
    """Pictures float[B, 3, h, w] in 0..1 -> probabilities float32[B, 1, H, W] of the network's finest output.

    size: (H, W) the network sees; pictures of another size are resized to it. None: as they come.
    """

    def __init__(
        self,
        net: Network,
        device: torch.device | str = "cpu",
        *,
        size: tuple[int, int] | None = None,
        precision: str = "fp32",
    ) -> None:
        self.net = net.to(device, memory_format=torch.channels_last).eval()
        self.device, self.size, self.precision = torch.device(device), size, precision

    @torch.inference_mode()
    def __call__(self, pictures: torch.Tensor) -> torch.Tensor:
        convention = self.net.genotype.input
        x = pictures.to(self.device)
        if self.size is not None and tuple(x.shape[-2:]) != self.size:
            x = F.interpolate(x, self.size, mode="bilinear", align_corners=False, antialias=True)
        x = normalise(x, convention.mean, convention.std).contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            logits = self.net(x)[0]
        return logits.float().sigmoid()


def load_network(path: str | os.PathLike[str]) -> Network:
    """The network in a weight file, ready to predict; UserError if the file is not one of ours."""
    genotype, state = load_weights(path)
    net = build(genotype)
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        lines = str(error).splitlines()
        raise UserError(
            f"{path}: its weights do not fit its genotype: {lines[1 if len(lines) > 1 else 0].strip()}"
        ) from None
    return net.eval()
