import jax
import jax.numpy as jnp
import numpy as np
import pytest

import code_jax
from code_jax.metrics import diversity, psnr
from tests.oracles import gaussian


def test_flat_samples_are_as_far_apart_as_their_values():
    values = np.array([[-0.9, 0.1], [0.3, 0.1], [0.7, 0.1], [0.0, 0.1]], np.float32)
    pairs = [np.abs(values[j] - values[k]) for j in range(4) for k in range(j)]
    samples = values[:, :, None, None, None] * np.ones((5, 6, 3), np.float32)
    np.testing.assert_allclose(diversity(samples), np.mean(pairs, axis=0), rtol=1e-6, atol=1e-7)
    assert diversity(samples)[1] == 0


def test_mean_squared_distances_are_twice_the_unbiased_variance():
    samples = np.random.default_rng(0).uniform(-1, 1, (7, 3, 8, 8, 3)).astype(np.float32)
    squared = diversity(samples, lambda a, b: jnp.mean((a - b) ** 2, axis=(1, 2, 3)))
    np.testing.assert_allclose(squared, 2 * samples.var(axis=0, ddof=1).mean((1, 2, 3)), rtol=1e-5)


def test_any_metric_is_the_distance_and_the_order_of_samples_is_nothing():
    samples = np.random.default_rng(1).uniform(-1, 1, (4, 2, 16, 16, 3)).astype(np.float32)
    structure = diversity(samples, code_jax.metrics.ssim)
    np.testing.assert_allclose(diversity(samples[::-1], code_jax.metrics.ssim), structure, rtol=1e-6)
    assert np.all(structure < diversity(samples * 0.01, code_jax.metrics.ssim))


def test_independent_samples_of_a_gaussian_are_as_far_apart_as_its_deviation_says():
    prior, guidance = gaussian(jnp.zeros((32, 32, 3)), jnp.array(0.3)), jnp.zeros((1, 32, 32, 3))
    config = code_jax.preset("default", "sdedit").replace(depth=1.0)
    config = config.with_program(num_steps=1000)
    samples = jnp.stack([code_jax.sdedit(jax.random.key(seed), prior, guidance, config).images for seed in range(3)])
    # d² = 2s² where nothing of the guidance is left; 3072 values and 1000 steps tell it to some percent.
    np.testing.assert_allclose(diversity(samples), 0.3 * 2**0.5, rtol=0.03)
    np.testing.assert_allclose([psnr(sample, guidance)[0] for sample in samples], 20 * np.log10(2 / 0.3), atol=0.3)


@pytest.mark.parametrize("shape", [(1, 2, 8, 8, 3), (3, 8, 8, 3), (0,)])
def test_what_has_no_pairs_is_named(shape):
    with pytest.raises(code_jax.UserError, match="at least two samples"):
        diversity(np.zeros(shape, np.float32))
