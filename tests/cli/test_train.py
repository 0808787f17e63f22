"""Training as a user runs it: real processes, real kills."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import code_jax
from code_jax.cli.main import main
from code_jax.training.checkpoints import Checkpoints
from code_jax.training.recipe import find_recipe
from code_jax.training.step import init_state
from tests.conftest import ONE_LEVEL, tiny_prior

pytestmark = pytest.mark.usefixtures("quickly_compiled")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder of forty pictures of odd sizes, and a recipe of 60 steps for a tiny network."""
    folder, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for i in range(40):
        Image.fromarray(rng.integers(0, 255, (16 + i % 3, 12, 3)).astype(np.uint8)).save(folder / f"{i}.png")
    network = tiny_prior(**ONE_LEVEL).function.network.config.to_diffusers()
    recipe = {"batch_size": 4, "steps": 60, "warmup": 5, "augment": "turns"}
    (folder / "recipe.json").write_text(json.dumps({"network": network, "recipe": recipe}))
    return folder


def command(data, out, *more):
    options = ["--data", str(data), "--out", str(out), "--config", str(data / "recipe.json"), "--every", "20", *more]
    return [sys.executable, "-m", "code_jax", "train", *options]


def run(data, out, *more):
    return subprocess.run(command(data, out, *more), capture_output=True, text=True, check=False)


def state_of(data, out, step=None):
    """The state of a checkpoint, the last one unless told."""
    recipe = find_recipe(str(data / "recipe.json"))[1]
    like = init_state(recipe, tiny_prior(**ONE_LEVEL).params)
    with Checkpoints(out, 2) as checkpoints:
        return checkpoints.restore(checkpoints.latest() if step is None else step, like)


def losses_of(out):
    with open(out / "losses.csv", newline="") as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def straight(data, tmp_path_factory):
    """Sixty steps without a stop."""
    out = tmp_path_factory.mktemp("straight")
    done = run(data, out)
    assert done.returncode == 0, done.stderr
    return out


def test_a_training_leaves_losses_samples_and_a_prior_that_loads(data, straight):
    rows = losses_of(straight)
    assert [int(row["step"]) for row in rows] == [20, 40, 60]
    assert float(rows[-1]["train_loss"]) < float(rows[0]["train_loss"])
    bins = [float(rows[-1][f"bin_{i}"]) for i in range(10)]
    assert float(rows[-1]["validation_loss"]) == pytest.approx(np.mean(bins), rel=1e-4)
    with Image.open(straight / "samples" / "0000060.png") as grid:
        assert grid.size == (32, 32)
    prior, losses = code_jax.load_prior(straight / "prior"), [float(row["validation_loss"]) for row in rows]
    best = rows[int(np.argmin(losses))]["step"]
    assert prior.prediction_type == "v_prediction"
    with Checkpoints(straight, 2) as checkpoints:
        assert checkpoints.best() == int(best)
    jax.tree.map(np.testing.assert_array_equal, prior.params, state_of(data, straight, int(best)).ema)


def test_the_last_checkpoints_and_the_best_are_kept(data, tmp_path):
    state = init_state(find_recipe(str(data / "recipe.json"))[1], tiny_prior(**ONE_LEVEL).params)
    with Checkpoints(tmp_path, 2) as checkpoints:
        for step, loss in enumerate((3.0, 1.0, 2.0, 5.0, 4.0)):
            checkpoints.save(state.replace(step=jnp.int32(step)), loss)
        assert checkpoints.best() == 1 and checkpoints.latest() == 4
    assert sorted(os.listdir(tmp_path / "checkpoints")) == ["1", "3", "4"]


@pytest.mark.parametrize("when", ["between checkpoints", "during a checkpoint"])
def test_a_kill_and_a_resume_give_the_weights_of_a_straight_run(data, straight, tmp_path, when):
    process = subprocess.Popen(command(data, tmp_path), stderr=subprocess.PIPE)
    checkpoints, deadline = tmp_path / "checkpoints", time.monotonic() + 120
    try:
        while process.poll() is None and time.monotonic() < deadline:
            names = os.listdir(checkpoints) if checkpoints.is_dir() else []
            if when == "during a checkpoint" and any("tmp" in name for name in names):
                break
            if when == "between checkpoints" and "20" in names:
                time.sleep(random.uniform(0, 0.5))
                break
            time.sleep(0.001)
    finally:
        process.kill()
        process.communicate()
    done = run(data, tmp_path, "--resume")
    assert done.returncode == 0, done.stderr
    jax.tree.map(np.testing.assert_array_equal, state_of(data, tmp_path), state_of(data, straight))
    assert losses_of(tmp_path) == losses_of(straight)


def test_a_signal_or_the_time_given_leaves_a_checkpoint_to_go_on_from(data, straight, tmp_path):
    process = subprocess.Popen(
        command(data, tmp_path, "--every", "1000"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stderr.readline()  # the training begins
    time.sleep(1)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 143, err
    assert "stopped by SIGTERM after" in out and "--resume goes on" in out
    assert state_of(data, tmp_path).step == int(out.split(" after ")[1].split()[0])
    done = run(data, tmp_path, "--resume", "--seconds", "0")
    assert done.returncode == 0 and "done in the time given" in done.stdout, done.stderr
    assert run(data, tmp_path, "--resume").returncode == 0
    jax.tree.map(np.testing.assert_array_equal, state_of(data, tmp_path), state_of(data, straight))


def test_fine_tuning_starts_from_the_prior(data, straight, tmp_path):
    options = ("--init", str(straight / "prior"), "--steps", "1", "--learning-rate", "1e-12")
    done = run(data, tmp_path, *options)
    assert done.returncode == 0, done.stderr
    a, b = (code_jax.load_prior(folder / "prior") for folder in (tmp_path, straight))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-6), a.params, b.params)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--data", "nowhere"], "nowhere"),
        (["--config", "huge"], "'huge'"),
        (["--learning-rate", "-1"], "learning_rate is -1.0"),
        (["--batch-size", "0"], "batch_size is 0"),
        (["--seconds", "-1"], "--seconds is -1.0"),
        (["--augment", "cutout"], "'cutout'"),
        (["--init", "eurosat-64", "--schedule", "cosine"], "--schedule"),
    ],
)
def test_a_mistake_is_one_line(data, tmp_path, capsys, options, named):
    arguments = ["train", "--data", str(data), "--out", str(tmp_path / "out"), "--config", str(data / "recipe.json"), *options]
    assert main(arguments) == 2
    message = capsys.readouterr().err.strip()
    assert named in message and message.count("\n") == 0


def test_another_training_is_not_mixed_in(data, straight, capsys):
    arguments = ["train", "--data", str(data), "--out", str(straight), "--config", str(data / "recipe.json")]
    assert main(arguments) == 2 and "--resume" in capsys.readouterr().err
    assert main([*arguments, "--resume", "--learning-rate", "0.5"]) == 2
    assert "recipe.learning_rate was 0.001, is 0.5" in capsys.readouterr().err
