import jax.numpy as jnp
import numpy as np
import pytest

from code_jax.models.layers import GroupNorm


def exact_group_norm(x, groups, eps, scale, bias):
    """The definition (Wu & He 2018, equation 2), in float64."""
    x = x.astype(np.float64)
    parts = x.reshape(len(x), -1, groups, x.shape[-1] // groups)
    mean, variance = parts.mean((1, 3), keepdims=True), parts.var((1, 3), keepdims=True)
    return ((parts - mean) / np.sqrt(variance + eps)).reshape(x.shape) * scale + bias


@pytest.mark.parametrize("mean", [0.0, 1.0, 1e3, 1e5])
@pytest.mark.parametrize("deviation", [1e-2, 1.0, 1e3])
def test_group_norm_keeps_its_digits_however_large_the_mean(mean, deviation):
    rng = np.random.default_rng(0)
    x = (mean + deviation * rng.standard_normal((2, 16, 16, 12))).astype(np.float32)
    scale, bias = rng.standard_normal((2, 12)).astype(np.float32)
    got = GroupNorm(4, 1e-6, jnp.float32).apply({"params": {"scale": scale, "bias": bias}}, x)
    # The reference is of the same float32 numbers: their rounding is not the layer's.
    np.testing.assert_allclose(got, exact_group_norm(x, 4, 1e-6, scale, bias), atol=2e-5)


def test_group_norm_of_a_constant_is_its_bias():
    x = np.full((1, 4, 4, 8), 1e6 + 0.0625, np.float32)
    parameters = {"scale": np.ones(8, np.float32), "bias": np.arange(8, dtype=np.float32)}
    got = GroupNorm(2, 1e-6, jnp.float32).apply({"params": parameters}, x)
    np.testing.assert_allclose(got, np.broadcast_to(np.arange(8), got.shape), atol=1e-6)
