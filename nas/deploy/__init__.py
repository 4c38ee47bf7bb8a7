"""The form in which a network is deployed: one graph, from pictures to probabilities, with all folded that folds.

>>> import torch, genotypes, nas
>>> from nas.deploy import deploy
>>> net = nas.build(genotypes.load("fpn_tiny")).eval()
>>> deployed = deploy(net, size=(64, 96))
>>> tuple(deployed(torch.rand(1, 3, 64, 96)).shape)
(1, 1, 64, 96)
"""

from collections.abc import Callable, Iterator

import torch
from torch import fx, nn
from torch.nn import functional as F

from genotypes import Input, UserError
from nas.deploy.capture import capture, one_at_a_time, program
from nas.deploy.folding import fold
from nas.deploy.formats import (
    INPUT,
    OUTPUT,
    RUNTIMES,
    Run,
    bf16_here,
    check_runtime,
    need,
    onnx_model,
    open_file,
    open_graph,
    open_model,
    open_module,
    save_openvino,
)
from nas.network import Network

__all__ = [
    "INPUT",
    "OUTPUT",
    "RUNTIMES",
    "PictureNetwork",
    "Run",
    "bf16_here",
    "check_runtime",
    "deploy",
    "differences",
    "need",
    "onnx_model",
    "open_file",
    "open_graph",
    "open_model",
    "open_module",
    "program",
    "save_openvino",
]

_CHECKED = ((2, 32, 45), (1, 65, 98), (1, 96, 64))  # batch, height, width: features of one pixel, odd sides, even ones


class PictureNetwork(nn.Module):
    """A network with its input convention and its sigmoid: float32 [B, 3, H, W], RGB, 0 to 1 -> [B, 1, H, W], 0 to 1.

    The probabilities are of the network's finest output. fed: the size that pictures have been resized to already, and
    the mean and standard deviation by which they have been normalised, where something else does that; they are resized
    again, by the antialiased bilinear filter, to `size` (H, W; None: what the genotype says). logits: without the
    sigmoid.
    """

    scale: torch.Tensor
    shift: torch.Tensor
    rows: torch.Tensor
    columns: torch.Tensor

    def __init__(
        self, net: Network, fed: Input | None = None, *, size: tuple[int, int] | None = None, logits: bool = False
    ) -> None:
        super().__init__()
        self.net, self.logits = net, logits
        own = net.genotype.input
        mean, std = (torch.tensor(values, dtype=torch.float64) for values in (own.mean, own.std))
        given = [(0.0,) * 3, (1.0,) * 3] if fed is None else [fed.mean, fed.std]
        shift, scale = (torch.tensor(values, dtype=torch.float64) for values in given)
        self.register_buffer("scale", (scale / std).float().view(1, 3, 1, 1))
        self.register_buffer("shift", ((shift - mean) / std).float().view(1, 3, 1, 1))
        self.as_given = fed is not None and (tuple(fed.mean), tuple(fed.std)) == (tuple(own.mean), tuple(own.std))
        self.resizes = fed is not None and tuple(fed.size) != tuple(size or own.size)
        if fed is not None and self.resizes:
            height, width = size or own.size
            self.register_buffer("rows", _resizing(fed.size[0], height))
            self.register_buffer("columns", _resizing(fed.size[1], width).T.contiguous())

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        x = picture if self.as_given else picture * self.scale + self.shift
        if self.resizes:
            x = self.rows @ x @ self.columns
        finest: torch.Tensor = self.net(x)[0]
        return finest if self.logits else finest.sigmoid()


def _resizing(before: int, after: int) -> torch.Tensor:
    """[after, before]: what each sample takes of those before, as a matrix, which every runtime multiplies alike."""
    sides = torch.eye(before)[None, None]
    return F.interpolate(sides, size=(after, before), mode="bilinear", antialias=True, align_corners=False)[0, 0]


@one_at_a_time()
def deploy(
    net: Network, *, size: tuple[int, int] | None = None, fed: Input | None = None, logits: bool = False
) -> fx.GraphModule:
    """What `PictureNetwork` computes of a decided network, deployed on the CPU: one graph of ATen operations.

    Norms are folded into convolutions, convolutions that follow one another are merged where that is cheaper, outputs
    but the first and resizes that never change a size are left out. size: (H, W) of the one picture that it is for;
    None: any batch, and any sides from 32 up. fed, logits: see `PictureNetwork`; where fed, the one picture is of
    `fed.size`, and `size` what it is resized to. The network is left as it is.

    Raises UserError where the network is not decided, there is no such graph, or it does not compute what the network
    does: a plugin's operation may branch on values or sizes.
    """
    if not net.genotype.is_decided:
        raise UserError(f"{net.genotype.name} cannot be deployed: it has open choices; a search decides them")
    picture, name = PictureNetwork(net, fed, size=size, logits=logits).eval(), net.genotype.name
    size = size if fed is None else fed.size
    try:
        graph = capture(picture, size)
    except RuntimeError as error:
        if "memory" in str(error):  # whoever runs the command tells of that
            raise
        raise UserError(f"{name} cannot be deployed: {str(error).strip().splitlines()[0]}") from None
    fold(graph)
    for (height, width), apart, most in differences(picture, graph, size):
        if not apart <= most:
            raise UserError(
                f"{name} cannot be deployed: at {height} x {width} the graph differs by {apart:.2g} from "
                "the network, as where an operation branches on sizes"
            )
    return graph


def differences(
    picture: PictureNetwork, run: Callable[[torch.Tensor], torch.Tensor], size: tuple[int, int] | None = None
) -> Iterator[tuple[tuple[int, int], float, float]]:
    """((H, W), how far probabilities lie apart there, how far they may) of a network and what was made of it.

    Pictures are noise, of the one `size` or of several.
    """
    picture.eval()
    for batch, *sides in _CHECKED if size is None else ((1, *size),):
        x = torch.rand(batch, 3, *sides, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            expected, found = (each(x).sigmoid() if picture.logits else each(x) for each in (picture, run))
        apart, spread = float((found - expected).abs().max()), float(expected.std())
        yield (sides[0], sides[1]), apart, min(1e-4, 1e-5 + 1e-3 * spread)  # untrained networks hardly vary
