"""How to choose: networks from genotypes, strategies, the task, runs and drawings."""

import importlib.util
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from nas.lazy import loaded_when_asked


def stop_loading(signum: int, frame: FrameType | None) -> None:
    """Ctrl-C while a command is still loading: nothing is to be saved, and an exception would end in a traceback."""
    with suppress(OSError):
        os.write(2, b"\ninterrupted\n")
    os._exit(128 + signum)


if sys.argv[:1] == ["-m"] or Path(*sys.argv[:1]).stem == "sod-nas":  # one of our commands starts
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, stop_loading)  # until `run_command`
    for _package in ("genotypes", "search_spaces"):  # `python -m` looks into the current folder first
        _found = importlib.util.find_spec(_package)
        if _found is not None and _found.submodule_search_locations is None:
            _where = f"{_found.origin} hides the package {_package} of this program"
            sys.exit(f"error: {_where}; start the command from another folder, or rename that file")
    # Before torch loads GNU's OpenMP, whose threads wait for one another by 300,000 turns of a loop: where another
    # program has a core, all of its time slices go by so. 5,000 are as fast on an idle machine (docs/performance.md).
    if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = "5000"
    # Notebooks pass on a backend of theirs that is not installed here. No command needs any: pictures go to files.
    os.environ.pop("MPLBACKEND", None)

if TYPE_CHECKING:
    from nas.network import Network, build

__all__ = ["Network", "build"]

# `nas.build`, `nas.search` and the like: drawing must not wait for torch.
__getattr__ = loaded_when_asked(
    __name__,
    {"network": "Network build"},
    modules="benchmark cost guard network report run search strategies task training trials visualize",
)
