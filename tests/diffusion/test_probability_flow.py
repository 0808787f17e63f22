import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import code_jax
from code_jax.diffusion import solvers
from code_jax.diffusion.levels import noise_levels
from tests.oracles import gaussian, gaussian_flow, mixture

ORDERS = {name: solvers.find_solver(name).order for name in solvers.names()}


def ends(schedule, depth):
    return schedule.sigma(0.0), schedule.sigma(schedule.timestep(depth))


def exact_mixture_flow(mean, deviation, z, sigma_from, sigma_to):
    """The mixture's flow in one image by an adaptive 8th-order solver at tolerance 1e-13."""

    def field(sigma, z):
        variance = deviation**2 + sigma**2
        return sigma * (z - np.tanh(np.sum(z * mean) / variance) * mean) / variance

    return solve_ivp(field, (sigma_from, sigma_to), z, method="DOP853", rtol=1e-13, atol=1e-13).y[:, -1]


@pytest.mark.parametrize(("solver", "order"), ORDERS.items())
def test_solvers_converge_with_their_order_to_the_exact_flow(solver, order):
    with jax.enable_x64(True):
        mean = np.array([0.5, -0.3, 0.2, 0.7])
        prior = mixture(jnp.array(mean).reshape(2, 2, 1), 0.3)
        z = np.array([0.1, 0.9, -0.4, 0.2])
        low, high = (float(sigma) for sigma in ends(prior.schedule, 0.6))
        exact = exact_mixture_flow(mean, 0.3, z, low, high) / np.sqrt(1 + high**2)
        options = {"depth": 0.6, "solver": solver, "grid": "geometric"}
        errors = []
        for n in (128, 256, 512) if order < 5 else (32, 64, 128):
            x_t = code_jax.encode(prior, jnp.array(z).reshape(1, 2, 2, 1), num_steps=n, **options)
            errors.append(np.abs(np.asarray(x_t).ravel() - exact).max())
    measured = np.log2(np.array(errors[:-1]) / errors[1:])
    np.testing.assert_allclose(measured[-1], order, atol=0.3)


@pytest.mark.parametrize("solver", solvers.names())
def test_solvers_evaluate_the_field_as_often_as_they_say(solver):
    asked, (z, low, high) = [], (jnp.ones((1, 2, 2, 1)), jnp.float32(0.5), jnp.float32(0.7))

    def field(z, sigma):
        jax.debug.callback(asked.append, sigma)  # at every turn of a loop
        return z * sigma

    found = solvers.find_solver(solver)
    z, memory = found.step(field, low, high, z, found.settle(found.init(z), z, z * low))
    found.step(field, high, jnp.float32(0.9), z, memory)  # where a solver of several steps has a past
    jax.effects_barrier()
    assert len(asked) == 2 * found.evaluations


def test_a_solver_that_its_module_does_not_have_is_named(monkeypatch):
    monkeypatch.setitem(solvers._HOMES, "adams", "code_jax.diffusion.solvers.two_step")
    with pytest.raises(code_jax.UserError, match=r"solver of code_jax\.diffusion\.solvers\.two_step 'adams' is unknown"):
        solvers.find_solver("adams")


def test_the_gaussian_flow_is_the_closed_form():
    mean, deviation = jnp.full((2, 2, 1), 0.2), jnp.linspace(0.3, 1.0, 4).reshape(2, 2, 1)
    prior = gaussian(mean, deviation)
    x0 = jax.random.normal(jax.random.key(0), (3, 2, 2, 1))
    low, high = ends(prior.schedule, 0.6)
    exact = gaussian_flow(mean, deviation, x0, low, high) / jnp.sqrt(1 + high**2)
    x_t = code_jax.encode(prior, x0, depth=0.6, solver="tsit5", num_steps=40, grid="geometric")
    np.testing.assert_allclose(x_t, exact, atol=5e-6)


def test_decoding_ends_at_sigma_zero_with_the_posterior_mean():
    mean, deviation = jnp.full((4, 4, 3), 0.1), jnp.full((4, 4, 3), 0.5)
    prior = gaussian(mean, deviation)
    low, _ = ends(prior.schedule, 0.5)
    x_t = jax.random.normal(jax.random.key(0), (2, 4, 4, 3))
    options = {"depth": 0.5, "solver": "heun", "num_steps": 60, "grid": "geometric"}
    stopped, final = (np.asarray(code_jax.decode(prior, x_t, **options, final=final)) for final in (False, True))
    expected = stopped - low**2 * (stopped - mean) / (deviation**2 + low**2)  # E[x_0 | z] of a Gaussian
    np.testing.assert_allclose(final, expected, atol=1e-6)


def ddim_by_hand(eps, z, sigmas):
    for now, after in itertools.pairwise(sigmas):
        z = z + (after - now) * eps(z, now)
    return z


@pytest.mark.parametrize(("x64", "tolerance"), [(True, 1e-10), (False, 1e-5)])
@pytest.mark.parametrize("grid", ["time", "geometric"])
def test_ddim_equals_a_hand_written_loop(x64, tolerance, grid):
    with jax.enable_x64(x64):
        mean = jnp.array(np.random.default_rng(1).uniform(-0.5, 0.5, (3, 3, 1)))
        prior = mixture(mean, 0.4)
        m, s = np.asarray(mean, np.float64), 0.4

        def eps(z, sigma):
            lean = np.tanh(np.sum(z * m, axis=(1, 2, 3), keepdims=True) / (s**2 + sigma**2))
            return sigma * (z - lean * m) / (s**2 + sigma**2)

        log_sigma = np.asarray(prior.schedule.log_sigma, np.float64)
        if grid == "time":
            sigmas = np.exp(np.interp(np.linspace(0, 0.5 * 999, 41), np.arange(1000), log_sigma))
        else:
            sigmas = np.geomspace(np.exp(log_sigma[0]), np.exp(np.interp(0.5 * 999, np.arange(1000), log_sigma)), 41)
        x0 = np.random.default_rng(2).uniform(-1, 1, (2, 3, 3, 1))
        up = ddim_by_hand(eps, x0, sigmas) / np.sqrt(1 + sigmas[-1] ** 2)
        down = ddim_by_hand(eps, up * np.sqrt(1 + sigmas[-1] ** 2), sigmas[::-1])
        options = {"depth": 0.5, "num_steps": 40, "grid": grid}
        np.testing.assert_allclose(code_jax.encode(prior, jnp.array(x0), **options), up, atol=tolerance)
        np.testing.assert_allclose(code_jax.decode(prior, jnp.array(up), **options, final=False), down, atol=tolerance)


def test_round_trip_returns_to_the_image():
    with jax.enable_x64(True):
        prior = mixture(jnp.full((4, 4, 1), 0.3), 0.3)
        x0 = jax.random.uniform(jax.random.key(0), (2, 4, 4, 1), minval=-1)
        options = {"depth": 0.7, "solver": "tsit5", "num_steps": 100, "grid": "geometric"}
        back = code_jax.decode(prior, code_jax.encode(prior, x0, **options), **options, final=False)
        np.testing.assert_allclose(back, x0, atol=1e-6)


def test_the_rho_grid_is_edms():
    high, low = 35.0, 0.01
    got = noise_levels(mixture(jnp.zeros((2, 2, 1)), 0.3), high, low, 12, "rho")
    i = np.arange(13) / 12
    np.testing.assert_allclose(got, (high ** (1 / 7) + i * (low ** (1 / 7) - high ** (1 / 7))) ** 7, rtol=2e-5)


@pytest.mark.parametrize("num_steps", [3, 12, 60])
@pytest.mark.parametrize("threshold", [None, (0.98, 1.3)])
def test_reversible_heun_retraces_its_way_however_few_its_steps(num_steps, threshold):
    with jax.enable_x64(True):
        prior = mixture(jnp.array(np.random.default_rng(0).uniform(-0.7, 0.7, (4, 4, 1))), 0.2)
        x0 = jax.random.uniform(jax.random.key(0), (3, 4, 4, 1), minval=-1)
        options = {"depth": 0.5, "num_steps": num_steps, "dynamic_threshold": threshold}
        x_t, back = code_jax.round_trip(prior, x0, **options)
        np.testing.assert_allclose(back, x0, atol=1e-6)
        assert float(jnp.abs(x_t - x0).max()) > 0.1  # it went somewhere
        heun = code_jax.round_trip(prior, x0, **options, solver="heun")[1]
        assert float(jnp.abs(heun - x0).max()) > 1e-5
        forgotten = code_jax.decode(prior, x_t, **options, solver="reversible_heun", grid="geometric", final=False)
        assert float(jnp.abs(forgotten - x0).max()) > 1e-5


def test_a_reversible_solver_goes_through_an_edit():
    with jax.enable_x64(True):
        prior = mixture(jnp.full((4, 4, 1), 0.4), 0.3)
        x0 = jax.random.uniform(jax.random.key(0), (2, 4, 4, 1), minval=-1)
        program = code_jax.EditProgram(num_steps=9, solver="reversible_heun", langevin_steps=0)
        config = code_jax.EditConfig(depth=0.5, eta=None, input_noise=0.0, program=program)
        result = code_jax.edit(jax.random.key(0), prior, x0, config)
        # Back at x_0 but for the last move, which is the posterior mean at σ_0.
        t = jnp.zeros(2)
        sigma = prior.schedule.sigma(0.0)
        expected = x0 - sigma * prior.eps(x0 / jnp.sqrt(1 + sigma**2), t)
        np.testing.assert_allclose(result.images, jnp.clip(expected, -1, 1), atol=1e-6)
        assert result.info.nfe.tolist() == [1 + 9 + 9 + 1] * 2
        program = dataclasses.replace(program, langevin_steps=3)
        corrected = code_jax.edit(jax.random.key(0), prior, x0, config.replace(program=program, eta=1.0))
        assert corrected.info.nfe.tolist() == [1 + 9 + 3 + 1 + 9 + 1] * 2 and bool(corrected.info.finite.all())
