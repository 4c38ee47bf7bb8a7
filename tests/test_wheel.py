"""The wheel: it holds every file that the packages read, and works where the checkout is not."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from nas.console import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("genotypes", "search_spaces", "nas", "retrain")
MB = 1_000_000


def python(*words: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | environment
    argv = [sys.executable, *map(str, words)]
    return subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True, timeout=800)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy: setuptools leaves folders behind."""
    folder = tmp_path_factory.mktemp("wheel")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def build(checkout: Path, folder: Path, how: str) -> Path:
    code = f"from setuptools import build_meta; build_meta.{how}({str(folder)!r})"
    done = python("-c", code, cwd=checkout)
    assert done.returncode == 0, done.stderr
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(checkout, tmp_path_factory.mktemp("built"), "build_wheel")


def test_every_file_of_the_packages_is_in_the_wheel(wheel):
    ours = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert {Path(name).suffix for name in ours} >= {".py", ".yaml", ".html", ".safetensors", ".md", ".npz", ".typed"}
    with zipfile.ZipFile(wheel) as file:
        packed = {name for name in file.namelist() if ".dist-info/" not in name}
    assert packed == ours
    assert wheel.stat().st_size <= 18 * MB


def test_an_editable_install_is_not_hidden_by_folders_of_the_same_names(checkout, tmp_path):
    installed, work = tmp_path / "installed", tmp_path / "work"
    installed.mkdir()
    zipfile.ZipFile(build(checkout, installed, "build_editable")).extractall(installed)
    for package in PACKAGES:  # a user's own genotypes, a NAS that is mounted
        (work / package).mkdir(parents=True)
    code = f"import importlib.util as u, site; site.addsitedir({str(installed)!r})\n"
    code += f"print(*(u.find_spec(package).origin for package in {PACKAGES}))"
    done = python("-S", "-c", code, cwd=work)  # without the install that runs this test
    assert done.returncode == 0, done.stderr
    assert all(Path(file).is_relative_to(checkout) for file in done.stdout.split())


def test_the_dockerfile_copies_what_the_wheel_is_made_of():
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    copied = {word for line in lines if line.startswith("COPY ") for word in line.split()[1:-1]}
    assert copied == {*PACKAGES, "pyproject.toml", "constraints.txt", "README.md", "LICENSE"}
    assert all((ROOT / name).exists() for name in copied)
    assert 'ENTRYPOINT ["sod-nas"]' in lines and 'CMD ["serve", "--host", "0.0.0.0"]' in lines and "serve" in COMMANDS


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_it_searches_predicts_and_explains_itself_in_an_empty_folder(wheel, tmp_path):
    """One process for all commands: importing torch takes longer than they do."""
    installed, work = tmp_path / "installed", tmp_path / "work"
    work.mkdir()
    zipfile.ZipFile(wheel).extractall(installed)
    shutil.copy(ROOT / "tests/nas/small_space.yaml", work / "space.yaml")
    Image.effect_noise((90, 60), 50).convert("RGB").save(work / "photo.jpg")
    tiny = "--size 32 --data synthetic:40 --batch_size 4 --steps 3 --warmup_steps 1 --select 1 --rivals 1 --no_guard.on"
    tiny += " --worth_seconds 0 --space space.yaml"
    lines = [f"{name} --help" for name in (*COMMANDS, "runs", "info", "completion")]
    lines += [f"search {tiny} --out runs/a", "predict photo.jpg -o maps --cutout", "cost fpn_tiny", "runs", "info"]
    code = f"import nas.console as c\nfor line in {lines!r}: assert c.main(line.split()) == 0, line\nprint(c.__file__)"
    done = python("-c", code, cwd=work, PYTHONPATH=str(installed), XDG_CACHE_HOME=str(tmp_path), OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.splitlines()[-1]).is_relative_to(installed)
    assert Image.open(work / "maps/photo.png").size == Image.open(work / "maps/cutout/photo.png").size == (90, 60)
    assert "<html" in (work / "runs/a/report.html").read_text(encoding="utf-8")
