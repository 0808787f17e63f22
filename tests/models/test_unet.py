import jax
import jax.numpy as jnp
import numpy as np
import pytest

import code_jax
from code_jax.models.config import UNet2DConfig
from code_jax.models.unet import UNet2DModel
from code_jax.priors.weights import expected_params, from_state_dict, to_state_dict
from tests.models.architectures import ARCHITECTURES, CELEBAHQ256, CIFAR10, GOLDEN_SIZE, OPTIONS, inputs, weights

GOLDEN = "tests/models/golden.npz"


def ours(config, state, size=None, dtype=jnp.float32):
    network = UNet2DModel(UNet2DConfig.from_diffusers(config), dtype)
    return jax.jit(network.apply)({"params": from_state_dict(network, state)}, *inputs(config, size))


def shapes(config):
    network = UNet2DModel(UNet2DConfig.from_diffusers(config))
    expected = to_state_dict(jax.tree.map(lambda leaf: np.zeros(leaf.shape), expected_params(network)))
    return {name: tensor.shape for name, tensor in expected.items()}


def assert_close(got, expected):
    assert float(np.abs(got - expected).max() / np.abs(expected).max()) <= 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_outputs_equal_those_recorded_from_diffusers(name, request):
    config, size = ARCHITECTURES[name], GOLDEN_SIZE.get(name)
    expected = np.load(request.config.rootpath / GOLDEN)[name]
    assert_close(ours(config, weights(shapes(config)), size), expected)


@pytest.mark.parity
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_outputs_equal_diffusers(name):
    from tests.models.make_golden import reference

    expected, state = reference(ARCHITECTURES[name])
    assert_close(ours(ARCHITECTURES[name], state), expected)


def test_parameters_count_as_published():
    count = lambda config: sum(int(np.prod(shape)) for shape in shapes(config).values())  # noqa: E731
    assert count(CELEBAHQ256) == 113_673_219
    assert count(CIFAR10) == 35_746_307


def test_bfloat16_stays_near_float32_and_answers_in_float32():
    config = OPTIONS["plain"]
    exact, rough = (ours(config, weights(shapes(config)), dtype=dtype) for dtype in (jnp.float32, jnp.bfloat16))
    assert rough.dtype == jnp.float32
    error = float(jnp.sqrt(jnp.mean((exact - rough) ** 2) / jnp.mean(exact**2)))
    assert 1e-4 < error < 2**-5  # bfloat16 has 8 bits


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ({"time_embedding_type": "fourier"}, "time_embedding_type 'fourier'"),
        ({"class_embed_type": "timestep"}, "class_embed_type 'timestep'"),
        ({"down_block_types": ["SkipDownBlock2D", "DownBlock2D"]}, "SkipDownBlock2D"),
        ({"resnet_time_scale_shift": "spatial"}, "spatial"),
        ({"block_out_channels": [10**9, 16]}, "1000000000"),
        ({"block_out_channels": [-8, 16]}, "-8"),
        ({"block_out_channels": [10, 16]}, "norm_num_groups"),
        ({"layers_per_block": 10**6}, "1000000"),
        ({"sample_size": None}, "sample_size"),
        ({"surprise": 1}, "surprise"),
        ({"block_out_channels": [8, 16, 32]}, "3 levels"),
        ({"norm_eps": "tiny"}, "norm_eps"),
        ({"block_out_channels": 8}, "block_out_channels"),
        ({"dropout": 2.0}, "dropout"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(option, named):
    with pytest.raises(code_jax.UserError, match=named):
        UNet2DConfig.from_diffusers(OPTIONS["plain"] | option)


def test_a_config_survives_its_way_to_diffusers_and_back():
    for config in OPTIONS.values():
        ours = UNet2DConfig.from_diffusers(config)
        assert UNet2DConfig.from_diffusers(ours.to_diffusers()) == ours
