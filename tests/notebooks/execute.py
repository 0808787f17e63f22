"""Executes notebooks in kernels of their own, and puts their outputs, cleaned, in the place of the committed ones.

    python -m tests.notebooks.execute [NAME…]

Without names all of them. The hub is taken to be out of reach, so that outputs do not depend on the network; times, paths
and versions of the machine are left out.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import nbformat

FOLDER = Path(__file__).parents[2] / "notebooks"
SECONDS = 180


def execute(path: Path) -> nbformat.NotebookNode:
    """The notebook with new outputs; raises nbclient's error where a cell does.

    The kernel works in an empty folder, and has `SECONDS` for each cell.
    """
    from nbclient import NotebookClient  # of the extra `notebooks`; the rest does without

    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(notebook, timeout=SECONDS, kernel_name="python3", resources={"metadata": {"path": folder}})
        client.execute(env=os.environ | {"HF_HUB_OFFLINE": "1"})
    return notebook


def clean(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook without times, versions and other facts of a machine; a stream that came in pieces is one output."""
    notebook.metadata.language_info = {"name": "python"}
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = _merged([output for output in cell.outputs if output.get("name") != "stderr"])  # how long it takes
    return notebook


def _merged(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    merged: list[nbformat.NotebookNode] = []
    for output in outputs:
        if merged and output.output_type == merged[-1].output_type == "stream" and output.name == merged[-1].name:
            merged[-1].text += output.text
        else:
            merged.append(output)
    return merged


def main() -> None:
    """Executes the notebooks named, or all."""
    for path in [FOLDER / f"{name}.ipynb" for name in sys.argv[1:]] or sorted(FOLDER.glob("*.ipynb")):
        begun = time.monotonic()
        nbformat.write(clean(execute(path)), path)
        print(f"{path.stem}: {time.monotonic() - begun:.0f} s, {path.stat().st_size / 1000:.0f} kB", flush=True)


if __name__ == "__main__":
    main()
