"""Progress bars: shown, unless the code around says `with quiet():`."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from tqdm import tqdm

__all__ = ["progress_bar", "quiet"]

_shown: ContextVar[bool] = ContextVar("progress_shown", default=True)


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars inside."""
    token = _shown.set(False)
    try:
        yield
    finally:
        _shown.reset(token)


def progress_bar(**options: Any) -> tqdm:
    """A tqdm bar with its options (total, desc, unit, initial, iterable); none where nothing is left to do."""
    done = options.get("total") == options.get("initial", 0)
    return tqdm(disable=done or not _shown.get(), **options)
