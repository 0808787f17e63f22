"""Muon, the learning rate and the mixture of noise levels, beside float64 of their formulae."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from code_jax.training.recipe import Recipe
from code_jax.training.step import draw_timesteps, learning_rate, optimizer

SHAPES = {
    "conv_in": {"kernel": (3, 3, 2, 8), "bias": (8,)},
    "mid": {"conv": {"kernel": (3, 3, 4, 6)}, "dense": {"kernel": (12, 5), "bias": (5,)}},
    "conv_out": {"kernel": (3, 3, 8, 2)},
}


def normal(seed):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda shape: rng.standard_normal(shape), SHAPES, is_leaf=lambda x: isinstance(x, tuple))


def orthogonalized(matrix):
    """Five Newton-Schulz steps of the quintic 3.4445 x − 4.7750 x³ + 2.0315 x⁵ on the singular values."""
    u, s, v = np.linalg.svd(matrix, full_matrices=False)
    s = s / np.linalg.norm(matrix)
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return (u * s) @ v


def test_muon_moves_hidden_matrices_along_the_nearly_orthogonal_momentum():
    recipe = Recipe(optimizer="muon", clip_norm=1e9, weight_decay=0.25)
    transform, weights = optimizer(recipe), normal(0)
    state = transform.init(jax.tree.map(jnp.float32, weights))
    momentum = jax.tree.map(np.zeros_like, weights)
    for k in range(1, 5):
        gradients = normal(k)
        updates, state = transform.update(jax.tree.map(jnp.float32, gradients), state, jax.tree.map(jnp.float32, weights))
        momentum = jax.tree.map(lambda m, g: 0.95 * m + 0.05 * g, momentum, gradients)
        for place in ("conv", "dense"):
            m, g, w = (tree["mid"][place]["kernel"] for tree in (momentum, gradients, weights))
            ahead = 0.95 * m / (1 - 0.95 ** (k + 1)) + 0.05 * g / (1 - 0.95**k)
            matrix = ahead.reshape(-1, ahead.shape[-1])
            expected = 0.2 * max(matrix.shape) ** 0.5 * orthogonalized(matrix).reshape(ahead.shape) + 0.25 * w
            np.testing.assert_allclose(updates["mid"][place]["kernel"], expected, atol=2e-4)


def test_beside_muon_the_rest_is_adamws():
    weights = jax.tree.map(jnp.float32, normal(0))
    found = []
    for kind in ("muon", "adamw"):
        transform = optimizer(Recipe(optimizer=kind))
        state = transform.init(weights)
        for k in range(1, 4):
            updates, state = transform.update(jax.tree.map(jnp.float32, normal(k)), state, weights)
        found.append(updates)
    muon, adamw = found
    for path in (("conv_in", "kernel"), ("conv_in", "bias"), ("conv_out", "kernel"), ("mid", "dense", "bias")):
        a, b = muon, adamw
        for name in path:
            a, b = a[name], b[name]
        np.testing.assert_array_equal(a, b)
    assert np.abs(muon["mid"]["dense"]["kernel"] - adamw["mid"]["dense"]["kernel"]).max() > 0.1


def test_muons_direction_becomes_that_of_a_summed_momentum():
    """Jordan's program sums, optax takes a bias-corrected mean: after a hundred steps one direction."""
    transform = optimizer(Recipe(optimizer="muon", clip_norm=1e9, weight_decay=0.0))
    weights = {"dense": {"kernel": jnp.zeros((12, 5))}}
    state, total, rng = transform.init(weights), np.zeros((12, 5)), np.random.default_rng(0)
    update = jax.jit(transform.update)
    for _ in range(100):
        gradient = rng.standard_normal((12, 5))
        total = 0.95 * total + gradient
        updates, state = update({"dense": {"kernel": jnp.float32(gradient)}}, state, weights)
    expected = 0.2 * 12**0.5 * orthogonalized(gradient + 0.95 * total)
    np.testing.assert_allclose(updates["dense"]["kernel"], expected, atol=0.02)


def test_muon_fits_a_matrix():
    """‖W x − y‖² of a deep linear network falls by a hundred times."""
    recipe, rng = Recipe(optimizer="muon", weight_decay=0.0), np.random.default_rng(0)
    weights = {"a": {"kernel": jnp.eye(8)}, "b": {"kernel": jnp.eye(8)}}
    x, truth = (jnp.float32(rng.standard_normal(shape)) for shape in ((64, 8), (8, 8)))
    transform = optimizer(recipe)
    state = transform.init(weights)

    def error(w):
        return jnp.mean((x @ w["a"]["kernel"] @ w["b"]["kernel"] - x @ truth) ** 2)

    @jax.jit
    def step(weights, state, rate):
        updates, state = transform.update(jax.grad(error)(weights), state, weights)
        return optax.apply_updates(weights, jax.tree.map(lambda u: -rate * u, updates)), state

    before = error(weights)
    for k in range(300):
        weights, state = step(weights, state, 0.05 * (1 - k / 300))
    assert error(weights) < before / 100


def test_a_held_learning_rate_falls_linearly_to_zero():
    recipe = Recipe(learning_rate=1e-3, warmup=100, steps=1000, hold=0.8)
    rates = jax.vmap(lambda step: learning_rate(recipe, step))(jnp.array([0, 49, 99, 500, 800, 850, 900, 1000, 2000]))
    np.testing.assert_allclose(rates, [1e-5, 5e-4, 1e-3, 1e-3, 1e-3, 7.5e-4, 5e-4, 0, 0], atol=1e-9)


@pytest.mark.parametrize(("share", "timesteps"), [(0.85, 1000), (0.5, 1000), (0.0, 11), (1.0, 10)])
def test_timesteps_have_their_share_in_the_lower_half_and_are_uniform_within(share, timesteps):
    count = 20_000
    t = np.asarray(draw_timesteps(jax.random.key(0), count, timesteps, share)).astype(int)
    middle = timesteps // 2
    expected = np.where(np.arange(timesteps) < middle, share / middle, (1 - share) / (timesteps - middle))
    bins = np.array_split(np.arange(timesteps), 10)
    for each in bins:
        chance = expected[each].sum()
        assert abs(np.isin(t, each).mean() - chance) <= 4.5 * (chance * (1 - chance) / count) ** 0.5
    assert t.min() >= 0 and t.max() < timesteps
