"""A run: one folder that holds all a command made, enough to resume, reproduce and explain it."""

from nas.command import run_command
from nas.run.checkpoint import load_checkpoint, save_checkpoint
from nas.run.folder import RunFolder, check_free
from nas.run.interrupts import Interrupted, Interrupts
from nas.run.setup import open_device, seeded

__all__ = [
    "Interrupted",
    "Interrupts",
    "RunFolder",
    "check_free",
    "load_checkpoint",
    "open_device",
    "run_command",
    "save_checkpoint",
    "seeded",
]
