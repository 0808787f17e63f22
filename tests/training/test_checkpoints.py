"""Checkpoints that a disk or a person has spoilt."""

import os
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import code_jax
from code_jax.training.checkpoints import Checkpoints, set_damaged_aside
from code_jax.training.recipe import Recipe
from code_jax.training.step import init_state


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with the checkpoints of steps 1 to 3, and the state that they have but for the step."""
    folder = tmp_path_factory.mktemp("saved")
    state = init_state(Recipe(optimizer="muon"), {"mid": {"kernel": jnp.arange(12.0).reshape(3, 4), "bias": jnp.ones(4)}})
    with Checkpoints(folder, 3) as checkpoints:
        for step in (1, 2, 3):
            checkpoints.save(state.replace(step=jnp.int32(step)), 1.0 / step)
    return folder, state


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x55
    path.write_bytes(bytes(content))


def pipe(path):
    path.unlink()
    os.mkfifo(path)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of tensorstore's futures, whose loop has ended
@pytest.mark.usefixtures("collected")
@pytest.mark.parametrize("harm", [cut, flip, pipe, lambda path: path.unlink()], ids=["cut", "flip", "pipe", "gone"])
def test_a_harmed_file_of_a_checkpoint_never_gives_other_values(saved, tmp_path, harm, capsys):
    """Each file of the newest in turn: its state is what was written, or the one before is taken and the newest set aside."""
    folder, state = saved
    files = sorted(path.relative_to(folder) for path in (folder / "checkpoints" / "3").rglob("*") if path.is_file())
    passed_over = 0
    for k, file in enumerate(files):
        copy = tmp_path / str(k)
        shutil.copytree(folder, copy)
        harm(copy / file)
        set_damaged_aside(copy, state)
        with Checkpoints(copy, 3) as checkpoints:
            step = checkpoints.latest()
            restored = checkpoints.restore(step, state)
        jax.tree.map(np.testing.assert_array_equal, restored, state.replace(step=jnp.int32(step)))
        assert (step == 3) != (copy / "damaged" / "3").is_dir()
        passed_over += step != 3
    lines = [line for line in capsys.readouterr().err.splitlines() if "damaged" in line]
    assert passed_over == len(lines) > 3 and all("step 3" in line for line in lines)


def test_when_all_checkpoints_are_damaged_nothing_is_moved(saved, tmp_path):
    folder, state = saved
    shutil.copytree(folder, tmp_path / "copy")
    for step in (1, 2, 3):
        (tmp_path / "copy" / "checkpoints" / str(step) / "metrics" / "metrics").write_text("{}")
    with pytest.raises(code_jax.UserError, match="are damaged"):
        set_damaged_aside(tmp_path / "copy", state)
    assert sorted(path.name for path in (tmp_path / "copy" / "checkpoints").iterdir()) == ["1", "2", "3"]


def test_a_disk_without_room_is_named(saved, tmp_path, monkeypatch):
    _, state = saved
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("Usage", (), {"free": 10}))
    with pytest.raises(code_jax.UserError, match=r"checkpoints'.* needed"), Checkpoints(tmp_path, 1) as checkpoints:
        checkpoints.save(state, 1.0)
