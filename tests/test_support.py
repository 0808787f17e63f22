"""The versions that are tested are those that pyproject.toml allows."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def _least(requirement):
    """(name, lowest version as three numbers) of a requirement; None where it states none."""
    found = re.match(r"([\w-]+)\s*(?:>=|==)\s*([\d.]+)", requirement)
    return found and (found[1].lower().replace("_", "-"), tuple(map(int, [*found[2].split("."), 0, 0][:3])))


def test_the_lowest_versions_are_those_of_the_constraints():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    allowed = filter(None, map(_least, [*project["dependencies"], *extras["demo"], *extras["test"]]))
    lines = (ROOT / "tests" / "lowest.txt").read_text(encoding="utf-8").splitlines()
    assert dict(allowed) == dict(filter(None, map(_least, lines)))


def test_every_pair_of_the_workflow_is_one_of_the_script():
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    pairs = re.findall(r'python: "([\d.]+)", versions: (\w+)', workflow)
    script = (ROOT / ".ci" / "support").read_text(encoding="utf-8")
    assert re.findall(r"^check ([\d.]+) (\w+)", script, re.MULTILINE) == pairs and pairs
