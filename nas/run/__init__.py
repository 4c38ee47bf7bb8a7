"""A run: one folder that holds all a command made, enough to resume, reproduce and explain it."""

from nas.run.device import explain_out_of_memory, open_device, seeded, torch_threads
from nas.run.folder import RunFolder, check_free, find_checkpoint, load_checkpoint, save_checkpoint, without_password
from nas.run.interrupts import Interrupted, Interrupts, deadline
from nas.run.progress import progress_bar, quiet

__all__ = [
    "Interrupted",
    "Interrupts",
    "RunFolder",
    "check_free",
    "deadline",
    "find_checkpoint",
    "load_checkpoint",
    "explain_out_of_memory",
    "open_device",
    "progress_bar",
    "quiet",
    "save_checkpoint",
    "seeded",
    "torch_threads",
    "without_password",
]
