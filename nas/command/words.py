"""From the words of a command line to values: spellings, switches, options with several values."""

import os
import re
import typing
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from types import NoneType, UnionType
from typing import Any, get_args, get_origin

from genotypes import UserError
from genotypes.yaml_io import parse_yaml
from nas.options import Option, Values, near, options_of, type_text

__all__ = ["Words", "as_typed", "check_given", "from_home", "leaf", "meant", "peek", "split", "take", "take_help"]

_SHORT = {"o": "out", "from": "start_from", "for": "target"}  # `from` and `for` can be no field's name
_LONG = {name: word for word, name in _SHORT.items() if len(word) > 1}


def as_typed(name: str) -> str:
    """An option as help and completion have it: `--from` for `start_from`."""
    return f"--{_LONG.get(name, name)}"


def meant(word: str, options: Mapping[str, Option]) -> str:
    """The name that a word says: `start_from` for `from`, where there is such an option."""
    name = _SHORT.get(word, word)
    return name if name in options else word


def split(words: list[str]) -> tuple[list[str], list[str]]:
    """(The words before `--`, those after it), as every command line has them."""
    at = words.index("--") if "--" in words else len(words)
    return words[:at], words[at + 1 :]


def check_given(words: Sequence[str]) -> None:
    """UserError for an empty word: a shell writes one for "$NAME" where NAME is not set, and no default is meant."""
    option = ""
    for word in words:
        name, equals, value = word.partition("=")
        if _is_option(word):
            option = "" if word == "--" else name
        if not word or (_is_option(word) and equals and not value):
            raise UserError(f"{option}{' ' if option else ''}'': an empty value; is a variable of the shell not set?")


def from_home(value: Any) -> Any:
    """A value, or words, with the home folder in place of `~` before a path: a shell does so only where a word begins.

    What a file says, or `--out=~/runs`, would lead into a folder that is called `~`.
    """
    if isinstance(value, dict):
        return {key: from_home(item) for key, item in value.items()}
    if isinstance(value, list):
        return [from_home(item) for item in value]
    return _HOME.sub(lambda found: found[1] + os.path.expanduser("~"), value) if isinstance(value, str) else value


_HOME = re.compile(r"^((?:[^/=]*=)*)~(?=/)")  # ~/x, NAME=~/x, --out=~/x, --data=NAME=~/x


def peek(words: Sequence[str], *names: str) -> str | None:
    """The last value that a top-level option of these names is given, either spelling."""
    last = None
    for i, word in enumerate(words):
        option, equals, value = word.partition("=")
        if _is_option(word) and option.lstrip("-").replace("-", "_") in names:
            last = value if equals else next(iter(words[i + 1 :]), last)
    return last


def take(words: list[str], name: str, expected: str) -> list[str]:
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


def take_help(words: list[str]) -> str | None:
    """What help is asked for: "" the first options, "all", or a group's name; None: no help."""
    for flag in ("--help", "-h"):
        if flag in words:
            at = words.index(flag)
            topic = words[at + 1] if at + 1 < len(words) and not words[at + 1].startswith("-") else ""
            del words[at : at + 1 + bool(topic)]
            return topic
    return None


class Words:
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
        kind = leaf(option.type)
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
        kind = leaf(option.type)
        if option.owner:
            place.setdefault(last, {})["name"] = given[-1]
        elif inner:  # one key of a mapping
            place[last] = {**place.get(last, option.default), inner: given[-1]}
        elif get_origin(kind) is tuple:
            place[last] = [*place.get(last, []), *_items(given, get_args(kind)[0])]
        elif get_origin(kind) is dict or is_dataclass(kind):
            place[last] = _yaml_value(given[-1], type_text(option.type), f"--{option.name}: ")
        else:
            place[last] = given[-1]

    def _resolve(self, spelled: str) -> tuple[Option, str, bool]:
        """(The option that a spelling means, the key of a mapping that it names or "", whether it is `--no_X`)."""
        word = meant(spelled.lstrip("-").replace("-", "_"), self.options)
        if (option := self._find(word, spelled)) is not None:
            return option, "", False
        if word.startswith("no_") and (option := self._find(word[3:], spelled)) and leaf(option.type) is bool:
            return option, "", True
        mapping, dot, key = word.rpartition(".")
        if dot and (option := self._find(mapping, spelled)) is not None and get_origin(leaf(option.type)) is dict:
            return option, key, False
        groups = {name.rpartition(".")[0] for name in self.options}
        if word in groups:
            raise UserError(f"{spelled} is a group of options: --help {word} lists them")
        here = word.split(".")[-1]
        if here in self.elsewhere:
            raise UserError(f"unknown option {spelled}; it belongs to {self.elsewhere[here]}, which is not chosen")
        raise UserError(f"unknown option {spelled}; {near(word, self.options, '--')} (--help all lists all options)")

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


def leaf(kind: Any) -> Any:
    """A type without `| None`."""
    if get_origin(kind) in (typing.Union, UnionType):
        kinds = [arg for arg in get_args(kind) if arg is not NoneType]
        return kinds[0] if len(kinds) == 1 else kind
    return kind


def _items(words: list[str], kind: Any) -> list[Any]:
    """Words after an option with several values: `a b`, `[a, b]`; numbers also as `1,2`, keys as `{a: 1} {a: 2}`."""
    items: list[Any] = []
    for word in words:
        if word.startswith("["):
            listed = _yaml_value(word, "a list, such as [a, b]")
            items += [str(item) if kind is str else item for item in listed]
        elif is_dataclass(kind):
            items.append(_yaml_value(word, "keys with values, such as {a: b}"))
        else:
            items += word.split(",") if kind in (int, float) else [word]
    return items


def _yaml_value(word: str, expected: str, where: str = "") -> Any:
    try:
        return parse_yaml(word)[0]
    except UserError:
        raise UserError(f"{where}expected {expected}, not {word!r}") from None
