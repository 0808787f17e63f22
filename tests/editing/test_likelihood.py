"""The likelihood against closed forms: Gaussians and mixtures whose density at σ_0 is known."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import code_jax
from code_jax.editing.likelihood import _log_likelihood
from tests.oracles import gaussian, mixture

OFFSET = math.log2(127.5)
MEAN, DEVIATION = np.linspace(-0.4, 0.4, 48).reshape(4, 4, 3), np.linspace(0.02, 1, 48).reshape(4, 4, 3)


def gaussian_bits(x, mean, variance):
    """−log₂ N(x; mean, variance)/D + log₂ 127.5, in float64."""
    x = np.asarray(x, np.float64)
    nats = (np.log(2 * np.pi * variance) + (x - mean) ** 2 / variance) / 2
    return np.mean(np.broadcast_to(nats, x.shape), axis=(1, 2, 3)) / math.log(2) + OFFSET


def plain_gaussian(shape=(4, 4, 3), mean=MEAN, deviation=DEVIATION):
    """N(mean, deviation²) without timesteps."""
    params = jnp.asarray(mean, float), jnp.asarray(deviation, float)
    return code_jax.Prior.from_denoiser(_gaussian_eps, params, shape, (0.02, 80.0))


def _gaussian_eps(params, z, sigma):
    mean, deviation = params
    sigma = sigma[:, None, None, None]
    return sigma * (z - mean) / (deviation**2 + sigma**2)


def samples(count, mean=MEAN, deviation=DEVIATION):
    return jnp.asarray(mean + deviation * np.random.default_rng(0).standard_normal((count, *mean.shape)), jnp.float32)


def test_of_a_gaussian():
    prior, x = gaussian(jnp.asarray(MEAN, float), jnp.asarray(DEVIATION, float)), samples(3)
    found = code_jax.log_likelihood(jax.random.key(0), prior, x, input_noise=0.0)
    exact = gaussian_bits(x, MEAN, DEVIATION**2 + float(prior.sigma_range[0]) ** 2)
    np.testing.assert_allclose(found.bits, exact, atol=1e-3)
    np.testing.assert_allclose(found.log_density, (OFFSET - exact) * 48 * math.log(2), atol=48 * 7e-4)
    np.testing.assert_allclose(found.standard_error, 0, atol=1e-6)  # vᵀJv is the trace of a diagonal J


def mixture_bits(x, mean, variance):
    """As `gaussian_bits`, of an even mixture of ±mean."""
    nats = [(gaussian_bits(x, centre, variance) - OFFSET) * mean.size * math.log(2) for centre in (mean, -mean)]
    return (math.log(2) - np.logaddexp(-nats[0], -nats[1])) / mean.size / math.log(2) + OFFSET


def test_of_a_mixture_by_the_exact_trace_and_by_probes_within_their_errors():
    mean = np.random.default_rng(1).uniform(-0.6, 0.6, (3, 3, 2))
    prior = mixture(jnp.asarray(mean, float), 0.3)
    x = jnp.asarray(mean * np.array([1, 0.1, -1]).reshape(3, 1, 1, 1), float) + 0.1
    exact = mixture_bits(x, mean, 0.09 + float(prior.sigma_range[0]) ** 2)
    found = code_jax.log_likelihood(jax.random.key(0), prior, x, probes=None, input_noise=0.0)
    np.testing.assert_allclose(found.bits, exact, atol=1e-3)
    assert found.standard_error.tolist() == [0, 0, 0]
    estimated = code_jax.log_likelihood(jax.random.key(0), prior, x, probes=64, input_noise=0.0)
    assert np.all(estimated.standard_error > 1e-4)
    assert np.all(np.abs(estimated.bits - found.bits) < 4 * estimated.standard_error)


@pytest.mark.parametrize(
    ("solver", "steps", "tolerance"),
    [("ddim", 800, 0.06), ("heun", 400, 2e-3), ("midpoint", 400, 2e-3), ("reversible_heun", 400, 4e-3),
     ("adams_bashforth", 400, 4e-3), ("dpm++2m", 400, 4e-3)],
)  # fmt: skip
def test_by_any_solver_of_a_prior_without_timesteps(solver, steps, tolerance):
    x = samples(2)
    options = {"solver": solver, "num_steps": steps, "input_noise": 0.0}
    found = code_jax.log_likelihood(jax.random.key(0), plain_gaussian(), x, **options)
    np.testing.assert_allclose(found.bits, gaussian_bits(x, MEAN, DEVIATION**2 + 0.02**2), atol=tolerance)


def test_the_noise_alone_has_the_floor():
    """Of a prior that knows the image, the mean over the noise is the entropy of N(0, σ_0²)."""
    prior, x = plain_gaussian(deviation=np.zeros_like(MEAN)), jnp.asarray(MEAN, float)[None].repeat(100, 0)
    found = code_jax.log_likelihood(jax.random.key(3), prior, x)
    np.testing.assert_allclose(found.floor, math.log2(2 * math.pi * math.e * (0.02 * 127.5) ** 2) / 2, atol=1e-5)
    error = 1 / math.sqrt(2 * 48 * 100) / math.log(2)  # of the mean of n²/2
    np.testing.assert_allclose(found.bits.mean(), found.floor, atol=4 * error)
    assert 0.5 < np.std(found.bits) / (error * 10) < 1.5


def test_wrappers_conditions_and_tiles_are_denoisers_like_any_other():
    x, key = samples(2) / 4, jax.random.key(0)  # within ±1: nothing is thresholded
    options = {"input_noise": 0.0, "solver": "heun", "num_steps": 6}
    plain = code_jax.log_likelihood(key, plain_gaussian(), x, **options)
    wrapped = code_jax.log_likelihood(key, code_jax.DynamicThreshold(plain_gaussian(), 1.0, 1e6), x, **options)
    np.testing.assert_allclose(wrapped.bits, plain.bits, atol=1e-4)

    def conditional(params, z, sigma, condition):
        return _gaussian_eps((condition, params[1]), z, sigma)

    prior = plain_gaussian().replace(function=conditional)
    given = code_jax.log_likelihood(key, prior, x, jnp.asarray(MEAN, float)[None].repeat(2, 0), **options)
    np.testing.assert_allclose(given.bits, plain.bits, atol=1e-5)

    narrow = plain_gaussian((4, 4, 1), np.full((4, 4, 1), 0.1), np.full((4, 4, 1), 0.5))
    wide = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (1, 6, 9, 1)), float)
    found = code_jax.log_likelihood(key, code_jax.tiled(narrow, (6, 9)), wide, input_noise=0.0)
    np.testing.assert_allclose(found.bits, gaussian_bits(wide, 0.1, 0.25 + 0.02**2), atol=1e-3)


def test_an_image_has_its_own_whatever_its_neighbours_and_numbers_compile_nothing(tiny):
    images = jax.random.uniform(jax.random.key(1), (3, 8, 8, 3), minval=-1)
    keys, options = jax.random.split(jax.random.key(0), 3), {"num_steps": 2, "solver": "ddim"}
    found = code_jax.log_likelihood(keys, tiny, images, **options)
    assert np.all(found.standard_error > 0)
    order = np.array([2, 0, 1])
    compiled = _log_likelihood._cache_size()
    turned = code_jax.log_likelihood(keys[order], tiny, images[order], **options)
    for ours, theirs in zip(turned[:3], found[:3], strict=True):
        np.testing.assert_allclose(ours, np.asarray(theirs)[order], rtol=1e-5, atol=1e-5)
    other = tiny.replace(params=jax.tree.map(lambda leaf: 0.9 * leaf, tiny.params))
    again = code_jax.log_likelihood(keys, other, images, **options, input_noise=0.5)
    assert not np.allclose(again.bits, found.bits, atol=1e-3)
    assert _log_likelihood._cache_size() == compiled


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"probes": 1}, "probes is 1"),
        ({"probes": 2.5}, "probes is 2.5"),
        ({"num_steps": 0}, "num_steps is 0"),
        ({"solver": "hun"}, "did you mean heun"),
        ({"grid": "tine"}, "grid 'tine'"),
        ({"input_noise": -1.0}, "input_noise is -1.0"),
        ({"images": jnp.zeros((1, 5, 4, 3))}, "do not fit the prior"),
        ({"key": 7}, "key is not a typed PRNG key"),
    ],
)
def test_a_wrong_value_is_one_line(options, named):
    given = {"key": jax.random.key(0), "images": jnp.zeros((1, 4, 4, 3))} | options
    with pytest.raises(code_jax.UserError, match=named) as raised:
        code_jax.log_likelihood(given.pop("key"), plain_gaussian(), **given)
    assert "\n" not in str(raised.value)


def test_the_exact_trace_of_a_large_image_is_refused():
    prior = plain_gaussian((32, 32, 3), np.zeros((32, 32, 3)), np.ones((32, 32, 3)))
    with pytest.raises(code_jax.UserError, match="3072 dimensions"):
        code_jax.log_likelihood(jax.random.key(0), prior, jnp.zeros((1, 32, 32, 3)), probes=None)
