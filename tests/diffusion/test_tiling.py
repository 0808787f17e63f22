"""A prior of one size on larger pictures: exact where the score is pointwise, seamless where it is not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import code_jax
from code_jax.diffusion.tiling import tiled, window_starts, window_weight
from code_jax.editing.memory import program_memory
from tests import oracles
from tests.seams import border_ratio, pasted

SIZE = (19, 33)


def pointwise(shape):
    return oracles.gaussian(jnp.full(shape, 0.2), jnp.float32(0.5))


def on_canvas(images, side):
    batch, height, width, channels = images.shape
    flat = jnp.zeros((batch, side * side, channels)).at[:, : height * width].set(images.reshape(batch, -1, channels))
    return flat.reshape(batch, side, side, channels)


@pytest.mark.parametrize(("size", "chunk"), [(SIZE, 5), ((8, 8), 3), ((8, 200), 4), ((64, 9), 1)])
def test_a_pointwise_score_is_that_of_the_whole(size, chunk):
    x = jax.random.normal(jax.random.key(0), (2, *size, 3))
    t = jnp.array([0.1, 3.0])[:, None, None, None]
    expected = pointwise((*size, 3)).eps_at(x, t)
    wide = tiled(pointwise((8, 8, 3)), size, chunk=chunk)
    np.testing.assert_allclose(wide.eps_at(x, t), expected, rtol=0, atol=2e-6)
    placed = tiled(pointwise((8, 8, 3)), size, canvas=48, chunk=chunk).eps_at(on_canvas(x, 48), t).reshape(2, -1, 3)
    np.testing.assert_array_equal(placed[:, : np.prod(size)], wide.eps_at(x, t).reshape(2, -1, 3))
    assert not np.any(placed[:, np.prod(size) :])


def test_the_score_is_the_weighted_mean_of_the_windows_of_a_network(tiny):
    """By the definition, window by window, for a score that is not pointwise."""
    x, t = jax.random.normal(jax.random.key(1), (1, *SIZE, 3)), jnp.float32(1.2)
    weight = np.sin(np.pi * (np.arange(8) + 0.5) / 8) ** 2
    total, weights = np.zeros((*SIZE, 3)), np.zeros((*SIZE, 1))
    eps = jax.jit(tiny.eps_at)
    for top in window_starts(SIZE[0], 8):
        for left in window_starts(SIZE[1], 8):
            part = np.s_[top : top + 8, left : left + 8]
            both = np.outer(weight, weight)[..., None]
            total[part] += both * np.asarray(eps(x[(0, *part)][None], t))[0]
            weights[part] += both
    found = jax.jit(lambda wide, x, t: wide.eps_at(x, t))(tiled(tiny, SIZE, chunk=3), x, t)
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


def mosaic(prior, size, key):
    """Tiles of a prior's own, shifted by half a tile: where pasted results have their borders, it has none."""
    side = prior.image_shape[0]
    rows, columns = (-(-length // side) + 1 for length in size)
    tiles = oracles.texture_samples(prior, key, rows * columns).reshape(rows, columns, side, side, 3)
    whole = tiles.swapaxes(1, 2).reshape(rows * side, columns * side, 3)
    return whole[side // 2 :, side // 2 :][: size[0], : size[1]]


@pytest.mark.slow
def test_a_tiled_edit_shows_no_borders_and_pasted_edits_do():
    """500×333 with noise, of textures whose score is exact: what a window draws depends on all of its pixels."""
    prior, size, side = oracles.texture(16, 3.0), (500, 333), 16
    program = code_jax.EditProgram(num_steps=4, solver="midpoint", langevin_steps=6)
    config = code_jax.EditConfig(depth=0.4, step_size=0.01, program=program)
    image = mosaic(prior, size, jax.random.key(1))
    image = (image + 0.25 * jax.random.normal(jax.random.key(2), image.shape)).clip(-1, 1)

    whole = code_jax.edit(jax.random.key(0), tiled(prior, size, chunk=64), image[None], config).images[0]
    borders = [np.concatenate([window_starts(length, side), window_starts(length, side) + side]) for length in size]
    assert 0.97 <= border_ratio(np.asarray(whole), *borders) <= 1.03
    separate = pasted(lambda tiles: code_jax.edit(jax.random.key(0), prior, tiles, config).images, image, side)
    own = [np.arange(0, length, side) for length in size]
    assert 0.97 <= border_ratio(np.asarray(whole), *own) <= 1.03
    assert border_ratio(separate, *own) > 2


def test_a_tiled_edit_in_float64_is_that_in_float32():
    given = jax.random.uniform(jax.random.key(5), (1, *SIZE, 3), minval=-1)
    config = code_jax.EditConfig(0.4, 0.01, program=code_jax.EditProgram(num_steps=2, langevin_steps=0), input_noise=0.0)

    def run(dtype):
        return code_jax.edit(jax.random.key(0), tiled(pointwise((8, 8, 3)), SIZE, chunk=3), given.astype(dtype), config).images

    single = run(np.float32)
    with jax.enable_x64(True):
        double = run(np.float64)
    assert double.dtype == np.float64
    np.testing.assert_allclose(single, double, atol=1e-5)


@pytest.mark.slow
def test_images_of_a_batch_are_thresholded_and_masked_each_by_itself():
    wide = tiled(oracles.mixture(jnp.full((8, 8, 3), 0.4), 0.3), SIZE, chunk=3)
    images = jnp.array([0.2, 1.0])[:, None, None, None] * jax.random.uniform(jax.random.key(5), (2, *SIZE, 3), minval=-1)
    program = code_jax.EditProgram(num_steps=3, langevin_steps=2, solver="heun")
    config = code_jax.EditConfig(0.4, 0.01, 1.0, dynamic_threshold=(0.6, 1.2), program=program)
    mask = jnp.zeros(SIZE, bool).at[3:15, 4:30].set(True)
    keys = jax.random.split(jax.random.key(6), 2)
    together = code_jax.edit(keys, wide, images, config, mask).images
    for i in range(2):
        alone = code_jax.edit(keys[i : i + 1], wide, images[i : i + 1], config, mask).images
        np.testing.assert_allclose(together[i : i + 1], alone, atol=1e-5)
    free = code_jax.edit(keys, wide, images, config.replace(dynamic_threshold=None), mask).images
    assert float(jnp.abs(free - together).max()) > 0.01


def test_identity_remains_as_the_depth_goes_to_zero():
    """A prior that wants another colour at every place of a window."""
    mean = jax.random.uniform(jax.random.key(3), (8, 8, 3), minval=-0.9, maxval=0.9)
    image = jax.random.uniform(jax.random.key(4), (1, *SIZE, 3), minval=-0.9, maxval=0.9)
    wide, errors = tiled(oracles.gaussian(mean, jnp.float32(0.3)), SIZE), []
    for depth in (0.3, 0.1, 0.03, 0.002):
        program = code_jax.EditProgram(num_steps=4, solver="midpoint", grid="geometric", langevin_steps=2)
        config = code_jax.EditConfig(depth=depth, step_size=1e-4 * depth, eta=None, input_noise=0.0, program=program)
        errors.append(float(jnp.abs(code_jax.edit(jax.random.key(0), wide, image, config).images - image).mean()))
    assert errors == sorted(errors, reverse=True) and errors[0] > 0.02 and errors[-1] < 0.002


def test_memory_grows_with_the_picture_and_not_with_the_number_of_windows():
    """By the compiler's own analysis of an edit of 4096×4096: eight times the picture's floats, and what a chunk takes."""
    prior = oracles.texture(64, 3.0)
    config = code_jax.preset().with_program(num_steps=2, langevin_steps=2)
    wide = (tiled(prior, (side, side), canvas=side, chunk=8) for side in (1024, 4096))
    small, large = (program_memory(each, config, 1) for each in wide)
    own = 4 * 3 * (4096**2 - 1024**2)  # bytes of float32
    assert own < large - small < 8 * own
    assert small < 8 * 4 * 3 * 1024**2 + 20 * 4 * 3 * 8 * 64**2
