"""The folder of a run: its configuration, environment, checkpoint, history, TensorBoard events and products."""

import csv
import json
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from genotypes import UserError
from nas.run.checkpoint import load_checkpoint, save_checkpoint

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = ["RunFolder", "check_free"]


class RunFolder:
    """A run's folder.

    config.yaml       the resolved configuration: `--config RUN/config.yaml` repeats the run
    environment.json  versions, device, threads, git commit
    checkpoint.pt     everything needed to resume (`save`, `load`)
    history.csv       one row an evaluation
    events/           TensorBoard
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.history: list[dict[str, Any]] = []
        self._writer: SummaryWriter | None = None

    @classmethod
    def open(cls, out: str | None, kind: str, config: str, *, resume: bool = False) -> "RunFolder":
        """A new folder (default: the next free runs/KIND-NNN), or, with `resume`, the one that is there.

        config: YAML text. Raises UserError rather than writing into a folder that already holds something.
        """
        try:
            folder = cls(Path(out) if out else _next_free(Path("runs"), kind))
            if resume:
                return folder
            if out:
                check_free(folder.path)
                folder.path.mkdir(parents=True, exist_ok=True)
            folder.write_text("config.yaml", config)
            folder.write_text("environment.json", json.dumps(_environment(), indent=1))
        except OSError as error:
            raise UserError(f"{out or 'runs'}: cannot be written: {error.strerror}") from None
        return folder

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoint.pt"

    def write_text(self, name: str, text: str) -> Path:
        """Write a file of the run in one step."""
        temporary = self.path / f".{name}.tmp"
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, self.path / name)
        return self.path / name

    def save(self, state: dict[str, Any]) -> None:
        """Checkpoint `state` (tensors and plain values) and the history."""
        save_checkpoint(self.checkpoint, state | {"history": self.history})

    def load(self, device: torch.device | str = "cpu") -> dict[str, Any] | None:
        """The last checkpoint, with the history put back to it; None if the run never came that far."""
        if not self.checkpoint.exists():
            return None
        state = load_checkpoint(self.checkpoint, device)
        if "history" not in state:
            raise UserError(f"{self.checkpoint}: not a checkpoint of this program (it holds no history)")
        self.history = state.pop("history")
        self._write_history()  # rows written after the checkpoint will be made again
        return state

    def record(self, row: dict[str, Any]) -> None:
        """Add a row to history.csv; all rows have the same keys."""
        self.history.append(row)
        self._write_history()

    def events(self, step: int = 0) -> "SummaryWriter":
        """The TensorBoard writer; events from `step` on that an interrupted run left are dropped."""
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter  # slow to load

            self._writer = SummaryWriter(str(self.path / "events"), purge_step=step)
        return self._writer

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def _write_history(self) -> None:
        if self.history:
            temporary = self.path / ".history.csv.tmp"
            with open(temporary, "w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, list(self.history[0]))
                writer.writeheader()
                writer.writerows(self.history)
            os.replace(temporary, self.path / "history.csv")


def check_free(path: str | Path) -> None:
    """UserError if a new run cannot have this folder because it already holds something."""
    path = Path(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(f"{path} already exists: choose another --out, or continue it with --resume")


def _next_free(parent: Path, kind: str) -> Path:
    """Makes the folder, too: two commands that start together must not choose the same."""
    parent.mkdir(parents=True, exist_ok=True)
    for number in count(1):
        path = parent / f"{kind}-{number:03d}"
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return path


def _environment() -> dict[str, Any]:
    packages = ("torch", "numpy", "networkx", "pyyaml", "pysodmetrics", "jsonargparse", "safetensors")
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        commit = subprocess.run(git, capture_output=True, text=True, timeout=10).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        commit = ""
    return {
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version(name) for name in packages},
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "commit": commit or None,
    }
