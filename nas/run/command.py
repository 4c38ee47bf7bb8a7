"""What every command shares: configuration from dataclasses, YAML and the command line; errors without tracebacks."""

import argparse
import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import yaml
from jsonargparse import ActionConfigFile, ArgumentParser

from genotypes import UserError
from genotypes.plugins import PLUGIN_HELP, take_plugins, with_hint
from nas.run.interrupts import Interrupted

__all__ = ["parse_config", "run_command"]

Config = TypeVar("Config")

_SHORT = {"--from": "--start_from", "--storage": "--trials.storage"}


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the examples' lines as written."""


class _Parser(ArgumentParser):
    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """The message alone: before it, argparse would print the usage, which is longer than a screen here."""
        raise UserError(f"{message} (--help lists all options)") from ex


def parse_config(
    config_class: type[Config],
    prog: str,
    description: str,
    examples: str,
    argv: Sequence[str] | None = None,
) -> tuple[Config, str, bool]:
    """The configuration of a command: defaults, then `--config FILE`, then options.

    Returns (configuration, its YAML text, whether `--resume` was given). With `--resume` the run's own config.yaml
    takes the place of the defaults, and an option that contradicts it is an error: a run is continued as it is.
    """
    parser = _parser(config_class, prog, description, examples)
    argv = [_spell_out(word, config_class) for word in (sys.argv[1:] if argv is None else argv)]
    if "--resume" not in argv:
        space = parser.parse_args(argv)
        return _instantiate(parser, space, config_class), _dump(parser, space), False
    argv.remove("--resume")
    given = parser.parse_args(argv)
    if not given.out:
        raise UserError("--resume needs --out RUN: the folder of the run to continue")
    saved = Path(given.out) / "config.yaml"
    if not saved.is_file():
        raise UserError(f"{given.out}: no run to resume (no config.yaml in it)")
    before = parser.parse_args(["--config", str(saved)])
    after = parser.parse_args(["--config", str(saved), *argv])
    old, new = yaml.safe_load(_dump(parser, before)), yaml.safe_load(_dump(parser, after))
    for key in old:
        # Where the folder is seen from may change between the two commands; what the run computes may not.
        if key != "out" and old[key] != new[key]:
            raise UserError(f"--resume continues the run as it is: {key} was {old[key]!r}, now {new[key]!r}")
    return _instantiate(parser, after, config_class), _dump(parser, after), True


def _spell_out(word: str, config_class: type) -> str:
    """Short options that no field can be called: `from` is Python's, and storage belongs to the trials."""
    name, equals, value = word.partition("=")
    long = _SHORT.get(name)
    return long + equals + value if long and long[2:].split(".")[0] in config_class.__dataclass_fields__ else word


def _parser(config_class: type, prog: str, description: str, examples: str) -> ArgumentParser:
    parser = _Parser(
        prog=f"python -m {prog}",
        description=description,
        epilog=f"examples:\n{examples}\nand, as with every command, --plugin FILE: {PLUGIN_HELP}",
        formatter_class=_HelpFormatter,
    )
    parser.add_argument("--config", action=ActionConfigFile, help="a YAML file with any of the options below")
    parser.add_class_arguments(config_class, nested_key=None, as_group=True)
    if any(name == "resume" for name in config_class.__dataclass_fields__):
        raise ValueError("--resume is every command's own option")
    return parser


def _instantiate(parser: ArgumentParser, space: object, config_class: type[Config]) -> Config:
    _check_numbers(yaml.safe_load(_dump(parser, space)))
    tree = parser.instantiate(space)
    return config_class(**{name: getattr(tree, name) for name in config_class.__dataclass_fields__})


def _check_numbers(values: Any, name: str = "") -> None:
    """UserError for a number that is none: comparisons with NaN are false, so that no other check would see it."""
    if isinstance(values, dict | list):
        for key, value in values.items() if isinstance(values, dict) else enumerate(values):
            _check_numbers(value, f"{name}.{key}" if name else str(key))
    elif isinstance(values, float) and not math.isfinite(values):
        raise UserError(f"{name}: expected a finite number, not {values}")


def _dump(parser: ArgumentParser, space: object) -> str:
    return parser.dump(space, skip_link_targets=False)


def run_command(main: Callable[[Sequence[str] | None], None], argv: Sequence[str] | None = None) -> int:
    """Run a command's main function; the exit code.

    `--plugin FILE`s are run first and hidden from the command: its configuration, which it writes down, holds no code.
    0: done. 2: the user's mistake, or a file that the system refuses, told in one message. 128 + signal: interrupted,
    saved where that was possible.
    """
    try:
        main(take_plugins(sys.argv[1:] if argv is None else argv))
    except UserError as error:
        print(f"error: {with_hint(error)}", file=sys.stderr)
        return 2
    except Interrupted as error:
        print(f"\n{error}", file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        print("\ninterrupted; a run that had begun continues with --resume", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MemoryError as error:
        print(f"error: not enough memory ({error}); a smaller size or batch needs less", file=sys.stderr)
        return 2
    except OSError as error:  # a folder that cannot be written, a full disk
        print(f"error: {f'{error.filename}: ' if error.filename else ''}{error.strerror or error}", file=sys.stderr)
        return 2
    return 0
