"""Progress bars: shown, unless the code around says `with quiet():`."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from tqdm import tqdm

__all__ = ["progress_bar", "progress_shown", "quiet"]

_shown: ContextVar[bool] = ContextVar("progress_shown", default=True)


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars inside."""
    token = _shown.set(False)
    try:
        yield
    finally:
        _shown.reset(token)


def progress_shown() -> bool:
    """Whether bars are shown here."""
    return _shown.get()


def progress_bar(**options: Any) -> tqdm:
    """A tqdm bar with its options (total, desc, unit, initial); none where nothing is left to do."""
    done = options.get("total") == options.get("initial", 0)
    return tqdm(disable=done or not progress_shown(), **options)
