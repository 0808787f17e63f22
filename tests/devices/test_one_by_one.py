"""What comes of an image has the same bits wherever it lies in its batch."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import code_jax
from code_jax.devices.one_by_one import apart, one_by_one

pytestmark = pytest.mark.usefixtures("optimized")
COUNTS = (2, 3, 5)


@pytest.fixture(scope="module")
def bundled():
    return code_jax.load_prior("pictures-64")


def noise(count, side=64):
    return jax.random.normal(jax.random.key(3), (count, side, side, 3))


@pytest.mark.parametrize("count", COUNTS)
def test_a_network_answers_alike_at_every_place_of_a_batch_and_alone(bundled, count):
    z = jnp.repeat(noise(1), count, axis=0)
    alone = jax.jit(code_jax.Prior.eps_at)(apart(bundled, z[:1]), z[:1], jnp.float32(0.5))
    together = jax.jit(code_jax.Prior.eps_at)(apart(bundled, z), z, jnp.float32(0.5))
    np.testing.assert_array_equal(together, jnp.repeat(alone, count, axis=0))


def test_images_keep_their_order_their_times_and_their_conditions():
    images, times, labels = jnp.round(noise(6, 2)), jnp.arange(6.0), {"label": jnp.arange(6)}
    called = []

    def call(x, t, condition):
        called.append(len(x))
        return x * t[:, None, None, None] + condition["label"][:, None, None, None]

    expected = call(images, times, labels)
    for shards in (1, 2, 3):
        np.testing.assert_array_equal(one_by_one(call, shards, images, times, labels), expected)
    for whole in (0, 6, 4):  # 4: a batch that is not cut evenly
        np.testing.assert_array_equal(one_by_one(call, whole, images, times, labels), expected)
    assert called == [6, 1, 2, 3, 6, 6, 6]


def test_windows_of_two_pictures_are_those_of_each(bundled):
    z = noise(2, 80)
    tiles = code_jax.tiled(bundled, (80, 80), chunk=3)
    ask = jax.jit(lambda denoiser, z: denoiser.eps_at(z, jnp.float32(0.5)))
    both = ask(apart(tiles, z), z)
    for own, picture in zip(both, z, strict=True):
        np.testing.assert_array_equal(ask(apart(tiles, picture[None]), picture[None])[0], own)


def test_ones_own_functions_and_traced_images_are_left_as_they_are(bundled):
    own = code_jax.Prior.from_denoiser(lambda params, z, sigma: 0.5 * z, (), (8, 8, 3), (0.01, 80.0))
    assert apart(own, noise(3, 8)).function is own.function
    jax.jit(lambda z: [z, [None for _ in [1] if apart(bundled, z) is not bundled]][0])(noise(2))
    assert dataclasses.replace(bundled.function, shards=1) == apart(bundled, noise(2)).function
    assert apart(bundled, noise(0)) is bundled
