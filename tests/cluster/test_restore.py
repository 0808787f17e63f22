"""Restoring and evaluating on a cluster: the bytes of a run without one, whoever works and whoever is killed."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from PIL import Image

from tests.runs.conftest import make_pictures
from tests.runs.results import files

pytestmark = pytest.mark.ray
_OF_PLACE = ("seconds", "input_version", "output_version")


@pytest.fixture(scope="module")
def running():
    from tests.cluster.nodes import nodes

    with nodes(2, 2) as running:
        yield running


@pytest.fixture
def pictures(tmp_path):
    folder = make_pictures(tmp_path / "in", 12)
    (folder / "sub").mkdir()
    Image.new("L", (9, 9), 77).save(folder / "sub" / "gray.png")
    (folder / "bad.jpg").write_bytes(b"no picture")
    return folder


def command(*words, pause=0.0):
    return [sys.executable, "-m", "tests.runs.driver", str(pause), *map(str, words)]


def run(*words):
    return subprocess.run(command(*words), capture_output=True, text=True)


def told(folder):
    """The manifest's lines by what they are of, without what depends on places and times."""
    found = map(json.loads, (folder / "manifest.jsonl").read_text().splitlines())
    kept = [{name: value for name, value in line.items() if name not in _OF_PLACE} for line in found]
    return sorted(kept, key=lambda line: (line["name"], line["sample"] or 0))


@pytest.mark.parametrize("actors", [1, 2, 8])
def test_results_and_manifest_are_those_of_a_run_without_a_cluster(running, pictures, tmp_path, actors):
    """On four CPUs, of eight workers four wait for a place."""
    assert run(pictures, "--out", tmp_path / "local").returncode == 1
    cluster = ("--engine", "ray", "--address", running.address, "--actors", actors)
    spread = run(pictures, "--out", tmp_path / "spread", *cluster)
    assert spread.returncode == 1 and "bad.jpg': not a picture" in spread.stderr
    assert "restored 13, failed 1" in spread.stdout
    assert files(tmp_path / "spread") == files(tmp_path / "local") and len(files(tmp_path / "local")) == 13
    assert told(tmp_path / "spread") == told(tmp_path / "local")
    again = run(pictures, "--out", tmp_path / "spread", *cluster)
    assert "restored 0, done before 13, failed 1" in again.stdout


def test_a_command_that_is_killed_goes_on_and_one_that_is_asked_to_stop_ends_what_it_began(running, pictures, tmp_path):
    for number in range(60):
        os.link(pictures / "p01.png", pictures / f"q{number:02}.png")
    assert run(pictures, "--out", tmp_path / "local").returncode == 1
    out = tmp_path / "spread"
    words = command(pictures, "--out", out, "--engine", "ray", "--address", running.address, "--actors", 2, pause=0.05)
    for number, least in ((signal.SIGKILL, 3), (signal.SIGINT, 20)):
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        while len(list(out.glob("*.png"))) < least and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(number)
        said = process.communicate()[0]
        assert process.returncode in (-signal.SIGKILL, 128 + signal.SIGINT), said
    assert "the same command goes on from here" in said
    done = [line for line in told(out) if line["status"] == "done"]
    assert {line["output"] for line in done} == set(files(out))  # what was begun was ended, and is told of
    assert subprocess.run(words, capture_output=True).returncode == 1
    assert files(out) == files(tmp_path / "local") and told(out) == told(tmp_path / "local")
