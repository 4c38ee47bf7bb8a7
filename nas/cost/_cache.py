"""Measured tables kept in a file for each machine: a second search measures nothing."""

import json
import os
import platform
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from genotypes import UserError

__all__ = ["LatencyCache", "machine_name", "user_cache"]

_FORMAT = 1


def user_cache() -> Path:
    """The folder of this user for what was measured: $XDG_CACHE_HOME/sod-nas, by default ~/.cache/sod-nas."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sod-nas"


class LatencyCache:
    """`latency-{machine}-{threads}t-torch{version}.json` in a folder: tables of this machine, by space and size."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        self.machine = {
            "format": _FORMAT,
            "device": machine_name(device),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        }
        name = "latency-{device}-{threads}t-torch{torch}".format(**self.machine)
        self.path = Path(folder) / f"{re.sub('[^A-Za-z0-9.+]+', '-', name)}.json"

    def get(self, key: str, edges: Mapping[str, Sequence[str]]) -> tuple[float, dict[str, dict[str, float]]] | None:
        """(fixed, edge -> candidate -> milliseconds) as they were put, for these edges and candidates; None if never.

        Raises UserError where the file is not one of ours, or does not hold them all.
        """
        table = self._read().get(key)
        if table is None:
            return None
        try:
            rows = {edge: {op: float(table["edges"][edge][op]) for op in ops} for edge, ops in edges.items()}
            return float(table["fixed"]), rows
        except (KeyError, TypeError, ValueError):
            raise self._foreign(f"the table {key!r} is damaged") from None

    def put(self, key: str, fixed: float, edges: dict[str, dict[str, float]]) -> None:
        """Keep a table: the file is replaced in one step, a reader never meets half of it."""
        tables = self._read() | {key: {"fixed": fixed, "edges": edges}}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=self.path.parent, prefix=self.path.name, suffix=".partial")
            try:
                with open(handle, "w", encoding="utf-8") as file:
                    json.dump(self.machine | {"tables": tables}, file, indent=1)
                os.replace(temporary, self.path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written: {error.strerror or error}") from None

    def _read(self) -> dict[str, dict]:
        try:
            data = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise UserError(f"{self.path}: cannot be read: {error.strerror or error}") from None
        except ValueError as error:  # broken text as well as broken JSON
            raise self._foreign(str(error)) from None
        if not isinstance(data, dict) or not isinstance(data.get("tables"), dict):
            raise self._foreign("it holds no tables")
        for word, value in self.machine.items():
            if data.get(word) != value:
                raise self._foreign(f"its {word} is {data.get(word)!r}, here it is {value!r}")
        return data["tables"]

    def _foreign(self, reason: str) -> UserError:
        return UserError(f"{self.path}: no latency table of this machine ({reason}); delete it to measure anew")


def machine_name(device: torch.device) -> str:
    """What the device calls itself; for the CPU its model, number of cores and the instructions torch uses.

    A name such as "cpu" would hand one machine's milliseconds to another that shares the folder.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return f"{device.type} {platform.machine()} {platform.node()}"
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n\n")[0].splitlines()
    except OSError:
        lines = []
    known = dict((part.strip() for part in line.split(":", 1)) for line in lines if ":" in line)
    # Cloud machines name no more than a brand: family and model tell its generations apart.
    words = [known.get("model name", platform.processor() or platform.machine())]
    words += [f"{word} {known[word]}" for word in ("cpu family", "model", "stepping") if word in known]
    return ", ".join([*words, f"{os.cpu_count()} cores", torch.backends.cpu.get_cpu_capability()])
