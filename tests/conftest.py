import jax
import jax.numpy as jnp
import pytest

import code_jax
from code_jax.models.config import UNet2DConfig
from code_jax.models.unet import UNet2DModel


def tiny_prior(prediction_type="epsilon", **options):
    """A prior of a tiny network with random weights, on 8×8 pictures."""
    config = UNet2DConfig(
        **{
            "sample_size": (8, 8),
            "block_out_channels": (8, 16),
            "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
            "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
            "layers_per_block": 1,
            "norm_num_groups": 4,
        }
        | options
    )
    network = UNet2DModel(config)
    params = jax.jit(network.init)(jax.random.key(0), jnp.zeros((1, 8, 8, 3)), jnp.zeros(1))["params"]
    return code_jax.Prior.from_network(network, params, code_jax.linear_schedule(), prediction_type)


ONE_LEVEL = {"block_out_channels": (8,), "down_block_types": ("DownBlock2D",), "up_block_types": ("UpBlock2D",)}


@pytest.fixture(scope="session")
def tiny():
    return tiny_prior()
