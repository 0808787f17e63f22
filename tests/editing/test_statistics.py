"""Statistics of pictures against closed forms: exact scores of Gaussians, white noise, single frequencies."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import code_jax
from code_jax.diffusion.levels import noise_levels
from code_jax.editing.statistics import SIGMAS, band_means, picture_statistics, wavelet_noise
from tests.oracles import gaussian

MEAN, DEVIATION = np.linspace(-0.4, 0.4, 192).reshape(8, 8, 3), np.linspace(0.2, 1, 192).reshape(8, 8, 3)


def test_of_a_gaussian_residuals_and_encoding_are_closed_forms():
    prior, count = gaussian(jnp.asarray(MEAN, float), jnp.asarray(DEVIATION, float)), 200
    x = np.random.default_rng(0).uniform(-1, 1, (8, 8, 3))
    images = jnp.broadcast_to(jnp.asarray(x, jnp.float32), (count, 8, 8, 3))
    found = code_jax.picture_statistics(jax.random.key(0), prior, images, num_steps=400, maps=True)
    for k, sigma in enumerate(SIGMAS):
        variance = DEVIATION**2 + sigma**2  # ε − n = (σ(x − m) − s² n)/(s² + σ²)
        expected = (sigma**2 * (x - MEAN) ** 2 + DEVIATION**4) / variance**2
        error = np.std(found.residual[:, k]) / count**0.5
        assert abs(np.mean(found.residual[:, k]) - expected.mean()) < 4 * error
        spread = np.std(found.residual_map[:, k], axis=0) / count**0.5
        assert np.all(np.abs(np.mean(found.residual_map[:, k], axis=0) - expected.mean(axis=2)) < 5 * spread + 1e-6)
    levels = np.asarray(noise_levels(prior, *prior.sigma_range, 400, "time"), float)[:-1, None, None, None]
    eps = levels * (x - MEAN) / np.sqrt((DEVIATION**2 + levels[0] ** 2) * (DEVIATION**2 + levels**2))  # along the exact flow
    np.testing.assert_allclose(found.encoding[0, 5:], np.mean(eps**2, axis=(1, 2, 3))[5:], rtol=0.05)
    np.testing.assert_allclose(found.encoding_map[0, 200], np.mean(eps[200] ** 2, axis=2), rtol=0.05, atol=1e-3)


def test_the_path_is_what_a_loop_over_the_steps_finds(tiny):
    images = jax.random.uniform(jax.random.key(1), (2, 8, 8, 3), minval=-1)
    found = code_jax.picture_statistics(jax.random.key(0), tiny, images, num_steps=4)
    levels, z, eps = noise_levels(tiny, *tiny.sigma_range, 4, "time"), images, []
    for sigma, after in itertools.pairwise(levels):
        eps.append(np.asarray(tiny.eps_at(z, sigma), float))
        z = z + (after - sigma) * eps[-1]
    rate = 4 * np.diff(eps, axis=0)
    expected = [np.mean(each**power, axis=(0, 2, 3, 4)) for each in (np.array(eps), rate) for power in (1, 2, 3)]
    np.testing.assert_allclose(found.path, np.stack(expected, axis=1), rtol=2e-3, atol=1e-4)


def test_bands_tell_frequencies_and_add_up_to_the_mean_square():
    noise = jax.random.normal(jax.random.key(0), (20, 32, 48, 3))
    means = np.asarray(band_means(noise))
    places = np.maximum(np.arange(32)[:, None] / 32, np.arange(48) / 48)
    counts = np.histogram(places, (0, 0.125, 0.25, 0.5, 1))[0]
    assert np.all(np.abs(means.mean(0) - 1) < 4 * np.sqrt(2 / (counts * 60)))
    np.testing.assert_allclose(means @ counts / counts.sum(), np.mean(noise**2, axis=(1, 2, 3)), rtol=1e-4)
    for band, frequency in enumerate((2, 8, 16, 40)):
        wave = np.cos(np.pi * frequency * (np.arange(48) + 0.5) / 48)
        of = np.asarray(band_means(jnp.broadcast_to(jnp.asarray(wave, jnp.float32)[None, None, :, None], (1, 32, 48, 1))))[0]
        assert np.argmax(of) == band and np.sum(np.delete(of, band)) < 1e-6 * of[band]


@pytest.mark.parametrize("deviation", [0.02, 0.1, 0.3])
def test_white_noise_is_found_within_its_error(deviation):
    rows, columns = np.mgrid[0:64, 0:64] / 64
    clean = 0.5 * np.stack([np.sin(3 * rows + 2 * columns), rows * columns, np.cos(4 * columns)], axis=2)
    noisy = clean + deviation * np.random.default_rng(0).standard_normal((16, 64, 64, 3))
    found = np.asarray(wavelet_noise(jnp.asarray(noisy, jnp.float32)))
    error = deviation * 1.17 / np.sqrt(31 * 31 * 3)  # of the median of |n|, which is half as efficient as the mean square
    assert abs(found.mean() - deviation) < 4 * error / 4 + 0.002
    assert 0.6 * error < found.std(ddof=1) < 1.6 * error


def test_narrow_and_constant_images_have_statistics():
    for shape in ((1, 64, 3), (64, 1, 1), (2, 3, 3), (1, 1, 1)):
        eps = lambda params, z, sigma: 0.5 * z  # noqa: E731
        prior = code_jax.Prior.from_denoiser(eps, (), shape, (0.01, 2.0))
        found = code_jax.picture_statistics(jax.random.key(0), prior, jnp.full((2, *shape), 0.25))
        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(found))
        assert np.max(np.abs(found.noise)) < 1e-6 or max(shape[:2]) < 4
    assert found.noise.tolist() == [0, 0]
    assert float(found.sigmas[0, -1]) == 2  # the prior's range ends there


def test_an_image_has_its_own_whatever_its_neighbours_and_numbers_compile_nothing(tiny):
    from code_jax.editing.statistics import _statistics

    images, keys = jax.random.uniform(jax.random.key(1), (3, 8, 8, 3), minval=-1), jax.random.split(jax.random.key(0), 3)
    found = picture_statistics(keys, tiny, images, num_steps=2)
    compiled, order = _statistics._cache_size(), np.array([2, 0, 1])
    turned = picture_statistics(keys[order], tiny, images[order], num_steps=2, sigmas=np.array(SIGMAS))
    for ours, theirs in zip(turned[1:7], found[1:7], strict=True):
        np.testing.assert_allclose(ours, np.asarray(theirs)[order], rtol=1e-5, atol=1e-5)
    picture_statistics(keys, tiny, images, num_steps=2, sigmas=np.array(SIGMAS) * 1.1)
    assert _statistics._cache_size() == compiled


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"sigmas": ()}, r"sigmas are \[\]"),
        ({"sigmas": (0.1, -1.0)}, r"sigmas are \[0.1, -1.0\]"),
        ({"num_steps": 1}, "num_steps is 1"),
        ({"images": jnp.zeros((1, 5, 4, 3))}, "do not fit the prior"),
    ],
)
def test_a_wrong_value_is_one_line(tiny, options, named):
    given = {"images": jnp.zeros((1, 8, 8, 3))} | options
    with pytest.raises(code_jax.UserError, match=named) as raised:
        code_jax.picture_statistics(jax.random.key(0), tiny, **given)
    assert "\n" not in str(raised.value)
