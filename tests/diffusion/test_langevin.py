import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import code_jax
from code_jax.diffusion.thresholding import clipped_quantile
from code_jax.editing.moves import langevin_moves
from tests.oracles import gaussian
from tests.routes import followed

STEPS, CHAINS, DEPTH = 400, 512, 0.5


def run_chain(kind, relative_step):
    """x at the noise level after many steps of many chains, and the exact variances of x_t."""
    deviation = jnp.linspace(0.2, 1.0, 8).reshape(2, 4, 1)
    prior = gaussian(jnp.full((2, 4, 1), 0.3), deviation)
    schedule = prior.schedule
    sigma = schedule.sigma(schedule.timestep(DEPTH))
    route = langevin_moves(sigma, jnp.full(STEPS, relative_step), kind, "ddim")
    keys = jax.random.split(jax.random.key(0), CHAINS)
    z = jax.jit(followed)(keys, prior, route, jnp.zeros((CHAINS, 2, 4, 1))).z
    signal = 1 / (1 + sigma**2)
    return np.asarray(z * jnp.sqrt(signal)), np.asarray(signal * deviation**2 + (1 - signal)), float(1 - signal), float(signal)


def assert_moments(x, mean, variance):
    """Every pixel's mean and variance within four standard errors, of independent chains."""
    assert np.all(np.abs(x.mean(0) - mean) < 4 * np.sqrt(variance / CHAINS))
    assert np.all(np.abs(x.var(0, ddof=1) - variance) < 4 * variance * np.sqrt(2 / (CHAINS - 1)))


@pytest.mark.parametrize("relative_step", [0.8, 0.2, 0.05])
def test_unadjusted_chain_has_the_discrete_chains_stationary_law(relative_step):
    x, variance, noise, signal = run_chain("unadjusted", relative_step)
    h = relative_step * noise
    assert_moments(x, 0.3 * np.sqrt(signal), variance / (1 - h / (2 * variance)))


@pytest.mark.parametrize("relative_step", [0.8, 0.2, 0.05])
def test_the_averaged_chain_has_the_gaussian_itself_as_its_stationary_law(relative_step):
    x, variance, _, signal = run_chain("averaged", relative_step)
    assert_moments(x, 0.3 * np.sqrt(signal), variance)


def test_the_averaged_chain_uses_each_draw_twice():
    prior = gaussian(jnp.zeros((2, 2, 1)), jnp.full((2, 2, 1), 0.5))
    sigma, r = prior.schedule.sigma(300.0), 0.3
    keys, z = jax.random.split(jax.random.key(1), 3), jnp.ones((3, 2, 2, 1))
    got = followed(keys, prior, langevin_moves(sigma, jnp.full(2, r), "averaged", "ddim"), z).z
    draws = [jax.vmap(lambda key, k=k: jax.random.normal(jax.random.fold_in(key, k), (2, 2, 1)))(keys) for k in range(3)]
    for k in range(2):
        eps = sigma * z / (0.25 + sigma**2)
        z = z + sigma * (-r * eps + np.sqrt(2 * r) * (draws[k] + draws[k + 1]) / 2)
    np.testing.assert_allclose(got, z, atol=1e-5)


def test_the_variance_preserving_step_keeps_the_level_of_pure_noise():
    # Where the data have no spread x_t is all noise: N(√ᾱ m, 1 − ᾱ) is kept at any step, while the unadjusted chain exceeds it.
    prior = gaussian(jnp.zeros((2, 4, 1)), jnp.full((2, 4, 1), 1e-4))
    sigma = prior.schedule.sigma(prior.schedule.timestep(DEPTH))
    keys = jax.random.split(jax.random.key(1), CHAINS)
    route = langevin_moves(sigma, jnp.full(50, 0.4), "variance_preserving", "ddim")
    z = sigma * jax.random.normal(jax.random.key(2), (CHAINS, 2, 4, 1))
    x = np.asarray(jax.jit(followed)(keys, prior, route, z).z / sigma)
    assert_moments(x, 0.0, np.ones((2, 4, 1)))


def test_the_step_of_a_route_is_the_public_step():
    prior = gaussian(jnp.full((2, 2, 1), 0.1), jnp.full((2, 2, 1), 0.5))
    t, h, z = 300.0, 0.01, jax.random.normal(jax.random.key(0), (3, 2, 2, 1))
    sigma, variance = prior.schedule.sigma(t), prior.schedule.variance(t)
    keys = jax.random.split(jax.random.key(1), 3)
    moved = followed(keys, prior, langevin_moves(sigma, h / variance[None], "unadjusted", "ddim"), z).z
    noise = jax.vmap(lambda key: jax.random.normal(jax.random.fold_in(key, 0), (2, 2, 1)))(keys)
    scale = jnp.sqrt(1 + sigma**2)
    np.testing.assert_allclose(moved / scale, code_jax.langevin_step(prior, z / scale, t, h, noise), atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.5, 1.0), st.floats(1.0, 3.0), st.floats(0.1, 2.0))
def test_clipped_quantile_equals_a_sort(seed, quantile, s_max, scale):
    values = np.abs(np.random.default_rng(seed).standard_normal((2, 5, 7, 3))).astype(np.float32) * np.float32(scale)
    s = np.asarray(clipped_quantile(jnp.asarray(values), quantile, s_max)).reshape(2)
    for got, row in zip(s, np.sort(values.reshape(2, -1)), strict=True):
        rank = int(np.ceil(np.float32(quantile) * 105 - 1e-3))
        near = [np.clip(row[min(max(rank + shift, 1), 105) - 1], 1, s_max) for shift in (-1, 0, 1)]
        assert min(near) - 1e-5 <= got <= max(near) + 1e-5


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_a_quantile_has_the_type_of_its_values(dtype):
    values = jnp.full((3, 4, 4, 3), 2.0, dtype)
    for s_max in (np.float64(1.25), jnp.float32(1.25), jnp.array([1.25, 1.5, 3.0], jnp.float32)):
        s = clipped_quantile(values, np.float64(0.7), s_max)
        assert s.dtype == dtype and s.shape == (3, 1, 1, 1)
        np.testing.assert_allclose(s.ravel().astype(float), np.minimum(np.broadcast_to(s_max, 3), 2.0), rtol=1e-2)


def test_dynamic_threshold_leaves_small_predictions_alone_and_bounds_large_ones():
    prior = gaussian(jnp.zeros((4, 4, 1)), jnp.full((4, 4, 1), 0.5))
    wrapped = code_jax.DynamicThreshold(prior, 0.9, 1.3)
    sigma = prior.schedule.sigma(400.0)
    small, large = (scale * jax.random.normal(jax.random.key(0), (2, 4, 4, 1)) for scale in (0.1, 30.0))
    np.testing.assert_allclose(wrapped.eps_at(small, sigma), prior.eps_at(small, sigma), atol=1e-6)
    x0 = large - sigma * wrapped.eps_at(large, sigma)
    assert float(jnp.abs(x0).max()) == pytest.approx(1.0, abs=1e-4)
