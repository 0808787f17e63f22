import numpy as np
import pytest
from scipy.spatial.distance import cdist

import code_jax
from code_jax.metrics import nearest_neighbours


def test_they_are_the_nearest_by_scipys_cosine_distance():
    rng = np.random.default_rng(0)
    features, others = rng.uniform(0, 6, (7, 20)), rng.uniform(0, 6, (50, 20))
    index, distance = nearest_neighbours(features, others)
    expected = cdist(features, others, "cosine")
    np.testing.assert_array_equal(index, expected.argmin(1))
    np.testing.assert_allclose(distance, expected.min(1), atol=1e-6)


def test_what_is_scaled_is_its_own_neighbour_and_nan_is_nobodys():
    others = np.eye(4)
    index, distance = nearest_neighbours(np.vstack([3 * others[::-1], np.full(4, np.nan)]), others)
    assert index[:4].tolist() == [3, 2, 1, 0] and np.abs(distance[:4]).max() < 1e-6 and np.isnan(distance[4])


@pytest.mark.parametrize(("shape", "other"), [((2, 3), (2, 4)), ((3,), (2, 3)), ((2, 3), (0, 3))])
def test_features_of_other_shapes_are_refused(shape, other):
    with pytest.raises(code_jax.UserError, match="do not fit"):
        nearest_neighbours(np.zeros(shape), np.zeros(other))
