"""`--plugin FILE`: a Python file of the user's that registers words of its own (see docs/extending.md).

Only a file that stands on the command line is ever run: no genotype, configuration or checkpoint can name one.
"""

import hashlib
import importlib.util
import re
import sys
import traceback
from importlib.machinery import SourceFileLoader
from pathlib import Path

from genotypes.errors import UserError

__all__ = ["PLUGIN_HELP", "load_plugin", "with_hint"]

PLUGIN_HELP = "a Python file of yours that registers operations, strategies, ...; may be repeated"

_WORDS = re.compile(r"unknown (operation|post|resampling|template|backbone|space|strategy|sampler|loss) ")


def load_plugin(file: str) -> None:
    """Run a Python file for what it registers; like an import, once in a process.

    Raises UserError naming the file for one that is missing or no .py file, and, with the line, for what it raises.
    """
    path = Path(file).absolute()
    if path.suffix != ".py" or not path.is_file():
        problem = "no such file" if not path.exists() else "not a Python file (NAME.py)"
        raise UserError(f"--plugin {file}: {problem}")
    name = f"_plugin_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]}"
    if name in sys.modules:
        return
    loader = SourceFileLoader(name, str(path))
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # as an import does: dataclasses and pickle look their module up there
    try:
        loader.exec_module(module)
    except BaseException as error:  # a script that leaves, too: it would end the command as if it were done
        del sys.modules[name]
        if isinstance(error, KeyboardInterrupt):
            raise
        what = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        raise UserError(f"--plugin {file}:{_line(error, str(path))}: {what}") from error


def with_hint(error: UserError) -> str:
    """The error's message; about an unknown word, with the reminder that plugins are given with every command."""
    hint = " (a word of your own? give the file that registers it: --plugin FILE)"
    return f"{error}{hint if _WORDS.search(str(error)) else ''}"


def _line(error: BaseException, path: str) -> int:
    """The last line of the plugin that the error passed through."""
    if isinstance(error, SyntaxError) and error.filename == path:
        return error.lineno or 1
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    return (lines and lines[-1]) or 1
