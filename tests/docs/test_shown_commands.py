"""The commands that pages and cards show are taken as they stand; pages with a test of their own run theirs."""

import re
import shlex
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from genotypes import UserNote
from nas.console import COMMANDS, _module

ROOT = Path(__file__).resolve().parents[2]
RUN = {"extending.md", "first_half_hour.md", "ship.md"}
PAGES = [page for page in (ROOT / "docs").glob("*.md") if page.name not in RUN]
PAGES = sorted([ROOT / "README.md", *PAGES, *(ROOT / "retrain/networks").glob("*.md")])
GOES_ON = "--out runs/tune --trials.count 40"  # with a study that must be there


def shown(page: Path) -> Iterator[tuple[str, list[str]]]:
    """(Module, words) of each command on a page that has words."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ").replace("--device cuda", "").replace("...", "")
    inline = re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    lines = [line for block in re.findall(r"```.*?```", text, re.DOTALL) for line in block.splitlines()]
    for line in lines + [" ".join(words.split()) for words in inline]:
        if (found := re.search(r"-m ((?:nas|retrain)[\w.]*) (.*)", line)) and GOES_ON not in line:
            yield found[1], shlex.split(found[2], comments=True)


def test_most_pages_show_some() -> None:
    assert sum(any(shown(page)) for page in PAGES) > len(PAGES) / 2


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_are_taken(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs/tune").mkdir(parents=True)
    (tmp_path / "runs/tune/recipe.yaml").write_text("steps: 9")
    names = {module: name for name, (module, _) in COMMANDS.items()}
    for module, words in shown(page):
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserNote)  # an option without effect
            _module(names[module]).COMMAND.parse(words)
