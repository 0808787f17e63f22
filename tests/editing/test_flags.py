"""JAX's flags that are meant for a caller's own code do not stop what is computed here."""

import os
import subprocess
import sys

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


def test_everything_works_where_nans_ranks_and_transfers_are_watched():
    flags = {"JAX_DEBUG_NANS": "1", "JAX_NUMPY_RANK_PROMOTION": "raise", "JAX_TRANSFER_GUARD": "disallow"}
    environment = os.environ | flags | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
