"""The help of a command: the options that a first run needs, a group of them, or all."""

import re
import shutil
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from genotypes import UserError
from genotypes.plugins import PLUGIN_HELP
from nas.command.words import as_typed, leaf, meant
from nas.options import Option, options_of

if TYPE_CHECKING:
    from nas.command.command import Command

__all__ = ["Help"]


class Help:
    """The help of a command: the first options, a group, or all."""

    def __init__(self, command: "Command[Any]", config: Any, *, explicit: bool) -> None:
        self.command, self.config, self.explicit = command, config, explicit
        self.options = options_of(config)
        self.width = max(60, min(120, shutil.get_terminal_size((110, 24)).columns))

    def text(self, topic: str) -> str:
        topic = meant(topic.replace("-", "_"), self.options)
        groups = self._groups()
        if topic == "":
            return self._first()
        if topic == "all":
            top = self._lines([option for name, option in self.options.items() if "." not in name])
            return "\n\n".join([self._head(), f"options:\n{top}", *(self._group(name) for name in groups)])
        if topic in groups:
            return self._group(topic)
        found = [option for name, option in self.options.items() if name == topic or name.endswith(f".{topic}")]
        if not found:
            or_group = f", or one of {', '.join(groups)}" if groups else ""
            raise UserError(f"--help {topic}: expected all, an option{or_group}")
        return self._lines(found)

    def _groups(self) -> list[str]:
        return list(dict.fromkeys(name.rpartition(".")[0] for name in self.options if "." in name))

    def _head(self) -> str:
        words = f" {self.command.positional.upper()}" if self.command.positional else ""
        return f"python -m {self.command.name}{words} [options]\n{self.command.description}"

    def _first(self) -> str:
        c = self.command
        shown = [self._shown(self.options[name]) for name in c.first.split()]
        lines = "\n".join(_entry(left, _clause(text), self.width) for left, text in shown)
        own = [("--resume", "go on with the run of --out, after an interruption")] if c.resume else []
        own.append(("--config FILE", "a YAML file with any of the options, as a run's config.yaml"))
        own.append(("--plugin FILE", PLUGIN_HELP))
        more = ["all", *(name for name in self._groups() if "." not in name)]
        own.append(
            ("--help all", f"all options; --help {'|'.join(more[1:])}: of a group" if more[1:] else "all options")
        )
        own_lines = "\n".join(_entry(left, right, self.width) for left, right in own)
        notes = f"\n{c.notes}" if c.notes else ""
        return f"{self._head()}\n\n{lines}\n{own_lines}\n\nexamples:\n{c.examples.rstrip()}{notes}"

    def _group(self, group: str) -> str:
        option = self.options.get(group)  # a word, where the group is an owner's
        if option is None or option.owner is None or option.default is None:
            return f"{group}: {_summary(type(_at(self.config, group)))}\n{self._inside(self.options, group)}"
        # Every owner of the kind, unless one was chosen on the command line.
        parts = []
        for name in [option.default] if self.explicit else option.owner.known():
            config = option.owner.make(name)
            described = getattr(config, "owner", type(config))
            lines = self._inside(options_of(config, f"{group}."), group)
            parts.append(f"{group} {name}: {_summary(described)}\n{lines}")
        return "\n\n".join(parts)

    def _inside(self, options: Mapping[str, Option], group: str) -> str:
        return self._lines([o for name, o in options.items() if name.rpartition(".")[0] == group])

    def _lines(self, options: Iterable[Option]) -> str:
        return "\n".join(_entry(*self._shown(option), self.width) for option in options)

    def _shown(self, option: Option) -> tuple[str, str]:
        kind, text = leaf(option.type), option.help
        if option.name == self.command.positional:
            return option.name.upper(), text
        if kind is bool:
            return f"--{'no_' if option.default else ''}{option.name}", text
        short = "-o, " if option.name == "out" else ""
        metavar = option.owner.metavar if option.owner else _metavar(kind)
        shown = _default_text(option.default)
        return f"{short}{as_typed(option.name)} {metavar}", text + (f" [{shown}]" if shown else "")


def _at(config: Any, name: str) -> Any:
    for part in name.split("."):
        config = getattr(config, part)
    return config


def _metavar(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "|".join(map(str, get_args(kind)))
    if get_origin(kind) is tuple:
        return f"{_metavar(get_args(kind)[0])} ..."
    if get_origin(kind) is dict:
        return "'{A: B}'"
    return {int: "N", float: "X", str: "TEXT", Path: "PATH"}.get(kind, "'{...}'")


def _default_text(value: Any) -> str:
    if value in (None, (), "", {}):
        return ""
    if isinstance(value, tuple | list):
        return " ".join(map(_default_text, value))
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_default_text(item)}" for key, item in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)


def _clause(text: str) -> str:
    """The first clause of a help text, with the default."""
    default = re.search(r" \[[^\]]*\]$", text)
    first = re.split(r"(?<![\d.])[.;](?: |$)", text.removesuffix(default[0]) if default else text)[0]
    return first + (default[0] if default else "")


def _summary(described: type) -> str:
    return described.__doc__.strip().splitlines()[0] if described.__doc__ else ""


def _entry(left: str, text: str, width: int) -> str:
    indent = 28
    lines = textwrap.wrap(text, width - indent, break_on_hyphens=False) or [""]
    if len(left) > indent - 4:
        return f"  {left}\n" + "\n".join(" " * indent + line for line in lines)
    return f"  {left:<{indent - 2}}" + f"\n{' ' * indent}".join(lines)
