import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import code_jax
from code_jax.cli.main import main
from code_jax.devices.mesh import free_memory
from code_jax.editing import edit as editing
from code_jax.editing.memory import working_memory
from code_jax.runs import micro_batch

FAST = ["--ode-steps", "2", "--langevin-steps", "2"]

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def restore(tiny_folder, tmp_path):
    """Runs the command on five pictures and one that is none; (status, micro-batches in the manifest)."""
    folder = tmp_path / "in"
    folder.mkdir()
    for i in range(5):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (8, 8, 3), np.uint8)).save(folder / f"p{i}.png")
    (folder / "no.png").touch()

    def run(*argv, out="out"):
        status = main(["restore", str(folder), "--out", str(tmp_path / out), "--prior", tiny_folder, *FAST, *map(str, argv)])
        path = tmp_path / out / "manifest.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return status, sorted(line["micro_batch"] for line in lines)

    return run


@pytest.fixture
def small_memory(monkeypatch):
    """`small_memory(n)`: an edit of more than n images asks for 32 TiB more, which XLA itself then refuses.

    The default micro-batch is that of an accelerator.
    """
    monkeypatch.setattr(micro_batch, "default_micro_batch", lambda: 8)

    def limit(most):
        advance = editing.advance

        def hungry(keys, *operands):
            if len(keys) > most:
                jnp.zeros(2**43).block_until_ready()
            return advance(keys, *operands)

        monkeypatch.setattr(editing, "advance", hungry)

    return limit


def test_out_of_memory_halves_until_it_fits_and_the_manifest_says_so(restore, small_memory, tmp_path, capsys):
    assert restore("--batch-size", 2, out="expected") == (1, [2] * 6)
    small_memory(2)
    capsys.readouterr()
    assert restore() == (1, [2] * 6)
    said = capsys.readouterr().err
    assert "out of memory with 8 pictures on a device at a time; again with 4\n" in said
    assert "out of memory with 4 pictures on a device at a time; again with 2\n" in said
    for i in range(5):
        assert (tmp_path / "out" / f"p{i}.png").read_bytes() == (tmp_path / "expected" / f"p{i}.png").read_bytes()
    assert restore() == (1, [2] * 6)  # a later run keeps the recorded one
    assert "out of memory" not in capsys.readouterr().err


def test_out_of_memory_is_one_line_where_halving_is_no_remedy(restore, small_memory, capsys):
    small_memory(0)
    assert restore()[0] == 2
    shown = capsys.readouterr().err.splitlines()
    assert sum("again with" in line for line in shown) == 3 and "out of memory with one picture" in shown[-1]


def test_a_batch_size_that_was_given_is_not_halved(restore, small_memory, capsys):
    small_memory(2)
    assert restore("--batch-size", 4)[0] == 2
    shown = capsys.readouterr().err
    assert "with 4 pictures on a device at a time; give --batch-size 2 --overwrite\n" in shown and "again with" not in shown
    assert restore("--batch-size", 2, "--overwrite") == (1, [2] * 6)


def test_a_picture_by_itself_is_not_padded_on_a_cpu(restore):
    assert restore() == (1, [1] * 6)


def test_results_are_not_mixed_with_those_of_half_the_micro_batch(restore, small_memory, tmp_path, capsys):
    restore("--batch-size", "4")
    (tmp_path / "out" / "p3.png").unlink()
    small_memory(2)
    capsys.readouterr()
    assert restore("--batch-size", "auto")[0] == 2
    shown = capsys.readouterr().err
    assert "--batch-size 2 --overwrite" in shown and "again with" not in shown
    assert restore("--batch-size", 2, "--overwrite") == (1, [2] * 6)


def test_auto_is_what_memory_holds_and_no_more_than_there_is_to_do(tiny, monkeypatch):
    config = code_jax.preset()
    each = working_memory(tiny, config, 8)
    weights = sum(leaf.nbytes for leaf in jax.tree.leaves(tiny))
    for pictures, results, expected in (
        (1, 99, 1),
        (5, 99, 4),
        (8, 99, 8),
        (63, 99, 32),
        (9999, 99, 64),
        (9999, 7, 4),
        (0, 9, 1),
    ):
        monkeypatch.setattr(micro_batch, "free_memory", lambda device, n=pictures: (weights + (n + 0.01) * each) / 0.8)
        assert micro_batch.largest_fitting(tiny, config, 1, results) == expected


def test_auto_is_recorded_and_a_later_run_keeps_it(restore, monkeypatch):
    assert restore("--batch-size", "auto", "--devices", 1) == (1, [4] * 6)  # of six
    monkeypatch.setattr(micro_batch, "free_memory", lambda device: 0)
    assert restore("--batch-size", "auto", "--devices", 1) == (1, [4] * 6)
    assert restore("--batch-size", "auto", out="other") == (1, [1] * 6)


def test_memory_does_not_grow_with_steps(tiny):
    config = code_jax.preset()

    def memory(steps):
        program = config.program
        return working_memory(tiny, config.replace(program=type(program)(num_steps=steps, langevin_steps=steps)), 4)

    few, many = memory(2), memory(200)
    numbers = 8 * 4 * 3 * 198  # a move's own: levels, coefficients, bound and kind, of three stretches
    assert many - few <= numbers < tiny.image_shape[0] ** 2 * 3 * 4 * 198


def test_free_memory_of_a_cpu_is_within_the_machines():
    with open("/proc/meminfo") as file:
        total = int(next(line for line in file if line.startswith("MemTotal")).split()[1]) * 1024
    assert 0 < free_memory(jax.local_devices()[0]) < total


@pytest.mark.parametrize("size", ["0", "-1", "many", "1.5"])
def test_a_batch_size_that_cannot_be_is_one_line_and_status_2(restore, capsys, size):
    assert restore("--batch-size", size)[0] == 2
    shown = capsys.readouterr().err
    assert size in shown and shown.count("\n") == 1
