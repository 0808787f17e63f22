"""One Gaussian, N(MEAN, SPREAD²) in every pixel: its exact denoiser, written as each parameterization's network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import code_jax
from code_jax.diffusion.scaling import FlowMatching, LinearSDE, Preconditioned, VarianceExploding, VariancePreserving

MEAN, SPREAD = 0.3, 0.6
SIGMAS = (0.02, 0.05, 0.3, 0.9, 2.0, 7.0, 20.0, 60.0)
SCHEDULE = code_jax.linear_schedule()


def at(noise):
    return noise[:, None, None, None]


def expected_eps(x, signal, deviation, mean=MEAN, spread=SPREAD):
    """E[ε | x] where x = signal·x_0 + deviation·ε."""
    return deviation * (x - signal * mean) / (signal**2 * spread**2 + deviation**2)


def tabled(kind):
    def network(x, t, condition):
        signal, deviation = at(jnp.sqrt(SCHEDULE.alpha_bar(t))), at(jnp.sqrt(SCHEDULE.variance(t)))
        eps = expected_eps(x, signal, deviation)
        x0 = MEAN + signal * SPREAD**2 * (x - signal * MEAN) / (signal**2 * SPREAD**2 + deviation**2)
        return {"epsilon": eps, "sample": x0, "v_prediction": signal * eps - deviation * x0}[kind]

    return network


def sde(sub):
    """Mean and standard deviation of the two SDEs as the paper's table of transition kernels has them."""

    def network(x, label, condition):
        t = at(label) / 999
        log_signal = -0.25 * t**2 * (20 - 0.1) - 0.5 * t * 0.1
        variance = -jnp.expm1(2 * log_signal)
        return expected_eps(x, jnp.exp(log_signal), variance if sub else jnp.sqrt(variance))

    return network


def unit_images(centred):
    """The same Gaussian seen as images in [0, 1], at half of σ; the output is score·σ."""

    def network(x, log_sigma, condition):
        x = (x + 1) / 2 if centred else x
        return -expected_eps(x, 1, jnp.exp(at(log_sigma)), (MEAN + 1) / 2, SPREAD / 2)

    return network


def preconditioned(x, quarter, condition):
    sigma = jnp.exp(4 * at(quarter))
    z = x * jnp.sqrt(sigma**2 + 0.25)
    x0 = (SPREAD**2 * z + sigma**2 * MEAN) / (SPREAD**2 + sigma**2)
    skip, out = 0.25 / (sigma**2 + 0.25), sigma * 0.5 / jnp.sqrt(sigma**2 + 0.25)
    return (x0 - skip * z) / out


def flow(x, timestep, condition):
    t = at(timestep) / 1000
    variance = (1 - t) ** 2 * SPREAD**2 + t**2
    return (t - (1 - t) * SPREAD**2) * (x - (1 - t) * MEAN) / variance - MEAN  # E[ε − x_0 | x_t]


KINDS = {
    "vp-epsilon": (VariancePreserving(SCHEDULE), tabled("epsilon")),
    "vp-v": (VariancePreserving(SCHEDULE, "v_prediction"), tabled("v_prediction")),
    "vp-sample": (VariancePreserving(SCHEDULE, "sample"), tabled("sample")),
    "vp-sde": (LinearSDE(), sde(False)),
    "sub-vp-sde": (LinearSDE(sub=True), sde(True)),
    "ve-own-range": (
        VarianceExploding(unit_noise=False),
        lambda x, noise, condition: -expected_eps(x, 1, jnp.exp(at(noise))),
    ),
    "ve-unit-images": (VarianceExploding(unit_input=True), unit_images(False)),
    "ve-centred-unit-images": (VarianceExploding(), unit_images(True)),
    "edm": (Preconditioned(), preconditioned),
    "flow": (FlowMatching(), flow),
    "shifted-flow": (FlowMatching(shift=3.0), flow),
}


@pytest.mark.parametrize("name", KINDS)
def test_every_parameterization_of_one_gaussian_gives_one_eps(name):
    scaling, network = KINDS[name]
    answer = jax.jit(lambda scaling, z, sigma: scaling.eps(network, z, sigma, None))
    sigmas = np.array(SIGMAS, np.float32)[:, None, None, None]
    z = (MEAN + np.sqrt(SPREAD**2 + sigmas**2) * np.random.default_rng(0).standard_normal((8, 2, 2, 1))).astype(np.float32)
    # In float32: an x_0 or v network leaves ε after a difference of numbers 1/σ times as large.
    close = {"atol": 4e-5 if name in ("vp-sample", "flow", "shifted-flow") else 4e-6, "rtol": 2e-5}
    np.testing.assert_allclose(answer(scaling, z, sigmas), expected_eps(z, 1, sigmas), **close)
    np.testing.assert_allclose(answer(scaling, z, sigmas[3, 0, 0, 0]), expected_eps(z, 1, sigmas[3]), **close)


def test_ranges_are_those_published():
    ranges = {name: tuple(map(float, scaling.sigma_range)) for name, (scaling, _) in KINDS.items()}
    assert ranges["vp-epsilon"] == pytest.approx((0.01, 157.4), rel=1e-3)
    assert ranges["vp-sde"] == pytest.approx((1e-3, 152.2), rel=1e-3)  # √(e^10.05 − 1); the paper's EDM gives 152 for it
    assert ranges["sub-vp-sde"] == pytest.approx((1.0009e-6, 152.2), rel=1e-3)
    assert ranges["ve-unit-images"] == pytest.approx((0.02, 100))
    assert ranges["edm"] == pytest.approx((0.002, 80))
    assert ranges["flow"] == pytest.approx((0.001001, 999), rel=1e-4)


def test_times_and_sigmas_of_the_sdes_are_inverses():
    t = np.linspace(1e-3, 1, 8)
    for sub in (False, True):
        np.testing.assert_allclose(LinearSDE(sub=sub).t_of_sigma(LinearSDE(sub=sub).sigma(t)), t, rtol=1e-5)


def test_a_shift_multiplies_the_grid():
    u, shift = np.array([0.1, 0.5, 0.9]), 3.0
    t = shift * u / (1 + (shift - 1) * u)  # as the schedulers write it
    np.testing.assert_allclose(FlowMatching(shift=shift).sigma(u), t / (1 - t), rtol=1e-6)


def test_a_condition_reaches_the_network_and_numbers_do_not_recompile():
    traces = []

    def network(x, noise, condition):
        traces.append(noise.shape)
        return 2 * x + condition

    answer = jax.jit(lambda scaling, sigma, condition: scaling.eps(network, jnp.ones((2, 1, 1, 1)), sigma, condition))
    for sigma_data, condition in ((0.5, 0.0), (0.4, 1.0)):
        c_in = 1 / np.sqrt(1 + sigma_data**2)
        got = answer(Preconditioned(sigma_data=sigma_data), jnp.float32(1.0), jnp.float32(condition))
        np.testing.assert_allclose(got[0, 0, 0, 0], c_in * (c_in - sigma_data * (2 * c_in + condition)), rtol=1e-6)
    assert traces == [(2,)]
