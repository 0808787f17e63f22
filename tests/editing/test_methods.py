"""A method of one's own, in this file alone, through everything that takes a method; and what methods share."""

import csv
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import code_jax
from code_jax.cli.main import main
from code_jax.diffusion.levels import noise_levels
from code_jax.editing import methods
from code_jax.editing.edit import number_of_moves
from code_jax.editing.methods import Row
from code_jax.editing.methods.code import config_method
from code_jax.editing.moves import ancestral_moves, last_move, moves
from code_jax.editing.route import Kind
from code_jax.editing.settings import from_plain, to_plain
from tests.conftest import ONE_LEVEL, tiny_prior
from tests.oracles import gaussian, mixture

pytestmark = pytest.mark.usefixtures("own_cache")


def _jump(field, numbers, draw, solver, state):
    """Back up to σ' by noise, with no evaluation: what RePaint calls a jump (Lugmayr et al. 2022, section 4.2)."""
    return state.replace(z=state.z + jnp.sqrt(numbers.sigma_next**2 - numbers.sigma**2) * draw())


JUMP = Kind("jump", _jump, lambda solver: 0, draws=True, leads=False)


def _start(config, denoiser, images, draw):
    sigma = config.sigma[:, 0, None, None, None]
    return images + sigma * draw(1), sigma


def _resampled(config, denoiser):
    """Down in steps, each made twice, with a jump back between."""
    levels = noise_levels(denoiser, config.sigma[0], denoiser.sigma_range[0], config.program.num_steps, config.program.grid)
    route = None
    for k in range(config.program.num_steps):
        step = ancestral_moves(levels[k : k + 2], "ddim")
        part = step + moves(JUMP, levels[k + 1 : k + 2], levels[k : k + 1], "ddim") + step
        route = part if route is None else route + part
    return route + last_move(levels[-1], "ddim")


OPTIONS = ("preset", "sigma", "depth", "num_steps", "grid", "dynamic_threshold")
RESAMPLING = config_method(
    "resampling", "steps made twice, with a jump back between", OPTIONS, {"num_steps": 3},
    start=_start, route=_resampled, up=lambda config: 0, upward=("sigma",), rows={"resampling": Row("resampled")},
)  # fmt: skip


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setattr(methods, "_own", {})
    methods.register(RESAMPLING)


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    path = tmp_path_factory.mktemp("in") / "p.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("prior") / "p"
    code_jax.save_prior(tiny_prior(**ONE_LEVEL, sample_size=(32, 32), add_attention=False), path)
    return str(path)


def test_it_draws_from_the_prior_and_counts_only_what_it_evaluates():
    mean, deviation, count = 0.2, 0.15, 400
    prior = gaussian(jnp.full((4, 4, 1), mean), jnp.full((4, 4, 1), deviation))
    config = code_jax.preset("default", "resampling").replace(sigma=40.0).with_program(num_steps=60, grid="geometric")
    result = code_jax.edit(jax.random.key(0), prior, jnp.zeros((count, 4, 4, 1)), config)
    assert result.info.nfe.tolist() == [2 * 60 + 1] * count and number_of_moves(prior, config) == (181, 121)
    x, size = np.asarray(result.images), result.images.size
    assert abs(x.mean() - mean) < 4 * deviation / math.sqrt(size)
    assert x.var() == pytest.approx(deviation**2, rel=0.1 + 4 * math.sqrt(2 / size))


def test_it_takes_masks_and_thresholds_as_any_method_does():
    prior = mixture(jnp.full((8, 8, 1), 0.4), 0.3)
    images = jax.random.uniform(jax.random.key(1), (2, 8, 8, 1), minval=-1)
    mask = np.arange(64).reshape(8, 8) % 3 == 0
    config = code_jax.preset("default", "resampling").replace(dynamic_threshold=(0.98, 1.3))
    edited = np.asarray(code_jax.edit(jax.random.key(0), prior, images, config, mask).images)
    np.testing.assert_array_equal(edited[:, ~mask], np.asarray(images)[:, ~mask])
    assert np.all(edited[:, mask] != np.asarray(images)[:, mask])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"up": lambda config: 99}, "has a way up of 99 moves, and a route of 10"),
        ({"up": lambda config: 1, "upward": ("input_noise",)}, "depends on more than on what it says, input_noise"),
    ],
)
def test_a_way_up_that_is_said_wrongly_is_no_sweep(wrong, said):
    methods.register(RESAMPLING._replace(name="wrong", **wrong))
    prior = gaussian(jnp.zeros((4, 4, 1)), jnp.ones((4, 4, 1)))
    config = code_jax.preset("default", "resampling").with_program(method="wrong")
    with pytest.raises(code_jax.UserError, match=said):
        code_jax.sweep(jax.random.key(0), prior, jnp.zeros((1, 4, 4, 1)), code_jax.SweepGrid(sigma=(0.5, 1.0)), config)


def test_a_level_more_than_a_method_has_is_refused():
    prior = gaussian(jnp.zeros((4, 4, 1)), jnp.ones((4, 4, 1)))
    for name in ("resampling", "ddim", "sdedit"):
        config = code_jax.preset("default", name).replace(sigma=(2.0, 0.5))
        with pytest.raises(code_jax.UserError, match=f"2 noise levels for the method {name}, which has 1"):
            code_jax.edit(jax.random.key(0), prior, jnp.zeros((1, 4, 4, 1)), config)


def test_it_restores_files_and_the_manifest_makes_them_again(picture, folder, tmp_path):
    out = tmp_path / "out"
    argv = ["restore", str(picture), "--out", str(out), "--prior", folder, "--method", "resampling", "--sigma", "0.5"]
    assert main(argv) == 0
    (line,) = map(json.loads, (out / "manifest.jsonl").read_text().splitlines())
    assert line["nfe"] == 2 * 3 + 1 and line["settings"]["method"] == "resampling" and line["settings"]["sigma"] == 0.5
    pixels = np.asarray(Image.open(picture))
    from code_jax.editing.keys import digest_of, fold_keys, image_key

    key = fold_keys(image_key(0, digest_of(pixels), 0)[None])
    alone = code_jax.edit(key, code_jax.load_prior(folder), code_jax.from_uint8(pixels[None]), from_plain(line["settings"]))
    np.testing.assert_array_equal(code_jax.to_uint8(alone.images)[0], np.asarray(Image.open(out / "p.png")))
    assert main([*argv[:3], str(tmp_path / "other"), *argv[4:], "--eta", "1"]) == 2


@pytest.mark.slow
def test_it_is_swept_and_evaluated(picture, folder, tmp_path):
    base = ["--prior", folder, "--method", "resampling"]
    assert main(["sweep", str(picture), "--out", str(tmp_path / "grid"), *base, "--sigma", "0.3,0.6", "--seeds", "2"]) == 0
    with open(tmp_path / "grid" / "sweep.csv", encoding="utf-8", newline="") as file:
        assert [(row["sigma"], row["nfe"]) for row in csv.DictReader(file)] == [("0.3", "7")] * 2 + [("0.6", "7")] * 2
    argv = ["evaluate", "--data", str(picture.parent), "--out", str(tmp_path / "table"), "--prior", folder, "--bootstrap", "0"]
    argv += ["--methods", "resampling", "--corruptions", "fog", "--images", "1", "--set", "resampling.sigma=0.3,0.6"]
    assert main([*argv, "--protocol", "oracle"]) == 0
    with open(tmp_path / "table" / "results.csv", encoding="utf-8", newline="") as file:
        rows = {row["method"]: row for row in csv.DictReader(file)}
    assert rows["resampling"]["nfe"] == "7" and rows["resampling"]["setting"] == "best of 2 for each image"


def test_the_page_offers_it_and_makes_it(picture, folder):
    from code_jax.demo.events import data_url, restore_events
    from code_jax.demo.offers import load_offers, options_of
    from code_jax.demo.request import read_order

    offers = load_offers([folder], "float32")
    assert "resampling" in json.dumps(options_of(offers))
    form = {"prior": folder, "method": "resampling", "sigma": "0.5", "picture": data_url(np.asarray(Image.open(picture)))}
    (result,) = [event for event in restore_events(read_order(form, offers)) if event and event["event"] == "result"]
    assert result["facts"]["network evaluations"] == 7 and "--method resampling" in result["command"]


# Images with moves of their own


def _sometimes(config, denoiser):
    """The second half of the steps is made by images of a level above ½ alone."""
    route = _resampled(config, denoiser).replace()
    late = jnp.arange(len(route.kinds)) >= len(route.kinds) // 2
    return route.replace(active=~late | (config.sigma[0] > 0.5))


def test_evaluations_may_differ_within_a_batch_and_a_resting_image_is_left_as_it_is():
    methods.register(RESAMPLING._replace(name="sometimes", route=_sometimes))
    prior = mixture(jnp.full((4, 4, 1), 0.4), 0.3)
    images = jax.random.uniform(jax.random.key(1), (1, 4, 4, 1), minval=-1)
    config = code_jax.preset("default", "resampling").with_program(method="sometimes")
    result = code_jax.sweep(jax.random.key(0), prior, images, code_jax.SweepGrid(sigma=(0.3, 0.7)), config, micro_batch=2)
    assert result.info.nfe.ravel().tolist() == [1 + 1 + 1, 7]  # of ten moves, of which the third, sixth and ninth cost nothing


# Settings


NAMES = ("code", "ddim", "sdedit")
STEPS, POSITIVE = st.integers(1, 60), st.floats(0.05, 3.0)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(NAMES), st.lists(POSITIVE, min_size=1, max_size=3, unique=True), POSITIVE, st.none() | POSITIVE, STEPS, STEPS,
    st.floats(0.1, 1.0), st.floats(0, 2), st.none() | st.tuples(st.floats(0.5, 1), st.floats(1, 2)),
    st.sampled_from(["ddim", "heun", "dpm++2m"]),
)  # fmt: skip
def test_what_is_read_back_of_settings_is_the_same(name, sigmas, step, eta, ode, langevin, rate, noise, threshold, solver):
    prior = mixture(jnp.full((4, 4, 1), 0.4), 0.3)
    sigmas = sigmas if name == "code" else sigmas[:1]  # as many levels as it has
    program = code_jax.EditProgram(name, num_steps=ode, langevin_steps=langevin, solver=solver)
    config = code_jax.EditConfig(None, None, eta, rate, noise, threshold, program, sorted(sigmas, reverse=True), step)
    plain = json.loads(json.dumps(to_plain(config, prior)))
    again = from_plain(plain)
    assert to_plain(again, prior) == plain
    resolved = [each.method.canonical(each, prior) for each in (config, again)]
    for option in methods.find(name).options:  # to the last bit, what the method takes
        one, other = (getattr(each, option, None) for each in resolved)
        jax.tree.map(np.testing.assert_array_equal, one, other)


def test_settings_of_the_first_schema_are_read():
    old = {"prior": "eurosat-64", "precision": "float32", "fit": "resize", "depth": [0.5, 0.2], "step_size": 0.07, "eta": "none"}
    old |= {"anneal_rate": 0.8, "input_noise": 1.0, "dynamic_threshold": None, "method": "code", "num_steps": 10}
    config = from_plain(old | {"solver": "heun", "grid": "time", "langevin_steps": 3, "anneal_levels": 4})
    assert (config.depth, config.step_size, config.eta, config.program.solver) == ((0.5, 0.2), 0.07, math.inf, "heun")
    with pytest.raises(code_jax.UserError, match="schema 3"):
        from_plain({"schema": 3})


def test_a_level_stated_anew_takes_the_place_of_the_other_and_both_at_once_are_refused():
    prior = mixture(jnp.full((4, 4, 1), 0.4), 0.3)
    config = code_jax.preset("global").replace(depth=0.2)
    assert config.sigma is None and to_plain(config, prior)["sigma"] == pytest.approx(0.7227, abs=1e-4)
    x = jnp.zeros((1, 4, 4, 1))
    with pytest.raises(code_jax.UserError, match="sigma and depth are both given"):
        code_jax.edit(jax.random.key(0), prior, x, code_jax.EditConfig(depth=0.2, sigma=0.5))
    own = code_jax.Prior.from_denoiser(lambda params, z, sigma: 0 * z, (), (4, 4, 1), (0.01, 80.0))
    with pytest.raises(code_jax.UserError, match="training timesteps, which this prior has none of; give sigma"):
        code_jax.edit(jax.random.key(0), own, x, code_jax.EditConfig(depth=0.2))
    with pytest.raises(code_jax.UserError, match=r"sigma is \[90.0\]; this prior's levels are from 0.01 to 80"):
        code_jax.edit(jax.random.key(0), own, x, code_jax.EditConfig(sigma=90.0))
