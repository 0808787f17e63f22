import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import code_jax
from code_jax.diffusion.parameterization import PREDICTION_TYPES, target, to_eps, weight_min_snr
from code_jax.priors.scheduler import schedule_from_diffusers


def cosine_betas():
    bar = lambda u: np.cos((u + 0.008) / 1.008 * np.pi / 2) ** 2  # noqa: E731
    return np.array([min(1 - bar((i + 1) / 1000) / bar(i / 1000), 0.999) for i in range(1000)])


BETAS = {
    "linear": np.linspace(1e-4, 0.02, 1000),
    "scaled_linear": np.linspace(0.0015**0.5, 0.0195**0.5, 1000) ** 2,
    "squaredcos_cap_v2": cosine_betas(),
}
CONFIGS = {
    "linear": {"beta_schedule": "linear"},
    "scaled_linear": {"beta_schedule": "scaled_linear", "beta_start": 0.0015, "beta_end": 0.0195},
    "squaredcos_cap_v2": {"beta_schedule": "squaredcos_cap_v2"},
}


@pytest.mark.parametrize("kind", BETAS)
def test_alphas_cumprod_equal_the_product_at_every_timestep(kind):
    schedule = schedule_from_diffusers(CONFIGS[kind])
    alphas_cumprod = np.cumprod(1 - BETAS[kind])
    t = jnp.arange(1000.0)
    np.testing.assert_allclose(schedule.alpha_bar(t), alphas_cumprod, rtol=2e-5)
    np.testing.assert_allclose(schedule.variance(t), 1 - alphas_cumprod, rtol=2e-5)


def test_trained_betas_are_honoured():
    betas = np.random.default_rng(0).uniform(0.001, 0.1, 50)
    schedule = schedule_from_diffusers({"beta_schedule": "linear", "trained_betas": betas.tolist()})
    np.testing.assert_allclose(schedule.alpha_bar(jnp.arange(50.0)), np.cumprod(1 - betas), rtol=2e-5)


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 999))
def test_time_and_sigma_are_inverse(t):
    schedule = code_jax.linear_schedule()
    assert float(schedule.t_of_sigma(schedule.sigma(t))) == pytest.approx(t, abs=5e-3)


def test_depth_is_capped_where_sigma_explodes():
    cosine, linear = code_jax.cosine_schedule(), code_jax.linear_schedule()
    last = float(cosine.timestep(1.0))
    assert float(cosine.sigma(last)) <= 200 < float(cosine.sigma(last + 1))
    assert float(linear.timestep(1.0)) == 999
    assert float(linear.timestep(0.5)) == 499.5


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"beta_schedule": "sigmoid"}, "sigmoid"),
        ({"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr"),
        ({"trained_betas": [0.1, 1.0]}, "zero-terminal-SNR"),
        ({"num_train_timesteps": 10**9}, "1000000000"),
        ({"trained_betas": [0.1]}, "2 to"),
        ({"beta_start": 1e-300}, "starts at sigma 1e-150, below the smallest usable 1e-06"),
    ],
)
def test_what_cannot_be_a_schedule_is_refused_by_name(config, named):
    with pytest.raises(code_jax.UserError, match=named):
        schedule_from_diffusers(config)


@pytest.mark.parametrize("make", [code_jax.linear_schedule, code_jax.scaled_linear_schedule, code_jax.cosine_schedule])
@pytest.mark.parametrize("count", [-1, 1, 2.5, True, 10**9, 10**30])
def test_a_number_of_timesteps_is_checked_before_anything_is_made(make, count):
    with pytest.raises(code_jax.UserError, match=r"num_timesteps is .*; it must be a whole number from 2 to"):
        make(count)
    with pytest.raises(code_jax.UserError, match="outside"):
        code_jax.scaled_linear_schedule(beta_start=-1.0)


@pytest.mark.parametrize("kind", PREDICTION_TYPES)
def test_every_prediction_type_gives_back_eps(kind):
    rng = np.random.default_rng(0)
    x0, eps = (jnp.asarray(rng.standard_normal((3, 4, 4, 2)), jnp.float32) for _ in range(2))
    sigma = jnp.array([0.3, 1.0, 7.0])[:, None, None, None]
    x = (x0 + sigma * eps) / jnp.sqrt(1 + sigma**2)
    np.testing.assert_allclose(to_eps(kind, target(kind, x0, eps, sigma), x, sigma), eps, atol=2e-6)


def test_min_snr_weighs_the_same_error_alike_in_every_parameterization():
    sigma, gamma, error_of_x0 = jnp.array([0.1, 0.4, 1.0, 5.0]), 5.0, 0.3
    snr = 1 / np.asarray(sigma) ** 2
    # x_0 = z − σ ε and v = √ᾱ ε − √(1−ᾱ) x_0 at fixed x_t: an error e of x_0 is e/σ of ε and e·√(1 + 1/σ²) of v.
    errors = {"sample": error_of_x0**2, "epsilon": error_of_x0**2 * snr, "v_prediction": error_of_x0**2 * (1 + snr)}
    for kind, squared in errors.items():
        np.testing.assert_allclose(
            weight_min_snr(kind, sigma, gamma) * squared, np.minimum(snr, gamma) * error_of_x0**2, rtol=1e-5
        )
