"""Methods of others against closed forms on priors with an exact score, and the simplest thing that each paper says of itself."""

import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import code_jax
from code_jax.cli.main import main
from code_jax.diffusion.levels import noise_levels
from code_jax.editing import methods
from code_jax.editing.edit import number_of_moves, segments
from code_jax.editing.methods.adam import adam, no_moments
from code_jax.editing.methods.diip import Fit
from code_jax.editing.methods.invert2restore import Inversion, likely
from code_jax.editing.options import OPTIONS
from code_jax.editing.settings import from_plain, to_plain
from tests.oracles import gaussian, gaussian_flow, texture, texture_samples

SHAPE = (8, 8, 3)
RNG = np.random.default_rng(0)
MEAN, DEVIATION = RNG.uniform(-0.4, 0.4, SHAPE), RNG.uniform(0.1, 0.4, SHAPE)
PRIOR = gaussian(jnp.asarray(MEAN, jnp.float32), jnp.asarray(DEVIATION, jnp.float32))
IMAGES = RNG.uniform(-0.8, 0.8, (2, *SHAPE))
KEYS = jax.random.split(jax.random.key(3), 2)
LOW = float(PRIOR.sigma_range[0])


def edited(config, images=IMAGES, keys=KEYS):
    return code_jax.edit(keys, PRIOR, jnp.asarray(images, jnp.float32), config)


def draw(number, keys=KEYS):
    """Noise by its number, [B, 8, 8, 3]."""
    return np.stack([np.asarray(jax.random.normal(jax.random.fold_in(key, number), SHAPE), float) for key in keys])


def levels(sigma, steps, grid="time"):
    return np.asarray(noise_levels(PRIOR, LOW, sigma, steps, grid), float)


# SDEdit


@pytest.mark.slow
def test_sdedit_repeated_contracts_towards_the_mean_each_time():
    """Of a Gaussian prior N(m, s²) one pass gives a draw of the posterior: mean m + k(x − m), k = s²/(s² + σ²)."""
    mean, deviation, sigma, x, count = 0.2, 0.15, 0.3, 0.9, 100
    prior = gaussian(jnp.full(SHAPE, mean), jnp.full(SHAPE, deviation))
    config = code_jax.preset("default", "sdedit").replace(sigma=sigma).with_program(num_steps=100, grid="geometric")
    images, once = jnp.full((count, *SHAPE), x), deviation**2 / (deviation**2 + sigma**2)
    for repeats in (1, 2):
        result = code_jax.edit(jax.random.key(0), prior, images, config.with_program(repeats=repeats))
        assert result.info.nfe.tolist() == [101 * repeats] * count
        expected = mean + once**repeats * (x - mean)
        assert abs(float(result.images.mean()) - expected) < 4 * deviation / result.images.size**0.5 + 4e-3  # the grid


@pytest.mark.slow
@pytest.mark.parametrize(("solver", "nfe"), [("heun", 81), ("dpm++2m", 41), ("reversible_heun", 42)])
def test_sdedit_by_another_solver_follows_the_ode_from_the_noisy_image(solver, nfe):
    config = code_jax.preset("default", "sdedit").replace(sigma=0.5)
    result = edited(config.with_program(solver=solver, num_steps=40, grid="geometric"))
    noisy = IMAGES + 0.5 * draw(2**31 - 1)
    expected = gaussian_flow(MEAN, DEVIATION, noisy, 0.5, LOW)
    np.testing.assert_allclose(result.images, np.clip(expected, -1, 1), atol=5e-3)
    assert result.info.nfe.tolist() == [nfe] * 2


# DreamClean


@pytest.mark.slow
def test_dreamclean_is_its_papers_equations_in_x():
    """Encoding and decoding by DDIM, and at every level equation 9 with γ = 1 − √(1 − 2r), told in the scale of x."""
    step, steps = 0.1, 6
    config = methods.find("dreamclean").configure({"sigma": 0.8, "relative_step": step, "num_steps": steps, "langevin_steps": 2})
    result, sigmas, gamma = edited(config), levels(0.8, steps), 1 - np.sqrt(1 - 2 * step)
    bars = 1 / (1 + sigmas**2)

    def eps(x, bar):
        return np.sqrt(1 - bar) * (x - np.sqrt(bar) * MEAN) / (bar * DEVIATION**2 + 1 - bar)

    def ddim(x, bar, after):
        return np.sqrt(after) * (x - np.sqrt(1 - bar) * eps(x, bar)) / np.sqrt(bar) + np.sqrt(1 - after) * eps(x, bar)

    x, drawn = np.sqrt(bars[0]) * IMAGES, 0
    for k in range(steps):
        x = ddim(x, bars[k], bars[k + 1])
    for bar, after in zip(bars[:0:-1], bars[-2::-1], strict=True):
        for _ in range(2):
            score = -eps(x, bar) / np.sqrt(1 - bar)
            x = x + gamma * (1 - bar) * score + np.sqrt(gamma * (2 - gamma) * (1 - bar)) * draw(drawn)
            drawn += 1
        x, drawn = ddim(x, bar, after), drawn + 1  # a number is left out between levels
    x = ddim(x, bars[0], 1.0)
    np.testing.assert_allclose(result.images, np.clip(x, -1, 1), atol=2e-5)
    assert result.info.nfe.tolist() == [steps + 3 * steps + 1] * 2


def test_dreamclean_as_published_takes_90_evaluations_and_one():
    assert number_of_moves(PRIOR, methods.find("dreamclean").configure({}))[1] == 91  # the last is from σ_0 to 0


# Invert2Restore


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([4, 5]), st.floats(0.02, 0.3), st.floats(-1, 1), st.floats(0.1, 2))
def test_noise_is_moved_to_the_nearest_likely_one_and_likely_noise_not_at_all(seed, patch, p_value, shift, scale):
    rng = np.random.default_rng(seed)
    noise = shift + scale * rng.normal(size=(1, 8, 8, 3))
    moved = np.asarray(likely(jnp.asarray(noise, jnp.float32), jnp.float32(p_value), patch), float)
    for top in range(0, 8, patch):
        for left in range(0, 8, patch):
            one, other = (of[0, top : top + patch, left : left + patch].ravel() for of in (noise, moved))
            size = len(one)
            bound = scipy.stats.norm.ppf(1 - p_value / 2) / np.sqrt(size)
            least, most = scipy.stats.chi2.ppf([p_value / 2, 1 - p_value / 2], size - 1)
            squares = np.sum((other - other.mean()) ** 2)
            assert abs(other.mean()) < bound + 1e-5 and 0.98 * least < squares < 1.02 * most  # by Wilson & Hilferty
            before = np.sum((one - one.mean()) ** 2)
            if abs(one.mean()) < bound and 1.02 * least < before < 0.98 * most:
                np.testing.assert_allclose(other, one, atol=1e-5)
            for _ in range(5):  # no likely patch is nearer
                direction = rng.normal(size=size)
                direction -= direction.mean()
                length = np.sqrt(rng.uniform(1.02 * least, 0.98 * most)) / np.linalg.norm(direction)
                some = rng.uniform(-bound, bound) + length * direction
                assert np.linalg.norm(some - one) > np.linalg.norm(other - one) - 1e-3


@pytest.mark.slow
def test_invert2restore_of_a_gaussian_is_its_closed_form():
    """The flow maps x at σ_0 to m + (x − m)√((s² + σ²)/(s² + σ_0²)), and back."""
    settings = Inversion(sigma=20.0, num_steps=60, solver="heun", grid="geometric", patch=4, p_value=0.2)
    result, z = edited(settings), gaussian_flow(MEAN, DEVIATION, IMAGES, LOW, 20.0)
    noise = np.asarray(likely(jnp.asarray(z / np.sqrt(1 + 20.0**2)), jnp.float32(0.2), 4), float)
    there = gaussian_flow(MEAN, DEVIATION, noise * np.sqrt(1 + 20.0**2), 20.0, LOW)
    last = there - LOW * LOW * (there - MEAN) / (DEVIATION**2 + LOW**2)
    np.testing.assert_allclose(result.images, np.clip(last, -1, 1), atol=2e-3)
    assert float(jnp.abs(result.images - IMAGES).max()) > 0.05 and result.info.nfe.tolist() == [60 * 4 + 1] * 2


def test_the_inverted_noise_of_damaged_pictures_is_less_likely():
    """The paper's premise, with an exact score: patches of N(0, I) fail by chance alone, those of damaged pictures nearly all."""
    prior = texture(32, 1.5)
    clean = np.asarray(texture_samples(prior, jax.random.key(1), 6))
    noisy = clean + 0.1 * np.random.default_rng(2).normal(size=clean.shape)
    blurred = scipy.ndimage.gaussian_filter(clean, 1.5, axes=(1, 2))
    shares = []
    for pictures in (clean, noisy, blurred):
        pictures = pictures + LOW * np.random.default_rng(3).normal(size=clean.shape)  # the noise that an image is taken to have
        x_t = code_jax.encode(prior, jnp.asarray(pictures, jnp.float32), sigma=12.0, num_steps=30, solver="heun", grid="rho")
        moved = np.asarray(likely(x_t, jnp.float32(0.05), 8)) - np.asarray(x_t)
        shares.append(np.mean(np.abs(moved).reshape(6, 4, 8, 4, 8, 3).max(axis=(2, 4, 5)) > 1e-5))
    assert shares[0] < 0.35 and min(shares[1:]) > 0.9


# DIIP


def test_adam_is_optaxs():
    gradients, rate = np.random.default_rng(0).normal(size=(4, 2, 3, 3, 1)).astype(np.float32), 0.01
    optimizer, values = optax.adam(rate), jnp.zeros((2, 3, 3, 1))
    state, moments, mine = optimizer.init(values), no_moments(values), values
    for gradient in gradients:
        update, state = optimizer.update(jnp.asarray(gradient), state)
        values = values + update
        step, moments = adam(jnp.asarray(gradient), moments, jnp.full(2, rate))
        mine = mine + step
    np.testing.assert_allclose(mine, values, rtol=1e-5)


def test_diip_goes_down_the_gradient_of_its_error_through_the_mapping():
    """On a Gaussian the mapping is w ↦ a + c·w, so that the first step is Adam's sign of −c(a + c·w − y)."""
    fit = Fit(sigma=5.0, num_steps=3, iterations=2, tolerance=0.0, learning_rate=0.05, grid="geometric")
    sigmas = [*levels(5.0, 2, "geometric")[::-1], 0.0]
    shift, factor = MEAN, 1.0
    for sigma, after in itertools.pairwise(sigmas):
        factor = factor * (1 + (after - sigma) * sigma / (DEVIATION**2 + sigma**2))
    noise = draw(2**31 - 1)

    def image(noise):
        return shift + factor * (np.sqrt(1 + 25) * noise - MEAN)

    once = noise - 0.05 * np.sign(factor * (image(noise) - IMAGES))
    result = edited(fit)
    np.testing.assert_allclose(result.images, np.clip(image(once), -1, 1), atol=1e-4)
    assert result.info.nfe.tolist() == [2 * 3 * 3] * 2


@pytest.mark.slow
def test_an_image_that_has_ended_rests_whatever_its_neighbours_do():
    fit = Fit(sigma=5.0, num_steps=2, iterations=60, least_iterations=5, tolerance=0.003, learning_rate=0.1)
    checks = 0.9 * (-1.0) ** np.add.outer(np.arange(8), np.arange(8))[..., None] * np.ones(3)
    images = np.stack([checks, np.zeros(SHAPE)])  # the fit of one becomes sharper for long, that of the other less sharp
    both, counts = edited(fit, images), []
    for k in range(2):
        alone = edited(fit, images[k : k + 1], KEYS[k : k + 1])
        np.testing.assert_allclose(alone.images[0], both.images[k], atol=1e-5)
        counts.append(int(alone.info.nfe[0]))
    assert both.info.nfe.tolist() == counts and counts[1] < counts[0]


@pytest.mark.slow
def test_diips_best_picture_comes_before_it_has_converged():
    """The paper's observation (section 3.3), with an exact score and noise as the damage."""
    prior = texture(16, 2.0)
    clean = texture_samples(prior, jax.random.key(1), 2)
    noisy = clean + 0.3 * jax.random.normal(jax.random.key(2), clean.shape)
    fit = Fit(sigma=20.0, num_steps=6, iterations=400, least_iterations=400, tolerance=0.0, learning_rate=0.05, grid="rho")
    bounds = np.arange(0, 401, 20)
    errors = [
        (float(jnp.mean((state.z - clean) ** 2)), float(jnp.mean((state.z - noisy) ** 2)))
        for state in segments(KEYS, prior, noisy, fit, bounds)
    ][1:]
    to_clean, to_input = np.array(errors).T
    best = int(np.argmin(to_clean))
    assert to_input[-1] == to_input.min() and 0 < best < len(errors) - 5
    assert to_clean[best] < 0.85 * to_clean[-1] and to_clean[best] < 0.5 * 0.3**2


# Everywhere


SMALL = {
    "dreamclean": {"num_steps": 2},
    "invert2restore": {"num_steps": 2, "p_value": 0.2},
    "diip": {"num_steps": 2, "iterations": 3, "learning_rate": 0.01, "sigma": [9.0]},
}


@pytest.mark.parametrize("name", SMALL)
def test_what_is_read_back_of_settings_is_the_same(name, tiny):
    for values in ({}, SMALL[name]):
        config = methods.find(name).configure(values)
        plain = json.loads(json.dumps(to_plain(config, tiny)))
        assert to_plain(from_plain(plain), tiny) == plain and from_plain(to_plain(config)) == config


@pytest.mark.slow
@pytest.mark.usefixtures("own_cache")
@pytest.mark.parametrize("name", SMALL)
def test_pictures_go_through_it_and_its_own_command_gives_them_again(name, tiny_folder, tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)).save(tmp_path / "p.png")
    given = [f"{OPTIONS[option].flag}={np.ravel(value)[0]}" for option, value in SMALL[name].items()]
    argv = ["restore", str(tmp_path / "p.png"), "--prior", tiny_folder, "--method", name, *given]
    assert main([*argv, "--out", str(tmp_path / "one")]) == 0 == main([*argv, "--out", str(tmp_path / "two")])
    (line,) = map(json.loads, (tmp_path / "one" / "manifest.jsonl").read_text().splitlines())
    assert line["nfe"] == number_of_moves(code_jax.load_prior(tiny_folder), methods.find(name).configure(SMALL[name]))[1]
    assert (tmp_path / "one" / "p.png").read_bytes() == (tmp_path / "two" / "p.png").read_bytes()


@pytest.mark.parametrize(
    ("build", "named"),
    [
        (lambda: Fit(sigma=1.0, depth=0.5), "sigma and depth are both given"),
        (lambda: Fit(learning_rate=0.0), "learning_rate is 0.0"),
        (lambda: Inversion(p_value=1.0), "p_value is 1.0"),
        (lambda: Inversion(patch=1), "patch is 1"),
        (lambda: edited(Inversion(sigma=900.0)), "sigma is 900; this prior's levels are from"),
        (lambda: methods.find("diip").configure({"sigma": [1.0, 2.0]}), "sigma is [1.0, 2.0]; this method takes one"),
    ],
)
def test_a_value_that_cannot_be_is_named(build, named):
    with pytest.raises(code_jax.UserError) as error:
        build()
    assert named in str(error.value) and "\n" not in str(error.value)
