"""Priors of one's own: functions of (z, σ), NNX modules, conditions, other ranges of clean values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import code_jax
from code_jax.diffusion.tiling import tiled

SHAPE = (8, 8, 2)
RANGE = (0.01, 80.0)


def unit(params, z, sigma, mean=0.0):
    """N(mean, 0.3² I): one mean for all, or one an image [B]."""
    sigma = sigma[:, None, None, None]
    return sigma * (z - jnp.reshape(mean, (-1, 1, 1, 1))) / (0.3**2 + sigma**2)


def images_of(count, scale=1.0, shape=SHAPE):
    return scale * jax.random.uniform(jax.random.key(7), (count, *shape), minval=-1)


class Small(nnx.Module):
    """A convolution that answers with ε."""

    def __init__(self):
        self.conv = nnx.Conv(2, 2, (3, 3), rngs=nnx.Rngs(0))

    def __call__(self, z, sigma):
        return self.conv(z) / (1 + sigma[:, None, None, None])


def test_an_nnx_module_is_a_prior_whose_weights_are_arguments():
    module = Small()
    prior = code_jax.Prior.from_nnx(module, SHAPE, RANGE)
    kernel, bias = module.conv.kernel[...], module.conv.bias[...]

    def by_hand(params, z, sigma):
        out = jax.lax.conv_general_dilated(z, params[0], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return (out + params[1]) / (1 + sigma[:, None, None, None])

    own = code_jax.Prior.from_denoiser(by_hand, (kernel, bias), SHAPE, RANGE)
    ours, theirs = (code_jax.edit(jax.random.key(0), each, images_of(2)).images for each in (prior, own))
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert sum(leaf.size for leaf in jax.tree.leaves(prior.params)) == kernel.size + bias.size
    again = code_jax.Prior.from_nnx(Small(), SHAPE, RANGE)
    assert jax.tree.structure(again) == jax.tree.structure(prior)  # another module of the kind compiles nothing


@pytest.mark.slow
def test_each_image_has_its_own_condition_in_tiles_too():
    prior = code_jax.Prior.from_denoiser(unit, (), SHAPE, RANGE)
    means, images = jnp.array([-0.6, 0.1, 0.7]), images_of(3)
    keys = jax.random.split(jax.random.key(1), 3)
    together = code_jax.edit(keys, prior, images, condition=means).images
    for i, mean in enumerate(means):
        alone = code_jax.Prior.from_denoiser(lambda p, z, s, mean=mean: unit(p, z, s, mean), (), SHAPE, RANGE)
        np.testing.assert_allclose(together[i], code_jax.edit(keys[i : i + 1], alone, images[i : i + 1]).images[0], atol=1e-5)
    size = (11, 19)
    wide, large = images_of(3, shape=(*size, 2)), code_jax.Prior.from_denoiser(unit, (), (*size, 2), RANGE)
    windows = tiled(prior, size, chunk=5)  # of a score that is pointwise, which windows do not change
    ours, whole = (code_jax.edit(keys, each, wide, condition=means).images for each in (windows, large))
    np.testing.assert_allclose(ours, whole, atol=1e-5)


@pytest.mark.parametrize("method", ["code", "ddim", "sdedit"])
def test_a_range_of_clean_values_scales_everything(method):
    """The same data in units s times as large: every level s times as large gives a result s times as large."""
    scale, config = 2.5, code_jax.preset("default", method).replace(sigma=0.7, dynamic_threshold=(0.9, 1.2))
    plain = code_jax.Prior.from_denoiser(unit, (), SHAPE, RANGE)

    def larger(params, z, sigma):
        return unit(params, z / scale, sigma / scale)

    wide = code_jax.Prior.from_denoiser(larger, (), SHAPE, (RANGE[0] * scale, RANGE[1] * scale)).replace(data_range=scale)
    config = config.with_program(grid="geometric")
    one = code_jax.edit(jax.random.key(0), plain, images_of(2, 1.5), config)
    other = code_jax.edit(jax.random.key(0), wide, scale * images_of(2, 1.5), config.replace(sigma=0.7 * scale))
    np.testing.assert_allclose(other.images, scale * one.images, rtol=1e-4, atol=1e-4)
    assert bool((one.info.clipped > 0).all()) == (method != "sdedit")
    np.testing.assert_array_equal(one.info.clipped_pixels, other.info.clipped_pixels)


def test_each_channel_may_have_a_range_of_its_own():
    narrow = code_jax.Prior.from_denoiser(lambda p, z, s: 0 * z, (), SHAPE, RANGE).replace(data_range=(0.2, 0.9))
    edited = code_jax.edit(jax.random.key(0), narrow, images_of(4, 2.0), code_jax.preset("default", "ddim"))
    assert jnp.abs(edited.images).max(axis=(0, 1, 2)).tolist() == pytest.approx([0.2, 0.9])


@pytest.mark.parametrize("levels", [(0.0, 1.0), (2.0, 1.0), (-1.0, 1.0)])
def test_a_range_of_levels_that_does_not_rise_is_named(levels):
    with pytest.raises(code_jax.UserError, match="sigma_range is"):
        code_jax.Prior.from_denoiser(unit, (), SHAPE, levels)
