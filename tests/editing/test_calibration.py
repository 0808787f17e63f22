"""What a calibration says of pictures, against the definitions of its numbers."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import code_jax
from code_jax.editing.calibration import QUANTILES, _levels

COUNT = 60
SIGMAS = (0.1, 0.2, 0.4)


def statistics(count=COUNT, seed=0, **given):
    """Statistics as they might be, without a network."""
    rng = np.random.default_rng(seed)
    mixed = rng.standard_normal((count, 6)) @ np.triu(np.ones((6, 6))) * np.array([1, 1e-3, 10, 1, 100, 1]) + 3
    fields = {"noise": rng.uniform(0, 1, count), "residual": rng.uniform(1, 2, (count, 3)), "path": mixed}
    fields |= {"residual_bands": rng.uniform(1, 2, (count, 3, 4)), "encoding": rng.uniform(0.5, 1, (count, 5))}
    fields |= {"encoding_bands": rng.uniform(0.5, 1, (count, 5, 4)), "sigmas": np.tile(SIGMAS, (count, 1))}
    return code_jax.PictureStatistics(**fields | given)


@pytest.fixture(scope="module")
def prior():
    return code_jax.Prior.from_denoiser(_eps, jnp.ones(3), (8, 8, 3), (0.01, 80.0))


def _eps(params, z, sigma):
    return 0 * z


@pytest.fixture(scope="module")
def calibration(prior):
    return code_jax.Calibration.of(prior, statistics())


def test_quantiles_and_distances_are_by_definition(calibration):
    clean = statistics()
    np.testing.assert_allclose(calibration.quantiles["residual"][QUANTILES.index(0.5)], np.median(clean.residual, axis=0))
    apart = []
    for i in range(COUNT):  # each from the mean and covariance of the others
        others = np.delete(clean.path, i, axis=0)
        away = clean.path[i] - others.mean(axis=0)
        apart.append(np.sqrt(away @ np.linalg.solve(np.cov(others.T), away)))
    np.testing.assert_allclose(calibration.distances, np.quantile(apart, np.linspace(0, 1, 101)), rtol=1e-6)


def test_clean_pictures_are_typical_and_a_strange_one_is_not(prior):
    calibration = code_jax.Calibration.of(prior, statistics(1000))
    judged = calibration.judge(prior, statistics(2000, seed=1))
    assert abs(np.mean(judged.typicality < 0.1) - 0.1) < 0.04  # four times the share's error, of both samples
    assert abs(np.mean(judged.outside == 1) - 0.05) < 0.02 and abs(np.mean(judged.outside == -1) - 0.05) < 0.02
    strange = statistics(1)
    strange.path[:] += np.array([0, 1, 0, 0, 0, 0])
    judged = calibration.judge(prior, strange)
    assert judged.typicality[0] == pytest.approx(1 / 1001) and judged.distance[0] > 50


def test_a_level_is_where_the_residual_comes_back_among_clean_pictures():
    ratio = np.array([[0.9, 0.5, 0.8], [4.0, 0.25, 0.9], [4.0, 2.0, 0.5], [0.5, 0.5, 1.1], [0.5, 3.0, 1 / 3]])
    found = _levels(np.array(SIGMAS), ratio)
    np.testing.assert_allclose(found, [0, 0.1 * 2**0.5, 0.2 * 2**0.5, np.inf, 0.2 * 2**0.5])
    np.testing.assert_allclose(_levels(np.array(SIGMAS[::-1]), ratio[:, ::-1]), found)


def test_white_noise_is_hidden_by_the_level_that_its_share_of_the_residual_says(prior, calibration):
    """Noise s adds (s/σ)² to residuals of 1.5: it is as much as clean pictures differ at the level found."""
    s, high = 0.15, calibration.quantiles["residual"][QUANTILES.index(0.95)]
    noisy = statistics(1, residual=1.5 + (s / np.array([SIGMAS])) ** 2)
    (level,) = calibration.judge(prior, noisy).level
    expected = s / np.sqrt(np.mean(high) - 1.5)
    assert 0.8 * expected < level < 1.25 * expected


def test_plain_data_come_back_through_json(prior, calibration):
    again = code_jax.Calibration.from_plain(json.loads(json.dumps(calibration.to_plain())))
    for ours, theirs in zip(again.judge(prior, statistics(9, 2)), calibration.judge(prior, statistics(9, 2)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4)


def test_other_weights_and_other_settings_are_refused_in_a_line(prior, calibration):
    other = prior.replace(params=jax.tree.map(lambda leaf: 0.9 * leaf, prior.params))
    for own, found, named in (
        (other, statistics(), "other weights"),
        (prior, statistics(sigmas=np.tile((0.1, 0.2, 0.5), (COUNT, 1))), "sigmas"),
        (prior, statistics(encoding=np.ones((COUNT, 4))), "num_steps"),
    ):
        with pytest.raises(code_jax.UserError, match=named) as raised:
            calibration.judge(own, found)
        assert "code-jax calibrate" in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"schema": 9}, "schema is 9"),
        ({"prior_hash": 3}, "prior_hash is 3"),
        ({"settings": {}}, "settings are"),
        ({"mean": [1, 2]}, "mean has shape"),
        ({"mean": "much"}, "mean is 'much'"),
        ({"mean": [10**400] * 6}, "mean is"),
        ({"quantiles": {}}, "noise"),
        ({"inverse": [[float("nan")] * 6] * 6}, "not finite"),
    ],
)
def test_a_damaged_one_is_named(calibration, change, named):
    with pytest.raises(code_jax.UserError, match=named):
        code_jax.Calibration.from_plain(calibration.to_plain() | change)


def test_too_few_pictures_and_what_is_not_finite_are_named(prior):
    with pytest.raises(code_jax.UserError, match="29 pictures calibrate nothing; give 30"):
        code_jax.Calibration.of(prior, statistics(29))
    with pytest.raises(code_jax.UserError, match="noise is not finite"):
        code_jax.Calibration.of(prior, statistics(noise=np.full(COUNT, np.nan)))
