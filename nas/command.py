"""The command line of every command: options from files and words; help; errors in one message.

A command's options are those of its configuration (`nas.options`):

- `-` and `_` are one; help shows `_`, as configuration files have it.
- An option may be given without its group or owner, and cut at a `_`, where only one is meant: `--channels` for
  `--space.channels`, `--storage` for `--trials.storage`, `--quick` for `--quick_scores`.
- A switch needs no value, and `--no_X` turns X off. An option with several values takes several words, may be repeated,
  and takes a list: `--test A=a B=b`, `--seeds 0 1`, `--operations '[none, conv_3x3]'`.
"""

import os
import re
import shutil
import signal
import sys
import textwrap
import typing
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Generic, Literal, TextIO, cast, get_args, get_origin

import nas
from genotypes import UserError, UserNote
from genotypes.files import quoted
from genotypes.plugins import PLUGIN_HELP, load_plugin, with_hint
from genotypes.yaml_io import parse_yaml
from nas.allocator import keep_freed_memory
from nas.options import (
    Config,
    Option,
    Values,
    difference,
    from_dict,
    help_texts,
    merged_sources,
    name_of,
    near,
    options_of,
    owner_of,
    read_file,
    split_owner,
    to_dict,
    type_text,
)

__all__ = ["Command", "aligned", "as_started", "run_command", "started_as"]

_Source = tuple[str, Values]  # a file and what it says

_SHORT = {"o": "out", "from": "start_from", "for": "target"}  # `from` and `for` can be no field's name


# --------------------------------------------------------------------------------------------- the command line


@dataclass(frozen=True, kw_only=True)
class Command(Generic[Config]):
    """A command: what it is called and told.

    config: the class of its configuration, all of whose fields have defaults; name: after `python -m`.
    first: the options that `--help` shows first. positional: the option that words without one are for.
    required: options that must be given. base: what the options given so far imply, as values of a configuration file
    (a search's folder, say); options and `--config` go before it. resume: whether there is `--resume`.
    continues: (kind, noun) of the runs that are gone on with wherever --out names one, asked or not; their config.yaml
    is then the base. kind: as in `nas.report.runs.KINDS`; noun: what messages call it.
    """

    config: Callable[[], Config]
    name: str
    description: str
    examples: str
    first: Sequence[str]
    positional: str | None = None
    required: tuple[str, ...] = ()
    base: Callable[[Values], tuple[str, Values]] | None = None
    resume: bool = False
    continues: tuple[str, str] | None = None
    notes: str = ""

    def parse(self, argv: Sequence[str] | None = None) -> tuple[Config, bool]:
        """(The configuration, whether a run is gone on with): the defaults, then `--config FILE`s, then options.

        `--plugin FILE`s are run first and are no part of the configuration. With `--resume` the run's own config.yaml
        takes the place of the defaults, and an option that contradicts it is an error; where the command `continues`
        runs, options change it. `--help` prints and exits.
        """
        words = _from_home(list(sys.argv[1:] if argv is None else argv))
        words, plain = _split(words)
        _PLUGINS[:] = _take(words, "plugin", "a file, such as my_operations.py")
        for file in _PLUGINS:
            load_plugin(file)
        sources = [(file, _from_home(read_file(file))) for file in _take(words, "config", "a YAML file")]
        topic = _take_help(words)
        default = self.config()
        if topic is not None:
            chosen = self._choose(default, sources, words)
            print(_Help(self, chosen, explicit=chosen != default).text(topic))
            raise SystemExit(0)
        asked = bool(self.resume or self.continues) and "--resume" in words
        if asked:
            words.remove("--resume")
        goes_on = asked
        if self.resume and asked:
            sources.insert(0, _saved(next(iter(_peek(words, "out", "o")), "")))
        elif self.base or self.continues:
            _, given = self._read(default, sources, words, plain)
            given = merged_sources(default, [*(values for _, values in sources), given])
            goes_on = self._goes_on(given.get("out"), asked)
            if goes_on:
                sources.insert(0, _saved(str(given["out"])))
            elif self.base:
                sources.insert(0, self.base(given))
        chosen, given = self._read(default, sources, words, plain)
        config = self._build(default, chosen, [*sources, ("", given)])
        if self.resume and asked:
            _check_same(self._build(default, chosen, sources[:1]), config)
        for name in self.required:
            if getattr(config, name) in (None, "", ()):
                what = f"--{name}" if name != self.positional else name.upper()
                raise UserError(f"give {what}: {help_texts(type(config))[name]} (--help shows examples)")
        return config, goes_on

    def words(self) -> list[str]:
        """Every option as it is spelled, the owners chosen by default."""
        options = options_of(self.config())
        own = ("help", "config", "plugin", *(("resume",) if self.resume else ()))
        return [f"--{name}" for name in (*options, *own) if name != self.positional]

    def _goes_on(self, out: str | None, asked: bool) -> bool:
        """Whether this folder holds a run that the command continues; UserError where that was asked for and is not."""
        if self.continues is None:
            return False
        from nas.report.runs import kind_of  # loads Matplotlib

        kind, noun = self.continues
        found = kind_of(out) == kind
        if asked and not found:
            raise UserError(f"{out or '--resume needs --out'}: no {noun} to continue")
        return found

    def _read(
        self, default: Config, sources: Sequence[_Source], words: Sequence[str], plain: Sequence[str]
    ) -> tuple[Config, Values]:
        """(The defaults of the chosen owners, the values that words give): owners decide which options there are."""
        chosen = self._choose(default, sources, words)
        return chosen, _Words(chosen, self.positional, self._elsewhere(chosen)).read(words, plain)

    def _build(self, default: Config, chosen: Config, sources: Sequence[_Source]) -> Config:
        for where, values in sources:  # each alone, so that a message names the file
            if where:
                self._check_file(chosen, values, where)
        return from_dict(default, merged_sources(default, [values for _, values in sources]))

    def _check_file(self, chosen: Config, values: Values, where: str) -> None:
        try:
            from_dict(chosen, values, where)
        except UserError as error:
            if "unknown key" in str(error) and Path(where).name == "config.yaml":
                from nas.report.runs import KINDS, kind_of  # loads Matplotlib

                kind = kind_of(Path(where).parent)
                hint = "a config.yaml of an earlier version is not read; give its options anew"
                if kind and KINDS[kind] not in {f.name for f in fields(cast(Any, chosen))}:
                    hint = f"it is the config.yaml of a {kind}"
                raise UserError(f"{error} ({hint})") from None
            raise

    def _choose(self, default: Config, sources: Sequence[_Source], words: Sequence[str]) -> Config:
        """The default configuration of the owners that files and words name."""
        merged = merged_sources(default, [values for _, values in sources])
        for f in fields(cast(Any, default)):
            if (chosen := owner_of(f)) is not None:
                name = next(iter(_peek(words, f.name, f"{f.name}.name")), None)
                name = name or split_owner(merged.get(f.name) or {}, f.name)[0]
                if name is not None:
                    default = replace(cast(Any, default), **{f.name: chosen.make(name)})
        return default

    def _elsewhere(self, chosen: Config) -> dict[str, str]:
        """Option -> the owners that have it though they are not chosen: for messages."""
        found: dict[str, list[str]] = {}
        for f in fields(cast(Any, chosen)):
            owned = owner_of(f)
            if owned is None or name_of(getattr(chosen, f.name)) is None:
                continue
            for name in owned.known():
                for option in fields(owned.make(name)):
                    found.setdefault(option.name, []).append(f"{f.name} {name}")
        return {option: ", ".join(names) for option, names in found.items()}


def _saved(out: str) -> _Source:
    """The configuration of the run that is to be resumed."""
    if not out:
        raise UserError("--resume needs --out RUN: the folder of the run to continue")
    saved = Path(out) / "config.yaml"
    if not saved.is_file():
        raise UserError(f"{out}: no run to resume (no config.yaml in it)")
    return str(saved), read_file(saved)


def _check_same(before: Any, after: Any) -> None:
    """UserError where a run would not be continued as it is."""
    # Where the folder is seen from, and how long it may take, may change; what the run computes may not, but for what
    # a configuration names as `changeable`.
    old, new = to_dict(before), to_dict(after)
    for name in ("out", "minutes", *getattr(after, "changeable", ())):
        for values in (old, new):
            *groups, option = name.split(".")
            for group in groups:
                values = values[group]
            values.pop(option, None)
    if found := difference(old, new):
        name, was, now = found
        raise UserError(f"--resume continues the run as it is: {name} was {was!r}, now {now!r}")


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    """(The words before `--`, those after it), as every command line has them."""
    at = words.index("--") if "--" in words else len(words)
    return words[:at], words[at + 1 :]


def _from_home(value: Any) -> Any:
    """A value, or words, with the home folder in place of `~` before a path: a shell does so only where a word begins.

    What a file says, or `--out=~/runs`, would lead into a folder that is called `~`.
    """
    if isinstance(value, dict):
        return {key: _from_home(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_from_home(item) for item in value]
    return _HOME.sub(lambda found: found[1] + os.path.expanduser("~"), value) if isinstance(value, str) else value


_HOME = re.compile(r"^((?:[^/=]*=)*)~(?=/)")  # ~/x, NAME=~/x, --out=~/x, --data=NAME=~/x


def _peek(words: Sequence[str], *names: str) -> list[str]:
    """The values that top-level options of these names are given, either spelling."""
    values = []
    for i, word in enumerate(words):
        option, equals, value = word.partition("=")
        if _is_option(word) and option.lstrip("-").replace("-", "_") in names:
            values += [value] if equals else list(words[i + 1 : i + 2])
    return values[::-1]


def _take(words: list[str], name: str, expected: str) -> list[str]:
    """The values of every `--name VALUE`, which are removed from the words."""
    taken, rest, left = [], iter(list(words)), []
    for word in rest:
        option, equals, value = word.partition("=")
        if option != f"--{name}":
            left.append(word)
            continue
        value = value if equals else next(rest, "")
        if not value or value.startswith("--"):
            raise UserError(f"--{name} needs {expected}")
        taken.append(value)
    words[:] = left
    return taken


def _take_help(words: list[str]) -> str | None:
    """What help is asked for: "" the first options, "all", or a group's name; None: no help."""
    for flag in ("--help", "-h"):
        if flag in words:
            at = words.index(flag)
            topic = words[at + 1] if at + 1 < len(words) and not words[at + 1].startswith("-") else ""
            del words[at : at + 1 + bool(topic)]
            return topic
    return None


class _Words:
    """The words of a command line as a nested mapping of the values they give."""

    def __init__(self, config: Any, positional: str | None, elsewhere: Mapping[str, str]) -> None:
        self.options = options_of(config)
        self.positional, self.elsewhere = positional, elsewhere

    def read(self, words: Sequence[str], plain: Sequence[str]) -> Values:
        """plain: what came after `--`, so no options whatever they begin with."""
        values: Values = {}
        left = list(words)
        while left:
            word = left.pop(0)
            if not _is_option(word):
                self._give_positional(values, word)
                continue
            spelled, equals, value = word.partition("=")
            option, inner, negated = self._resolve(spelled)
            given = [value] if equals else self._take(option, left, negated, spelled)
            self._give(values, option, given, inner)
        for word in plain:
            self._give_positional(values, word)
        return values

    def _give_positional(self, values: Values, word: str) -> None:
        if self.positional is None:
            raise UserError(f"{word!r}: expected an option, such as --{next(iter(self.options))} (--help)")
        self._give(values, self.options[self.positional], [word])

    def _take(self, option: Option, left: list[str], negated: bool, spelled: str) -> list[str]:
        """The words after an option that are its values."""
        kind = _leaf(option.type)
        if kind is bool:
            if negated:
                return ["false"]
            return [left.pop(0)] if left and left[0].lower() in ("true", "false") else ["true"]
        taken: list[str] = []
        many = get_origin(kind) is tuple
        numbers = many and get_args(kind)[0] in (int, float)
        while left and not _is_option(left[0]) and (not taken or many):
            if taken and numbers and not _is_number(left[0]):
                break  # a positional word
            taken.append(left.pop(0))
        if not taken:
            raise UserError(f"{spelled}: expected {type_text(option.type)} after it: {option.help}")
        return taken

    def _give(self, values: Values, option: Option, given: list[str], inner: str = "") -> None:
        *groups, last = option.name.split(".")
        place = values
        for group in groups:
            place = place.setdefault(group, {})
        kind = _leaf(option.type)
        if option.owner:
            place.setdefault(last, {})["name"] = given[-1]
        elif inner:  # one key of a mapping
            place[last] = {**place.get(last, option.default), inner: given[-1]}
        elif get_origin(kind) is tuple:
            place[last] = [*place.get(last, []), *_items(given, get_args(kind)[0])]
        elif get_origin(kind) is dict or is_dataclass(kind):
            place[last] = _yaml_value(given[-1], option)
        else:
            place[last] = given[-1]

    def _resolve(self, spelled: str) -> tuple[Option, str, bool]:
        """(The option that a spelling means, the key of a mapping that it names or "", whether it is `--no_X`)."""
        word = spelled.lstrip("-").replace("-", "_")
        word = _SHORT.get(word, word) if _SHORT.get(word, word) in self.options else word
        if (option := self._find(word, spelled)) is not None:
            return option, "", False
        if word.startswith("no_") and (option := self._find(word[3:], spelled)) and _leaf(option.type) is bool:
            return option, "", True
        mapping, dot, key = word.rpartition(".")
        if dot and (option := self._find(mapping, spelled)) is not None and get_origin(_leaf(option.type)) is dict:
            return option, key, False
        groups = {name.rpartition(".")[0] for name in self.options}
        if word in groups:
            raise UserError(f"{spelled} is a group of options: --help {word} lists them")
        here = word.split(".")[-1]
        if here in self.elsewhere:
            raise UserError(f"unknown option {spelled}; it belongs to {self.elsewhere[here]}, which is not chosen")
        raise UserError(f"unknown option {spelled}; {near(word, self.options)} (--help all lists all options)")

    def _find(self, word: str, spelled: str) -> Option | None:
        if word.endswith(".name") and (option := self.options.get(word[:-5])) is not None and option.owner:
            return option
        if word in self.options:
            return self.options[word]
        found = [name for name in self.options if name.endswith(f".{word}")]
        found = found or [n for n in self.options if n.startswith(f"{word}_") or f".{word}_" in n]
        if len(found) > 1:
            raise UserError(f"{spelled} may mean {' or '.join(f'--{name}' for name in found)}: say which")
        return self.options[found[0]] if found else None


def _is_option(word: str) -> bool:
    return word.startswith("-") and len(word) > 1 and not _is_number(word)


def _is_number(word: str) -> bool:
    return all(
        part.strip().lstrip("+-").replace(".", "", 1).replace("e", "").replace("-", "").isdigit()
        for part in word.split(",")
    )


def _leaf(kind: Any) -> Any:
    """A type without `| None`."""
    if get_origin(kind) in (typing.Union, UnionType):
        kinds = [arg for arg in get_args(kind) if arg is not NoneType]
        return kinds[0] if len(kinds) == 1 else kind
    return kind


def _items(words: list[str], kind: Any) -> list[Any]:
    """Words after an option with several values: `a b`, `[a, b]`; numbers also as `1,2`."""
    items: list[Any] = []
    for word in words:
        if word.startswith("["):
            listed = _yaml_list(word)
            items += [item if is_dataclass(kind) or kind is not str else str(item) for item in listed]
        else:
            items += word.split(",") if kind in (int, float) else [word]
    return items


def _yaml_list(word: str) -> list[Any]:
    try:
        listed, _ = parse_yaml(word)
    except UserError:
        listed = None
    if not isinstance(listed, list):
        raise UserError(f"{word}: expected a list, such as [a, b]")
    return listed


def _yaml_value(word: str, option: Option) -> Any:
    try:
        return parse_yaml(word)[0]
    except UserError:
        raise UserError(f"--{option.name}: expected {type_text(option.type)}, not {word!r}") from None


# ---------------------------------------------------------------------------------------------------- help


class _Help:
    """The help of a command: the first options, a group, or all."""

    def __init__(self, command: Command[Any], config: Any, *, explicit: bool) -> None:
        self.command, self.config, self.explicit = command, config, explicit
        self.options = options_of(config)
        self.width = max(60, min(120, shutil.get_terminal_size((110, 24)).columns))

    def text(self, topic: str) -> str:
        topic = topic.replace("-", "_")
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
            raise UserError(f"--help {topic}: expected all, an option, or one of {', '.join(groups)}")
        return self._lines(found)

    def _groups(self) -> list[str]:
        return list(dict.fromkeys(name.rpartition(".")[0] for name in self.options if "." in name))

    def _head(self) -> str:
        words = f" {self.command.positional.upper()}" if self.command.positional else ""
        return f"python -m {self.command.name}{words} [options]\n{self.command.description}"

    def _first(self) -> str:
        c = self.command
        shown = [self._shown(self.options[name]) for name in c.first]
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
        owned = next((o.owner for name, o in self.options.items() if name == group and o.owner), None)
        if owned is None or name_of(_at(self.config, group)) is None:
            return f"{group}: {_summary(type(_at(self.config, group)))}\n{self._inside(self.options, group)}"
        # Every owner of the kind, unless one was chosen on the command line.
        names = [name_of(_at(self.config, group))] if self.explicit else list(owned.known())
        parts = []
        for name in names:
            config = owned.make(cast(str, name))
            described = getattr(config, "owner", type(config))
            lines = self._inside(
                {f"{group}.{n}": replace(o, name=f"{group}.{n}") for n, o in options_of(config).items()}, group
            )
            parts.append(f"{group} {name}: {_summary(described)}\n{lines}")
        return "\n\n".join(parts)

    def _inside(self, options: Mapping[str, Option], group: str) -> str:
        return self._lines([o for name, o in options.items() if name.rpartition(".")[0] == group])

    def _lines(self, options: Iterable[Option]) -> str:
        return "\n".join(_entry(*self._shown(option), self.width) for option in options)

    def _shown(self, option: Option) -> tuple[str, str]:
        kind, text = _leaf(option.type), option.help
        if option.name == self.command.positional:
            return option.name.upper(), text
        if kind is bool:
            head, _, last = option.name.rpartition(".")
            left = f"--{head + '.' if head else ''}no_{last}" if option.default else f"--{option.name}"
            return left, text
        short = "-o, " if option.name == "out" else ""
        long = "from" if option.name == "start_from" else option.name
        metavar = option.owner.metavar if option.owner else _metavar(kind)
        shown = _default_text(option.default)
        return f"{short}--{long} {metavar}", text + (f" [{shown}]" if shown else "")


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
    if value is None or value == () or value == "" or value == {}:
        return ""
    if isinstance(value, tuple | list):
        return " ".join(f"{item:g}" if isinstance(item, float) else str(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(
            f"{key}: {item:g}" if isinstance(item, float) else f"{key}: {item}" for key, item in value.items()
        )
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


# ---------------------------------------------------------------------------------------------------- printing


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


# ---------------------------------------------------------------------------------------------------- running


_STARTED: dict[str, str] = {}  # module -> its command, where that is not `python -m MODULE`
_PLUGINS: list[str] = []  # that this command was given: the next one needs them, too


@contextmanager
def started_as(commands: Mapping[str, str]) -> Iterator[None]:
    """Inside, commands that are told are these, by module: `pipx` leaves no Python that finds the modules."""
    _STARTED.update(commands)
    try:
        yield
    finally:
        _STARTED.clear()


def as_started(text: str) -> str:
    """A text for the user, with every `python -m MODULE` as commands are started here, and with the plugins."""
    plugins = "".join(f" --plugin {quoted(file)}" for file in _PLUGINS)
    return re.sub(r"python -m ([\w.]+)", lambda found: _STARTED.get(found[1], found[0]) + plugins, text)


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
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            if os.environ.get("WORLD_SIZE", "1") == "1" or "RANK" not in os.environ:
                main(argv)
            elif joined is not None:
                with joined():
                    main(argv)
            else:
                return _refused_several()
    except UserError as error:
        return _refused(with_hint(error))
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
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - open as long as the process
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
