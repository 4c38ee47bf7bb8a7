"""The command line of every command: words, help, errors."""

from nas.command.command import Command
from nas.command.running import aligned, as_started, run_command, started_as

__all__ = ["Command", "aligned", "as_started", "run_command", "started_as"]
