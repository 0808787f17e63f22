"""Training as a user runs it: real processes, real kills."""

import csv
import json
import os
import random
import shutil
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
from code_jax.runs.folder import claimed
from code_jax.training import loop
from code_jax.training.checkpoints import Checkpoints
from code_jax.training.recipe import find_recipe
from code_jax.training.step import init_state, train_step
from code_jax.training.validation import SIGMAS
from tests.conftest import ONE_LEVEL, tiny_prior

pytestmark = pytest.mark.slow


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
    levels = [float(rows[-1][f"sigma_{sigma:g}"]) for sigma in SIGMAS]
    assert float(rows[-1]["validation_loss"]) == pytest.approx(np.mean(levels), rel=1e-4)
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
        (["--seed", "1" + "0" * 21], "--seed is 1000000000000000000000; it must be from 0 to"),
        (["--out", ""], "--out: the name is empty"),
        (["--augment", "cutout"], "'cutout'"),
        (["--optimizer", "sgd"], "'sgd'"),
        (["--hold", "1.5"], "hold is 1.5"),
        (["--lower-half", "-1"], "lower_half is -1.0"),
        (["--data", "nowhere:0.5:margin=2"], "nowhere"),
        (["--data", "x:patches=0"], "a scale of x is 0"),
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


def main_of(data, out, *more):
    """The command in this process: its exit status."""
    return main(command(data, out, *more)[3:])


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.usefixtures("own_cache")
def test_a_loss_that_is_not_finite_ends_the_training_with_the_best_checkpoint_before(data, tmp_path, capsys, monkeypatch):
    """The weights break in step 31: its loss is finite, that of step 32 is not."""

    def breaking(apply, recipe, key, state, schedule, images):
        after, value = train_step(apply, recipe, key, state, schedule, images)
        factor = jnp.where(state.step == 30, jnp.nan, 1.0)
        return after.replace(params=jax.tree.map(lambda leaf: leaf * factor, after.params)), value

    monkeypatch.setattr(loop, "train_step", breaking)
    for more in ((), ("--resume",)):  # which comes to the same step
        assert main_of(data, tmp_path, *more) == 1
        out, err = capsys.readouterr()
        assert err.splitlines()[-1].startswith("code-jax: step 32 is not finite")
        assert "wrote the prior of step 20" in out
        assert sorted(os.listdir(tmp_path / "checkpoints")) == ["20"]
        assert [row["step"] for row in losses_of(tmp_path)] == ["20"]
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(code_jax.load_prior(tmp_path / "prior").params))


@pytest.mark.usefixtures("own_cache")
def test_a_training_that_was_never_finite_leaves_no_prior(data, tmp_path, capsys):
    assert main_of(data, tmp_path, "--learning-rate", "1e9") == 1
    assert "step 2 is not finite" in capsys.readouterr().err
    assert os.listdir(tmp_path / "checkpoints") == [] and not (tmp_path / "prior").exists()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of tensorstore's futures, whose loop has ended
@pytest.mark.usefixtures("own_cache", "collected")
def test_a_cut_checkpoint_is_passed_over_for_the_one_before(data, straight, tmp_path, capsys):
    shutil.copytree(straight, tmp_path / "t")
    files = [path for path in (tmp_path / "t" / "checkpoints" / "60").rglob("*") if path.is_file()]
    os.truncate(max(files, key=os.path.getsize), 100)
    assert main_of(data, tmp_path / "t", "--resume") == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if "damaged" in line]
    assert len(lines) == 1 and "the checkpoint of step 60 is damaged" in lines[0]
    assert (tmp_path / "t" / "damaged" / "60").is_dir()
    jax.tree.map(np.testing.assert_array_equal, state_of(data, tmp_path / "t"), state_of(data, straight))


@pytest.mark.usefixtures("own_cache")
def test_a_folder_in_use_or_of_something_else_is_refused_and_left_as_it_was(data, straight, tmp_path, capsys):
    with claimed(straight, "train"):
        before = contents(straight)
        assert main_of(data, straight, "--resume") == 2
    assert "is at work in" in capsys.readouterr().err and contents(straight) == before
    for name, text in (
        ("notes.txt", "mine"),
        ("training.json", "{}"),
        (".manifest.json", '{"command": "sweep", "settings": {}}'),
    ):
        folder = tmp_path / name[:5]
        folder.mkdir()
        (folder / name).write_text(text)
        for more in ((), ("--resume",)):
            assert main_of(data, folder, *more) == 2
            message = capsys.readouterr().err
            assert "choose another --out" in message and ("sweep" if name[0] == "." else name) in message
            assert contents(folder) == {folder / name: text.encode()}
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "checkpoints").symlink_to(tmp_path)
    assert main_of(data, tmp_path / "linked") == 2 and "checkpoints" in capsys.readouterr().err


@pytest.mark.usefixtures("own_cache")
def test_a_prior_of_patches_says_at_which_scales_and_leaves_what_is_not_its_own(data, tmp_path):
    (tmp_path / "t").mkdir()
    sources = ["--data", f"{data}:1:margin=2", "--data", f"{data}:3:patches=1*0.5,2*0.5"]
    assert main(["train", *sources, *command(data, tmp_path / "t", "--steps", "2")[6:]]) == 0
    config = json.loads((tmp_path / "t" / "prior" / "unet" / "config.json").read_text())
    assert config["_patches"] == [1, 2]
    (tmp_path / "t" / "prior" / "mine.txt").write_text("mine")
    assert main(["train", *sources, *command(data, tmp_path / "t", "--steps", "2", "--resume")[6:]]) == 0
    assert code_jax.load_prior(tmp_path / "t" / "prior").image_shape == (8, 8, 3)
    assert (tmp_path / "t" / "prior" / "mine.txt").read_text() == "mine"
