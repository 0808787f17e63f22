import dataclasses
import functools
import itertools
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import code_jax
from code_jax.training.data import batches, held_out, read_pictures
from code_jax.training.step import Recipe, TrainState, augment, ema_update, learning_rate, loss, optimizer, train_step


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_the_loss_of_a_network_that_says_nothing_is_the_targets_power(kind):
    schedule = code_jax.linear_schedule()
    rng = np.random.default_rng(0)
    x0, noise = (jnp.asarray(rng.standard_normal((3, 4, 4, 3)), jnp.float32) for _ in range(2))
    t = jnp.array([0.0, 300.0, 999.0])
    bar = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))[[0, 300, 999]].reshape(3, 1, 1, 1)
    targets = {"epsilon": noise, "sample": x0, "v_prediction": np.sqrt(bar) * noise - np.sqrt(1 - bar) * x0}
    got = loss(lambda params, x, t: jnp.zeros_like(x), Recipe(kind, None), (), schedule, x0, t, noise)
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
    recipe = Recipe(learning_rate=1e-3, warmup=0.1)
    assert learning_rate(recipe, 0.05) == pytest.approx(5e-4)
    assert learning_rate(recipe, 0.55) == pytest.approx(5e-4, rel=1e-3)  # half of the cosine
    assert learning_rate(recipe, 1.0) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("quarter_turns", "symmetries"), [(True, 8), (False, 2)])
def test_augmentation_reaches_every_symmetry_alike_and_invents_nothing(quarter_turns, symmetries):
    tile, count = np.arange(9.0).reshape(1, 3, 3, 1), 4000
    out = np.asarray(augment(jax.random.key(0), jnp.asarray(np.repeat(tile, count, 0)), quarter_turns))
    kinds, counts = np.unique(out.reshape(count, 9), axis=0, return_counts=True)
    allowed = {np.rot90(flipped, k).tobytes() for flipped in (tile[0, :, :, 0], tile[0, :, ::-1, 0]) for k in range(4)}
    assert all(kind.reshape(3, 3).astype(float).tobytes() in allowed for kind in kinds)
    assert len(kinds) == symmetries
    share = 1 / symmetries
    assert np.all(np.abs(counts / count - share) < 4.5 * np.sqrt(share * (1 - share) / count))


def test_input_order_goes_on_exactly_after_a_restart():
    straight = list(itertools.islice(batches(3, 10, 4), 7))
    for start in range(7):
        for a, b in zip(straight[start:], batches(3, 10, 4, start), strict=False):
            np.testing.assert_array_equal(a, b)
    assert len(set(np.concatenate(straight[:2]))) == 8  # without replacement within an epoch


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
    assert "skipped b.jpg" in capsys.readouterr().err
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.write(tmp_path / "a.png", "x/a.png")
    assert read_pictures(tmp_path / "all.zip", 8)[0] == ["x/a.png"]
    (tmp_path / "empty").mkdir()
    for nothing in (tmp_path / "empty", tmp_path / "absent"):
        with pytest.raises(code_jax.UserError, match=nothing.name):
            read_pictures(nothing, 8)


def test_steps_learn_and_are_the_same_each_time(tiny):
    recipe = dataclasses.replace(Recipe(), learning_rate=3e-3)
    schedule, images = code_jax.linear_schedule(), np.full((4, 8, 8, 3), 200, np.uint8)
    step = jax.jit(functools.partial(train_step, tiny.function, recipe))

    def run(count):
        state = TrainState(tiny.params, tiny.params, optimizer(recipe).init(tiny.params), jnp.int32(0))
        for _ in range(count):
            state, _ = step(jax.random.key(0), state, schedule, images, jnp.float32(recipe.learning_rate))
        return state

    x0, t = code_jax.from_uint8(np.full((20, 8, 8, 3), 200, np.uint8)), jnp.linspace(0, 999, 20)
    noise = jax.random.normal(jax.random.key(1), x0.shape)
    score = jax.jit(lambda params: jnp.mean(loss(tiny.function, recipe, params, schedule, x0, t, noise)))
    state, again = run(60), run(60)
    assert float(score(state.params)) < 0.5 * float(score(tiny.params))
    jax.tree.map(np.testing.assert_array_equal, state, again)
