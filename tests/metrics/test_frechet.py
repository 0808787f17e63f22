import functools

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

import code_jax
from code_jax.metrics import Moments, frechet_distance, frechet_floor, moments_init, moments_merge, moments_update


def gather(*batches):
    return functools.reduce(moments_update, batches, moments_init(np.shape(batches[0])[1]))


def gaussian(mean, covariance, number=101.0):
    """The moments of a set with exactly this mean and covariance."""
    return Moments(number, np.asarray(mean, float), np.asarray(covariance, float) * (number - 1))


def random_covariance(rng, size, rank=None):
    factor = rng.standard_normal((size, rank or size)) * np.geomspace(1, 1e-3, rank or size)
    return factor @ factor.T


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 30), max_size=6), st.sampled_from([0.0, 1.0, 1e4]))
def test_moments_are_those_of_the_whole_set_however_it_is_cut(seed, cuts, offset):
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((30, 5)) * np.geomspace(1, 1e-2, 5) + offset
    bounds = sorted({0, 30, *cuts})
    batches = [features[i:j] for i, j in zip(bounds, [*bounds[1:], 30], strict=True)]  # the last is empty
    streamed = gather(*batches)
    merged = moments_merge(gather(*batches[::2]), gather(*batches[1::2]) if batches[1::2] else moments_init(5))
    for moments in (streamed, merged):
        assert moments.number == 30
        np.testing.assert_allclose(moments.mean, features.mean(0), rtol=1e-14, atol=1e-14)
        np.testing.assert_allclose(moments.scatter / 29, np.cov(features, rowvar=False), rtol=1e-9, atol=1e-12)


def test_a_large_mean_takes_no_digits_from_the_covariance():
    features = np.random.default_rng(0).standard_normal((4096, 3)) * 1e-3 + 1e5
    expected = np.cov(features, rowvar=False)
    moments = gather(*features.reshape(64, 64, 3))
    # The features themselves are rounded to 1e-8 of their spread; sums of squares would leave nothing at all.
    np.testing.assert_allclose(moments.scatter / 4095, expected, rtol=0, atol=1e-8 * expected.max())


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_commuting_covariances_have_a_closed_form(seed):
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    (means, variances) = rng.standard_normal((2, 6)), rng.uniform(0, 2, (2, 6))
    variances[0, 2] = variances[1, 4] = 0
    expected = np.sum((means[0] - means[1]) ** 2) + np.sum((np.sqrt(variances[0]) - np.sqrt(variances[1])) ** 2)
    a, b = (gaussian(mean, basis * variance @ basis.T) for mean, variance in zip(means, variances, strict=True))
    assert frechet_distance(a, b) == pytest.approx(expected, abs=1e-6)


def test_any_two_covariances_give_what_the_root_of_their_product_gives():
    rng = np.random.default_rng(0)
    a, b = random_covariance(rng, 20), random_covariance(rng, 20)
    root = scipy.linalg.sqrtm(a @ b)
    expected = np.trace(a + b - 2 * root.real)
    assert frechet_distance(gaussian(np.zeros(20), a), gaussian(np.zeros(20), b)) == pytest.approx(expected, rel=1e-6)


def test_fewer_images_than_features_lose_nothing():
    rng = np.random.default_rng(1)
    features, others = rng.standard_normal((12, 40)), rng.standard_normal((9, 40))
    a, b = gather(features), gather(others)
    # tr (Σa Σb)^½ is the nuclear norm of the product of the centred sets, whatever the number of features.
    centred = [(x - x.mean(0)) / np.sqrt(len(x) - 1) for x in (features, others)]
    overlap = np.linalg.norm(centred[0] @ centred[1].T, "nuc")
    spread = sum(np.sum(x**2) for x in centred)
    expected = np.sum((features.mean(0) - others.mean(0)) ** 2) + spread - 2 * overlap
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)


def test_it_is_a_distance():
    rng = np.random.default_rng(2)
    a, b = (gather(rng.standard_normal((50, 8)) @ rng.standard_normal((8, 8))) for _ in range(2))
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-12)
    assert frechet_distance(a, b) > 1


def test_moments_are_a_pytree():
    import jax

    doubled = jax.tree.map(lambda leaf: 2 * leaf, gather([[1.0, 2.0], [3.0, 5.0]]))
    assert doubled.number == 4 and doubled.mean.tolist() == [4.0, 7.0]


@pytest.mark.parametrize("features", [np.zeros((2, 4)), np.zeros(3), np.zeros((1, 2, 3))])
def test_features_of_another_size_are_refused(features):
    with pytest.raises(code_jax.UserError, match=r"\[B, 3\]"):
        moments_update(moments_init(3), features)


def test_features_that_are_not_finite_are_refused_with_their_place():
    with pytest.raises(code_jax.UserError, match="image 1 "):
        moments_update(moments_init(1), [[0.0], [np.nan], [np.inf]])


def test_sets_that_have_no_distance_are_refused():
    with pytest.raises(code_jax.UserError, match="1 and 2"):
        frechet_distance(gather([[0.0]]), gather([[0.0], [1.0]]))
    with pytest.raises(code_jax.UserError, match="of 1 and of 2 features"):
        frechet_distance(gather([[0.0], [1.0]]), gather([[0.0, 1.0], [1.0, 0.0]]))
    with pytest.raises(code_jax.UserError, match="of 1 and of 2 features"):
        moments_merge(moments_init(1), moments_init(2))


def test_the_floor_is_of_disjoint_sets_and_falls_with_their_number():
    rng = np.random.default_rng(3)
    features = rng.standard_normal((400, 2))
    floors = [frechet_floor(features, count, draws=20) for count in (10, 50, 200)]
    assert floors[0] > 2 * floors[1] > 4 * floors[2] > 0
    # Means of n unit Gaussians are 2D/n apart in the mean of the squares; the covariances add about D/(2n).
    assert floors[1] == pytest.approx(2.5 * 2 / 50, rel=0.3)
    twins = np.repeat(features[:1], 4, axis=0)
    assert frechet_floor(twins, 2) == 0 and frechet_floor(features, 50) == frechet_floor(features, 50)


@pytest.mark.parametrize(("count", "draws"), [(1, 1), (6, 1), (5, 0)])
def test_a_floor_of_other_counts_is_refused(count, draws):
    with pytest.raises(code_jax.UserError, match=f"no {draws} pairs of disjoint sets of {count}"):
        frechet_floor(np.zeros((10, 2)), count, draws=draws)
