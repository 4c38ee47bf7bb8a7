"""Where a user's commands keep what takes long to find out."""

import os
from pathlib import Path

__all__ = ["user_cache"]


def user_cache() -> Path | None:
    """$XDG_CACHE_HOME/sod-nas, by default ~/.cache/sod-nas: measured tables and converted networks.

    A relative $XDG_CACHE_HOME counts for nothing, as its standard says. None where there is no home, as in a container
    whose user has no name: then nothing is kept.
    """
    cache = os.environ.get("XDG_CACHE_HOME", "")
    cache = cache if os.path.isabs(cache) else os.path.expanduser("~/.cache")
    return None if cache.startswith("~") else Path(cache) / "sod-nas"
