"""Classes: labels an image, none, and guidance, of a Gaussian whose mean a label moves."""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import code_jax
from code_jax.cli.main import main
from code_jax.diffusion.tiling import tiled
from tests.priors.folders import pipeline, state_of
from tests.priors.trajectories import PLAIN

SHAPE, MEANS = (8, 8, 1), jnp.array([-0.5, 0.1, 0.6, 0.0])  # of three classes, and of none
KEY = jax.random.key(0)


def of_class(params, z, sigma, label):
    """N(mean of the label, 0.3² I)."""
    sigma = sigma[:, None, None, None]
    return sigma * (z - params[label][:, None, None, None]) / (0.3**2 + sigma**2)


def prior(shape=SHAPE):
    return code_jax.Prior.from_denoiser(of_class, MEANS, shape, (0.01, 80.0)).replace(classes=3, null_class=3)


def alone(mean):
    return code_jax.Prior.from_denoiser(
        lambda params, z, sigma: of_class(jnp.full(1, params), z, sigma, jnp.zeros(len(z), int)), mean, SHAPE, (0.01, 80.0)
    )


IMAGES = 0.7 * jax.random.uniform(jax.random.key(3), (3, *SHAPE), minval=-1)
CONFIG = code_jax.preset().with_program(num_steps=4)


def test_an_image_is_edited_by_its_own_class_or_by_none():
    keys = jax.random.split(KEY, 3)
    labelled = code_jax.edit(keys, prior(), IMAGES, CONFIG, condition=jnp.array([2, 0, 1])).images
    for i, label in enumerate((2, 0, 1)):
        single = code_jax.edit(keys[i : i + 1], alone(MEANS[label]), IMAGES[i : i + 1], CONFIG).images
        np.testing.assert_allclose(labelled[i : i + 1], single, atol=1e-5)
    without = code_jax.edit(keys, prior(), IMAGES, CONFIG).images
    np.testing.assert_allclose(without, code_jax.edit(keys, alone(MEANS[3]), IMAGES, CONFIG).images, atol=1e-5)
    one = code_jax.edit(keys[1:2], prior(), IMAGES[1], CONFIG, condition=0).images
    np.testing.assert_allclose(one, labelled[1], atol=1e-5)


@pytest.mark.parametrize("in_tiles", [False, True])
def test_guidance_goes_beyond_the_class_by_its_weight(in_tiles):
    """ε is linear in the mean: guided by w, it is that of the mean w·m."""
    weight, labels = 2.5, jnp.array([2, 0, 1])
    shape = (11, 13, 1) if in_tiles else SHAPE
    images = 0.7 * jax.random.uniform(jax.random.key(4), (3, *shape), minval=-1)
    one = tiled(prior(), shape[:2], chunk=3) if in_tiles else prior()
    keys, config = jax.random.split(KEY, 3), CONFIG.replace(dynamic_threshold=None if in_tiles else (0.9, 1.2))
    got = code_jax.edit(keys, one, images, config.replace(guidance=weight), condition=labels)
    further = prior(shape).replace(params=weight * MEANS)
    expected = code_jax.edit(keys, further, images, config, condition=labels)
    np.testing.assert_allclose(got.images, expected.images, atol=1e-5)
    assert got.info.nfe.tolist() == (2 * expected.info.nfe).tolist()
    wrapped = code_jax.edit(keys, code_jax.Guided(prior(shape), weight), images, config, condition=labels)
    np.testing.assert_allclose(got.images, wrapped.images, atol=1e-5)


def test_a_sweep_over_guidance_is_its_edits():
    labels, grid = jnp.array([2, 0, 1]), code_jax.SweepGrid(guidance=(0.0, 1.0, 3.0))
    swept = code_jax.sweep(KEY, prior(), IMAGES, grid, CONFIG, condition=labels)
    for point, images, weight in zip(swept.points, swept.images, (0.0, 1.0, 3.0), strict=True):
        single = code_jax.edit(jax.random.fold_in(KEY, 0), prior(), IMAGES, point.of(CONFIG), condition=labels).images
        np.testing.assert_allclose(images, single, atol=1e-5)
        assert point.of(CONFIG).guidance == weight
    none = code_jax.edit(jax.random.fold_in(KEY, 0), prior(), IMAGES, CONFIG).images
    np.testing.assert_allclose(swept.images[0], none, atol=1e-5)


def test_a_label_goes_through_the_ode_alone():
    x_t = code_jax.encode(prior(), IMAGES, sigma=1.0, grid="geometric", condition=jnp.array([2, 0, 1]))
    np.testing.assert_allclose(x_t[:1], code_jax.encode(alone(MEANS[2]), IMAGES[:1], sigma=1.0, grid="geometric"), atol=1e-5)
    back = code_jax.decode(prior(), x_t, sigma=1.0, grid="geometric", condition=jnp.array([2, 0, 1]))
    np.testing.assert_allclose(back, IMAGES, atol=2e-2)
    _, again = code_jax.round_trip(prior(), IMAGES, sigma=1.0, num_steps=5, condition=2)
    np.testing.assert_allclose(again, IMAGES, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "condition", "guidance", "named"),
    [
        ({}, 3, None, "label 3 is none of the prior's; they are from 0 to 2"),
        ({}, [0, -1, 2], None, "label -1 is none"),
        ({}, [0, 1], None, r"labels are int32[2]; give whole numbers, one for each of 3 images"),
        ({}, 1.0, None, "labels are float32"),
        ({}, None, 2.0, "guidance leads to a class, and no label is given"),
        ({"null_class": None}, None, None, "no picture without a class: give a label from 0 to 2"),
        ({"null_class": None}, 1, 2.0, "guidance compares with the prior without a class, and this prior knows no picture"),
        ({"classes": 0, "null_class": None}, None, 2.0, "this prior has no classes"),
        ({}, 1, -2.0, "guidance is -2.0; it must be in [0, 1e+30)"),
    ],
)
def test_what_is_no_label_or_no_guidance_is_one_line(change, condition, guidance, named):
    labels = None if condition is None else jnp.asarray(condition)
    with pytest.raises(code_jax.UserError, match=re.escape(named)) as error:
        code_jax.edit(KEY, prior().replace(**change), IMAGES, CONFIG.replace(guidance=guidance), condition=labels)
    assert "\n" not in str(error.value)


def test_labels_of_pixels_by_the_command_line(tmp_path, own_cache, capsys):
    """A UNet with classes: each makes another picture, which the manifest's command makes again."""
    config = PLAIN | {"num_class_embeds": 4}
    pipeline(tmp_path / "classes", config, {"beta_schedule": "linear"}, state_of(config))
    sample = next(path for path in code_jax.bundled_samples())
    line = [str(sample), "--prior", str(tmp_path / "classes"), "--ode-steps", "2", "--langevin-steps", "1"]
    for label in (0, 3):
        assert main(["restore", *line, "--out", str(tmp_path / str(label)), "--label", str(label)]) == 0
    first, other = ((tmp_path / str(label) / f"{sample.stem}.png").read_bytes() for label in (0, 3))
    assert first != other
    assert main(["info", str(tmp_path / "3" / f"{sample.stem}.png")]) == 0
    assert "--label 3" in capsys.readouterr().out
    told = json.loads((tmp_path / "3" / "manifest.jsonl").read_text().splitlines()[0])
    assert told["settings"]["label"] == 3
    assert main(["sweep", *line[:-4], "--out", str(tmp_path / "sweep"), "--sigma", "0.3,0.6", "--label", "3"]) == 0
    assert "--label 3" in (tmp_path / "sweep" / "sweep.csv").read_text()
    capsys.readouterr()
    for wrong, named in ((["--label", "4"], "label 4 is none"), ([], "give a label from 0 to 3"), (["--label", "x"], "'x'")):
        assert main(["restore", *line, "--out", str(tmp_path / "wrong"), *wrong]) == 2
        assert named in capsys.readouterr().err
    assert main(["restore", str(sample), "--out", str(tmp_path / "wrong"), "--label", "1"]) == 2
    assert "--label 1: this prior has no classes" in capsys.readouterr().err
