"""The command line of every command: options from files and words; help; errors in one message.

A command's options are those of its configuration (`nas.options`):

- `-` and `_` are one; help shows `_`, as configuration files have it.
- An option may be given without its group or owner, and cut at a `_`, where only one is meant: `--channels` for
  `--space.channels`, `--storage` for `--trials.storage`, `--quick` for `--quick_scores`.
- A switch needs no value, and `--no_X` turns X off. An option with several values takes several words, may be repeated,
  and takes a list: `--test A=a B=b`, `--seeds 0 1`, `--operations '[none, conv_3x3]'`.
- One that has no effect beside the others is told (`nas.options.unused_of`), but in the files of runs: they say all.
"""

import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Generic, cast

from genotypes import UserError, UserNote
from genotypes.plugins import load_plugin
from nas.command.help import Help
from nas.command.running import as_started, note_plugins, note_sources
from nas.command.words import Words, as_typed, check_given, from_home, peek, split, take, take_help
from nas.options import (
    Config,
    Values,
    difference,
    from_dict,
    help_texts,
    merged_sources,
    name_of,
    options_of,
    owner_of,
    read_file,
    split_owner,
    to_dict,
    unused_of,
)
from nas.run_files import KINDS, kind_of

__all__ = ["Command"]

_Source = tuple[str, Values]  # a file and what it says


@dataclass(frozen=True, kw_only=True)
class Command(Generic[Config]):
    """A command: what help says of it, and how its words become a configuration.

    config: the class of its configuration, all of whose fields have defaults. name: after `python -m`. first: the
    options that `--help` shows first, in one string. positional: the option that words without one are for. resume:
    whether there is `--resume`. required: options that must be given.
    base: what the options given so far imply, as values of a configuration file (a search's folder, say); options and
    `--config` go before it.
    continues: (kind, noun) of the runs that are gone on with wherever --out names one, asked or not; their config.yaml
    is then the base. kind: as in `nas.run_files.KINDS`; noun: what messages call it.
    """

    config: Callable[[], Config]
    name: str
    description: str
    examples: str
    first: str
    notes: str = ""
    positional: str | None = None
    resume: bool = False
    required: tuple[str, ...] = ()
    base: Callable[[Values], tuple[str, Values]] | None = None
    continues: tuple[str, str] | None = None

    def parse(self, argv: Sequence[str] | None = None) -> tuple[Config, bool]:
        """(The configuration, whether a run is gone on with): the defaults, then `--config FILE`s, then options.

        `--plugin FILE`s are run first and are no part of the configuration. With `--resume` the run's own config.yaml
        takes the place of the defaults, and an option that contradicts it is an error; where the command `continues`
        runs, options change it. `--help` prints and exits.
        """
        words = from_home(list(sys.argv[1:] if argv is None else argv))
        check_given(words)
        words, plain = split(words)
        plugins = take(words, "plugin", "a file, such as my_operations.py")
        note_plugins(plugins)
        for file in plugins:
            load_plugin(file)
        sources = [(file, from_home(read_file(file))) for file in take(words, "config", "a YAML file")]
        topic = take_help(words)
        default = self.config()
        if topic is not None:
            chosen = self._choose(default, sources, words)
            print(as_started(Help(self, chosen, explicit=chosen != default).text(topic)))
            raise SystemExit(0)
        asked = bool(self.resume or self.continues) and "--resume" in words
        if asked:
            words = [word for word in words if word != "--resume"]
        goes_on = asked
        if self.resume and asked:
            named = [str(values["out"]) for _, values in sources if values.get("out")]
            sources.insert(0, _saved(peek(words, "out", "o") or (named[-1] if named else "")))
        elif self.base or self.continues:
            _, given = self._read(default, sources, words, plain)
            given = merged_sources(default, [*sources, ("", given)])
            goes_on = self._goes_on(given.get("out"), asked)
            if goes_on:
                sources.insert(0, _saved(str(given["out"])))
            elif self.base:
                sources.insert(0, self.base(given))
        note_sources(sources)
        chosen, given = self._read(default, sources, words, plain)
        config = self._build(default, chosen, [*sources, ("", given)])
        if self.resume and asked:
            _check_same(self._build(default, chosen, sources[:1]), config)
        runs = self.resume or self.continues is not None  # whose files say all, from which others are begun
        said = given if runs else merged_sources(default, [*sources, ("", given)])
        _tell_unused(config, chosen, said)
        for name in self.required:
            if getattr(config, name) in (None, "", ()):
                what = f"--{name}" if name != self.positional else name.upper()
                raise UserError(f"give {what}: {help_texts(type(config)).get(name, '')} (--help shows examples)")
        return config, goes_on

    def words(self) -> list[str]:
        """Every option as it is spelled, the owners chosen by default."""
        options = options_of(self.config())
        own = ("help", "config", "plugin", *(("resume",) if self.resume else ()))
        return [as_typed(name) for name in (*options, *own) if name != self.positional]

    def _goes_on(self, out: Any, asked: bool) -> bool:
        """Whether this folder holds a run that the command continues; UserError if one was asked for and none is."""
        if self.continues is None:
            return False
        kind, noun = self.continues
        found = isinstance(out, str) and kind_of(out) == kind  # a file may hold anything: it is checked later
        if asked and not found:
            raise UserError(f"{out or '--resume needs --out'}: no {noun} to continue")
        return found

    def _read(
        self, default: Config, sources: Sequence[_Source], words: Sequence[str], plain: Sequence[str]
    ) -> tuple[Config, Values]:
        """(The defaults of the chosen owners, the values that words give): owners decide which options there are."""
        chosen = self._choose(default, sources, words)
        return chosen, Words(chosen, self.positional, self._elsewhere(chosen)).read(words, plain)

    def _build(self, default: Config, chosen: Config, sources: Sequence[_Source]) -> Config:
        for source in sources:
            if source[0]:
                self._check_file(default, chosen, source, [other for other in sources if other is not source])
        return from_dict(default, merged_sources(default, sources))

    def _check_file(self, default: Config, chosen: Config, source: _Source, others: Sequence[_Source]) -> None:
        """UserError, with the file's name, for what is wrong in it alone and would be above all the others, too.

        Alone it may lack what another source says: `budget` its `cost`.
        """
        where, values = source
        try:
            from_dict(chosen, values)
        except UserError as error:
            try:
                from_dict(default, merged_sources(default, [*others, source]))
            except UserError as above:
                if str(above) != str(error):
                    return
                hint = ""
                if "unknown key" in str(error) and Path(where).name == "config.yaml":
                    kind = kind_of(Path(where).parent)
                    hint = " (a config.yaml of an earlier version is not read; give its options anew)"
                    if kind and KINDS[kind] not in {f.name for f in fields(cast(Any, chosen))}:
                        hint = f" (it is the config.yaml of a {kind})"
                raise UserError(f"{where}: {error}{hint}") from None

    def _choose(self, default: Config, sources: Sequence[_Source], words: Sequence[str]) -> Config:
        """The default configuration of the owners that files and words name; a message names the file."""
        for f in fields(cast(Any, default)):
            if (owner := owner_of(f)) is None:
                continue
            word = peek(words, f.name, f"{f.name}.name")
            words_say = [] if word is None else [("", {f.name: word})]
            for where, values in [*sources, *words_say]:  # the last one that names an owner is right
                if f.name not in values:
                    continue
                try:
                    if (name := split_owner(values[f.name], f.name)[0]) is not None:
                        default = replace(cast(Any, default), **{f.name: owner.make(name)})
                except UserError as error:
                    raise UserError(f"{where}: {error}" if where else str(error)) from None
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


def _tell_unused(config: Any, usual: Any, given: Values) -> None:
    """A note of options that change nothing, but where what they ask for is the usual, or none (0)."""
    before, unused = options_of(usual), unused_of(config)
    without: dict[str, list[str]] = {}
    for name, option in options_of(config).items():
        why = next((why for part, why in unused.items() if f"{name}.".startswith(f"{part}.")), None)
        asks = option.default != before[name].default and (option.default or option.default is False)
        if why and asks and _holds(given, name.split(".")):
            without.setdefault(why, []).append(as_typed(name))
    if without:
        told = "; ".join(f"{', '.join(names)}: no effect: {why}" for why, names in without.items())
        warnings.warn(told, UserNote, stacklevel=2)


def _holds(values: Any, path: Sequence[str]) -> bool:
    """Whether nested values have something at this path."""
    for key in path:
        if not isinstance(values, dict) or key not in values:
            return False
        values = values[key]
    return True


def _check_same(before: Any, after: Any) -> None:
    """UserError where a run would not be continued as it is."""
    # Where the folder is seen from, and how long it may take, may change; what the run computes may not, but for what
    # a configuration names as `changeable`: where its photographs are, which the checkpoint knows, say.
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
