"""Gradients through an edit: finite differences, and memory that does not grow with the moves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import code_jax
from code_jax.editing.edit import number_of_moves
from tests.oracles import gaussian


@pytest.mark.parametrize(
    ("numbers", "program"),
    [
        ({"sigma": 0.7, "relative_step": 0.2, "eta": 0.9}, {}),
        ({"sigma": [1.1, 0.4], "relative_step": [0.1, 0.3], "eta": 1.4}, {"solver": "midpoint", "langevin": "averaged"}),
        ({"sigma": 0.8, "eta": 1.1}, {"method": "ddim", "solver": "reversible_heun"}),
    ],
)
def test_by_numbers_images_and_weights_they_are_finite_differences(numbers, program):
    with jax.enable_x64(True):
        prior = gaussian(jnp.full((4, 4, 2), 0.2), jnp.linspace(0.1, 0.6, 32).reshape(4, 4, 2))
        config = code_jax.EditConfig().with_program(**{"num_steps": 5, "langevin_steps": 4} | program)
        rng = np.random.default_rng(0)
        target, images = rng.uniform(-0.8, 0.8, (2, 2, 4, 4, 2))

        def score(numbers, images, mean):
            own = prior.replace(params=((mean, prior.params[0][1]), prior.params[1]))
            result = code_jax.edit(jax.random.key(0), own, images, config.replace(**numbers))
            return jnp.mean((result.images - target) ** 2)

        numbers = {name: np.array(value) for name, value in numbers.items()} | {"input_noise": np.array(0.7)}
        point = numbers, images, np.asarray(prior.params[0][0])
        score, step = jax.jit(jax.value_and_grad(score, (0, 1, 2))), 1e-6
        gradient = jax.device_get(score(*point)[1])
        leaves, form = jax.tree.flatten(point)
        for k, slope in enumerate(jax.tree.leaves(gradient)):
            way = rng.standard_normal(leaves[k].shape)
            ends = [form.unflatten([*leaves[:k], leaves[k] + side * step * way, *leaves[k + 1 :]]) for side in (1, -1)]
            expected = (float(score(*ends[0])[0]) - float(score(*ends[1])[0])) / (2 * step)
            np.testing.assert_allclose(np.sum(slope * way), expected, rtol=2e-6, atol=1e-9)
            assert expected != 0


def _deep(params, z, sigma):
    """A network that remembers ten arrays of z's size of an evaluation, and has weights of as much."""
    for weights in params:
        z = jnp.tanh(weights * z + sigma[:, None, None, None])
    return z


def test_memory_grows_with_the_root_of_the_moves_alone():
    prior = code_jax.Prior.from_denoiser(_deep, jnp.linspace(0.5, 1.5, 10 * 16**3).reshape(10, *[16] * 3), (16,) * 3, (0.01, 80))
    images = jnp.full((2, 16, 16, 16), 0.1)

    def measured(langevin_steps):
        config = code_jax.EditConfig(sigma=0.7, relative_step=0.01).with_program(num_steps=4, langevin_steps=langevin_steps)

        def score(config, prior):
            return jnp.mean(code_jax.edit(jax.random.key(0), prior, images, config).images ** 2)

        compiled = jax.jit(jax.grad(score, (0, 1))).lower(config, prior).compile()
        return number_of_moves(prior, config)[0], compiled.memory_analysis().temp_size_in_bytes

    (few, least), (many, most) = measured(7), measured(1015)
    assert (few, many) == (16, 1024)
    state = 2 * 16**3 * (4 + 1)  # z and where it was clipped, of both images: 41 of 164 kB that a move remembers beside weights
    tables = 2 * 5 * 4 * many  # the moves themselves
    assert most - least < 2 * (many**0.5 - few**0.5) * state + 5 * tables
