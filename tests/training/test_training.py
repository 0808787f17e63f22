import functools
import itertools
import json
import os
import re
import subprocess
import sys
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import code_jax
from code_jax.models.unet import UNet2DModel
from code_jax.pictures.files import read_picture
from code_jax.priors.weights import expected_params
from code_jax.training.data import draws, held_out, read_pictures
from code_jax.training.recipe import RECIPES, Recipe, find_recipe, override
from code_jax.training.step import augment, ema_update, init_state, learning_rate, loss, train_step
from tests.conftest import ONE_LEVEL, tiny_prior
from tests.runs.corpus import encoded, exif, scene


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_the_loss_of_a_network_that_says_nothing_is_the_targets_power(kind):
    schedule = code_jax.linear_schedule()
    rng = np.random.default_rng(0)
    x0, noise = (jnp.asarray(rng.standard_normal((3, 4, 4, 3)), jnp.float32) for _ in range(2))
    t = jnp.array([0.0, 300.0, 999.0])
    bar = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))[[0, 300, 999]].reshape(3, 1, 1, 1)
    targets = {"epsilon": noise, "sample": x0, "v_prediction": np.sqrt(bar) * noise - np.sqrt(1 - bar) * x0}
    got = loss(
        lambda params, x, t: jnp.zeros_like(x), Recipe(prediction_type=kind, min_snr_gamma=None), (), schedule, x0, t, noise
    )
    np.testing.assert_allclose(got, np.mean(np.asarray(targets[kind]) ** 2, axis=(1, 2, 3)), rtol=1e-4)


def test_ema_is_the_recursion_with_its_warm_up():
    average, weights = 0.0, np.random.default_rng(0).standard_normal(200)
    ema = jnp.float32(0)
    for step, weight in enumerate(weights):
        decay = min(0.9, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * weight
        ema = ema_update(ema, jnp.float32(weight), jnp.int32(step), 0.9)
    assert float(ema) == pytest.approx(average, abs=1e-6)


def test_the_learning_rate_warms_up_and_falls_to_zero():
    recipe = Recipe(learning_rate=1e-3, warmup=100, steps=1100)
    rates = jax.vmap(lambda step: learning_rate(recipe, step))(jnp.array([0, 49, 99, 600, 1100, 2000]))
    np.testing.assert_allclose(rates, [1e-5, 5e-4, 1e-3, 5e-4, 0, 0], atol=1e-9)


@pytest.mark.parametrize(("kind", "symmetries"), [("turns", 8), ("flips", 2), ("none", 1)])
def test_augmentation_reaches_every_symmetry_alike_and_invents_nothing(kind, symmetries):
    tile, count = np.arange(9.0).reshape(1, 3, 3, 1), 4000
    out = np.asarray(augment(jax.random.key(0), jnp.asarray(np.repeat(tile, count, 0)), kind))
    kinds, counts = np.unique(out.reshape(count, 9), axis=0, return_counts=True)
    allowed = {np.rot90(flipped, k).tobytes() for flipped in (tile[0, :, :, 0], tile[0, :, ::-1, 0]) for k in range(4)}
    assert all(kind.reshape(3, 3).astype(float).tobytes() in allowed for kind in kinds)
    assert len(kinds) == symmetries
    share = 1 / symmetries
    assert np.all(np.abs(counts / count - share) <= 4.5 * np.sqrt(share * (1 - share) / count))


def test_input_order_goes_on_exactly_after_a_restart():
    given = 3, (0.7, 0.3), (10, 6), 4
    straight = list(itertools.islice(draws(*given), 30))
    for start in range(0, 30, 7):
        for a, b in zip(straight[start:], draws(*given, start), strict=False):
            np.testing.assert_array_equal(a, b)
    sources, positions = (np.concatenate(each) for each in zip(*straight, strict=True))
    for source, count in enumerate(given[2]):
        mine = positions[sources == source]
        for epoch in np.split(mine, range(count, len(mine), count)):
            assert len(set(epoch)) == len(epoch)  # nothing twice until all was drawn once


def test_sources_are_drawn_by_their_shares():
    drawn = np.concatenate([sources for sources, _ in itertools.islice(draws(0, (0.5, 0.3, 0.2), (7, 7, 7), 16), 500)])
    np.testing.assert_allclose(np.bincount(drawn) / len(drawn), (0.5, 0.3, 0.2), atol=4.5 * np.sqrt(0.25 / len(drawn)))


def test_held_out_pictures_depend_on_names_alone():
    names = [f"{i}.png" for i in range(50)]
    chosen = {name for name, held in zip(names, held_out(names, 10), strict=True) if held}
    backwards = {name for name, held in zip(names[::-1], held_out(names[::-1], 10), strict=True) if held}
    assert chosen == backwards and len(chosen) == 10


def test_pictures_of_a_folder_or_zip_are_read_and_bad_ones_are_named(tmp_path, capsys):
    Image.new("L", (20, 10), 100).save(tmp_path / "a.png")
    (tmp_path / "b.jpg").write_text("no picture")
    names, pictures = read_pictures(tmp_path, 8)
    assert names == ["a.png"] and pictures.shape == (1, 8, 8, 3) and np.all(pictures == 100)
    assert "skipped 'b.jpg': not a picture" in capsys.readouterr().err
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.write(tmp_path / "a.png", "x/a.png")
    assert read_pictures(tmp_path / "all.zip", 8)[0] == ["x/a.png"]
    (tmp_path / "empty").mkdir()
    for nothing in (tmp_path / "empty", tmp_path / "absent"):
        with pytest.raises(code_jax.UserError, match=nothing.name):
            read_pictures(nothing, 8)


def test_training_sees_the_pixels_that_restoring_sees(tmp_path, capsys):
    """Upright, of 16 bits, in gray where the prior is, with transparency where it has four channels; bad entries named."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(encoded(scene(), "JPEG", exif=exif(6)))
    (tmp_path / "in" / "b.png").write_bytes(encoded(scene("I;16"), "PNG"))
    (tmp_path / "in" / "c.tif").write_bytes(encoded(scene("LA"), "TIFF"))
    (tmp_path / "in" / os.fsdecode(b"\xff.png")).write_bytes(encoded(scene("1"), "PNG"))
    (tmp_path / "in" / "\x1b[2J.png").write_bytes(b"no picture")
    (tmp_path / "in" / "d.png").mkdir()
    os.mkfifo(tmp_path / "in" / "e.png")
    (tmp_path / "in" / "f.png").symlink_to("nowhere")
    for channels, count in ((3, 4), (1, 4), (4, 1)):
        names, pictures = read_pictures(tmp_path / "in", 16, channels)
        assert len(names) == count and held_out(names, 1).sum() == 1
        for name, pixels in zip(names, pictures, strict=True):
            np.testing.assert_array_equal(pixels, read_picture(tmp_path / "in" / name, (16, 16, channels), "crop"))
    shown = capsys.readouterr().err
    assert r"skipped '\x1b[2J.png': " in shown and "\x1b" not in shown
    assert "skipped 'e.png': it is no regular file" in shown and "skipped 'f.png': No such file" in shown
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(code_jax.UserError, match="neither a folder nor a zip"):
        read_pictures(tmp_path / "pipe", 8)


RECIPE = Recipe(learning_rate=3e-3, warmup=0, steps=1000, augment="turns")


@functools.cache
def _programs(precision):
    """A one-level network, its weights, and its compiled step and loss."""
    prior = tiny_prior(**ONE_LEVEL).with_precision(precision)
    step = jax.jit(functools.partial(train_step, prior.function, RECIPE))
    return prior.params, step, jax.jit(functools.partial(loss, prior.function, RECIPE))


def _trained(schedule, precision="float32"):
    """The state after sixty steps on one grey picture, and its error relative to that of the beginning."""
    params, step, score = _programs(precision)
    state, images = init_state(RECIPE, params), np.full((4, 8, 8, 3), 200, np.uint8)
    for _ in range(60):
        state, _ = step(jax.random.key(0), state, schedule, images)
    x0, t = code_jax.from_uint8(np.full((20, 8, 8, 3), 200, np.uint8)), jnp.linspace(0, 999, 20)
    noise = jax.random.normal(jax.random.key(1), x0.shape)
    before, after = (float(jnp.mean(score(weights, schedule, x0, t, noise))) for weights in (params, state.params))
    return state, after / before


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_steps_learn_and_are_the_same_each_time(schedule):
    schedule = Recipe(schedule=schedule).noise_schedule()
    (state, error), (again, _) = _trained(schedule), _trained(schedule)
    assert error < 0.5
    jax.tree.map(np.testing.assert_array_equal, state, again)


@pytest.mark.slow
def test_bfloat16_computes_and_float32_keeps_the_weights():
    state, error = _trained(code_jax.linear_schedule(), "bfloat16")
    assert {leaf.dtype for leaf in jax.tree.leaves((state.params, state.ema))} == {jnp.dtype("float32")}
    assert error < 0.5


def test_dropout_acts_in_training_alone():
    prior = tiny_prior(**ONE_LEVEL, dropout=0.5)
    x, t = jnp.ones((1, 8, 8, 3)), jnp.zeros(1)
    run = jax.jit(lambda key=None: prior.function(prior.params, x, t, dropout_key=key))
    plain, without = run(), jax.jit(tiny_prior(**ONE_LEVEL).function)(prior.params, x, t)
    np.testing.assert_allclose(plain, without, atol=1e-5)  # two programs, each rounded its own way
    one, two = (run(jax.random.key(i)) for i in range(2))
    assert np.abs(one - two).max() > 1e-3 and np.abs(one - plain).max() > 1e-3


@pytest.mark.slow
def test_a_step_shared_among_devices_is_that_of_one(tiny):
    """Two fake devices in a process of their own, so that the others keep one."""
    code = """
import functools, jax, jax.numpy as jnp, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from code_jax.pictures.files import read_picture
from tests.conftest import ONE_LEVEL, tiny_prior
from tests.runs.corpus import encoded, exif, scene
from code_jax.training.recipe import Recipe
from code_jax.training.step import init_state, train_step
assert len(jax.devices()) == 2
prior, recipe = tiny_prior(**ONE_LEVEL), Recipe(warmup=0)
images = np.random.default_rng(0).integers(0, 255, (4, 8, 8, 3)).astype(np.uint8)
values = []
for devices in (jax.devices()[:1], jax.devices()):
    mesh = Mesh(np.array(devices), ("batch",))
    state = jax.device_put(init_state(recipe, prior.params), NamedSharding(mesh, PartitionSpec()))
    pictures = jax.device_put(images, NamedSharding(mesh, PartitionSpec("batch")))
    step = jax.jit(functools.partial(train_step, prior.function, recipe))
    state, value = step(jax.random.key(0), state, prior.schedule, pictures)
    moments = state.opt_state[1].mu  # a tenth of the clipped gradient: linear in it, as the weights after Adam's division are not
    values.append((float(value), *map(np.asarray, jax.tree.leaves(moments))))
largest = max(np.abs(value).max() for value in values[0][1:])
for a, b in zip(*values):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * largest)
"""
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_recipes_are_those_of_their_names_and_files(tmp_path):
    network, recipe = find_recipe("celebahq-256")
    count = sum(leaf.size for leaf in jax.tree.leaves(expected_params(UNet2DModel(network))))
    assert count == 113_673_219  # google/ddpm-ema-celebahq-256
    assert set(RECIPES) == {"small", "pictures", "base", "celebahq-256"} and recipe.prediction_type == "epsilon"
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"network": find_recipe("small")[0].to_diffusers(), "recipe": {"steps": 7}}))
    assert find_recipe(str(path)) == (find_recipe("small")[0], Recipe(steps=7))
    for recipe in (5, [], "steps", None):
        path.write_text(json.dumps({"network": find_recipe("small")[0].to_diffusers(), "recipe": recipe}))
        with pytest.raises(code_jax.UserError, match="must hold"):
            find_recipe(str(path))


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"learning_rate": -1.0}, "learning_rate is -1.0"),
        ({"schedule": "square"}, "'square'"),
        ({"augment": "all"}, "'all'"),
        ({"prediction_type": "score"}, "'score'"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"steps": 1.5}, "steps is 1.5"),
        ({"ema_decay": 1.0}, "ema_decay is 1.0; it must be a number from 0 to 0.999999"),
        ({"min_snr_gamma": 0}, "min_snr_gamma is 0"),
        ({"weight_decay": "much"}, "'much'"),
        ({"momentum": 0.9}, "'momentum'"),
        ({"batch_size": 10**9}, "batch_size is 1000000000"),
        ({"learning_rate": 10**400}, "learning_rate is 1000"),
        ({"weight_decay": 1e300}, "weight_decay is 1e+300; it must be a number from 0 to 1e+30"),
        ({"optimizer": ["muon"] * 9999}, "optimizer ['muon', "),
    ],
)
def test_a_recipe_out_of_range_is_refused_by_name(values, named):
    with pytest.raises(code_jax.UserError, match=re.escape(named)):
        override(Recipe(), values)
