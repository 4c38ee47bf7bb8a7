"""The form in which a network is deployed: one graph, from pictures to probabilities, with all folded that folds.

>>> import torch, genotypes, nas
>>> from nas.deploy import deploy
>>> net = nas.build(genotypes.load("fpn_tiny")).eval()
>>> deployed = deploy(net, size=(64, 96))
>>> tuple(deployed(torch.rand(1, 3, 64, 96)).shape)
(1, 1, 64, 96)
"""

import math
from collections.abc import Callable, Iterator
from functools import partial
from textwrap import shorten

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
    "apart",
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
    for (height, width), found, most in differences(picture, graph, size, f"{name} cannot be deployed: its graph"):
        if found > most:
            raise UserError(
                f"{name} cannot be deployed: at {height} x {width} the graph differs by {found:.2g} from "
                "the network, as where an operation branches on sizes"
            )
    return graph


def differences(
    picture: PictureNetwork,
    run: Callable[[torch.Tensor], torch.Tensor],
    size: tuple[int, int] | None = None,
    what: str = "it",
) -> Iterator[tuple[tuple[int, int], float, float]]:
    """((H, W), how far probabilities lie apart there, how far they may) of a network and what was made of it.

    Pictures are noise, of the one `size` or of several. what, errors: as `apart` has them.
    """
    picture.eval()

    def probabilities(of: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        return of(x).sigmoid() if picture.logits else of(x)

    for batch, *sides in _CHECKED if size is None else ((1, *size),):
        x = torch.rand(batch, 3, *sides, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            expected = probabilities(picture, x)
            found = apart(what, partial(probabilities, run), x, expected)
        yield (sides[0], sides[1]), found, min(1e-4, 1e-5 + 1e-3 * float(expected.std()))  # untrained ones hardly vary


def apart(
    what: str, run: Callable[[torch.Tensor], torch.Tensor], pictures: torch.Tensor, expected: torch.Tensor
) -> float:
    """The largest difference of what `run` makes of pictures to what is expected, infinite where one is no number.

    UserError, which begins with `what`, where it fails or makes something of another shape.
    """
    shape = " x ".join(map(str, pictures.shape))
    try:
        found = run(pictures)
    except Exception as error:  # each runtime has classes of its own
        if "memory" in str(error):  # whoever runs the command tells of that
            raise
        raise UserError(f"{what} fails for {shape}: {shorten(str(error), 300, placeholder=' ...')}") from error
    if found.shape != expected.shape:
        wrong = " x ".join(map(str, found.shape))
        raise UserError(f"{what} makes {wrong} of {shape}, expected {' x '.join(map(str, expected.shape))}")
    return float((found - expected).abs().nan_to_num(nan=math.inf).max())
