"""Networks that come with the package: NAME.safetensors in half precision, each with a card, NAME.md."""

import os
from pathlib import Path

from genotypes import UserError

__all__ = ["DEFAULT", "find_weights", "network_names"]

DEFAULT = "sod_s"
_FOLDER = Path(__file__).parent


def network_names() -> list[str]:
    """The networks that come with the package."""
    return sorted(path.stem for path in _FOLDER.glob("*.safetensors"))


def find_weights(name_or_path: str | os.PathLike[str]) -> Path:
    """The weight file of the network of that name, or that file.

    Raises:
        UserError: there is neither; the message lists the names.
    """
    if str(name_or_path) in network_names():
        return _FOLDER / f"{name_or_path}.safetensors"
    if Path(name_or_path).is_dir():
        raise UserError(
            f"{name_or_path} is a folder, expected a weight file, as {Path(name_or_path) / 'weights.safetensors'}"
        )
    if not Path(name_or_path).is_file():
        known = ", ".join(network_names()) or "none"
        raise UserError(f"no weight file at {name_or_path}, and no network of that name; known: {known}")
    return Path(name_or_path)
