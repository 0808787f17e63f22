"""Pictures of any size: few programs, tiles as one picture, and no more in memory than is at work."""

import logging
import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from code_jax.runs import tasks
from code_jax.runs.engine import canvas_side
from code_jax.runs.prefetch import prefetch
from code_jax.runs.result import write_result
from tests import oracles
from tests.runs.results import files

PROGRAMS = ("begin", "advance", "_ended")  # of an edit; `advance` alone holds the network
MOST_PIXELS = 2 * Image.MAX_IMAGE_PIXELS  # what Pillow refuses beyond


@pytest.mark.parametrize("side", [8, 32, 64, 96, 128, 256, 512, 1024])
def test_all_pictures_there_are_lie_on_seven_canvases_or_fewer(side):
    """A canvas depends on the number of pixels alone, and grows with it: to enumerate its steps is to enumerate all."""
    shape = (side, side, 3)
    sides, pixels = [], side**2
    while pixels <= MOST_PIXELS:
        sides.append(canvas_side((1, pixels), shape))
        pixels = sides[-1] ** 2 + 1
    assert len(sides) <= 7 and sides == sorted(set(sides))
    rng = np.random.default_rng(0)
    for height, width in np.exp(rng.uniform(math.log(side), math.log(12_000), (1000, 2))).astype(int):
        found = canvas_side((height, width), shape)
        assert found in sides and found**2 >= height * width
        assert found <= max(512, 2 * side) or found**2 < 4 * height * width


@pytest.fixture
def compiled(caplog):
    """The names of the programs that JAX says it compiled so far."""
    jax.config.update("jax_log_compiles", True)
    caplog.set_level(logging.WARNING, logger="jax")

    def names():
        texts = [record.getMessage() for record in caplog.records]
        return [text.split()[4] for text in texts if text.startswith("Finished XLA compilation of ")]

    yield names
    jax.config.update("jax_log_compiles", False)


def different_sizes(folder, count, rng):
    """So many sizes, from a pixel to panoramas."""
    folder.mkdir()
    made = set()
    while len(made) < count:
        size = tuple(np.exp(rng.uniform(0, math.log(400), 2)).astype(int).tolist())
        if size not in made:
            made.add(size)
            Image.new("RGB", size, tuple(rng.integers(0, 256, 3).tolist())).save(folder / f"{len(made):03}.bmp")
    return folder


@pytest.mark.parametrize("fit", ["resize", "tile"])
def test_different_sizes_compile_few_programs(fit, tmp_path, restore, compiled):
    """Forty sizes, of all that there may be in two of the seven canvases."""
    rng = np.random.default_rng(7)
    folder = different_sizes(tmp_path / "in", 40, rng)
    if fit == "tile":
        Image.new("RGB", (20, 20)).save(folder / "000.bmp")
        Image.new("RGB", (300, 400)).save(folder / "999.bmp")  # 320 x 320 < 300 x 400 <= 640 x 640
    prior = oracles.gaussian(jnp.zeros((10, 10, 3)), jnp.float32(0.4))  # of a shape that no other test has compiled for
    assert restore(folder, "--out", tmp_path / "out", "--fit", fit, prior=prior) == 0
    names = compiled()
    canvases = 1 if fit == "resize" else 2
    assert {name: names.count(f"jit({name})") for name in PROGRAMS} == dict.fromkeys(PROGRAMS, canvases)
    # Whatever else was compiled does not know of sizes: more of them compile nothing.
    more = different_sizes(tmp_path / "more", 40, rng)
    assert restore(more, "--out", tmp_path / "out", "--fit", fit, prior=prior) == 0
    assert compiled() == names and len(files(tmp_path / "out")) == 80 + 2 * (fit == "tile")


def test_a_tiled_picture_has_the_same_bytes_with_any_batch_and_is_not_its_tiles(tmp_path, restore):
    """A window more or less in a program, and pictures before it, change nothing of a picture."""
    (tmp_path / "in").mkdir()
    for i, size in enumerate([(30, 21), (8, 8), (100, 9), (5, 60)]):
        pixels = np.random.default_rng(i).integers(0, 256, (*size, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "in" / f"{i}.png")
    assert restore(tmp_path / "in", "--out", tmp_path / "out", "--fit", "tile") == 0
    assert restore(tmp_path / "in" / "2.png", "--out", tmp_path / "alone", "--fit", "tile") == 0
    together = files(tmp_path / "out")
    assert files(tmp_path / "alone") == {"2.png": together["2.png"]}
    for i, size in enumerate([(30, 21), (8, 8), (100, 9), (5, 60)]):
        with Image.open(tmp_path / "out" / f"{i}.png") as result:
            assert result.size == size[::-1]


def test_no_more_is_made_ahead_than_was_allowed():
    made, taken, lock = 0, 0, threading.Lock()
    most = 0

    def make(item):
        nonlocal made, most
        with lock:
            made += 1
            most = max(most, made - taken)
        return item

    with ThreadPoolExecutor(4) as pool:
        for item in prefetch(pool, make, range(200), ahead=7):
            time.sleep(0.0005)
            with lock:
                taken += 1
            assert item == taken - 1
    assert made == 200 and most <= 8  # seven, and the one that is in hand


def test_what_is_in_memory_does_not_grow_with_the_number_of_files(tmp_path, restore, monkeypatch):
    """Pictures decoded and not yet written: no more of two hundred than of forty."""
    peaks = {}
    for count in (40, 200):
        folder = tmp_path / f"in{count}"
        folder.mkdir()
        for i in range(count):
            Image.new("RGB", (8, 8), (i, i, i)).save(folder / f"{i:03}.bmp")
        alive, most, lock = set(), 0, threading.Lock()
        decoded, settled = tasks._decoded, write_result

        def decode(prepared, *rest, decoded=decoded, alive=alive, lock=lock):
            nonlocal most
            result = decoded(prepared, *rest)
            with lock:
                alive.add(prepared.name)
                most = max(most, len(alive))
            return result

        def write(image, item, *rest, settled=settled, alive=alive, lock=lock):
            result = settled(image, item, *rest)
            with lock:
                alive.discard(item.name)
            return result

        with monkeypatch.context() as patch:
            patch.setattr(tasks, "_decoded", decode)
            patch.setattr("code_jax.runs.restore.write_result", write)
            assert restore(folder, "--out", tmp_path / f"out{count}") == 0
        assert not alive
        peaks[count] = most
    assert peaks[200] <= 40
