"""docs/architecture.md describes the house as it stands: what it names exists, and no room is left out."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PACKAGES = ("genotypes", "search_spaces", "nas", "retrain")
ROOMS = PAGE.split("## The rooms")[1].split("```")[1]


def named_in_rooms() -> dict[str, set[str]]:
    """Folder -> the files that the plan of the rooms names in it."""
    found: dict[str, set[str]] = {}
    package = folder = ""
    for line in ROOMS.splitlines():
        start = re.match(r"( *)(\S+/)", line)
        if start and not start[1]:
            package = folder = start[2]
        elif start and len(start[1]) == 2:
            folder = package + start[2]
        elif re.match(r"  \S", line):
            folder = package
        if folder:
            found.setdefault(folder, set()).update(re.findall(r"\b\w+\.py\b", line))
    return found


@pytest.mark.parametrize("folder, files", named_in_rooms().items())
def test_the_plan_of_the_rooms_is_true(folder, files):
    assert (ROOT / folder).is_dir()
    missing = [name for name in files if not (ROOT / folder / name).is_file()]
    assert not missing, f"{folder} has no {missing}"


def test_every_room_is_on_the_plan():
    rooms = {path.parent.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("__init__.py")}
    for room in rooms:
        assert f"{room.parts[-1]}/" in ROOMS, f"{room} is missing"
    recipes = {path.stem for path in (ROOT / "retrain/recipes").glob("*.yaml")}
    (line,) = (line for line in ROOMS.splitlines() if "recipes/" in line)
    assert set(re.findall(r"\w+", line.split("recipes/")[1])) == recipes


def test_paths_in_the_text_exist():
    paths = set(re.findall(r"`((?:genotypes|search_spaces|nas|retrain|tests)/[\w/.]*)`", PAGE))
    assert len(paths) > 20
    assert not [path for path in paths if "NAME" not in path and not (ROOT / path).exists()]


def test_it_stays_short():
    assert len(PAGE.splitlines()) <= 200
