"""What an edit gives of one image, and how settings and results print."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import code_jax
from tests import oracles

FEW = {"num_steps": 2, "langevin_steps": 2}


@pytest.fixture(scope="module")
def prior():
    return oracles.gaussian(jnp.full((8, 8, 3), 0.1), jnp.float32(0.4))


def test_one_image_is_a_batch_of_one_without_its_axis(prior):
    image = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (8, 8, 3)), jnp.float32)
    config, key, mask = code_jax.EditConfig().with_program(**FEW), jax.random.key(0), np.eye(8, dtype=bool)
    one, batch = code_jax.edit(key, prior, image, config, mask), code_jax.edit(key, prior, image[None], config, mask)
    for alone, among in zip(jax.tree.leaves(one), jax.tree.leaves(batch), strict=True):
        np.testing.assert_array_equal(alone, among[0])
    assert one.images.shape == (8, 8, 3) and one.info.nfe.shape == ()
    several = code_jax.edit(key, prior, jnp.stack([image, image]), config)
    alone = code_jax.edit(key, prior, image, config).images
    np.testing.assert_allclose(alone, several.images[0], rtol=0, atol=1e-6)  # by another program: equal to rounding


def test_what_an_edit_and_a_sweep_give_prints_in_a_few_lines(prior):
    config = code_jax.EditConfig().with_program(**FEW)
    result = code_jax.edit(jax.random.key(0), prior, jnp.zeros((2, 8, 8, 3)), config)
    nfe = result.info.nfe.tolist()
    assert repr(result).startswith("EditResult(images=float32[2, 8, 8, 3] from ") and f"nfe={nfe}" in repr(result)
    assert "finite=[True, True]" in repr(result.info) and len(repr(result)) < 400
    grid = code_jax.SweepGrid(sigma=(0.5, 1.0), relative_step=tuple(np.linspace(0.01, 0.2, 10)))
    swept = code_jax.sweep(jax.random.key(0), prior, jnp.zeros((1, 8, 8, 3)), grid, config)
    assert "points='20 points'" in repr(swept) and len(repr(swept)) < 800
    shapes = []
    jax.eval_shape(lambda images: shapes.append(repr(code_jax.EditResult(images, ()))), jnp.zeros((2, 8, 8, 3)))
    assert "Traced" in shapes[0] or "float32[2,8,8,3]" in shapes[0]


def test_settings_print_what_is_not_as_by_default_and_read_back(prior):
    assert repr(code_jax.EditConfig()) == "EditConfig()"
    config = code_jax.EditConfig(sigma=(2.0, 0.5), eta=None).with_program(solver="heun", langevin="unadjusted")
    assert repr(config) == "EditConfig(eta=None, program=EditProgram(solver='heun', langevin='unadjusted'), sigma=(2.0, 0.5))"
    assert eval(repr(config), {name: getattr(code_jax, name) for name in ("EditConfig", "EditProgram")}) == config
    canonical = config.method.canonical(code_jax.EditConfig(sigma=0.3), prior)
    assert repr(canonical) == "EditConfig(sigma=[0.3], relative_step=[0.02])"
