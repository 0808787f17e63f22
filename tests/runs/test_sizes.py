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

from code_jax.cli.main import main
from code_jax.runs import tasks
from code_jax.runs.canvas import canvas_side
from code_jax.runs.prefetch import prefetch
from code_jax.runs.result import write_result
from tests import oracles
from tests.runs.results import files

PROGRAMS = ("begin", "advance", "ended")  # of an edit; `advance` alone holds the network
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
    """The names of the programs that JAX says it compiled so far, of which it has none to begin with."""
    jax.clear_caches()
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


@pytest.mark.parametrize(("fit", "side", "programs"), [("resize", 10, 1), ("tile", 20, 2), ("auto", 5, 3)])  # shapes of their own
@pytest.mark.slow
def test_different_sizes_compile_few_programs(fit, side, programs, tmp_path, restore, compiled):
    """Forty sizes, of all that there may be in two of the seven canvases, at all levels; smaller ones are fitted."""
    rng = np.random.default_rng(7)
    folder = different_sizes(tmp_path / "in", 40, rng)
    if fit != "resize":
        Image.new("RGB", (5, 5)).save(folder / "000.bmp")
        Image.new("RGB", (300, 400)).save(folder / "999.bmp")  # 320 x 320 < 300 x 400 <= 640 x 640
    prior = oracles.gaussian(jnp.zeros((side, side, 3)), jnp.float32(0.4)).replace(patches=(1, 2))
    assert restore(folder, "--out", tmp_path / "out", "--fit", fit, prior=prior) == 0
    names = compiled()
    assert {name: names.count(f"jit({name})") for name in PROGRAMS} == dict.fromkeys(PROGRAMS, programs)
    # Whatever else was compiled does not know of sizes: more of them compile nothing.
    more = different_sizes(tmp_path / "more", 40, rng)
    assert restore(more, "--out", tmp_path / "out", "--fit", fit, prior=prior) == 0
    assert compiled() == names and len(files(tmp_path / "out")) == 80 + 2 * (fit != "resize")


@pytest.mark.parametrize("fit", ["tile", "pyramid"])
def test_a_picture_at_its_own_size_has_the_same_bytes_in_any_company(fit, tmp_path, restore):
    """A window more or less in a program, and pictures before it, change nothing of a picture."""
    (tmp_path / "in").mkdir()
    for i, size in enumerate([(30, 21), (8, 8), (100, 9), (5, 60)]):
        pixels = np.random.default_rng(i).integers(0, 256, (*size, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "in" / f"{i}.png")
    assert restore(tmp_path / "in", "--out", tmp_path / "out", "--fit", fit) == 0
    assert restore(tmp_path / "in" / "2.png", "--out", tmp_path / "alone", "--fit", fit) == 0
    together = files(tmp_path / "out")
    assert files(tmp_path / "alone") == {"2.png": together["2.png"]}
    for i, size in enumerate([(30, 21), (8, 8), (100, 9), (5, 60)]):
        with Image.open(tmp_path / "out" / f"{i}.png") as result:
            assert result.size == size[::-1]


def test_the_cost_is_told_before_it_starts_and_what_would_take_less(tmp_path, restore, monkeypatch, capsys):
    """Of four levels by hand: 2, 15, 77 and 345 windows, which at four at a time are 112 calls for each of seven moves."""
    monkeypatch.setattr("code_jax.runs.engine.Engine.pace", lambda engine: 1.0)
    monkeypatch.setattr("code_jax.runs.restore._Run._compute", lambda run, group: pytest.fail("it has started"))
    Image.new("RGB", (96, 64)).save(tmp_path / "in.png")
    prior = oracles.gaussian(jnp.zeros((8, 8, 3)), jnp.float32(0.4)).replace(patches=(1, 2))
    with pytest.raises(pytest.fail.Exception, match="it has started"):
        restore(tmp_path / "in.png", "--out", tmp_path / "out", "--devices", "1", prior=prior)
    told = capsys.readouterr().err.splitlines()
    assert f"1 result, {(2 + 15 + 77 + 345) * 7} evaluations of the network, about 13 min 04 s" in told
    assert "what would take less: --max-side 56 (about 4 min 27 s), fewer steps of the ODE, a GPU or TPU" in told


def test_pixels_that_are_thrown_away_are_warned_of_once(tmp_path, restore, capsys):
    (tmp_path / "in").mkdir()
    for i, size in enumerate([(8, 8), (9, 12), (16, 20), (40, 30)]):
        Image.new("RGB", size).save(tmp_path / "in" / f"{i}.png")
    assert restore(tmp_path / "in", "--out", tmp_path / "out") == 0
    told = capsys.readouterr().err
    assert told.count("of its 16x20 pixels 20.0% are left at the prior's size, 8x8; fit tile restores it at its own") == 1
    assert told.count("are left") == 1 and "warning: 2 pictures are reduced by more than half" in told
    for i in range(4):
        with Image.open(tmp_path / "out" / f"{i}.png") as result:
            assert result.size == (8, 8)


def test_a_bounded_side_is_told_of_and_told_again(tmp_path, restore, capsys):
    """By the file's own facts, which give the command, and the hash of the pixels that the prior saw."""
    pixels = np.random.default_rng(0).integers(0, 256, (17, 34, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "in.png")
    prior = oracles.gaussian(jnp.zeros((8, 8, 3)), jnp.float32(0.4)).replace(patches=(1, 2))
    assert restore(tmp_path / "in.png", "--out", tmp_path / "out", "--max-side", "20", prior=prior) == 0
    with Image.open(tmp_path / "out" / "in.png") as result:
        assert result.size == (20, 10)
    capsys.readouterr()
    assert main(["info", str(tmp_path / "out" / "in.png"), "--input", str(tmp_path / "in.png")]) == 0
    assert "--fit auto" in (told := capsys.readouterr().out) and "--max-side 20" in told


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
                alive.add(prepared.source.name)
                most = max(most, len(alive))
            return result

        def write(image, item, *rest, settled=settled, alive=alive, lock=lock):
            result = settled(image, item, *rest)
            with lock:
                alive.discard(item.source.name)
            return result

        with monkeypatch.context() as patch:
            patch.setattr(tasks, "_decoded", decode)
            patch.setattr("code_jax.runs.restore.write_result", write)
            assert restore(folder, "--out", tmp_path / f"out{count}") == 0
        assert not alive
        peaks[count] = most
    assert peaks[200] <= 40
