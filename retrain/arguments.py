"""Command lines with several values after an option, as in `--test ECSSD=a HKU-IS=b`."""

import json
from collections.abc import Sequence

__all__ = ["gather"]


def gather(argv: Sequence[str], *options: str) -> list[str]:
    """Each `--option a b c` among `options` as one JSON list, the form that the parser of configurations reads.

    An option may also be repeated; `--option '["a", "b"]'` stays as it is.
    """
    out: list[str] = []
    values: dict[str, list[str]] = {}
    current: list[str] | None = None
    for word in argv:
        option, equals, value = word.partition("=")
        if option in options:
            current = values.setdefault(option, [])
            if equals:
                current.append(value)
        elif word.startswith("--"):
            current = None
            out.append(word)
        elif current is not None:
            current.append(word)
        else:
            out.append(word)
    for option, words in values.items():
        # Values of the command line are text until the parser knows the field's type.
        whole = len(words) == 1 and words[0].startswith("[")
        out += [option, words[0] if whole else "[" + ", ".join(_number(word) for word in words) + "]"]
    return out


def _number(word: str) -> str:
    return word if word.lstrip("-").isdigit() else json.dumps(word)
