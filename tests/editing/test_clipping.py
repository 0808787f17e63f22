"""Confidence-based clipping (van Delft et al. 2024, Proposition 1), and where an edit uses it."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import code_jax
from code_jax.editing.moves import ode_moves
from tests.editing.conftest import images_of
from tests.routes import followed


def test_bounds_equal_the_formula_at_every_timestep():
    schedule = code_jax.linear_schedule()
    alphas_cumprod = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
    for eta in (0.5, 1.7, 2.0):
        clipped = code_jax.clip_to_confidence(jnp.full(1000, 1e6), schedule.alpha_bar(jnp.arange(1000.0)), eta)
        np.testing.assert_allclose(clipped, np.sqrt(alphas_cumprod) + eta * np.sqrt(1 - alphas_cumprod), rtol=1e-5)


@pytest.mark.parametrize("eta", [1.0, 1.7, 2.0])
@pytest.mark.parametrize("x0", [-1.0, 0.3, 1.0])
def test_proposition_1_holds_by_simulation(eta, x0):
    n = 20_000
    for alpha_bar in (0.9, 0.3, 0.01):
        x = math.sqrt(alpha_bar) * x0 + math.sqrt(1 - alpha_bar) * np.random.default_rng(0).standard_normal(n)
        kept = np.mean(np.asarray(code_jax.clip_to_confidence(jnp.asarray(x), alpha_bar, eta)) == np.float32(x))
        promised = math.erf(eta / math.sqrt(2))
        assert kept >= promised - 4 * math.sqrt(promised * (1 - promised) / n)


def test_every_latent_of_the_encoding_lies_within_its_bound(prior):
    x0, eta = 3 * images_of(prior), 0.3
    schedule = prior.schedule
    sigmas = schedule.sigma(jnp.linspace(0, 500.0, 21))
    keys = jax.random.split(jax.random.key(0), len(x0))
    unclipped = 0
    route = ode_moves(sigmas, "ddim", eta)
    for k in range(1, 21):
        state = followed(keys, prior, route, x0, k)
        x, t = state.z / jnp.sqrt(1 + sigmas[k] ** 2), schedule.t_of_sigma(sigmas[k])
        bound = jnp.sqrt(schedule.alpha_bar(t)) + eta * jnp.sqrt(schedule.variance(t))
        assert float(jnp.abs(x).max()) <= float(bound) * (1 + 1e-5)
        np.testing.assert_allclose(code_jax.clip_to_confidence(x, schedule.alpha_bar(t), eta), x, atol=1e-5)
        unclipped += int(not state.projected["clip"].all())
    assert unclipped and state.projected["clip"].any()


def test_the_clipped_pixels_are_those_that_one_step_takes_beyond_the_bound(prior):
    x0, eta, depth = 3 * images_of(prior), 0.3, 0.5
    program = code_jax.EditProgram(num_steps=1, solver="ddim", langevin_steps=0)
    config = code_jax.EditConfig(depth, 1e-3, eta, input_noise=0.0, dynamic_threshold=None, program=program)
    info = code_jax.edit(jax.random.key(0), prior, x0, config).info
    alpha_bar = 1 - prior.schedule.variance(prior.schedule.timestep(depth))
    beyond = jnp.abs(code_jax.encode(prior, x0, depth=depth, num_steps=1)) > jnp.sqrt(alpha_bar) + eta * jnp.sqrt(1 - alpha_bar)
    assert (np.asarray(info.clipped_pixels) == np.asarray(beyond.any(axis=-1))).all() and 0 < info.clipped_pixels.mean() < 1


def test_no_eta_is_infinite_eta_and_clips_nothing(prior):
    x0 = 3 * images_of(prior)
    free = code_jax.encode(prior, x0, num_steps=20)
    np.testing.assert_array_equal(free, code_jax.encode(prior, x0, num_steps=20, eta=math.inf))
    assert float(jnp.abs(free - code_jax.encode(prior, x0, num_steps=20, eta=0.3)).max()) > 0.1
