"""Latent priors: a codec between pictures and z, through edit, masks, tiles, sweep, restore and files."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import code_jax
from code_jax.diffusion.scaling import Direct
from code_jax.priors.autoencoding import codec_error
from code_jax.runs.canvas import canvas_side, taken
from tests.priors.linear_codec import Blocks

SHAPE = (8, 8, 3)


def unit(params, z, sigma):
    """N(0, 0.4² I), in pixels and, since the codec turns and does not scale, in latents."""
    sigma = sigma[:, None, None, None]
    return sigma * z / (0.4**2 + sigma**2)


def pixels(shape=SHAPE):
    return code_jax.Prior((), Direct(0.01, 80.0), unit, shape)


def latents(shape=SHAPE, codec=None):
    codec = Blocks.of(shape) if codec is None else codec
    return code_jax.Prior((), Direct(0.01, 80.0), unit, codec.latent_shape).with_codec(codec, shape)


def pictures(*shape):
    return 0.8 * jax.random.uniform(jax.random.key(3), shape, minval=-1)


EXACT = code_jax.preset("default", "ddim").replace(eta=None, input_noise=0.0, sigma=1.0)
KEY = jax.random.key(0)


@pytest.mark.parametrize("size", [(8, 8), (11, 19), (16, 8), (9, 61)])
def test_tiles_lie_in_latents_and_pictures_of_any_size_come_back(size):
    images = pictures(2, *size, 3)
    expected = code_jax.edit(KEY, pixels((*size, 3)), images, EXACT).images
    tiles = code_jax.tiled(latents(), size, chunk=3)
    assert tiles.image_shape == (*size, 3)
    np.testing.assert_allclose(code_jax.edit(KEY, tiles, images, EXACT).images, expected, atol=1e-5)
    side = canvas_side(size, SHAPE)
    on_canvas = np.zeros((2, side * side, 3), np.float32)
    on_canvas[:, : math.prod(size)] = code_jax.from_uint8(code_jax.to_uint8(images)).reshape(2, -1, 3)
    on_canvas = on_canvas.reshape(2, side, side, 3)
    whole = code_jax.tiled(latents(), size, canvas=side, chunk=3)
    result = code_jax.edit(KEY, whole, on_canvas, EXACT)
    expected = code_jax.edit(KEY, pixels((*size, 3)), code_jax.from_uint8(code_jax.to_uint8(images)), EXACT).images
    np.testing.assert_allclose(taken(np.asarray(result.images), size), expected, atol=1e-5)
    assert not np.any(np.asarray(result.images).reshape(2, -1, 3)[:, size[0] * size[1] :])
    assert float(result.info.codec_error.max()) < 1e-10


def test_the_latents_canvas_holds_every_picture_that_the_pixels_does():
    side = 32
    for height in range(8, 129):
        for width in {8, 9, 15, 31, side**2 // height}:
            if width >= 8 and height * width <= side**2:
                tiles = code_jax.tiled(latents(), (height, width), canvas=side)
                assert np.count_nonzero(tiles.scale) == -(-height // 2) * -(-width // 2)
                assert int(tiles.count) <= len(tiles.corners)


@pytest.mark.parametrize("in_tiles", [False, True])
def test_outside_a_mask_pictures_come_back_exactly_and_latents_that_it_touches_change(in_tiles):
    size = (11, 13) if in_tiles else (8, 8)
    images, mask = pictures(2, *size, 3), np.zeros(size, bool)
    mask[3:6, 2:5] = True
    prior = code_jax.tiled(latents(), size, chunk=2) if in_tiles else latents()
    result = code_jax.edit(KEY, prior, images, mask=mask.astype(np.float32))
    changed = np.any(np.asarray(result.images) != np.asarray(images), axis=(0, 3))
    np.testing.assert_array_equal(changed, mask)
    shrunk = np.asarray(prior.codec.shrink(jnp.asarray(mask[None, ..., None], jnp.float32)))[0, ..., 0]
    padded = np.pad(mask, [(0, -length % 2) for length in size])
    np.testing.assert_array_equal(shrunk, padded.reshape(shrunk.shape[0], 2, -1, 2).any((1, 3)))


class Lossy(Blocks):
    """Loses one of the latents' channels."""

    def encode(self, images):
        return super().encode(images).at[..., 0].set(0)


def test_the_codecs_own_error_is_told():
    codec = Blocks.of(SHAPE)
    lossy, images = Lossy(codec.matrix, codec.latent_shape), pictures(2, *SHAPE)
    lost = np.asarray(codec.encode(images))[..., 0]
    expected = np.sum(lost**2, axis=(1, 2)) / np.prod(SHAPE)
    info = code_jax.edit(KEY, latents(codec=lossy), images).info
    np.testing.assert_allclose(info.codec_error, expected, rtol=1e-4)
    assert codec_error(latents(codec=lossy), images) == pytest.approx(expected.mean(), rel=1e-4)
    with pytest.warns(UserWarning, match="eta clips nothing"):
        facts = code_jax.restore(np.asarray(images), latents(codec=lossy)).facts
    seen = code_jax.from_uint8(code_jax.to_uint8(images))
    lost = np.sum(np.asarray(codec.encode(seen))[..., 0] ** 2, axis=(1, 2)) / np.prod(SHAPE)
    assert [fact["psnr_codec"] for fact in facts] == pytest.approx((10 * np.log10(4 / lost)).tolist(), rel=1e-3)
    assert "psnr_codec" not in code_jax.restore(np.asarray(images), pixels()).facts[0]
    assert code_jax.edit(KEY, pixels(), images).info.codec_error.tolist() == [0, 0]


def test_a_range_is_measured_and_bounds_what_is_clipped(tmp_path):
    prior, images = latents(), pictures(5, *SHAPE)
    clean = np.abs(np.asarray(prior.codec.encode(images))).reshape(-1, 12)
    measured = code_jax.measure_range(prior, images)
    np.testing.assert_allclose(measured.data_range, clean.max(0), rtol=1e-5)
    np.testing.assert_allclose(code_jax.measure_range(prior, images, 0.5).data_range, np.median(clean, 0), rtol=1e-5)
    config = code_jax.preset().replace(eta=0.1)
    assert float(code_jax.edit(KEY, prior, images, config).info.clipped.max()) == 0
    half = measured.replace(data_range=tuple(np.median(clean, 0).tolist()))
    assert float(code_jax.edit(KEY, half, images, config).info.clipped.min()) > 0.3
    assert "eta clips nothing: the range of this prior's latents is not measured" in config.method.warn(config, prior)[-1]
    assert not config.method.warn(config, measured)
    thresholded = config.replace(dynamic_threshold=(0.9, 1.2))
    assert bool(code_jax.edit(KEY, measured, images, thresholded).info.finite.all())
    with pytest.raises(code_jax.UserError, match="not measured: code-jax convert"):
        code_jax.edit(KEY, prior, images, thresholded)
    for wrong, named in ((pixels(), "one of pixels"), (prior.replace(image_shape=(9, 8, 3)), "cannot be measured")):
        with pytest.raises(code_jax.UserError, match=named):
            code_jax.measure_range(wrong, images)


def test_a_sweep_is_its_points_and_a_gradient_is_the_difference_quotient():
    prior, images = latents(), pictures(2, *SHAPE)
    grid = code_jax.SweepGrid(sigma=(0.4, 1.1), relative_step=(0.05, 0.2))
    result = code_jax.sweep(KEY, prior, images, grid)
    for p, point in enumerate(result.points):
        alone = code_jax.edit(jax.random.fold_in(KEY, 0), prior, images, point.of(code_jax.preset()))
        np.testing.assert_allclose(result.images[p], alone.images, atol=1e-5)
        np.testing.assert_allclose(result.info.codec_error[p], alone.info.codec_error, atol=1e-12)

    def brightness(sigma):
        return jnp.mean(code_jax.edit(KEY, prior, images, EXACT.replace(sigma=sigma)).images ** 2)

    step = 0.02
    slope = (brightness(jnp.float32(1 + step)) - brightness(jnp.float32(1 - step))) / (2 * step)
    np.testing.assert_allclose(jax.grad(brightness)(jnp.float32(1.0)), slope, rtol=2e-2)


def test_a_density_of_latents_is_none_of_pictures():
    with pytest.raises(code_jax.UserError, match="density of latents"):
        code_jax.log_likelihood(KEY, latents(), pictures(1, *SHAPE))
