import numpy as np
import pytest

import code_jax
from code_jax.metrics import frechet_distance, moments_init, moments_update, principal_directions, project


def moments_of(features):
    return moments_update(moments_init(features.shape[1]), features)


def test_the_directions_are_those_of_a_singular_value_decomposition():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((50, 8)) * np.geomspace(5, 0.1, 8) @ np.linalg.qr(rng.standard_normal((8, 8)))[0] + 3
    found = principal_directions(moments_of(features), 3)
    rows = np.linalg.svd(features - features.mean(0), full_matrices=False)[2][:3]
    np.testing.assert_allclose(found.basis @ found.basis.T, rows.T @ rows, atol=1e-12)
    np.testing.assert_allclose(np.abs(rows @ found.basis), np.eye(3), atol=1e-12)  # in this order
    assert (found.basis[np.abs(found.basis).argmax(0), range(3)] > 0).all()
    coordinates = (features - features.mean(0)) @ found.basis
    np.testing.assert_allclose(project(features, found), coordinates, atol=1e-5)


def test_in_all_directions_the_frechet_distance_is_what_it_was():
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((40, 6)) * np.geomspace(2, 0.5, 6), rng.standard_normal((30, 6)) + 1
    directions = principal_directions(moments_of(rng.standard_normal((20, 6))), 6)
    expected = frechet_distance(moments_of(a), moments_of(b))
    found = frechet_distance(*(moments_of(np.asarray(project(x, directions))) for x in (a, b)))
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("count", [0, 4, 5])
def test_directions_that_are_not_determined_are_refused(count):
    with pytest.raises(code_jax.UserError, match=f"{count} principal directions of 4 features of size 8"):
        principal_directions(moments_of(np.random.default_rng(0).standard_normal((4, 8))), count)


@pytest.mark.parametrize("features", [np.zeros(2), np.zeros((1, 3))])
def test_features_of_another_size_are_refused(features):
    directions = principal_directions(moments_of(np.eye(3)[:, :2]), 1)
    with pytest.raises(code_jax.UserError, match=r"\[B, 2\]"):
        project(features, directions)
