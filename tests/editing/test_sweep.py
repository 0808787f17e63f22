import dataclasses
import math
import os
import re
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import code_jax
from code_jax.cli.main import main
from code_jax.editing import sweep as sweeping
from code_jax.editing.edit import number_of_moves
from code_jax.editing.points import at_points
from code_jax.progress import PREPARING
from tests.oracles import mixture

SMALL = code_jax.EditProgram(num_steps=3, solver="heun", langevin_steps=4, anneal_levels=2)
CONFIG = code_jax.EditConfig(program=SMALL)
GRID = code_jax.SweepGrid(step_size=(1e-3, 1e-2), depth=(0.2, 0.6), eta=(1.2, None), seeds=2)


def images_of(prior, count=3):
    return jax.random.uniform(jax.random.key(7), (count, *prior.image_shape), minval=-1)


def config_of(point):
    """A point's config as a user would write it."""
    return CONFIG.replace(**dict(point.numbers))


@pytest.mark.slow
def test_every_point_has_the_bytes_of_its_own_edit_at_the_micro_batch(tiny):
    x0, key = images_of(tiny), jax.random.key(3)
    result = code_jax.sweep(key, tiny, x0, GRID, CONFIG, micro_batch=3)
    assert result.images.shape == (16, 3, 8, 8, 3) and len(set(result.points)) == 16
    for point, images, *facts in zip(result.points, result.images, *result.info, strict=True):
        alone = code_jax.edit(jax.random.fold_in(key, point.seed), tiny, x0, config_of(point))
        np.testing.assert_array_equal(images, alone.images)
        for got, expected in zip(facts, alone.info, strict=True):
            np.testing.assert_array_equal(got, expected)
    assert set(np.ravel(result.info.nfe)) == {3 * 2 + 4 + 3 * 2 + 1}


@pytest.mark.slow
@pytest.mark.parametrize(("method", "noise", "encodings"), [("code", 1.0, 2 * 2 * 2), ("code", 0.0, 2 * 2), ("sdedit", 1.0, 0)])
def test_encodings_are_shared_among_points_that_have_the_same_one(method, noise, encodings):
    prior = mixture(jnp.full((4, 4, 1), 0.4), 0.3)
    config = CONFIG.replace(input_noise=noise, program=dataclasses.replace(SMALL, method=method))
    x0, key = images_of(prior, 2), jax.random.key(1)
    grid = GRID if encodings else code_jax.SweepGrid(depth=(0.2, 0.4, 0.6, 0.8), seeds=4)
    result = code_jax.sweep(key, prior, x0, grid, config)
    up = 6 if encodings else 0
    assert result.evaluations == 2 * (encodings * up + 16 * (int(result.info.nfe[0, 0]) - up))
    for point, images in zip(result.points, result.images, strict=True):
        own = config_of(point).replace(input_noise=noise, program=config.program)
        alone = code_jax.edit(jax.random.fold_in(key, point.seed), prior, x0, own).images
        np.testing.assert_allclose(images, alone, atol=1e-5)


@pytest.mark.slow
def test_a_grid_costs_one_compilation_and_another_grid_none(tiny, caplog):
    program = dataclasses.replace(SMALL, num_steps=2)  # of no other test
    other = code_jax.SweepGrid(step_size=(2e-3,), depth=(0.3, 0.5, 0.9), anneal_rate=(0.5, 0.9))
    with jax.log_compiles(True), caplog.at_level("DEBUG", logger="jax"):
        for seed, grid in enumerate((GRID, other)):
            config = CONFIG.replace(program=program)
            code_jax.sweep(jax.random.key(seed), tiny, images_of(tiny, 1) / (seed + 1), grid, config, micro_batch=4)
    assert caplog.text.count("Compiling jit(advance)") == 1


FOUR_DEVICES = """
import jax, numpy as np, code_jax
from tests.conftest import ONE_LEVEL, tiny_prior
from tests.editing.test_sweep import CONFIG, GRID, config_of, images_of
prior, key = tiny_prior(**ONE_LEVEL), jax.random.key(3)
assert jax.device_count() == 4
x0 = images_of(prior)
result = code_jax.sweep(key, prior, x0, GRID, CONFIG, micro_batch=3)
for point, images in zip(result.points, result.images):
    alone = code_jax.edit(jax.random.fold_in(key, point.seed), prior, x0, config_of(point)).images
    assert len(alone.devices()) == 1
    np.testing.assert_array_equal(images, alone)
"""


@pytest.mark.slow
def test_four_devices_give_the_bytes_of_one():
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", FOUR_DEVICES], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_keys_of_seeds_and_images_may_be_given(tiny):
    x0, key = images_of(tiny), jax.random.key(3)
    folded = [jax.random.fold_in(key, seed) for seed in range(2)]
    keys = jnp.stack([jnp.stack([jax.random.fold_in(k, i) for i in range(3)]) for k in folded])
    by_scalar, by_keys = (code_jax.sweep(k, tiny, x0, GRID, CONFIG, micro_batch=3).images for k in (key, keys))
    np.testing.assert_array_equal(by_scalar, by_keys)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.floats(1e-6, 1e-2), max_size=3, unique=True),
    st.lists(st.floats(0.01, 1), max_size=3, unique=True),
    st.lists(st.one_of(st.none(), st.floats(0.5, 3)), max_size=3, unique=True),
    st.integers(1, 3),
)
def test_the_points_are_the_product_of_the_axes(steps, depths, etas, seeds):
    grid = code_jax.SweepGrid(step_size=steps, depth=depths, eta=etas, seeds=seeds)
    points = grid.points()
    assert len(points) == len(set(points)) == grid.size
    assert {point.seed for point in points} == set(range(seeds))
    for name, values in (("step_size", steps), ("depth", depths), ("eta", [math.inf if eta is None else eta for eta in etas])):
        assert {dict(point.numbers).get(name) for point in points} == set(values or [None])


def test_a_relative_step_is_h_over_the_noise_variance_and_an_absolute_one_is_turned_into_it():
    prior, depths = mixture(jnp.full((4, 4, 1), 0.4), 0.3), (0.2, 0.8)
    alphas = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
    log_sigma = 0.5 * np.log((1 - alphas) / alphas)
    sigmas = [np.exp(np.interp(depth * 999, np.arange(1000), log_sigma)) for depth in depths]
    grids = [code_jax.SweepGrid(relative_step=(0.01, 0.1), depth=depths), code_jax.SweepGrid(step_size=(0.01, 0.1), depth=depths)]
    relative, absolute = (at_points(code_jax.preset("local"), grid.points(), prior) for grid in grids)
    for found in (relative, absolute):
        np.testing.assert_allclose(found.sigma[:, 0], np.repeat(sigmas, 2), rtol=1e-5)
    np.testing.assert_allclose(relative.relative_step[:, 0], [0.01, 0.1] * 2, rtol=1e-6)
    variances = [sigma**2 / (1 + sigma**2) for sigma in sigmas]
    np.testing.assert_allclose(absolute.relative_step[:, 0], [h / v for v in variances for h in (0.01, 0.1)], rtol=1e-5)


@pytest.mark.parametrize(
    ("grid", "options", "named"),
    [
        ({"seeds": 0}, {}, "seeds is 0"),
        ({"seeds": 10**9}, {}, "1000000000 points"),
        ({"step_size": np.geomspace(1e-6, 1e-2, 200), "depth": np.linspace(0.1, 1, 100)}, {}, "20000 points"),
        ({"depth": (0.2, 1.5)}, {}, "depth is 1.5"),
        ({"step_size": (0.0,)}, {}, "step_size is 0.0"),
        ({"eta": (-1.0,)}, {}, "eta is -1.0"),
        ({"anneal_rate": (2.0,)}, {}, "anneal_rate is 2.0"),
        ({"step_size": (1e-3,), "relative_step": (0.1,)}, {}, "give one of them"),
        ({}, {"micro_batch": 0}, "micro_batch is 0"),
        ({}, {"config": code_jax.EditConfig(depth=[0.5, 0.2])}, "depth is [0.5, 0.2]"),
        ({"sigma": (0.5,), "depth": (0.2,)}, {}, "give one of them"),
        ({"sigma": (0.5, 1e4)}, {}, "sigma is [10000.0]"),
        ({"langevin_step": (0.5,)}, {}, "did you mean langevin_steps"),
        ({}, {"key": jax.random.split(jax.random.key(0), (3, 2))}, "keys of shape (3, 2)"),
        ({}, {"key": jnp.zeros(2, jnp.uint32)}, "typed PRNG key"),
        ({}, {"images": jnp.zeros((0, 8, 8, 3))}, "0 images"),
    ],
)
def test_a_grid_that_cannot_be_is_one_line(tiny, grid, options, named):
    given = {"key": jax.random.key(0), "prior": tiny, "images": images_of(tiny, 2), "config": CONFIG} | options
    with pytest.raises(code_jax.UserError, match=re.escape(named)) as raised:
        code_jax.sweep(grid=code_jax.SweepGrid(**grid), **given)
    assert "\n" not in str(raised.value)


@pytest.mark.slow
def test_out_of_memory_halves_the_micro_batch_that_was_not_given(monkeypatch):
    prior = mixture(jnp.full((4, 4, 1), 0.4), 0.3)
    expected = code_jax.sweep(jax.random.key(2), prior, images_of(prior, 2), GRID, CONFIG, micro_batch=2)
    tried = []

    def advance(keys, prior, state, *numbers):
        tried.append(len(keys) // len(keys.devices()))
        if tried[-1] > 2:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes.")
        return compiled(keys, prior, state, *numbers)

    compiled = sweeping.advance
    monkeypatch.setattr(sweeping, "advance", advance)
    with pytest.warns(UserWarning, match="out of memory with . images on a device at a time; again with . at most") as warned:
        result = code_jax.sweep(jax.random.key(2), prior, images_of(prior, 2), GRID, CONFIG)
    assert tried[:3] == [8, 4, 2] and len(warned) == 2 and result.micro_batch == 2
    np.testing.assert_array_equal(result.images, expected.images)
    with pytest.raises(code_jax.UserError, match="out of memory with 3 images on a device at a time: give fewer"):
        code_jax.sweep(jax.random.key(2), prior, images_of(prior, 2), GRID, CONFIG, micro_batch=3)


@pytest.mark.slow
def test_a_slow_first_chunk_is_explained(tiny_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("code_jax.progress._PATIENCE", 0.01)
    compiled = sweeping.begin
    monkeypatch.setattr(sweeping, "begin", lambda *given: time.sleep(0.1) or compiled(*given))
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    argv = ["sweep", str(tmp_path / "a.png"), "--out", str(tmp_path / "out"), "--prior", str(tiny_folder), "--depth", "0.2,0.4"]
    assert main([*argv, "--ode-steps", "1", "--langevin-steps", "1"]) == 0
    assert capsys.readouterr().err.startswith(f"{PREPARING}\n")


def test_progress_adds_up(tiny):
    seen = []
    code_jax.sweep(
        jax.random.key(0),
        tiny,
        images_of(tiny, 1),
        GRID,
        CONFIG,
        micro_batch=3,
        after=lambda done, total: seen.append((done, total)),
    )
    assert sum(done for done, _ in seen) == seen[0][1]
    assert number_of_moves(tiny, CONFIG)[1] * 16 > seen[0][1]
