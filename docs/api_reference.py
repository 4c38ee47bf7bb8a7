"""The API reference, made from the docstrings: `make docs`, or python docs/api_reference.py FOLDER.

A page for each package and each of its modules and rooms. Names that a package loads when first asked for are loaded
first: pdoc only sees what is there.
"""

import importlib
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path

from pdoc import doc, render

_PACKAGES = ("genotypes", "search_spaces", "nas", "retrain")


def names() -> Iterator[str]:
    """Of all modules that get a page."""
    for package in _PACKAGES:
        yield package
        for module in pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}."):
            if not module.name.rpartition(".")[2].startswith("_"):
                yield module.name


def main(folder: Path) -> None:
    pages = {}
    for name in names():
        module = importlib.import_module(name)
        for word in getattr(module, "__all__", ()):
            setattr(module, word, getattr(module, word))
        pages[name] = doc.Module(module)
    render.configure(docformat="google")
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in pages.items():  # pdoc's own walk stays out of modules that are no part of a package's __all__
        path = folder / f"{name.replace('.', '/')}.html"
        path.parent.mkdir(exist_ok=True)
        path.write_text(render.html_module(page, pages), encoding="utf-8")
    (folder / "index.html").write_text(render.html_index(pages), encoding="utf-8")
    (folder / "search.js").write_text(render.search_index(pages), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
