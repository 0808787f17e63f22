"""The repository's address, which stands in ``pyproject.toml`` alone, brought to the pages that need it whole.

    python -m tests.notebooks.address

``Repository = "https://github.com/OWNER/NAME"`` under ``[project.urls]`` gives each notebook a badge that opens it in Colab and
the address that it installs from, and makes the README's links and pictures absolute: a package index shows them without the
repository beside it.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import nbformat

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "notebooks"
_BADGE = re.compile(r"\n\n\[!\[Open in Colab\].*")
_INSTALLS_FROM = re.compile(r'^REPO = ".*?"', re.MULTILINE)


def address(project: str) -> str | None:
    """The address that a ``pyproject.toml`` states; None where it states none."""
    return tomllib.loads(project)["project"]["urls"].get("Repository")


def badge(repository: str, name: str) -> str:
    """Markdown that opens a notebook of the repository in Colab."""
    place = repository.removeprefix("https://github.com/")
    target = f"https://colab.research.google.com/github/{place}/blob/main/notebooks/{name}.ipynb"
    return f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({target})"


def addressed(notebook: nbformat.NotebookNode, name: str, repository: str | None) -> nbformat.NotebookNode:
    """The notebook with the badge and the address that it installs from; None is no badge, and an address to be put in."""
    title, *cells = notebook.cells
    title.source = _BADGE.sub("", title.source)
    if repository:
        heading, _, rest = title.source.partition("\n\n")
        title.source = f"{heading}\n\n{badge(repository, name)}\n\n{rest}"
    for cell in cells:
        if cell.cell_type == "code":
            cell.source = _INSTALLS_FROM.sub(f'REPO = "{repository or ""}"', cell.source)
    return notebook


def absolute(page: str, repository: str) -> str:
    """A page of the repository's root whose links and pictures are found from anywhere, and whose ADDRESS is the repository's."""
    raw = repository.replace("https://github.com/", "https://raw.githubusercontent.com/")
    page = re.sub(r"(!\[[^]]*\])\((?!https?://)([^)]+)\)", rf"\1({raw}/main/\2)", page)
    page = re.sub(r"(?<!!)(\[[^]]*\])\((?!https?://|#)([^)]+)\)", rf"\1({repository}/blob/main/\2)", page)
    return page.replace("; ADDRESS is this repository's", "").replace("ADDRESS", repository)


def main() -> None:
    """Brings the address that ``pyproject.toml`` states to the notebooks and the README."""
    repository = address((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    for path in sorted(FOLDER.glob("*.ipynb")):
        nbformat.write(addressed(nbformat.read(path, as_version=4), path.stem, repository), path)
    readme = ROOT / "README.md"
    if repository:
        readme.write_text(absolute(readme.read_text(encoding="utf-8"), repository), encoding="utf-8")
    print(repository or "pyproject.toml states no Repository: no badges, and links as they are")


if __name__ == "__main__":
    main()
