"""Multistep solvers: by their formulas with steps of any size, and across jumps."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import code_jax
from code_jax.diffusion.projections import clip_to_confidence
from code_jax.editing.moves import ode_moves
from tests.oracles import mixture
from tests.routes import followed

SIGMAS = np.array([0.02, 0.05, 0.3, 0.4, 1.5, 1.2, 0.2, 0.19, 0.03])  # uneven, up and down


def by_hand(solver, eps, z, bounds):
    """The path in float64; clipped values have no past."""
    past, holds = None, np.zeros(z.shape, bool)
    for k, (now, after) in enumerate(itertools.pairwise(SIGMAS)):
        slope = eps(z, now)
        value = slope if solver == "adams_bashforth" else z - now * slope
        time = (lambda s: s) if solver == "adams_bashforth" else np.log
        ahead = value
        if past is not None:
            before, value_before = past
            ratio = (time(after) - time(now)) / (time(now) - time(before))
            ahead = np.where(holds, value + ratio / 2 * (value - value_before), value)
        moved = z + (after - now) * ahead if solver == "adams_bashforth" else after / now * z + (1 - after / now) * ahead
        past, z = (now, value), np.clip(moved, -bounds[k], bounds[k])
        holds = z == moved
    return z


@pytest.mark.parametrize("solver", ["adams_bashforth", "dpm++2m"])
@pytest.mark.parametrize("eta", [None, 0.4])
def test_a_two_step_solver_is_its_formula_on_uneven_grids_and_across_clips(solver, eta):
    with jax.enable_x64(True):
        mean = np.random.default_rng(0).uniform(-0.6, 0.6, (3, 3, 1))
        prior = mixture(jnp.asarray(mean), 0.3)

        def eps(z, sigma):
            lean = np.tanh(np.sum(z * mean, axis=(1, 2, 3), keepdims=True) / (0.09 + sigma**2))
            return sigma * (z - lean * mean) / (0.09 + sigma**2)

        z = np.random.default_rng(1).uniform(-1.2, 1.2, (2, 3, 3, 1))
        bounds = 1 + (np.inf if eta is None else eta) * SIGMAS[1:]
        keys = jax.random.split(jax.random.key(0), 2)
        route = ode_moves(jnp.asarray(SIGMAS), solver, jnp.inf if eta is None else eta)
        state = followed(keys, prior, route, jnp.asarray(z))
        np.testing.assert_allclose(state.z, by_hand(solver, eps, z, bounds), atol=1e-12)
        assert bool(state.projected["clip"].any()) == (eta is not None)
        assert state.nfe.tolist() == [8, 8]


@pytest.mark.parametrize("solver", ["adams_bashforth", "dpm++2m"])
def test_after_a_correction_the_next_step_is_eulers(solver):
    prior = mixture(jnp.full((4, 4, 1), 0.4), 0.3)
    x0 = jax.random.uniform(jax.random.key(1), (2, 4, 4, 1), minval=-1)
    config = code_jax.EditConfig(sigma=1.0, eta=None, program=code_jax.EditProgram(num_steps=1, solver=solver))
    euler = config.with_program(solver="ddim")  # one step each way: there is no past that could be of this path
    ours, theirs = (code_jax.edit(jax.random.key(0), prior, x0, each).images for each in (config, euler))
    np.testing.assert_allclose(ours, theirs, atol=2e-6)


def test_the_bound_in_z_is_the_papers_in_x():
    sigma, eta = 1.7, 0.6
    z = jnp.linspace(-4, 4, 41).reshape(1, 41, 1, 1)
    alpha_bar = 1 / (1 + sigma**2)
    keys, prior = (
        jax.random.split(jax.random.key(0), 1),
        code_jax.Prior.from_denoiser(lambda p, z, s: 0 * z, (), (41, 1, 1), (0.01, 80)),
    )
    clipped = followed(keys, prior, ode_moves(jnp.array([0.5, sigma]), "ddim", eta), z).z
    np.testing.assert_allclose(clipped * alpha_bar**0.5, clip_to_confidence(z * alpha_bar**0.5, alpha_bar, eta), atol=1e-6)
