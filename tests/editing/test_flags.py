"""JAX's flags that are meant for a caller's own code neither stop what is computed here nor change it."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import code_jax
from tests.oracles import mixture

CONFIG = code_jax.EditConfig(sigma=(0.5,), relative_step=(0.1,), program=code_jax.EditProgram(num_steps=2, langevin_steps=2))
GRID = code_jax.SweepGrid(eta=(1.5,))
IMAGES = np.random.default_rng(0).uniform(-1, 1, (1, 4, 4, 1))

PROGRAM = """
import jax, numpy as np, code_jax
from tests.conftest import ONE_LEVEL, tiny_prior
flags = jax.numpy_rank_promotion("allow"), jax.transfer_guard("allow")
with flags[0], flags[1]:
    prior, key, few = tiny_prior(**ONE_LEVEL), jax.random.key(0), {"num_steps": 2}
    images = code_jax.from_uint8(np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8))
    wide = code_jax.tiled(prior, (8, 12))
    x = jax.numpy.zeros((1, 8, 12, 3))
mask = np.arange(64).reshape(8, 8) % 3 == 0
config = code_jax.preset().with_program(**few)
code_jax.edit(key, prior, images, config.replace(dynamic_threshold=(0.9, 1.2)), mask)
result = code_jax.edit(key, wide, x, code_jax.preset("default", "ddim").with_program(**few))
assert np.isnan(np.asarray(result.info.squared_score))
code_jax.official(key, prior, images, code_jax.OfficialSettings(num_steps=9, latent=9, further=(), langevin_steps=4))
code_jax.sweep(key, prior, images, code_jax.SweepGrid(sigma=(0.3, 0.6)), config)
code_jax.decode(prior, code_jax.encode(prior, images, **few), **few)
code_jax.log_likelihood(key, prior, images, **few, solver="ddim")
"""


@pytest.mark.slow
def test_everything_works_where_nans_ranks_and_transfers_are_watched():
    flags = {"JAX_DEBUG_NANS": "1", "JAX_NUMPY_RANK_PROMOTION": "raise", "JAX_TRANSFER_GUARD": "disallow"}
    environment = os.environ | flags | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def results(key, dtype=np.float32):
    """Of everything that takes images; the first two depend on the key."""
    prior, images, few = mixture(jnp.full((4, 4, 1), 0.4), 0.3), jnp.asarray(IMAGES, dtype), {"num_steps": 2}
    swept = code_jax.sweep(key, prior, images, GRID, CONFIG, micro_batch=1).images[0]
    latents = code_jax.encode(prior, images, **few)
    images_again = code_jax.decode(prior, latents, **few)
    moved = code_jax.langevin_step(prior, images, 300.0, 0.01, jnp.ones_like(images))
    clipped = code_jax.clip_to_confidence(images, 0.1, 0.1)
    eps = prior.eps(images, jnp.array([300.0]))
    return code_jax.edit(key, prior, images, CONFIG).images, swept, latents, images_again, moved, clipped, eps


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_under_x64_the_dtype_is_that_of_the_images(dtype):
    expected = results(jax.random.key(0))
    with jax.enable_x64(True):  # where the prior's own numbers are float64
        found = results(jax.random.key(0), dtype)
    assert {each.dtype for each in found} == {np.dtype(dtype)}
    same = slice(2 if dtype == np.float64 else 0, None)  # noise in float64 is another
    for got, known in zip(found[same], expected[same], strict=True):
        np.testing.assert_allclose(got, known, atol=1e-5)


def test_a_callers_key_keeps_its_implementation():
    expected = results(jax.random.key(0, impl="rbg"))
    with jax.default_prng_impl("rbg"):
        named = results(jax.random.key(0, impl="threefry2x32"))
        for got, known in zip(results(jax.random.key(0)), expected, strict=True):
            np.testing.assert_array_equal(got, known)
    for got, known, other in zip(named[:2], results(jax.random.key(0))[:2], expected[:2], strict=True):
        np.testing.assert_array_equal(got, known)
        assert np.abs(got - other).max() > 1e-3
    own = jax.random.fold_in(jax.random.key(0, impl="rbg"), 0)  # that of the first seed
    prior = mixture(jnp.full((4, 4, 1), 0.4), 0.3)
    config = CONFIG.replace(eta=1.5)
    np.testing.assert_array_equal(expected[1], code_jax.edit(own, prior, jnp.asarray(IMAGES, np.float32), config).images)
