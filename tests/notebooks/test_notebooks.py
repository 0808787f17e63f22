"""The notebooks as they are committed, and as they run."""

import json
import re

import nbformat
import pytest

from tests.notebooks.execute import FOLDER, clean, execute

NAMES = ["batch_on_tpu", "bring_your_own_prior", "how_code_works", "hyperparameter_sweep", "quickstart"]
HUB = {"bring_your_own_prior", "quickstart"}
MOST_BYTES = 400_000
_PATH = re.compile(r"(?<![\w./:])/(?:home|root|tmp|usr|opt|work|content|Users|var)/")


def read(name):
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def outputs(notebook):
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def words(notebook):
    """Everything that the outputs say, pictures left out."""
    data = [output.get("text", "") + json.dumps(output.get("data", {}).get("text/plain", "")) for output in outputs(notebook)]
    return "\n".join(data)


def check_outputs(notebook, name):
    """Every cell ran, in order and without an error or a warning; of the hub one line says that it was out of reach."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not [output for output in outputs(notebook) if output.output_type == "error"]
    assert any("image/jpeg" in output.get("data", {}) for output in outputs(notebook))
    said = words(notebook)
    assert not re.search(r"warning|traceback|exception|nan\b", said, re.IGNORECASE), said
    lines = [line for line in said.splitlines() if line.startswith("not run: ")]
    assert len(lines) == (name in HUB)
    assert all("the hub cannot be reached" in line for line in lines)


def test_they_are_the_five():
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_as_committed(name):
    path, notebook = FOLDER / f"{name}.ipynb", read(name)
    nbformat.validate(notebook)
    assert path.stat().st_size < MOST_BYTES
    assert notebook.cells[0].source.startswith("# ")
    installs = [cell.source for cell in notebook.cells if "%pip install" in cell.source]
    assert len(installs) == 1 and 'if importlib.util.find_spec("code_jax") is None:' in installs[0]
    check_outputs(notebook, name)
    assert not _PATH.search(words(notebook))
    assert nbformat.writes(clean(read(name))) == nbformat.writes(notebook), "python -m tests.notebooks.execute cleans it"


@pytest.mark.notebooks
@pytest.mark.parametrize("name", NAMES)
def test_runs(name):
    notebook = execute(FOLDER / f"{name}.ipynb")
    nbformat.validate(notebook)
    check_outputs(notebook, name)
