"""Methods that are told the damage, or learn it, against their equations in NumPy, where the prior is a Gaussian."""

import itertools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

import code_jax
from code_jax.corruptions import linear
from code_jax.diffusion.levels import noise_levels
from code_jax.editing import methods
from code_jax.editing.edit import number_of_moves
from code_jax.editing.methods.bir_d import LearnedDamage
from code_jax.editing.methods.bird import FamilyFit
from code_jax.editing.methods.diffpir import PlugAndPlay
from code_jax.editing.methods.dps import PosteriorSampling
from code_jax.editing.operators import OPERATORS, convolved, nearest
from tests.oracles import gaussian, texture, texture_samples

SHAPE, COUNT = (8, 8, 2), 2
RNG = np.random.default_rng(0)
MEAN, DEVIATION = RNG.uniform(-0.4, 0.4, SHAPE), RNG.uniform(0.1, 0.4, SHAPE)
PRIOR = gaussian(jnp.asarray(MEAN, jnp.float32), jnp.asarray(DEVIATION, jnp.float32))
IMAGES = RNG.uniform(-0.8, 0.8, (COUNT, *SHAPE))
KEYS = jax.random.split(jax.random.key(3), COUNT)
LOW = float(PRIOR.sigma_range[0])


def edited(config):
    return code_jax.edit(KEYS, PRIOR, jnp.asarray(IMAGES, jnp.float32), config)


def draw(number):
    return np.stack([np.asarray(jax.random.normal(jax.random.fold_in(key, number), SHAPE), float) for key in KEYS])


def levels(sigma, steps):
    """Down to σ_0 and 0, as many steps."""
    return [*np.asarray(noise_levels(PRIOR, sigma, LOW, steps - 1, "time"), float), 0.0]


def matrix(name):
    """An operator on images of `SHAPE` as [D, D]."""
    basis = jnp.eye(int(np.prod(SHAPE))).reshape(-1, *SHAPE)
    return np.asarray(OPERATORS[name](basis), float).reshape(len(basis), -1).T


def denoised(z, sigma):
    return z - sigma**2 * (z - MEAN) / (DEVIATION**2 + sigma**2)


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_is_what_the_corruption_of_its_name_does_before_its_noise(name):
    images = np.random.default_rng(1).uniform(-1, 1, (1, 34, 33, 3))
    still = types.SimpleNamespace(normal=lambda size: np.zeros(size))
    expected = 2 * linear.FAMILY[name]((images[0] + 1) / 2, 5, still) - 1
    np.testing.assert_allclose(OPERATORS[name](jnp.asarray(images, jnp.float32))[0], expected, atol=1e-5)


@pytest.mark.parametrize("name", OPERATORS)
def test_the_nearest_image_that_fits_is_least_squares(name):
    a, weight = matrix(name), np.array([0.05, 0.3])
    near = np.random.default_rng(2).normal(size=IMAGES.shape)
    given = [jnp.asarray(each, jnp.float32) for each in (IMAGES, near, weight.reshape(-1, 1, 1, 1))]
    found = np.asarray(nearest(OPERATORS[name], *given, 40)).reshape(COUNT, -1)
    for k in range(COUNT):
        expected = np.linalg.solve(a.T @ a + weight[k] * np.eye(len(a)), a.T @ IMAGES[k].ravel() + weight[k] * near[k].ravel())
        np.testing.assert_allclose(found[k], expected, atol=1e-4)


def test_each_image_has_its_own_kernel():
    images, kernels = (np.random.default_rng(3).normal(size=shape) for shape in ((2, 7, 6, 2), (2, 3, 3, 2)))
    found = convolved(jnp.asarray(images, jnp.float32), jnp.asarray(kernels, jnp.float32))
    for k, c in itertools.product(range(2), range(2)):
        expected = ndimage.correlate(images[k, ..., c], kernels[k, ..., c], mode="constant")
        np.testing.assert_allclose(found[k, ..., c], expected, atol=1e-5)


def test_dps_is_algorithm_1_in_x():
    settings = PosteriorSampling(sigma=3.0, num_steps=5, input_guidance=0.4, operator="linear_blur")
    a, sigmas = matrix("linear_blur"), levels(3.0, 5)
    bars, share = [1 / (1 + sigma**2) for sigma in sigmas], DEVIATION.ravel() ** 2
    x = np.sqrt(bars[0]) * 3.0 * draw(2**31 - 1)
    for k, (bar, after) in enumerate(itertools.pairwise(bars)):
        clean = denoised(x / np.sqrt(bar), np.sqrt((1 - bar) / bar))
        beta = 1 - bar / after
        mean = np.sqrt(after) * beta / (1 - bar) * clean + np.sqrt(1 - beta) * (1 - after) / (1 - bar) * x
        rest = IMAGES.reshape(COUNT, -1) - clean.reshape(COUNT, -1) @ a.T
        # x̂_0 = m + s²/(ᾱs² + 1 − ᾱ)·√ᾱ(x − √ᾱm), so that ∇_x‖y − Ax̂_0‖² = −2 s²√ᾱ/(ᾱs² + 1 − ᾱ)·Aᵀ(y − Ax̂_0).
        slope = -2 * share * np.sqrt(bar) / (bar * share + 1 - bar) * (rest @ a)
        slope = (slope / np.linalg.norm(rest, axis=1, keepdims=True)).reshape(x.shape)
        x = mean + np.sqrt((1 - after) / (1 - bar) * beta) * draw(k) - 0.4 * slope
    result = edited(settings)
    np.testing.assert_allclose(result.images, np.clip(x, -1, 1), atol=5e-5)
    assert result.info.nfe.tolist() == [2 * 5] * COUNT  # a gradient takes as much as an evaluation


def test_diffpir_is_algorithm_1():
    settings = PlugAndPlay(sigma=3.0, num_steps=5, noise=0.2, prior_weight=2.0, zeta=0.3, operator="linear_downsample")
    a, sigmas = matrix("linear_downsample"), levels(3.0, 5)
    z = IMAGES + 3.0 * draw(2**31 - 1)
    for k, (sigma, after) in enumerate(itertools.pairwise(sigmas)):
        clean, weight = denoised(z, sigma).reshape(COUNT, -1), 2.0 * 0.2**2 / sigma**2
        clean = np.linalg.solve(a.T @ a + weight * np.eye(len(a)), (IMAGES.reshape(COUNT, -1) @ a + weight * clean).T).T
        clean = clean.reshape(z.shape)
        z = clean + after * (np.sqrt(0.7) * (z - clean) / sigma + np.sqrt(0.3) * draw(k))
    result = edited(settings)
    np.testing.assert_allclose(result.images, np.clip(z, -1, 1), atol=2e-4)
    assert result.info.nfe.tolist() == [5] * COUNT


def test_bird_steps_and_goes_back_to_the_sphere():
    settings = FamilyFit(sigma=5.0, num_steps=3, iterations=2, learning_rate=0.05, operator="linear_mask")
    sigmas, factor, a = levels(5.0, 3), 1.0, matrix("linear_mask")
    for sigma, after in itertools.pairwise(sigmas):
        factor = factor * (1 + (after - sigma) * sigma / (DEVIATION**2 + sigma**2))
    noise = draw(2**31 - 1)

    def image(noise):
        return MEAN + factor * (np.sqrt(26) * noise - MEAN)

    rest = ((image(noise).reshape(COUNT, -1) @ a.T - IMAGES.reshape(COUNT, -1)) @ a).reshape(noise.shape)
    once = noise - 0.05 * np.sign(factor * rest)
    once /= np.sqrt(np.mean(once**2, axis=(1, 2, 3), keepdims=True))
    result = edited(settings)
    np.testing.assert_allclose(result.images, np.clip(image(once), -1, 1), atol=1e-4)
    assert result.info.nfe.tolist() == [2 * 3 * 3] * COUNT


def test_bird_learns_the_kernel_of_a_blur():
    fit = FamilyFit(sigma=5.0, num_steps=2, iterations=30, kernel=5, learning_rate=0.02)
    fixed, learned = (edited(fit.replace(kernel_rate=rate)) for rate in (1e-9, 0.1))
    assert float(jnp.abs(fixed.images - learned.images).max()) > 1e-3


def test_bir_d_moves_towards_the_input_and_learns_its_damage():
    settings = LearnedDamage(sigma=2.0, num_steps=3, input_guidance=0.1, kernel_rate=20.0, kernel=3)
    away = np.arange(-1, 2) ** 2
    kernel = np.exp(-(away[:, None] + away) / (2 * 2.6**2))
    kernel, mask = np.repeat((kernel / kernel.sum())[None, ..., None], COUNT, 0), np.zeros_like(IMAGES)
    kernel = np.repeat(kernel, SHAPE[2], -1)
    z = 2.0 * draw(2**31 - 1)
    for k, (sigma, after) in enumerate(itertools.pairwise(levels(2.0, 3))):
        clean = denoised(z, sigma)
        of = itertools.product(range(COUNT), range(SHAPE[2]))
        rest, pull, slope = np.zeros_like(z), np.zeros_like(z), np.zeros_like(kernel)
        for i, c in of:
            rest[i, ..., c] = mask[i, ..., c] - IMAGES[i, ..., c]
            rest[i, ..., c] += ndimage.correlate(clean[i, ..., c], kernel[i, ..., c], mode="constant")
            pull[i, ..., c] = ndimage.convolve(rest[i, ..., c], kernel[i, ..., c], mode="constant")
            padded = np.pad(clean[i, ..., c], 1)
            for row, column in itertools.product(range(3), range(3)):
                slope[i, row, column, c] = np.sum(rest[i, ..., c] * padded[row : row + 8, column : column + 8])
        spread = after * np.sqrt(1 - (after / sigma) ** 2)
        z = clean + after**2 / sigma * (z - clean) / sigma + spread * draw(k) - 0.1 * np.sqrt(1 + after**2) * pull
        kernel, mask = kernel - 20.0 / z[0].size * slope, mask - 20.0 / z[0].size * rest
    result = edited(settings)
    np.testing.assert_allclose(result.images, np.clip(z, -1, 1), atol=1e-4)
    assert result.info.nfe.tolist() == [3] * COUNT


@pytest.mark.parametrize(
    "settings",
    [
        PosteriorSampling(sigma=20.0, num_steps=300, input_guidance=0.1, grid="rho"),
        PlugAndPlay(sigma=20.0, num_steps=20, noise=0.05, grid="rho"),
        FamilyFit(sigma=20.0, num_steps=6, iterations=120, learning_rate=0.05, grid="rho", operator="linear_mask"),
    ],
    ids=lambda settings: settings.method.name,
)
def test_with_an_exact_score_what_is_told_the_damage_explains_the_input(settings):
    prior = texture(16, 1.2)
    clean = texture_samples(prior, jax.random.key(1), 2)
    damaged = OPERATORS[settings.operator](clean) + 0.02 * jax.random.normal(jax.random.key(2), clean.shape)
    result = code_jax.edit(KEYS, prior, damaged, settings)
    # A sample is no mean, and may lie further from the source than the input does; but damaged again it is the input.
    again = OPERATORS[settings.operator](jnp.stack([*result.images, *clean[::-1]]))
    own, others = (float(jnp.mean((images - damaged) ** 2)) for images in (again[:2], again[2:]))
    assert own < 0.2 * others


def test_the_default_costs_are_the_papers():
    costs = {"dps": 2 * 1000, "diffpir": 100, "bird": 3 * 10 * 100, "bir_d": 1000, "diip": 3 * 10 * 300}
    assert {name: number_of_moves(PRIOR, methods.find(name).configure({}))[1] for name in costs} == costs
