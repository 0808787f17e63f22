"""Coarse to fine: the pyramid against Pillow and NumPy's regressions, the edit against edits of its levels."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import code_jax
from code_jax.editing.masks import feather
from code_jax.editing.pyramid import SHARE, Pyramid, level_sizes, regression, resampled
from tests import oracles

FILTERS = {"lanczos": Image.Resampling.LANCZOS, "triangle": Image.Resampling.BILINEAR}
FAST = code_jax.EditProgram(num_steps=2, langevin_steps=2)


def smooth(size, seed=0):
    """A random picture whose spectrum falls with the frequency, float32 [H, W, 3] in [−0.8, 0.8]."""
    noise = np.random.default_rng(seed).standard_normal((*size, 3))
    frequency = np.hypot(np.fft.fftfreq(size[0])[:, None], np.fft.fftfreq(size[1]))[..., None]
    made = np.fft.ifft2(np.fft.fft2(noise, axes=(0, 1)) / np.maximum(frequency, 1 / max(size)), axes=(0, 1)).real
    return (0.8 * made / np.abs(made).max()).astype(np.float32)


@settings(max_examples=30, deadline=None)
@given(
    size=st.tuples(*[st.integers(1, 40)] * 2), to=st.tuples(*[st.integers(1, 80)] * 2), kernel=st.sampled_from(sorted(FILTERS))
)
def test_pictures_are_resampled_as_pillow_does(size, to, kernel):
    images = np.random.default_rng(0).standard_normal((2, *size, 1)).astype(np.float32)
    expected = [np.asarray(Image.fromarray(image[..., 0]).resize(to[::-1], FILTERS[kernel])) for image in images]
    np.testing.assert_allclose(resampled(images, to, kernel)[..., 0], expected, atol=3e-6)


@settings(max_examples=200, deadline=None)
@given(
    size=st.tuples(*[st.integers(8, 3000)] * 2),
    window=st.tuples(*[st.integers(2, 8)] * 2).map(lambda pair: (8 * pair[0], 8 * pair[1])),
)
def test_levels_grow_from_the_prior_s_size_to_their_own_by_about_two(size, window):
    size = max(size[0], window[0]), max(size[1], window[1])
    sizes = level_sizes(size, window)
    assert sizes[-1] == size and all(own >= least for each in sizes for own, least in zip(each, window, strict=True))
    ratio = min(own / least for own, least in zip(size, window, strict=True))
    assert (len(sizes) == 1) == (ratio <= 2**0.25)
    if len(sizes) > 1:
        assert any(own == least for own, least in zip(sizes[0], window, strict=True))
        for coarser, finer in itertools.pairwise(sizes):
            for axis in (0, 1):
                assert 2**0.25 - 1 / coarser[axis] < finer[axis] / coarser[axis] < 2**1.25 + 2 / coarser[axis]
        for height, width in sizes:  # of one shape, to half a pixel
            assert abs(height * size[1] / size[0] - width) <= 1 + size[1] / size[0]


@pytest.mark.parametrize("size", [(64, 96), (51, 83)])
def test_where_nothing_changed_a_level_begins_with_the_picture(size):
    picture = np.stack([smooth(size), smooth(size, 1)])
    pyramid = Pyramid.of(picture, level_sizes(size, (16, 16)))
    for level in range(1, len(pyramid.images)):
        np.testing.assert_allclose(pyramid.start(level, pyramid.images[level - 1]), pyramid.images[level], atol=2e-6)
    np.testing.assert_array_equal(pyramid.start(0, None), pyramid.images[0])


def test_texture_that_was_drawn_anew_is_not_carried_up_but_within_a_mask():
    """Noise of no correlation with the picture: the detail of a finer level is the picture's own."""
    size = (128, 128)
    sizes, picture = level_sizes(size, (64, 64)), smooth(size)
    below = resampled(picture, (64, 64)) + 0.1 * np.random.default_rng(3).standard_normal((64, 64, 3)).astype(np.float32)
    start = Pyramid.of(picture, sizes).start(1, below)
    assert np.sqrt(np.mean((start - picture) ** 2)) < 0.02
    share = np.zeros(size, np.float32)
    share[32:96, 32:96] = 1
    masked = Pyramid.of(picture, sizes, share).start(1, below)
    np.testing.assert_array_equal(masked[share == 0], picture[share == 0])
    away = [np.sqrt(np.mean((each - resampled(below, size))[40:88, 40:88] ** 2)) for each in (masked, picture)]
    assert away[0] < 0.7 * away[1]  # what is left is the picture's last octave


def test_a_regression_is_that_of_numpy_place_by_place():
    """Weighted by triangles about places sixteen pixels apart, with a slope of 1 for a variance of 0.001."""
    before, rng = smooth((32, 48)), np.random.default_rng(2)
    after = np.clip(1.7 * before - 0.2 + 0.05 * rng.standard_normal(before.shape), -1, 1).astype(np.float32)
    slopes, offsets = np.zeros((2, 3, 1)), np.zeros((2, 3, 3))
    for row, column in np.ndindex(2, 3):
        away = [np.abs(np.arange(length) - 16 * place - 7.5) / 16 for length, place in ((32, row), (48, column))]
        weights = np.outer(*(np.clip(1 - each, 0, None) for each in away)).ravel()
        moments = [np.cov(before[..., c].ravel(), after[..., c].ravel(), ddof=0, aweights=weights) for c in range(3)]
        covariance, variance = (np.mean([each[0, k] for each in moments]) for k in (1, 0))
        slopes[row, column] = (covariance + 0.001) / (variance + 0.001)
        means = [np.average(each.reshape(-1, 3), axis=0, weights=weights) for each in (before, after)]
        offsets[row, column] = means[1] - slopes[row, column] * means[0]
    slope, offset = regression(before, after)
    np.testing.assert_allclose(slope, slopes, rtol=2e-4)
    np.testing.assert_allclose(offset, offsets, atol=2e-4)
    assert 1.3 < slopes.min() < slopes.max() < 1.8


def test_contrast_and_a_veil_that_the_coarsest_level_loses_are_undone_at_the_finest():
    """As far as the coarsest level knows: the result there is taken to be the clean picture."""
    clean = smooth((128, 128))
    damaged = 0.3 * clean + 0.5
    pyramid, below = Pyramid.of(damaged, level_sizes((128, 128), (32, 32))), resampled(clean, (32, 32))
    for level in range(1, len(pyramid.images)):
        below = pyramid.start(level, below)
    octaves = [
        np.sqrt(np.mean((each - resampled(resampled(each, (64, 64)), (128, 128))) ** 2)) for each in (clean, damaged, below)
    ]
    assert octaves[1] == pytest.approx(0.3 * octaves[0], rel=1e-3) and octaves[2] > 0.55 * octaves[0]
    error = [10 * np.log10(4 / np.mean((image - clean) ** 2)) for image in (damaged, below)]
    assert error[1] > error[0] + 15


def test_an_edit_is_that_of_its_levels_one_after_the_other():
    prior = oracles.texture(8, 2.0)
    images = jnp.asarray(np.stack([smooth((16, 24)), smooth((16, 24), 1)]))
    config = code_jax.EditConfig(sigma=jnp.array([1.0, 0.4]), relative_step=0.1, program=FAST)
    made = code_jax.coarse_to_fine(jax.random.key(3), prior, images, config, chunk=2)

    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(3), i))(jnp.arange(2))
    fold = jax.vmap(jax.random.fold_in, (0, None))
    coarse = resampled(np.asarray(images), (8, 12))
    below = code_jax.edit(fold(keys, 0), code_jax.tiled(prior, (8, 12), chunk=2), jnp.asarray(coarse), config).images
    below = np.asarray(below)
    slope, offset = (resampled(each, (16, 24), "triangle") for each in regression(coarse, below))
    start = slope * np.asarray(images) + offset
    finer = config.replace(sigma=SHARE * jnp.array([1.0, 0.4]))
    wide = code_jax.tiled(prior, (16, 24), chunk=2)
    expected = code_jax.edit(fold(keys, 1), wide, jnp.asarray(np.clip(start, -1, 1)), finer)
    np.testing.assert_allclose(made.images, expected.images, atol=1e-6)
    assert made.info.nfe.tolist() == [2 * nfe for nfe in expected.info.nfe.tolist()]
    one = code_jax.coarse_to_fine(keys[:1], prior, images[:1], config, chunk=2)
    np.testing.assert_allclose(one.images, made.images[:1], atol=1e-5)


def test_a_picture_of_one_level_is_a_tiled_edit():
    prior, image = oracles.texture(8, 2.0), jnp.asarray(smooth((9, 20)))
    config = code_jax.EditConfig(program=FAST)
    made = code_jax.coarse_to_fine(jax.random.key(0), prior, image, config)
    np.testing.assert_array_equal(
        made.images, code_jax.edit(jax.random.key(0), code_jax.tiled(prior, (9, 20)), image, config).images
    )


def test_outside_a_mask_the_picture_is_returned_and_its_rim_is_a_window_s():
    prior, image = oracles.texture(16, 2.0), jnp.asarray(smooth((64, 80)))
    mask = np.zeros((64, 80), bool)
    mask[20:50, 30:33] = mask[5:9, 60:79] = True
    config = code_jax.EditConfig(program=FAST)
    made = code_jax.coarse_to_fine(jax.random.key(0), prior, image, config, mask).images
    np.testing.assert_array_equal(np.asarray(made)[~mask], np.asarray(image)[~mask])
    assert np.all(np.any(np.asarray(made)[mask] != np.asarray(image)[mask], axis=-1))
    share = feather(jnp.asarray(mask), 1)
    np.testing.assert_array_equal(made, code_jax.coarse_to_fine(jax.random.key(0), prior, image, config, share).images)


def test_what_cannot_be_is_named():
    prior, image = oracles.texture(8, 2.0), jnp.zeros((1, 24, 24, 3))
    for named, arguments in (
        ("7x8", (prior, jnp.zeros((1, 7, 8, 3)))),
        ("official has no noise level", (prior, image, code_jax.OfficialSettings())),
        ("mask of shape", (prior, image, None, np.zeros((3, 3), bool))),
    ):
        with pytest.raises(code_jax.UserError, match=named):
            code_jax.coarse_to_fine(jax.random.key(0), *arguments)
