"""Runs every code block of a Markdown page in the current folder, section by section, and the checks that go with it.

A process of its own, so that the words which the page registers never reach another test. Usage: PAGE CHECKS OUT. OUT
gets {section: null, or the traceback of what failed in it}. A block whose first line is `# NAME.py` or `# NAME.yaml` is
saved under that name; other python blocks are run one after another, and sh blocks as commands.
"""

import json
import re
import runpy
import shlex
import sys
import traceback
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

PAGES = ("An operation", "A cell template")  # sections whose runs make their page: a drawing holds their words
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def sections(page: str) -> dict[str, list[tuple[str, str]]]:
    """Heading -> (language, code) of its blocks; what stands before the first heading is left out."""
    parts = re.split(r"^## (.+)$", page, flags=re.MULTILINE)
    return {name: BLOCK.findall(body) for name, body in zip(parts[1::2], parts[2::2], strict=True)}


def command(line: str) -> None:
    """`python -m MODULE ARGUMENTS`, in this process."""
    python, option, module, *arguments = shlex.split(line)
    assert (python, option) == ("python", "-m"), line
    before, sys.argv = sys.argv, [module, *arguments]
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "'.*' found in sys.modules")  # other tests may have imported it
            runpy.run_module(module, run_name="__main__", alter_sys=False)
    except SystemExit as stop:
        assert not stop.code, f"exit code {stop.code}: {line}"
    finally:
        sys.argv = before


def run(blocks: list[tuple[str, str]]) -> dict[str, object]:
    """The names that the python blocks leave."""
    names: dict[str, object] = {"__name__": "page"}
    for language, code in blocks:
        first = re.fullmatch(r"# (\w+\.(?:py|yaml))", code.partition("\n")[0])
        if first:
            Path(first[1]).write_text(code, encoding="utf-8")
        elif language == "python":
            exec(compile(code, "page", "exec"), names)
        elif language == "sh":
            for line in code.splitlines():
                command(line)
        else:
            raise AssertionError(f"a {language} block that is neither saved nor run:\n{code}")
    return names


def some_worth(edge_worth: Callable[..., Any], *given: Any, seconds: float) -> Any:
    """Of the first edges: all take up to ten seconds a search, and the checks ask for none."""
    return edge_worth(*given, seconds=min(seconds, 0.5))


def main(page: str, checks: str, out: str) -> None:
    sys.path.append(str(Path(__file__).resolve().parents[1]))
    from conftest import quicken

    from nas.search.explain import edge_worth

    check = runpy.run_path(checks)["CHECKS"]
    outcome: dict[str, str | None] = {}
    for name, blocks in sections(Path(page).read_text(encoding="utf-8")).items():
        with pytest.MonkeyPatch.context() as patch:
            quicken(patch, drawn=name in PAGES)
            patch.setattr("nas.search.explain.edge_worth", partial(some_worth, edge_worth))
            try:
                check[name](run(blocks))
                outcome[name] = None
            except BaseException:
                outcome[name] = traceback.format_exc()
    Path(out).write_text(json.dumps(outcome), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
