"""The disk fills, the folder goes, permission is lost, results are not finite: one clear line, and what was written is whole."""

import os
import resource
import shutil
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import code_jax
from code_jax.interruption import Interruption
from code_jax.progress import PREPARING
from tests.runs.conftest import exact_prior, make_pictures
from tests.runs.results import assert_complete, assert_whole, files, lines


@pytest.fixture
def many(tmp_path):
    return make_pictures(tmp_path / "in", 40)


@pytest.fixture
def midway(monkeypatch):
    """Lets something happen when some results of a run are written and others are to come."""

    def happen(event, after=3):
        count = 0

        def checkpoint(self):
            nonlocal count
            count += 1
            if count == after * 10:  # segments of a batch
                event()

        monkeypatch.setattr(Interruption, "checkpoint", checkpoint)

    return happen


def assert_one_line(shown, *named):
    """One line besides those of the progress, which a slow machine shows."""
    said = [line for line in shown.splitlines() if line != PREPARING and not line.endswith((" left", " in all)"))]
    assert len(said) == 1 and said[0].startswith("code-jax: error: "), shown
    assert all(word in said[0] for word in named) and "what was written is whole" in said[0]


@pytest.mark.slow
def test_a_file_that_may_not_grow_stops_the_run_and_no_line_is_half(many, tmp_path, restore):
    """The kernel's limit on the size of a file (RLIMIT_FSIZE), which cuts a write short as a full disk does."""
    assert restore(many, "--out", tmp_path / "undisturbed") == 0
    expected = files(tmp_path / "undisturbed")
    size = (tmp_path / "undisturbed" / "manifest.jsonl").stat().st_size
    limit = size // 2 + 300  # in the midst of a line
    program = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {resource.RLIM_INFINITY}))\n"
    program += f"from tests.runs.driver import run; raise SystemExit(run(0, {[str(many), '--out', str(tmp_path / 'out')]}))"
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "JAX_ENABLE_COMPILATION_CACHE": "false"}  # which would be cut, too
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 2 and "restored" not in done.stdout
    assert_one_line(done.stderr, "manifest.jsonl", "cannot be written")
    text = (tmp_path / "out" / "manifest.jsonl").read_bytes()
    assert text.endswith(b"}\n") and limit - 1500 < len(text) <= limit
    assert 0 < assert_whole(tmp_path / "out") < 40
    assert restore(many, "--out", tmp_path / "out") == 0
    assert_complete(tmp_path / "out", expected)


@pytest.mark.parametrize("call", ["fsync", "write", "replace"])
def test_no_space_left_at_any_call_is_one_line(call, many, tmp_path, restore, midway, monkeypatch, capsys):
    out = tmp_path / "out"

    def refuse(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        midway(lambda: patch.setattr(os, call, refuse))
        assert restore(many, "--out", out) == 2
    assert_one_line(capsys.readouterr().err, "No space left on device", str(out))
    done = assert_whole(out)
    assert 0 < done < 40 and not [name for name in files(out) if name.endswith(".tmp")]
    monkeypatch.undo()


def test_a_folder_that_vanishes_stops_the_run(many, tmp_path, restore, midway, capsys):
    out, away = tmp_path / "out", tmp_path / "away"
    midway(lambda: out.rename(away))
    assert restore(many, "--out", out) == 2
    assert_one_line(capsys.readouterr().err, str(out), "No such file or directory")
    assert 0 < assert_whole(away) < 40 and not out.exists()


def test_a_folder_that_is_deleted_stops_the_run(many, tmp_path, restore, midway, capsys):
    midway(lambda: shutil.rmtree(tmp_path / "out", ignore_errors=True))  # threads may be writing into it
    assert restore(many, "--out", tmp_path / "out") == 2
    assert_one_line(capsys.readouterr().err, str(tmp_path / "out"), "No such file or directory")


def test_a_permission_that_is_lost_stops_the_run(many, tmp_path, restore, midway, capsys):
    """Root heeds no permission bits: it becomes nobody for the rest of the run, who may read the inputs."""
    out = tmp_path / "out"
    for folder in (many, *many.parents):
        if folder.stat().st_mode & 0o055 != 0o055 and folder.owner() == many.owner():
            folder.chmod(folder.stat().st_mode | 0o055)
    midway(lambda: os.seteuid(65534) if os.getuid() == 0 else out.chmod(0o500))
    try:
        assert restore(many, "--out", out) == 2
    finally:
        os.seteuid(os.getuid())
        out.chmod(0o700)
    assert_one_line(capsys.readouterr().err, str(out), "Permission denied")
    assert 0 < assert_whole(out) < 40


def poisoned_eps(params, x, t):
    """Not a number for bright images, exact for all others."""
    bright = jnp.mean(x, axis=(1, 2, 3), keepdims=True) > 0.5
    return jnp.where(bright, jnp.nan, exact_prior().function(params, x, t))


def test_a_result_that_is_not_finite_fails_alone(pictures, tmp_path, restore, capsys):
    """In the batches of two bright pictures, the others' bytes are those of a run without them."""
    assert restore(pictures, "--out", tmp_path / "without", "--depth", "0.1") == 0
    for name in ("p02x.png", "p07x.png"):
        Image.new("RGB", (8, 8), "white").save(pictures / name)
    schedule = code_jax.linear_schedule()
    prior = code_jax.Prior.from_function(poisoned_eps, exact_prior().params, schedule, (8, 8, 3))
    capsys.readouterr()
    assert restore(pictures, "--out", tmp_path / "out", "--depth", "0.1", prior=prior) == 1
    shown = capsys.readouterr()
    assert "restored 10, failed 2" in shown.out
    for name in ("p02x.png", "p07x.png"):
        assert f"{name}': the result is not finite: try a smaller noise level" in shown.err
    decoded = {name: np.asarray(Image.open(tmp_path / "out" / name)) for name in files(tmp_path / "out")}
    without = {name: np.asarray(Image.open(tmp_path / "without" / name)) for name in files(tmp_path / "without")}
    assert decoded.keys() == without.keys()
    assert all(np.array_equal(decoded[name], without[name]) for name in decoded)
    failed = [line for line in lines(tmp_path / "out") if line["status"] == "failed"]
    assert len(failed) == 2 and all(line["output"] is None and line["settings"]["sigma"] < 0.4 for line in failed)


@pytest.mark.parametrize(
    ("options", "blamed"),
    [
        (("--precision", "bfloat16"), "--precision float32"),
        (("--eta", "none"), "--eta 2"),
    ],
)
def test_the_setting_that_is_likely_to_blame_is_named(options, blamed, tmp_path, restore, capsys):
    Image.new("RGB", (8, 8), "white").save(tmp_path / "a.png")
    prior = code_jax.Prior.from_function(poisoned_eps, exact_prior().params, code_jax.linear_schedule(), (8, 8, 3))
    assert restore(tmp_path / "a.png", "--out", tmp_path / "out", "--depth", "0.1", *options, prior=prior) == 1
    assert blamed in capsys.readouterr().err
