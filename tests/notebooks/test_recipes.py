"""Recipes: their files are parsed and their command lines run with ``--dry-run`` on a small folder; no cluster is."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml
from PIL import Image

import code_jax
from code_jax.cli.main import main, parse
from tests.runs.conftest import exact_prior

FOLDER = Path(code_jax.__file__).parent.parent / "notebooks" / "recipes"
TEXT = {path.name: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.md"))}
FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILES = {kind: [(page, m[2]) for page in TEXT for m in FENCED.finditer(TEXT[page]) if m[1] == kind] for kind in ("sh", "yaml")}
ASSIGNED = {"$SLURM_ARRAY_TASK_ID": "16", "$((JOB_COMPLETION_INDEX + 1))": "16"}  # by a cluster, to its last process


def _commands(page):
    """Those of ours, of blocks and of files."""
    blocks = [match[2] for match in FENCED.finditer(TEXT[page])] + re.findall(r"^ {4}(.*)$", FENCED.sub("", TEXT[page]), re.M)
    return [command for text in blocks for command in re.findall(r"code-jax \w+ [^\n\"]+", text)]


COMMANDS = [(page, command) for page in TEXT for command in _commands(page)]


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_command_lines_say_what_there_is_to_do(page, command, tmp_path, monkeypatch, capsys):
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "pictures" / "a.png")
    there = sorted(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("code_jax.priors.load.load_prior", lambda name, **options: exact_prior())
    for name, value in {**ASSIGNED, "gs://BUCKET": f"file://{tmp_path}", "PICTURES": "pictures"}.items():
        command = command.replace(name, value)
    _, *words = shlex.split(command)
    assert "$" not in command and callable(parse(words).run)
    if words[0] == "restore":
        assert main([*words, "--dry-run"]) == 0
        assert "an image or window" in capsys.readouterr().out and sorted(tmp_path.rglob("*")) == there


@pytest.mark.parametrize(("page", "text"), FILES["sh"])
def test_shell_files_are_of_the_shells_grammar(page, text):
    assert subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True).stderr == ""


@pytest.mark.parametrize(("page", "text"), FILES["yaml"])
def test_objects_of_kubernetes_have_what_their_kinds_need(page, text):
    for found in yaml.safe_load_all(text):
        spec = found["spec"]
        assert found["metadata"]["name"]
        if (found["apiVersion"], found["kind"]) == ("batch/v1", "Job"):
            assert spec["completionMode"] == "Indexed" and spec["completions"] == spec["parallelism"]
            assert spec["template"]["spec"]["restartPolicy"] in ("OnFailure", "Never")
            pods = [spec["template"]]
        else:
            assert (found["apiVersion"], found["kind"]) == ("ray.io/v1", "RayJob") and spec["entrypoint"].startswith("code-jax ")
            head, groups = spec["rayClusterSpec"]["headGroupSpec"], spec["rayClusterSpec"]["workerGroupSpecs"]
            assert all(each["groupName"] and each["minReplicas"] <= each["replicas"] <= each["maxReplicas"] for each in groups)
            assert all(isinstance(value, str) for each in (head, *groups) for value in each["rayStartParams"].values())
            pods = [each["template"] for each in (head, *groups)]
        for container in (each for pod in pods for each in pod["spec"]["containers"]):
            assert container["name"] and container["image"] == "IMAGE"
            resources = container.get("resources", {})
            assert resources.get("requests") == resources.get("limits")
        mounted = {mount["name"] for pod in pods for each in pod["spec"]["containers"] for mount in each.get("volumeMounts", ())}
        assert mounted == {volume["name"] for pod in pods for volume in pod["spec"].get("volumes", ())}


def test_every_page_says_what_has_not_been_run():
    for page, text in TEXT.items():
        if page != "README.md":
            assert re.search(r"[Nn]ot (yet|run)|no page has run|not yet", text) or "shards" in page, page
