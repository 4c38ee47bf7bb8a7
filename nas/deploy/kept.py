"""A network in another runtime; its conversion, which takes seconds, is kept for the next command."""

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import torch

import genotypes
from genotypes import UserError
from genotypes.files import write_atomically
from nas.deploy import PictureNetwork, Run, check_runtime, deploy, differences, onnx_model, open_model, program
from nas.network import Network
from nas.run.user_cache import user_cache

__all__ = ["open_network"]

_FORMAT = 1  # another one where `deploy` comes to make faster graphs
_ALL, _LARGEST = 2**28, 2**26  # bytes of all files together, of which those used last stay, and of one


def open_network(
    net: Network,
    runtimes: Sequence[str],
    *,
    size: tuple[int, int] | None = None,
    threads: int = 1,
    precision: str = "fp32",
) -> dict[str, Run]:
    """Runtime (onnxruntime, openvino) -> the logits of pictures of one (H, W) `size`, or of any, by `deploy`.

    The ONNX file is kept in the user's cache under a digest of genotype and weights. One that is found there must
    compute what the network does, else it is made anew: an operation of a plugin may have changed since, or the file.
    Raises UserError where `deploy` or `check_runtime` does, and where a runtime fails or computes something else.
    """
    for runtime in runtimes:
        check_runtime(runtime, precision)

    def opened(model: bytes, precision: str) -> dict[str, Run]:
        return {runtime: open_model(model, runtime, threads=threads, precision=precision) for runtime in runtimes}

    def checked(model: bytes, least: float = 0.0) -> dict[str, Run]:
        runs = opened(model, "fp32")  # bf16 differs by more than a wrong file may
        for runtime, run in runs.items():
            _check(net, runtime, run, size, least)
        return runs if precision == "fp32" else opened(model, precision)

    path = _place(net, size)
    if path is not None and path.is_file():
        with suppress(Exception):  # each runtime has errors of its own for a file that is none
            runs = checked(path.read_bytes())
            with suppress(OSError):  # somebody else's file
                os.utime(path)
            return runs
    model = _convert(net, size)
    runs = checked(model, 1e-4)  # what is the network's own may differ as an exported file may
    if path is not None and len(model) <= _LARGEST:
        with suppress(UserError, OSError):  # no room: the next command converts again
            _keep(path, model)
    return runs


def _convert(net: Network, size: tuple[int, int] | None) -> bytes:
    return onnx_model(program(deploy(net, size=size, logits=True), size)).SerializeToString()


def _place(net: Network, size: tuple[int, int] | None) -> Path | None:
    folder = user_cache()
    if folder is None:
        return None
    digest = hashlib.blake2b(f"{_FORMAT} {torch.__version__} {genotypes.dumps(net.genotype)}".encode(), digest_size=16)
    for tensor in net.state_dict().values():  # the genotype says what each is
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    sides = "any" if size is None else f"{size[0]}x{size[1]}"
    return folder / "converted" / f"{digest.hexdigest()}-{sides}.onnx"


def _check(net: Network, runtime: str, run: Run, size: tuple[int, int] | None, least: float) -> None:
    """UserError where a run does not compute the network; least: a difference that it may have at least."""
    what = f"{net.genotype.name} in {runtime}"
    picture = PictureNetwork(net, logits=True)
    for (height, width), found, most in differences(picture, lambda x: torch.from_numpy(run(x.numpy())), size, what):
        if found > max(most, least):
            raise UserError(
                f"{what} differs by {found:.2g} from the network at {height} x {width}: use the runtime torch"
            )


def _keep(path: Path, model: bytes) -> None:
    with write_atomically(path, flush=False) as file:
        file.write(model)
    total = 0
    for kept in sorted(path.parent.glob("*.onnx"), key=lambda kept: kept.stat().st_mtime, reverse=True):
        total += kept.stat().st_size
        if total > _ALL:
            kept.unlink()
