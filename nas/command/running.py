"""How a command runs and ends: errors as one message, exit codes, warnings, and what it tells the user to type next."""

import os
import re
import signal
import sys
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

import nas
from genotypes import UserError, UserNote
from genotypes.files import quoted
from genotypes.plugins import with_hint
from nas.allocator import keep_freed_memory
from nas.run_files import environment_of
from nas.subnormals import flush_subnormals

__all__ = ["aligned", "as_started", "note_plugins", "note_sources", "run_command", "started_as"]

_started: dict[str, str] = {}  # module -> its command, where that is not `python -m MODULE`
_plugins: list[str] = []  # that this command was given: the next one needs them, too

_sources: list[tuple[str, Mapping[str, Any]]] = []  # of its settings: (file or folder, what that says)


@contextmanager
def started_as(commands: Mapping[str, str]) -> Iterator[None]:
    """Inside, `as_started` writes these (module -> command) for `python -m MODULE`: pipx leaves no Python to type."""
    _started.update(commands)
    try:
        yield
    finally:
        _started.clear()


def note_plugins(files: Sequence[str]) -> None:
    """Remember the `--plugin` files of this command for the commands that it tells the user to type."""
    _plugins[:] = files


def note_sources(sources: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    """Remember where the settings of this command come from: a run's were meant from where it was begun."""
    _sources[:] = sources


def _where_begun(message: str) -> str:
    """A line that names where a run was begun, if the message names a file or folder of its that is there, not here."""
    for source, values in _sources:
        run = Path(source) if Path(source).is_dir() else Path(source).parent
        begun = str(environment_of(run).get("folder", ""))
        for path in _paths(values):
            if path and path in message and not os.path.exists(path) and os.path.exists(os.path.join(begun, path)):
                return f"\n{run} was begun in {begun}, where {path} is: start this command there"
    return ""


def _paths(values: Any) -> Iterator[str]:
    """All that may be a path among settings: DIR, NAME=DIR."""
    if isinstance(values, str):
        yield values.rpartition("=")[2]
    elif isinstance(values, Mapping | list | tuple):
        for value in values.values() if isinstance(values, Mapping) else values:
            yield from _paths(value)


def as_started(text: str) -> str:
    """A text with each `python -m MODULE` written as commands are started here, and with the plugins."""
    plugins = "".join(f" --plugin {quoted(file)}" for file in _plugins)
    return re.sub(r"python -m ([\w.]+)", lambda found: _started.get(found[1], found[0]) + plugins, text)


def run_command(
    main: Callable[[Sequence[str] | None], None],
    argv: Sequence[str] | None = None,
    *,
    joined: Callable[[], AbstractContextManager[None]] | None = None,
) -> int:
    """Run a command's main function; the exit code.

    joined: what makes one run of the processes that torchrun starts (`nas.run.distributed.joined`). A command without
    it is refused there, since it would run once in each.

    0: done. 2: the user's mistake, or a file that the system refuses, told in one message. 128 + signal: interrupted,
    saved where that was possible.
    """
    _open_streams()
    keep_freed_memory()
    started = signal.getsignal(signal.SIGINT) is nas.stop_loading
    try:
        if started:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        with flush_subnormals(), warnings.catch_warnings():
            warnings.showwarning = _show_warning
            if any("error".startswith(option.split(":")[0] or "-") for option in sys.warnoptions):
                warnings.simplefilter("default", UserNote)  # what we tell a user is no mistake for `python -W error`
            if os.environ.get("WORLD_SIZE", "1") == "1" or "RANK" not in os.environ:
                main(argv)
            elif joined is not None:
                with joined():
                    main(argv)
            else:
                return _refused_several()
    except UserError as error:
        return _refused(with_hint(error) + _where_begun(str(error)))
    except KeyboardInterrupt as error:  # nas.run.Interrupted is one that says what was saved
        with suppress(ValueError):  # of a thread that is not the main one
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # a further one ends the process without a word
        told = as_started(str(error)) or "interrupted; a run that had begun continues with --resume"
        print(f"\n{told}", file=sys.stderr)
        return getattr(error, "code", 130)
    except SystemExit as leave:  # after --help
        return leave.code if isinstance(leave.code, int) else 0
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MemoryError as error:
        return _refused(f"not enough memory ({error}); a smaller size or batch needs less")
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):  # torch's own word for it on a CPU
            raise
        wanted = str(error).rpartition("you tried to allocate ")[2].partition(".")[0]
        return _refused(f"not enough memory (for {wanted} more); a smaller size or batch needs less")
    except OSError as error:  # a folder that cannot be written, a full disk
        return _refused(f"{f'{error.filename}: ' if error.filename else ''}{error.strerror or error}")
    finally:
        if started:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # what is left is to leave: a signal does so without a word
    return 0


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """A note in one line; other warnings as Python shows them."""
    note = issubclass(category, UserNote)
    text = f"note: {message}\n" if note else warnings.formatwarning(message, category, filename, lineno, line)
    print(as_started(text), end="", file=sys.stderr)


def _refused(message: str) -> int:
    print(f"error: {as_started(message)}", file=sys.stderr)
    return 2


def _refused_several() -> int:
    if os.environ.get("LOCAL_RANK", "0") == "0":  # one message a machine
        _refused(
            f"started {os.environ['WORLD_SIZE']} times by torchrun, and each would do the same; only nas.search and "
            "retrain.train run in several processes: start this command with python -m"
        )
    return 2


def _open_streams() -> None:
    """Printing never ends a command: what an encoding lacks is replaced, and a closed stream is a null device."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - open as long as the process
        elif mode == "w" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def aligned(rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> str:
    """Rows of cells as lines, their columns one below another; right: the columns that are flush right.

    >>> print(aligned([("net", "ms"), ("fpn", "12.5")], right=[1]))
    net    ms
    fpn  12.5
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def line(row: Sequence[str]) -> str:
        cells = enumerate(zip(row, widths, strict=True))
        return "  ".join(c.rjust(width) if i in right else c.ljust(width) for i, (c, width) in cells).rstrip()

    return "\n".join(map(line, rows))
