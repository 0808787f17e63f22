import jax
import jax.numpy as jnp
import pytest

import code_jax
from tests.oracles import mixture

SMALL = code_jax.EditProgram(num_steps=6, langevin_steps=5, anneal_levels=2)


@pytest.fixture(scope="session")
def prior():
    return mixture(jnp.full((4, 4, 1), 0.4), 0.3)


def images_of(prior, count=3):
    return jax.random.uniform(jax.random.key(7), (count, *prior.image_shape), minval=-1)
