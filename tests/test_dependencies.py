"""Dependencies point one way, genotypes < search_spaces < nas < retrain; genotypes and drawings need no torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ORDER = ("genotypes", "search_spaces", "nas", "retrain")

FILES = [path for package in ORDER for path in sorted((ROOT / package).rglob("*.py"))]


def imports(path: Path) -> set[str]:
    """The modules a file imports, wherever in the file, by their full names."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            found.add(node.module)
    return found


def packages(path: Path) -> set[str]:
    return {module.split(".")[0] for module in imports(path)}


def test_there_is_something_to_check() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in FILES} == set(ORDER)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_imports_what_stands_above_it(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    above = set(ORDER[ORDER.index(package) + 1 :])
    assert not packages(path) & above
    assert "tests" not in packages(path)


def test_genotypes_need_networkx_and_yaml_and_nothing_else() -> None:
    used = set().union(*(packages(path) for path in FILES if path.relative_to(ROOT).parts[0] == "genotypes"))
    assert used - sys.stdlib_module_names == {"genotypes", "networkx", "yaml"}


TORCHLESS = [
    "import genotypes; [genotypes.load(name).hash for name in genotypes.names()]",
    "import nas.command",
    "import nas.report",
    "import nas; nas.visualize.draw",
    "from search_spaces import SPACES; [SPACES[name].make().build((64, 64)).hash for name in SPACES]",
    "import genotypes; [genotypes.TEMPLATES[name].load() for name in genotypes.TEMPLATES]",
]


def test_torch_is_not_loaded() -> None:
    check_not_loaded(*((code, {"torch"}) for code in TORCHLESS))


def check_not_loaded(*steps: tuple[str, set[str]], first: str = "import sys") -> None:
    """In one process, code after code, each with the packages that it must not load; first: may load any."""
    code = f"import sys\n{first}\nknown = set(sys.modules)\nfor code, heavy in {steps!r}:\n  exec(code)\n"
    code += "  found = heavy & (sys.modules.keys() - known)\n  found and sys.exit(f'{code}: imports {found}')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_drawing_needs_no_torch() -> None:
    drawing = [path for path in FILES if path.relative_to(ROOT).parts[:2] == ("nas", "visualize")]
    assert drawing
    for path in drawing:
        assert "torch" not in packages(path), path
        ours = {module for module in imports(path) if module.split(".")[0] in ORDER[1:]}
        assert all(module.startswith(("nas.visualize", "nas.command")) for module in ours), f"{path}: {ours}"


def test_no_module_name_is_used_twice_in_the_tests() -> None:
    # pytest imports test files by their bare name: two of one name hide each other.
    names = [path.name for path in (ROOT / "tests").rglob("*.py") if path.name != "conftest.py"]
    assert len(names) == len(set(names))


COMMANDS = ["nas.search", "nas.cost", "retrain.train", "retrain.compare", "retrain.evaluate", "retrain.predict"]
COMMANDS += ["retrain.export", "retrain.serve", "retrain.prune", "retrain.authors"]


def test_commands_start_with_little_more_than_torch_and_tensorboard_is_loaded_where_it_is_used() -> None:
    """All in one process, since torch alone takes seconds."""
    heavy = {"matplotlib", "optuna", "sqlalchemy", "scipy", "pandas", "sklearn", "tensorboard", "py_sod_metrics"}
    modules = ", ".join(f"{name}.__main__" for name in COMMANDS)
    starts = [(f"import {modules}", heavy), ("import nas.strategies", {"tensorboard"})]
    starts += [("import nas; nas.search.search, nas.training.fit", {"tensorboard"})]
    check_not_loaded(*starts, first="import torch")
