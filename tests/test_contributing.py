"""CONTRIBUTING's recipes, followed to the letter in a copy of the package: the files, the line, the tests that prove them."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")
RECIPES = dict(re.findall(r"^### ([^\n]+)\n(.*?)(?=^### |\Z)", TEXT, re.MULTILINE | re.DOTALL))


def files(recipe):
    """(path, content) of each Python block; the path begins the line above it."""
    return re.findall(r"^`([\w/]+\.py)`[^\n]*:\n\n```python\n(.*?)^```$", recipe, re.MULTILINE | re.DOTALL)


def lines(recipe):
    """(path, line before, the line) of each line in a registry."""
    return re.findall(r"^The line, in `([\w/]+\.py)`[^\n]*:\n\n```diff\n (.*)\n\+(.*)\n```$", recipe, re.MULTILINE)


def commands(recipe):
    """(file, expression of -k) of each command; a file without one is a keyword of all its tests."""
    found = [shlex.split(line)[1:] for line in re.findall(r"^    (pytest .+)$", recipe, re.MULTILINE)]
    return [(path, given[1] if given else Path(path).stem) for path, *given in found]


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("copy")
    for name in ("code_jax", "checkpoints_convert", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def test_there_are_five():
    assert list(RECIPES) == ["A method", "A solver", "A prior format", "A corruption", "A metric"]
    for recipe in RECIPES.values():
        assert len(re.findall("^```python$", recipe, re.MULTILINE)) == len(files(recipe))
        assert [path.startswith("tests/") for path, _ in files(recipe)] in ([False], [False, True])
        assert len(lines(recipe)) == 1 and commands(recipe)


@pytest.mark.slow
def test_they_work(copy):
    for recipe in RECIPES.values():
        for path, content in files(recipe):
            assert not (copy / path).exists(), path
            (copy / path).write_text(content, encoding="utf-8")
        for path, before, line in lines(recipe):
            text = (copy / path).read_text(encoding="utf-8")
            assert text.count(f"\n{before}\n") == 1, f"{path} has no line {before.strip()}"
            (copy / path).write_text(text.replace(f"\n{before}\n", f"\n{before}\n{line}\n"), encoding="utf-8")
    proofs = [each for recipe in RECIPES.values() for each in commands(recipe)]
    paths, wanted = [path for path, _ in proofs], " or ".join(f"({expression})" for _, expression in proofs)
    argv = [sys.executable, "-m", "pytest", "-n0", "-rA", "-p", "no:cacheprovider", *paths, "-k", wanted]
    environment = os.environ | {"PYTHONPATH": str(copy), "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    ran = subprocess.run(argv, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert all(re.search(rf"^PASSED {path}::", ran.stdout, re.MULTILINE) for path in paths), ran.stdout
