"""The notebooks as they are committed, and as they run."""

import itertools
import json
import re

import nbformat
import pytest

from tests.notebooks.address import ROOT, absolute, address, addressed
from tests.notebooks.execute import FOLDER, clean, execute

NAMES = [
    "batch_on_tpu", "bring_your_own_prior", "how_code_works", "hyperparameter_sweep", "quickstart", "when_something_goes_wrong",
    "which_setting",
]  # fmt: skip
HUB = {"bring_your_own_prior", "quickstart"}
WRONG = "when_something_goes_wrong"
MOST_BYTES = 500_000
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
    assert any("image/jpeg" in output.get("data", {}) for output in outputs(notebook)) == (name != WRONG)
    said = words(notebook)
    assert not re.search(r"warning|traceback|exception|nan\b", said, re.IGNORECASE), said
    lines = [line for line in said.splitlines() if line.startswith("not run: ")]
    assert len(lines) == (name in HUB)
    assert all("the hub cannot be reached" in line for line in lines)


def test_they_are_the_seven():
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


@pytest.mark.parametrize("name", NAMES)
def test_the_address_is_that_of_the_project(name):
    stated = address((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert addressed(read(name), name, stated) == read(name), "python -m tests.notebooks.address"


@pytest.mark.parametrize("name", NAMES)
def test_a_badge_opens_the_notebook_and_it_installs_from_the_address(name):
    made = addressed(addressed(read(name), name, "https://github.com/a/b"), name, "https://github.com/me/mine")
    nbformat.validate(made)
    badge = f"(https://colab.research.google.com/github/me/mine/blob/main/notebooks/{name}.ipynb)"
    assert badge in made.cells[0].source.split("\n\n")[1] and "github.com/a/b" not in nbformat.writes(made)
    assert [cell.source.count('REPO = "https://github.com/me/mine"') for cell in made.cells if "REPO =" in cell.source] == [1]
    assert (FOLDER / f"{name}.ipynb").is_file()
    assert addressed(made, name, None) == addressed(read(name), name, None)


def test_what_a_package_index_shows_is_found_from_anywhere():
    project = '[project.urls]\nRepository = "https://github.com/me/mine"'
    page = absolute((ROOT / "README.md").read_text(encoding="utf-8"), address(project))
    assert not re.findall(r"\]\((?!https://)[^)]+\)", page) and "ADDRESS" not in page
    assert absolute(page, address(project)) == page
    for kind, path in re.findall(r"https://(github|raw\.githubusercontent)\.com/me/mine/(?:blob/)?main/([^)]+)\)", page):
        assert (ROOT / path).exists() and (kind == "github") == (not path.endswith(".png"))


MESSAGES = [
    (heading, cell.source)
    for title, cell in itertools.pairwise(read(WRONG).cells)
    for heading in re.findall(r"^### `(.+)`$", title.source, re.MULTILINE)
]


@pytest.mark.usefixtures("own_cache")
def test_every_message_is_what_the_program_prints(tmp_path, monkeypatch, capsys):
    """Each heading of the notebook, … standing for anything, in what its own cell prints; a heading that has none fails."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    names = {}
    exec(read(WRONG).cells[2].source, names)
    assert len(MESSAGES) >= 20
    for heading, source in MESSAGES:
        exec(source, names)
        pattern = ".*".join(map(re.escape, heading.split("…")))
        assert re.search(pattern, capsys.readouterr().out), heading


@pytest.mark.notebooks
@pytest.mark.usefixtures("optimized")
@pytest.mark.parametrize("name", NAMES)
def test_runs(name):
    notebook = execute(FOLDER / f"{name}.ipynb")
    nbformat.validate(notebook)
    check_outputs(notebook, name)
