"""What a network computes in. bf16, fp16: autocast, but with the weights cast at once, not one by one where used."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.func import functional_call

__all__ = ["fastest_precision", "run_in"]

# Autocast casts the weights of these, and nothing else of theirs but a bias.
_CAST = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
_names: "WeakKeyDictionary[nn.Module, tuple[str, ...]]" = WeakKeyDictionary()


def fastest_precision(device: torch.device) -> Literal["fp32", "bf16"]:
    """bf16 where the device has instructions for it: elsewhere it is emulated, and slow."""
    if device.type == "cuda":
        has = torch.cuda.is_bf16_supported(including_emulation=False)
    else:  # avx512_bf16, amx_bf16; bf16 on ARM
        info = Path("/proc/cpuinfo")
        has = info.is_file() and "bf16" in info.read_text(encoding="utf-8", errors="replace")
    return "bf16" if has else "fp32"


def run_in(precision: str, net: nn.Module, params: Mapping[str, Tensor], *arguments: Any) -> Any:
    """net(*arguments) with these parameters, in "fp32" or under "bf16" or "fp16" autocast; the values are autocast's.

    A network of a search has a thousand small weights: on a GPU a cast of each, and of each gradient, takes as many
    kernels as its convolutions do.
    """
    if precision == "fp32":
        return functional_call(net, dict(params), arguments)
    dtype = _DTYPES[precision]
    with torch.autocast(next(iter(params.values())).device.type, dtype):
        return functional_call(net, dict(params) | _lowered(net, params, dtype), arguments)


def _lowered(net: nn.Module, params: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    if net not in _names:
        _names[net] = tuple(f"{name}.weight" for name, part in net.named_modules() if isinstance(part, _CAST))
    names = _names[net]
    return dict(zip(names, _Lower.apply(dtype, *(params[name] for name in names)), strict=True)) if names else {}


class _Lower(Function):
    """float32 tensors in less precision, their gradients as float32; a tensor without gradient has none before, too."""

    @staticmethod
    def forward(ctx: Any, dtype: torch.dtype, *weights: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        return tuple(_cast(weights, dtype))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        found = iter(_cast([gradient for gradient in gradients if gradient is not None], torch.float32))
        return None, *(None if gradient is None else next(found) for gradient in gradients)


def _cast(tensors: Any, dtype: torch.dtype) -> list[Tensor]:
    cast = [torch.empty_like(tensor, dtype=dtype) for tensor in tensors]
    if cast:
        torch._foreach_copy_(cast, list(tensors))
    return cast
