"""The published program against numbers that it gave, a float64 re-telling of its quirks in the scale of x, and `edit`."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import code_jax
from code_jax.editing.edit import _edit, number_of_moves, official, run_in_segments
from code_jax.editing.methods.official import PUBLISHED, QUIRKS, OfficialSettings
from code_jax.editing.settings import from_plain, to_plain
from tests.oracles import gaussian

SHAPE = (4, 4, 3)
SETTINGS = OfficialSettings(num_steps=20, latent=20, further=(4,), langevin_steps=9, anneal_levels=4, step_size=2e-3, eta=0.9)
RNG = np.random.default_rng(0)
MEAN, DEVIATION = RNG.uniform(-0.5, 0.5, SHAPE), RNG.uniform(0.1, 0.4, SHAPE)
IMAGES = np.clip(RNG.normal(0, 0.8, (2, *SHAPE)), -1, 1)
PRIOR = gaussian(jnp.asarray(MEAN, jnp.float32), jnp.asarray(DEVIATION, jnp.float32))
KEYS = jax.random.split(jax.random.key(3), 2)


def draw(number):
    """Noise by its number, [2, 4, 4, 3]."""
    return np.stack([np.asarray(jax.random.normal(jax.random.fold_in(key, number), SHAPE), float) for key in KEYS])


def told(settings):
    """(images, evaluations) of the published program as its quirks are described, in float64."""
    has, steps = settings.quirks.__contains__, settings.num_steps
    alpha_bars = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
    times = [i * (1000 // steps) if has("truncated_timesteps") else i * 1000 // steps for i in range(steps)]
    abar = [alpha_bars[t] for t in times]
    evaluations = 0

    def eps_of(x, a, threshold=True):
        nonlocal evaluations
        evaluations += 1
        eps = np.sqrt(1 - a) * (x - np.sqrt(a) * MEAN) / (a * DEVIATION**2 + 1 - a)
        if settings.dynamic_threshold and threshold:
            quantile, s_max = settings.dynamic_threshold
            x0 = (x - np.sqrt(1 - a) * eps) / np.sqrt(a)
            for i, image in enumerate(x0):
                found = np.quantile(np.abs(image), quantile, method="linear" if has("interpolated_quantile") else "inverted_cdf")
                s = np.clip(found, 1, s_max)
                x0[i] = np.clip(image, -s, s) / s
            eps = (x - np.sqrt(a) * x0) / np.sqrt(1 - a)
        return eps

    def ddim(x, eps, a, b):
        return np.sqrt(b) * (x - np.sqrt(1 - a) * eps) / np.sqrt(a) + np.sqrt(1 - b) * eps

    def clipped(x, i):
        a = alpha_bars[i] if has("clip_by_index") else abar[i]
        bound = np.sqrt(a) + settings.eta * np.sqrt(1 - a)
        return np.clip(x, -bound, bound)

    x = IMAGES if has("input_unscaled") else np.sqrt(abar[0]) * IMAGES
    noises = draw(2**31 - 1) + (draw(2**31 - 2) if has("noise_twice") else 0)
    x = x + settings.input_noise * np.sqrt(1 - abar[0]) * noises
    deepest = settings.latent - (2 if has("latent_off_by_one") else 1)
    row_of_ddim = settings.langevin_steps == 0
    start = steps - 1 if row_of_ddim or (settings.eta and has("decode_deepest_code")) else deepest
    codes = [x]
    for i in range((steps - 1) if has("encode_all") else start):
        if settings.eta and has("clip_before_evaluation") and i >= 1:
            x = clipped(x, i)
        x = ddim(x, eps_of(x, abar[i]), abar[i], abar[i + 1])
        if settings.eta and not has("clip_before_evaluation"):
            x = clipped(x, i + 1)
        codes.append(x)
    others = settings.further
    if has("shallow_alone") and others and not deepest + 1 > min(others) + len(others) + 1:
        others = ()
    noisy, corrections = settings.langevin_steps // settings.anneal_levels, 0
    x = codes[start - 1] if row_of_ddim and has("ddim_last_but_one") else codes[start]
    for i in range(start, -1, -1):
        if not row_of_ddim and i in (deepest, *others):
            corrections += i != deepest  # a number is left out between levels
            law = 100 ** (1 - i / (steps - 1))
            if has("std_schedule") and others:
                law = np.sqrt((1 - alpha_bars[steps - 1]) / (1 - alpha_bars[i]))
            h = settings.step_size * (law if has("step_size_law") else 1)
            for j in range(settings.anneal_levels):
                size = h * settings.anneal_rate**j
                for _ in range(noisy):
                    moved = x - size * eps_of(x, abar[i]) / np.sqrt(1 - abar[i]) + np.sqrt(2 * size) * draw(corrections)
                    x = x if noisy == 1 and has("single_step_idle") else moved
                    corrections += 1
                if has("silent_last_step"):
                    x = x - size * eps_of(x, abar[i], threshold=False) / np.sqrt(1 - abar[i])
                    corrections += 1
        below = abar[i - 1] if i else abar[1] if has("last_step_up") else 1.0
        x = ddim(x, eps_of(x, abar[i]), abar[i], below)
    return np.clip(x, -1, 1), evaluations


# Where a quirk matters, if that is not at `SETTINGS`.
ELSEWHERE = {
    "clip_before_evaluation": {"latent": 10, "quirks": PUBLISHED - {"decode_deepest_code"}},
    "decode_deepest_code": {"latent": 10},
    "encode_all": {"latent": 10, "eta": None},
    "ddim_last_but_one": {"langevin_steps": 0, "further": (), "eta": None},
    "interpolated_quantile": {"eta": None},
    "single_step_idle": {"langevin_steps": 4},
    "truncated_timesteps": {"num_steps": 23, "latent": 23},
    "shallow_alone": {"latent": 7},
    "std_schedule": {"step_size": 2e-5, "quirks": PUBLISHED | {"std_schedule"}},
}


@pytest.mark.parametrize("name", QUIRKS)
def test_each_quirk_is_what_it_is_said_to_be_and_matters(name):
    base = OfficialSettings(**vars(SETTINGS) | ELSEWHERE.get(name, {}))
    images = []
    for settings in (base, base.without(name)):
        expected, evaluations = told(settings)
        result = official(KEYS, PRIOR, jnp.asarray(IMAGES, jnp.float32), settings)
        np.testing.assert_allclose(result.images, expected, atol=1e-5)
        assert result.info.nfe.tolist() == [evaluations] * 2 and evaluations == number_of_moves(PRIOR, settings)[1]
        assert (np.asarray(result.info.clipped) > 0.01).all() == (settings.eta is not None)
        images.append(expected)
    if name == "encode_all":  # costs evaluations, and nothing else
        assert told(base)[1] == told(base.without(name))[1] + 11
        np.testing.assert_allclose(*images, atol=1e-12)
    else:
        assert np.abs(images[0] - images[1]).max() > 3e-5


# Images and evaluations of the functions of the published notebook itself, run in float64 on this Gaussian with these draws.
GOLDEN = json.loads((Path(__file__).parent / "golden_official.json").read_text())
CASES = {
    "as published": {"eta": None},
    "with clipping": {},
    "one step a level": {"eta": None, "langevin_steps": 4},
    "23 steps of 1000": {"eta": None, "num_steps": 23, "latent": 23},
    "a shallow latent": {"eta": None, "latent": 7},
    "steps by deviation": {"eta": None, "step_size": 2e-5, "quirks": PUBLISHED | {"std_schedule"}},
}


@pytest.mark.parametrize("case", GOLDEN)
def test_it_gives_the_numbers_of_the_published_program(case):
    settings, golden = OfficialSettings(**vars(SETTINGS) | CASES[case]), GOLDEN[case]
    result = official(KEYS, PRIOR, jnp.asarray(IMAGES, jnp.float32), settings)
    expected = np.array(golden["images"]).reshape(IMAGES.shape)
    np.testing.assert_allclose(result.images, expected, atol=5e-6)
    np.testing.assert_allclose(told(settings)[0], expected, atol=5e-8)  # the schedule's float32
    assert result.info.nfe.tolist() == [golden["evaluations"]] * 2


@pytest.mark.parametrize("eta", [None, 0.9])
def test_without_quirks_it_is_what_edit_does(eta):
    settings = OfficialSettings(**{**vars(SETTINGS), "further": (), "langevin_steps": 8, "eta": eta}).without(*QUIRKS)
    program = code_jax.EditProgram("code", 19, "ddim", "time", 8, 4, "unadjusted")
    config = code_jax.EditConfig(950 / 999, 2e-3, eta, 0.8, 1.0, (0.98, 1.3), program)
    images = jnp.asarray(IMAGES, jnp.float32)
    ours, theirs = code_jax.edit(KEYS, PRIOR, images, config), official(KEYS, PRIOR, images, settings)
    np.testing.assert_allclose(theirs.images, ours.images, atol=2e-5)
    np.testing.assert_array_equal(theirs.info.nfe, ours.info.nfe)
    np.testing.assert_allclose(theirs.info.squared_score, ours.info.squared_score, rtol=1e-4)
    np.testing.assert_allclose(theirs.info.clipped, ours.info.clipped, atol=1e-6)


def test_the_notebooks_settings_cost_902_evaluations_and_903_with_clipping():
    assert number_of_moves(PRIOR, OfficialSettings())[1] == 902
    assert number_of_moves(PRIOR, OfficialSettings(eta=1.7))[1] == 903
    flat = jnp.zeros((1, *SHAPE))
    assert official(jax.random.key(0), PRIOR, flat).info.nfe.tolist() == [902]
    assert official(jax.random.key(0), PRIOR, flat, OfficialSettings(eta=1.7)).info.nfe.tolist() == [903]


def test_segments_give_the_bytes_of_one_call_and_new_numbers_compile_nothing(tiny):
    images = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (2, 8, 8, 3)), jnp.float32)
    done = []
    whole = run_in_segments(KEYS, tiny, images, SETTINGS, np.array([0, number_of_moves(tiny, SETTINGS)[0]]), done.append)
    bounds = np.array([0, 7, 30, number_of_moves(tiny, SETTINGS)[0]])
    parts = run_in_segments(KEYS, tiny, images, SETTINGS, bounds, done.append)
    np.testing.assert_array_equal(whole.images, parts.images)
    assert done == [bounds[-1], *bounds[1:]]
    np.testing.assert_allclose(official(KEYS, tiny, images, SETTINGS).images, whole.images, atol=1e-5)
    before = _edit._cache_size()
    official(KEYS, tiny, images, SETTINGS.replace(step_size=1e-3, eta=1.5))
    assert _edit._cache_size() == before


@pytest.mark.parametrize(
    "settings", [OfficialSettings(), SETTINGS.including("std_schedule"), SETTINGS.without("noise_twice", "encode_all")]
)
def test_what_is_read_back_of_settings_is_the_same(settings):
    assert from_plain(to_plain(settings)) == settings


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"latent": 201}, "latent is 201"),
        ({"latent": 2}, "latent is 2"),
        ({"num_steps": 2}, "num_steps is 2"),
        ({"langevin_steps": 3}, "langevin_steps is 3"),
        ({"further": (199,)}, "corrected steps [198, 199] must decrease"),
        ({"eta": 0.0}, "eta is 0.0"),
        ({"step_size": float("nan")}, "step_size is nan"),
        ({"dynamic_threshold": (0.98, 0.5)}, "dynamic_threshold is [0.98, 0.5]"),
        ({"quirks": frozenset(["typo"])}, "quirk 'typo' is unknown"),
    ],
)
def test_a_value_that_cannot_be_is_named(values, named):
    with pytest.raises(code_jax.UserError) as error:
        OfficialSettings(**values)
    assert named in str(error.value) and "\n" not in str(error.value)
