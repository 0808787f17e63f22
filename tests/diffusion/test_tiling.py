"""A prior of one size on larger pictures: exact where the score is pointwise, seamless where it is not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import code_jax
from code_jax.diffusion.tiling import tiled, window_starts, window_weight
from code_jax.editing.edit import advance, begin, per_image
from tests import oracles
from tests.conftest import ONE_LEVEL, tiny_prior
from tests.seams import border_ratio, pasted

SIZE = (19, 33)


def pointwise(shape):
    return oracles.gaussian(jnp.full(shape, 0.2), jnp.float32(0.5))


def on_canvas(images, side):
    batch, height, width, channels = images.shape
    flat = jnp.zeros((batch, side * side, channels)).at[:, : height * width].set(images.reshape(batch, -1, channels))
    return flat.reshape(batch, side, side, channels)


@pytest.mark.parametrize("size", [SIZE, (8, 8), (8, 200), (64, 9), (16, 16), (23, 41)])
@pytest.mark.parametrize("chunk", [1, 5])
def test_a_pointwise_score_is_that_of_the_whole(size, chunk):
    x = jax.random.normal(jax.random.key(0), (2, *size, 3))
    t = jnp.array([37.0, 600.0])
    expected = pointwise((*size, 3)).eps(x, t)
    wide = tiled(pointwise((8, 8, 3)), size, chunk=chunk)
    np.testing.assert_allclose(wide.eps(x, t), expected, rtol=0, atol=2e-6)
    placed = tiled(pointwise((8, 8, 3)), size, canvas=48, chunk=chunk).eps(on_canvas(x, 48), t).reshape(2, -1, 3)
    np.testing.assert_array_equal(placed[:, : np.prod(size)], wide.eps(x, t).reshape(2, -1, 3))
    assert not np.any(placed[:, np.prod(size) :])


def test_the_score_is_the_weighted_mean_of_the_windows_of_a_network(tiny):
    """By the definition, window by window, for a score that is not pointwise."""
    x, t = jax.random.normal(jax.random.key(1), (1, *SIZE, 3)), jnp.array([300.0])
    weight = np.sin(np.pi * (np.arange(8) + 0.5) / 8) ** 2
    total, weights = np.zeros((*SIZE, 3)), np.zeros((*SIZE, 1))
    eps = jax.jit(tiny.eps)
    for top in window_starts(SIZE[0], 8):
        for left in window_starts(SIZE[1], 8):
            part = np.s_[top : top + 8, left : left + 8]
            both = np.outer(weight, weight)[..., None]
            total[part] += both * np.asarray(eps(x[(0, *part)][None], t))[0]
            weights[part] += both
    found = jax.jit(lambda wide, x, t: wide.eps(x, t))(tiled(tiny, SIZE, chunk=3), x, t)
    np.testing.assert_allclose(found[0], total / weights, atol=2e-5)


def test_windows_cover_a_length_and_overlap_by_half():
    for side in (8, 9, 64):
        for length in [*range(side, 4 * side), 1000]:
            starts = window_starts(length, side)
            assert starts[0] == 0 and starts[-1] == length - side and len(starts) <= 2 * length / side
            assert np.all(np.diff(starts) > 0) and np.all(np.diff(starts) <= (side + 1) / 2)
    assert np.all(np.asarray(window_weight(8)) > 0)


@pytest.mark.parametrize("size", [(7, 20), (20, 7), (60, 60)])
def test_what_does_not_fit_is_refused(size):
    with pytest.raises(code_jax.UserError, match=f"{size[0]}x{size[1]}"):
        tiled(pointwise((8, 8, 3)), size, canvas=48)


def mosaic(size, side, key):
    """Blocks of one colour each, of a window's size: edges where pasted tiles have theirs, and inside."""
    rows, columns = -(-size[0] // side), -(-size[1] // side)
    colours = jax.random.uniform(key, (rows, columns, 3), minval=-0.8, maxval=0.8)
    return colours.repeat(side, 0).repeat(side, 1)[None, : size[0], : size[1]]


def test_a_tiled_edit_has_no_borders_and_pasted_edits_have(tiny):
    """500×333 in windows of 8×8; the random network draws other things in the midst of a window than at its edge."""
    size = (500, 333)
    config = code_jax.EditConfig(depth=0.4, program=code_jax.EditProgram(num_steps=3, langevin_steps=2))
    image = 0.5 * jax.random.normal(jax.random.key(2), (1, *size, 3)).clip(-2, 2)
    wide = code_jax.edit(jax.random.key(0), tiled(tiny, size, chunk=64), image, config).images
    starts = [np.unique(np.concatenate([window_starts(length, 8), window_starts(length, 8) + 8])) for length in size]
    assert 0.97 < border_ratio(np.asarray(wide[0]), *starts) < 1.03
    tiles = pasted(lambda tiles: code_jax.edit(jax.random.key(0), tiny, tiles, config).images, image[0], 8)
    every = [np.arange(0, length, 8) for length in size]
    assert not 0.97 < border_ratio(tiles, *every) < 1.03


def test_identity_remains_as_the_depth_goes_to_zero(tiny):
    image = 0.5 * jax.random.normal(jax.random.key(3), (1, *SIZE, 3)).clip(-2, 2)
    wide = tiled(tiny, SIZE)
    errors = []
    for depth in (0.3, 0.1, 0.03, 0.002):
        program = code_jax.EditProgram(num_steps=3, langevin_steps=0)
        config = code_jax.EditConfig(depth=depth, eta=None, input_noise=0.0, program=program)
        errors.append(
            float(jnp.abs(code_jax.edit(jax.random.key(0), wide, image.clip(-1, 1), config).images - image.clip(-1, 1)).mean())
        )
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.01


def test_a_large_picture_takes_memory_in_proportion_to_its_pixels():
    """4096×4096 by the compiler's own analysis, and one real evaluation; the bound: 12 floats a value of the canvas."""
    prior = tiny_prior(**ONE_LEVEL)
    side, chunk = 4096, 64
    config = code_jax.EditConfig(program=code_jax.EditProgram(num_steps=2, langevin_steps=2))
    wide = jax.eval_shape(lambda: None) or tiled(prior, (side, side), canvas=side, chunk=chunk)
    keys = jax.random.split(jax.random.key(0), 1)
    images = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
    numbers = per_image(code_jax.editing.config.canonical(config), 1)
    travel = jax.eval_shape(begin, keys, wide, images, numbers)
    memory = advance.lower(keys, wide, travel, numbers, jnp.int32(0), jnp.int32(1)).compile().memory_analysis()
    assert memory.temp_size_in_bytes + memory.output_size_in_bytes < 12 * 4 * 3 * side**2
