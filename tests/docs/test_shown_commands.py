"""Commands that pages, cards and `--help` show are taken as they stand; pages with a test of their own run theirs."""

import re
import shlex
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from genotypes import UserNote
from nas.console import COMMANDS, _module

ROOT = Path(__file__).resolve().parents[2]
RUN = {"extending.md", "first_half_hour.md", "ship.md"}
PAGES = [page for page in (ROOT / "docs").glob("*.md") if page.name not in RUN]
PAGES = sorted([ROOT / "README.md", *PAGES, *(ROOT / "retrain/networks").glob("*.md")])
NAMES = {module: name for name, (module, _) in COMMANDS.items()}
GOES_ON = "--out runs/tune --trials.count 40"  # with a study that must be there


def shown(text: str) -> Iterator[tuple[str, list[str]]]:
    """(Module, words) of each command in a text that has words."""
    text = text.replace("\\\n", " ").replace("--device cuda", "").replace("...", "")
    inline = re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    lines = [line for block in re.findall(r"```.*?```", text, re.DOTALL) for line in block.splitlines()]
    for line in lines + [" ".join(words.split()) for words in inline]:
        if (found := re.search(r"-m ((?:nas|retrain)[\w.]*) (.*)", line)) and GOES_ON not in line:
            yield found[1], shlex.split(found[2], comments=True)


def test_most_pages_show_some() -> None:
    assert sum(any(shown(page.read_text(encoding="utf-8"))) for page in PAGES) > len(PAGES) / 2


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], int]:
    """How many commands a text shows, each of which was taken."""
    monkeypatch.chdir(tmp_path)
    space = (ROOT / "tests/nas/small_space.yaml").read_text(encoding="utf-8")
    there = {"runs/tune/recipe.yaml": "steps: 9", "my_space.yaml": space}
    there |= dict.fromkeys(("runs/a/config.yaml", "runs/gate/config.yaml"), "seed: 1")
    for file, content in there.items():
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).write_text(content, encoding="utf-8")

    def taken(text: str) -> int:
        commands = list(shown(text))
        for module, words in commands:
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserNote)  # an option without effect
                _module(NAMES[module]).COMMAND.parse(words)
        return len(commands)

    return taken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_of_a_page_are_taken(page: Path, check: Callable[[str], int]) -> None:
    check(page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("module", NAMES)
def test_the_examples_of_help_are_taken(module: str, check: Callable[[str], int]) -> None:
    examples = _module(NAMES[module]).COMMAND.examples.replace("\\\n", " ")
    lines = (re.sub(r"(?<=\S) {3,}.*| [<>] .*", "", line) for line in examples.splitlines())
    assert check("\n".join(f"```\n{line}\n```" for line in lines))
