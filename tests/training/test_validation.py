"""Losses by noise level, and their log."""

import csv

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import code_jax
from code_jax.training.log import Log
from code_jax.training.recipe import Recipe
from code_jax.training.step import loss
from code_jax.training.validation import SIGMAS, levels, losses_by_level
from tests.conftest import ONE_LEVEL, tiny_prior

SCHEDULE = code_jax.linear_schedule()


def pictures_and_noise(count, shape=(8, 8, 3)):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, *shape)).astype(np.uint8), rng.standard_normal((count, *shape)).astype(np.float32)


def says_nothing(params, x, t):
    return jnp.zeros_like(x)


def test_losses_are_the_squared_error_of_v_at_each_level():
    """ε̂ = 0 errs by n, and v by √(1 + σ²) times that."""
    pictures, noise = pictures_and_noise(70)
    prior = code_jax.Prior.from_function(says_nothing, (), SCHEDULE, (8, 8, 3))
    expected = np.mean(noise.astype(np.float64) ** 2, axis=(1, 2, 3))[:, None] * (1 + np.square(SIGMAS))
    np.testing.assert_allclose(losses_by_level(prior, pictures, noise), expected, rtol=1e-4)


@pytest.mark.parametrize("kind", ["v_prediction", "sample"])
def test_losses_are_those_of_training_whatever_is_predicted(kind):
    pictures, noise = pictures_and_noise(3)
    prior = tiny_prior(kind, **ONE_LEVEL)
    x0 = code_jax.from_uint8(pictures)
    for sigma, found in zip(SIGMAS, losses_by_level(prior, pictures, noise).T, strict=True):
        t = jnp.full(3, SCHEDULE.t_of_sigma(sigma))
        trained = loss(prior.function, Recipe(prediction_type=kind), prior.params, SCHEDULE, x0, t, noise)
        to_v = {"v_prediction": 1, "sample": 1 + sigma**-2}[kind]
        np.testing.assert_allclose(found, to_v * trained, rtol=2e-3)


def test_levels_that_a_schedule_lacks_are_left_out():
    for schedule, expected in ((SCHEDULE, SIGMAS), (code_jax.scaled_linear_schedule(), SIGMAS[:-1])):
        assert levels(code_jax.Prior.from_function(says_nothing, (), schedule, (8, 8, 3))) == expected


def test_the_log_goes_on_from_its_step_and_passes_over_rows_that_are_spoilt(tmp_path):
    values = np.array([0.5, 0.25])
    for step in (10, 20, 30):
        Log(tmp_path, (0.1, 2.0), step - 1).write(step, 4 * step, 1.5, 0.3, values / step)
    with open(tmp_path / "losses.csv", "a") as file:
        file.write(f'15,60,inf,0.3,0.1,0.1,0.1\n40,oops\n\x00\n"{"x" * 200_000}')
    Log(tmp_path, (0.1, 2.0), 20).write(25, 100, 2.0, 0.3, values / 25)
    with open(tmp_path / "losses.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["step"], row["seconds"]) for row in rows] == [("10", "1.5"), ("20", "3"), ("25", "5")]
    assert float(rows[1]["sigma_2"]) == 0.0125 and float(rows[1]["validation_loss"]) == pytest.approx(0.01875)
    with Image.open(tmp_path / "losses.png") as chart:
        assert len(set(chart.get_flattened_data() if hasattr(chart, "get_flattened_data") else chart.getdata())) > 3
