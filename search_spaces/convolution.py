"""A convolution whose gradients a CPU finds in float32 where oneDNN's in bf16 are wrong or slow."""

import torch
from torch import Tensor, nn

__all__ = ["Conv2d"]


class Conv2d(nn.Conv2d):
    """`nn.Conv2d`, but for some layers that are trained on a CPU where autocast says bf16 (torch 2.8 to 2.13).

    Dilated ones of other than 16, 32, ... channels: the gradient of the weight is memory that nobody wrote, or the
    process ends, where maps are wider than 28; CSNet was NaN from the second step on. Depthwise ones with a stride, or
    larger than 3 x 3: with their gradients they take four to seven times as long as in float32 (docs/performance.md).
    """

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if input.device.type == "cpu" and torch.is_grad_enabled() and torch.is_autocast_enabled("cpu"):
            wrong = self.dilation != (1, 1) and weight.shape[1] % 16 != 0
            slow = weight.shape[1] == 1 and (self.stride != (1, 1) or max(weight.shape[2:]) > 3)
            if wrong or slow:
                half = torch.get_autocast_dtype("cpu")  # rounded as any convolution's are
                bias = None if bias is None else bias.to(half).float()
                with torch.autocast("cpu", enabled=False):
                    return super()._conv_forward(input.to(half).float(), weight.to(half).float(), bias).to(half)
        return super()._conv_forward(input, weight, bias)
