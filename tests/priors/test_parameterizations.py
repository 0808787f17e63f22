"""One Gaussian, whatever its network answers to: every parameterization, and latents of a linear codec, give the same edit."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import code_jax
from code_jax.diffusion.scaling import Direct, LinearSDE, VariancePreserving
from tests.diffusion.test_scaling import KINDS, MEAN, SPREAD, expected_eps
from tests.priors.linear_codec import Blocks

SHAPE, START = (8, 8, 1), float(code_jax.linear_schedule().sigma(0.0))


@dataclasses.dataclass(frozen=True)
class Answer:
    """A prior's function of a parameterization's network."""

    name: str

    def __call__(self, params, x, time):
        return KINDS[self.name][1](x, time, None)


def prior_of(name):
    """The prior of a parameterization, whose ODE starts where DDPM's does."""
    scaling, _ = KINDS[name]
    if isinstance(scaling, LinearSDE):
        scaling = scaling.replace(t_min=scaling.t_of_sigma(START))
    elif not isinstance(scaling, VariancePreserving):
        scaling = scaling.replace(sigma_min=START)
    return code_jax.Prior((), scaling, Answer(name), SHAPE)


def exact(params, z, sigma):
    return expected_eps(z, 1, sigma[:, None, None, None], params)


IMAGES = 0.8 * jax.random.uniform(jax.random.key(3), (2, *SHAPE), minval=-1)
CONFIG = code_jax.EditConfig(sigma=(2.0, 0.5), relative_step=0.1, eta=1.7, program=code_jax.EditProgram(grid="geometric"))


@pytest.mark.parametrize("method", ["code", "sdedit"])
def test_every_parameterization_gives_the_same_edit(method):
    own = code_jax.Prior((jnp.float32(MEAN)), Direct(START, 80.0), exact, SHAPE)
    config = CONFIG.with_program(method=method)
    config = config.replace(sigma=1.0) if method == "sdedit" else config
    expected = code_jax.edit(jax.random.key(0), own, IMAGES, config)
    for name in KINDS:
        got = code_jax.edit(jax.random.key(0), prior_of(name), IMAGES, config)
        # An x_0 or v network's ε is a difference of numbers 1/σ times as large, 100 at the start.
        close = 2e-3 if name in ("vp-sample", "flow", "shifted-flow") else 2e-4
        np.testing.assert_allclose(got.images, expected.images, atol=close, err_msg=name)
        np.testing.assert_allclose(got.info.squared_score, expected.info.squared_score, rtol=1e-2, err_msg=name)


def test_latents_of_a_linear_codec_give_the_same_edit():
    """Turning and scaling pixels makes the Gaussian of pixels that of latents, of σ's that are as much larger."""
    codec = Blocks.of(SHAPE, gain=3.0, key=5)
    mean = codec.encode(jnp.full((1, *SHAPE), MEAN))

    def latent(params, z, sigma):
        mean, gain = params
        sigma = sigma[:, None, None, None]
        return sigma * (z - mean) / ((gain * SPREAD) ** 2 + sigma**2)

    pixels = code_jax.Prior(jnp.float32(MEAN), Direct(START, 80.0), exact, SHAPE)
    latents = code_jax.Prior((mean, 3.0), Direct(3 * START, 240.0), latent, codec.latent_shape).with_codec(codec, SHAPE)
    assert latents.image_shape == SHAPE and latents.data_range == np.inf
    config = CONFIG.replace(eta=None, input_noise=0.0, sigma=1.5).with_program(method="ddim")
    expected = code_jax.edit(jax.random.key(0), pixels, IMAGES, config)
    got = code_jax.edit(jax.random.key(0), latents, IMAGES, config.replace(sigma=4.5))
    np.testing.assert_allclose(got.images, expected.images, atol=1e-4)
    assert float(np.abs(expected.images - IMAGES).max()) > 0.01 and float(got.info.codec_error.max()) < 1e-10
    for there, back in ((code_jax.encode, code_jax.decode),):
        x_t = there(latents, IMAGES, sigma=4.5, grid="geometric", num_steps=40)
        assert x_t.shape == (2, *codec.latent_shape)
        again = back(latents, x_t, sigma=4.5, grid="geometric", num_steps=40)
        x_t = there(pixels, IMAGES, sigma=1.5, grid="geometric", num_steps=40)
        np.testing.assert_allclose(again, back(pixels, x_t, sigma=1.5, grid="geometric", num_steps=40), atol=1e-4)
