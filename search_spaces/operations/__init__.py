"""Operations: what may sit on an edge. A module maps [B, Cin, H, W] to [B, Cout, H, W] and keeps H and W.

| family | file |
|---|---|
| `none`, `skip_connect` | identity.py |
| dense convolutions of Auto-MSFNet (its "sep" and "dil" are not depthwise) | dense.py |
| spatial and channel attention | attention.py |
| depthwise-separable convolutions of DARTS | depthwise.py |
| plain convolutions without norm and activation | plain.py |

>>> import torch
>>> op = build_operation("dil_conv_3x3", 16, 16)
>>> tuple(op(torch.zeros(2, 16, 20, 24)).shape)
(2, 16, 20, 24)
"""

# Imported for their registrations.
from search_spaces.operations import attention, dense, depthwise, identity, plain  # noqa: F401
from search_spaces.operations._register import build_operation, operation_names, register_operation

__all__ = ["build_operation", "operation_names", "register_operation"]
