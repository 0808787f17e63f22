import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

import code_jax
from code_jax.editing.edit import number_of_moves, run_in_segments, segments
from code_jax.editing.keys import image_keys
from code_jax.editing.masks import feather
from code_jax.priors.load import bundled_samples
from tests.oracles import mixture

SMALL = code_jax.EditProgram(num_steps=6, langevin_steps=5, anneal_levels=2)
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def prior():
    return mixture(jnp.full((8, 8, 1), 0.4), 0.3)


@pytest.fixture(scope="module")
def images():
    return jax.random.uniform(jax.random.key(7), (3, 8, 8, 1), minval=-1)


@settings(max_examples=25, deadline=None)
@given(mask=arrays.arrays(bool, (3, 8, 8)), method=st.sampled_from(["code", "ddim", "sdedit"]))
def test_outside_the_mask_the_input_is_returned_exactly(prior, images, mask, method):
    config = code_jax.EditConfig(program=code_jax.EditProgram(method, num_steps=6, langevin_steps=5))
    edited = np.asarray(code_jax.edit(KEY, prior, images, config, mask).images)[..., 0]
    given_ = np.asarray(images)[..., 0]
    np.testing.assert_array_equal(edited[~mask], given_[~mask])
    assert np.all(edited[mask] != given_[mask])


def test_a_mask_of_ones_is_no_mask(prior, images):
    config = code_jax.EditConfig(depth=jnp.array([0.5, 0.2]), program=SMALL)
    free, masked = (code_jax.edit(KEY, prior, images, config, mask) for mask in (None, jnp.ones((8, 8))))
    np.testing.assert_allclose(masked.images, free.images, atol=1e-6)


def test_the_inside_is_brought_into_line_with_the_outside():
    # Under N(0, 0.5² 11ᵀ + 0.05² I) all pixels nearly agree, so that four wrong ones among 64 should follow the others.
    schedule = code_jax.linear_schedule()

    def eps(params, x, t):
        sigma = schedule.sigma(t)[:, None, None, None]
        z, across, along = x * jnp.sqrt(1 + sigma**2), 0.05**2 + sigma**2, 64 * 0.5**2 + 0.05**2 + sigma**2
        mean = jnp.mean(z, axis=(1, 2, 3), keepdims=True)
        return sigma * ((z - mean) / across + mean / along)

    prior = code_jax.Prior.from_function(eps, (), schedule, (8, 8, 1))
    region = np.zeros((8, 8), bool)
    region[3:5, 3:5] = True
    wrong = jnp.where(region[..., None], -0.5, 0.5)[None]
    edited = code_jax.edit(KEY, prior, wrong, code_jax.preset("global"), region.astype(np.float32)).images[0, ..., 0]
    conditional_mean = 0.5 * 60 * 0.5**2 / (60 * 0.5**2 + 0.05**2)
    assert np.abs(np.asarray(edited)[region] - conditional_mean).max() < 4 * 0.05


@pytest.mark.slow
def test_the_border_is_as_smooth_as_its_surroundings_where_naive_pasting_leaves_a_seam():
    prior = code_jax.load_prior("eurosat-64")
    images = code_jax.from_pil([Image.open(path) for path in bundled_samples()[:1] + bundled_samples()[-2:]])
    region = np.zeros((64, 64), bool)
    region[16:48, 16:48] = True
    config = code_jax.preset("global").replace(relative_step=0.2)
    everywhere = np.ones_like(region)
    ours, whole = (code_jax.edit(KEY, prior, images, config, mask).images for mask in (region, everywhere))
    pasted = jnp.where(region[..., None], whole, images)

    def seam(pictures):
        """Mean step across the region's border less the mean step a pixel to either side of it."""
        steps = [np.abs(np.diff(np.asarray(pictures)[:, 16:48], axis=2))]
        steps.append(np.abs(np.diff(np.asarray(pictures)[:, :, 16:48], axis=1)).swapaxes(1, 2))
        across = np.mean([step[:, :, i] for step in steps for i in (15, 47)])
        beside = np.mean([step[:, :, i] for step in steps for i in (14, 16, 46, 48)])
        return across - beside

    # Measured: −0.002 where pasting gives 0.098; 0.004 is half a level of 8 bits.
    assert seam(ours) < 0.004 < 0.05 < seam(pasted)
    inside = np.asarray(jnp.abs(ours - images))[:, 20:44, 20:44]
    assert inside.mean() > 0.05  # smooth, and yet edited


@settings(max_examples=25, deadline=None)
@given(mask=arrays.arrays(bool, (12, 12)))
def test_the_rim_is_the_distance_to_the_outside(mask):
    padded = np.pad(mask, 12, mode="constant", constant_values=True)  # an image's edge is no border
    everything = padded.all()
    distance = scipy.ndimage.distance_transform_cdt(padded, "chessboard")[12:-12, 12:-12] if not everything else np.inf * mask
    distance = np.minimum(distance * mask, 3) if not everything else np.full(mask.shape, 3)
    near = scipy.ndimage.maximum_filter(distance, size=5, mode="constant")
    np.testing.assert_allclose(feather(jnp.asarray(mask), 3), distance / np.maximum(near, 1), rtol=1e-6)


@pytest.mark.slow
def test_another_mask_compiles_nothing_and_segments_give_the_bytes_of_one_call(tiny, caplog):
    images = jax.random.uniform(jax.random.key(7), (2, 8, 8, 3), minval=-1)
    config = code_jax.EditConfig(program=SMALL)
    masks = [np.arange(64).reshape(8, 8) > limit for limit in (20, 40)]
    whole = [code_jax.edit(KEY, tiny, images, config, masks[0]).images]
    with jax.log_compiles(True), caplog.at_level("DEBUG", logger="jax"):
        whole.append(code_jax.edit(KEY, tiny, images, config, masks[1]).images)
    assert "Compiling" not in caplog.text
    moves, _ = number_of_moves(tiny, config)
    keys, bounds = image_keys(KEY, images), np.array([0, 1, 7, moves])
    parts = run_in_segments(keys, tiny, images, config, bounds, lambda moves: None, masks[0]).images
    np.testing.assert_array_equal(parts, whole[0])
    assert not np.array_equal(whole[0], whole[1])
    deepest, sigma = next(iter(segments(keys, tiny, images, config, bounds, masks[0]))).projected["region"]
    np.testing.assert_allclose((deepest - images) / sigma, deepest * 0 + (deepest - images) / tiny.sigma_range[0])


@pytest.mark.parametrize(
    ("mask", "named"),
    [(np.zeros((8, 7), bool), r"\(8, 7\)"), (np.full((8, 8), 255, np.uint8), "uint8"), (np.full((8, 8), 1.5), "outside")],
)
def test_a_mask_that_does_not_fit_is_named(prior, images, mask, named):
    with pytest.raises(code_jax.UserError, match=named):
        code_jax.edit(KEY, prior, images, mask=mask)
