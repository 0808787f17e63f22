"""Every kind of prior through what an edit can be: with a mask, in company, in sweeps and windows, with gradients."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import code_jax
from code_jax.diffusion.codec import latent_shape
from code_jax.editing.edit import advance, begin, image_keys, per_image
from tests.benchmarks.compile_priors import products
from tests.priors.test_trajectories import KINDS

PROGRAM = code_jax.EditProgram(num_steps=2, langevin_steps=1, grid="geometric")
CONFIG = code_jax.EditConfig(sigma=1.5, relative_step=0.1, eta=None, program=PROGRAM)
KEYS = jax.random.split(jax.random.key(0), 2)


ONE_OF_EACH = ("edm", "ncsnpp", "dit")  # with classes, with another range of σ, of latents: where programs are larger


@pytest.fixture(scope="module", params=KINDS)
def prior(request, tmp_path_factory):
    path, facts = KINDS[request.param](request.config.rootpath, tmp_path_factory.mktemp("kind"))
    return code_jax.load_prior(path, **facts)


some = pytest.mark.parametrize("prior", ONE_OF_EACH, indirect=True)


def pictures(prior, key):
    return 0.8 * jax.random.uniform(jax.random.key(key), (2, *prior.image_shape), minval=-1)


def labels(prior):
    return jnp.array([3, 1]) if prior.classes else None


def mask_of(shape):
    mask = np.zeros(shape[:2], np.float32)
    mask[2:5, 1:7] = 1
    return mask


def edited(prior, images, config=CONFIG):
    """In a mask, with each image's own label."""
    return code_jax.edit(KEYS, prior, images, config, mask_of(prior.image_shape), condition=labels(prior)).images


@pytest.mark.slow
def test_a_neighbour_changes_nothing_and_outside_a_mask_nothing_changes(prior):
    images, others = pictures(prior, 1), pictures(prior, 2)
    result = np.asarray(edited(prior, images))
    beside = np.asarray(edited(prior, jnp.stack([images[0], others[1]])))
    np.testing.assert_array_equal(result[0], beside[0])
    assert np.any(result[1] != beside[1]) and np.all(np.isfinite(result))
    outside = mask_of(prior.image_shape) == 0
    np.testing.assert_array_equal(result[:, outside], np.asarray(images)[:, outside])
    assert np.abs(result[:, ~outside] - np.asarray(images)[:, ~outside]).max() > 1e-3


@pytest.mark.slow
@some
def test_the_gradient_of_an_edit_is_the_difference_quotient(prior):
    images, mask = pictures(prior, 1), mask_of(prior.image_shape)[..., None]

    def brightness(sigma):
        return jnp.sum(mask * edited(prior, images, CONFIG.replace(sigma=sigma))) / mask.sum()

    step = 1e-3  # of random weights the result bends within hundredths
    quotient = (brightness(jnp.float32(1.5 + step)) - brightness(jnp.float32(1.5 - step))) / (2 * step)
    np.testing.assert_allclose(jax.grad(brightness)(jnp.float32(1.5)), quotient, rtol=5e-2, atol=1e-3)


@pytest.mark.slow
@some
def test_a_sweep_is_its_edits(prior):
    images = pictures(prior, 1)
    key, grid = jax.random.key(0), code_jax.SweepGrid(sigma=(0.6, 1.5))
    result = code_jax.sweep(key, prior, images, grid, CONFIG, condition=labels(prior))
    for point, made in zip(result.points, result.images, strict=True):
        alone = code_jax.edit(jax.random.fold_in(key, 0), prior, images, point.of(CONFIG), condition=labels(prior)).images
        np.testing.assert_allclose(made, alone, atol=1e-4)


@pytest.mark.slow
@some
def test_one_window_is_the_picture_itself(prior):
    images = pictures(prior, 1)
    tiles = code_jax.tiled(prior, prior.image_shape[:2])
    result = code_jax.edit(KEYS, tiles, images, CONFIG, condition=labels(prior)).images
    whole = code_jax.edit(KEYS, prior, images, CONFIG, condition=labels(prior)).images
    np.testing.assert_allclose(result, whole, atol=1e-4)


@pytest.mark.slow
def test_the_gradient_of_every_network_is_the_difference_quotient(prior):
    z, step = jax.random.normal(jax.random.key(4), (2, *latent_shape(prior))), 1e-2
    along = jax.random.normal(jax.random.key(5), z.shape)
    eps = jax.jit(lambda z: jnp.vdot(along, prior.eps_at(z, jnp.float32(1.5), labels(prior))))
    quotient = (eps(z + step * along) - eps(z - step * along)) / (2 * step)
    np.testing.assert_allclose(jnp.vdot(jax.jit(jax.grad(eps))(z), along), quotient, rtol=5e-2, atol=2e-2)


TWO_DEVICES = """
import jax, numpy as np, pathlib, sys, code_jax
from code_jax.devices.mesh import sharding
from tests.priors.test_every_kind import *
from tests.priors.test_trajectories import KINDS
root, work = map(pathlib.Path, sys.argv[1:])
devices = jax.devices()
assert len(devices) == 2
for name, kind in KINDS.items():
    (work / name).mkdir()
    path, facts = kind(root, work / name)
    prior = code_jax.load_prior(path, **facts)
    images = pictures(prior, 1)
    alone = edited(prior, images)
    shared = edited(jax.device_put(prior, sharding(devices)), jax.device_put(images, sharding(devices, "batch")))
    assert (len(alone.devices()), len(shared.devices())) == (1, 2)
    np.testing.assert_array_equal(alone, shared, err_msg=name)
    first, label = images[:1], None if labels(prior) is None else labels(prior)[:1]
    by_itself = code_jax.edit(KEYS[:1], prior, first, CONFIG, mask_of(prior.image_shape), condition=label).images
    np.testing.assert_array_equal(alone[:1], by_itself, err_msg=name)
    print(name)
"""


@pytest.mark.slow
def test_two_devices_give_the_bytes_of_one_and_so_does_an_image_by_itself(request, tmp_path):
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", TWO_DEVICES, str(request.config.rootpath), str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == list(KINDS)


def test_the_program_of_an_edit_holds_the_network_once(prior):
    """Convolutions and products of the edit's loop, whatever its length, are those of one evaluation."""
    z = jnp.zeros((2, *latent_shape(prior)))
    one = jax.jit(code_jax.Prior.eps_at).trace(prior, z, jnp.ones(()), labels(prior))
    for count in (2, 50):
        config = CONFIG.with_program(num_steps=count, langevin_steps=count)
        images, numbers = pictures(prior, 1), per_image(config, prior, 2)
        state = jax.eval_shape(begin, image_keys(KEYS, images), prior, images, numbers)
        edit = advance.trace(KEYS, prior, state, numbers, None, jnp.int32(0), jnp.int32(1), labels(prior))
        assert products(edit.jaxpr) == products(one.jaxpr) > 0
