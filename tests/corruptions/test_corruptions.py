import colorsys
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from scipy import ndimage

import code_jax
from code_jax.corruptions import ALL_NAMES, COVERING, FAMILIES, NAMES, corrupt, picture_seed
from code_jax.corruptions.blur import smear
from code_jax.corruptions.digital import _mirrored_gaussian
from code_jax.corruptions.weather import plasma


def scene(height, width, seed=0):
    """Smooth colours and edges, all of 0 to 255."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.standard_normal((height, width, 3)), (3, 3, 0))
    smooth[height // 3 : height // 2] *= -1
    return np.round(255 * (smooth - smooth.min()) / np.ptp(smooth)).astype(np.uint8)


SCENE = scene(64, 96)


@pytest.mark.parametrize("name", ALL_NAMES)
def test_seed_and_name_alone_decide(name):
    image = SCENE.copy()
    first = corrupt(image, name, 5, seed=3)
    np.random.seed(1)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    np.testing.assert_array_equal(corrupt(image, name, 5, seed=3), first)
    np.testing.assert_array_equal(image, SCENE)
    assert first.dtype == np.uint8 and first.shape == SCENE.shape and not np.shares_memory(first, image)
    assert np.any(first != SCENE) and np.any(corrupt(image, name, 1, seed=3) != first)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@pytest.mark.parametrize("name", ALL_NAMES)
@pytest.mark.parametrize("size", [(32, 32), (33, 71), (130, 64)])
def test_any_size_is_damaged(name, size):
    image = scene(*size)
    for severity in (3, 5):  # a blur of 1 pixel at 256 is none at 32
        damaged = corrupt(image, name, severity, seed=1)
        assert damaged.shape == image.shape and np.mean(damaged != image) > 0.01


@pytest.mark.parametrize("name", [n for family in ("noise", "blur", "weather", "digital", "masking") for n in FAMILIES[family]])
def test_the_largest_and_longest_pictures(name):
    image = scene(48, 1024)
    assert np.any(corrupt(image, name) != image)


@settings(max_examples=20, deadline=None)
@given(arrays.arrays(np.uint8, (32, 33, 3)), st.sampled_from(ALL_NAMES), st.integers(1, 5), st.integers(0, 2**64))
def test_any_pixels_and_seed_are_taken(image, name, severity, seed):
    assert corrupt(image, name, severity, seed).shape == image.shape


@pytest.mark.parametrize("name", ALL_NAMES)
def test_every_severity_takes_many_seeds(name):
    """A picture of one colour: what divides by a range, or rounds below a bound, does so for one seed in ten."""
    picture = np.full((64, 64, 3), 128, np.uint8)
    for severity in range(1, 6):
        for seed in range(8 if severity < 4 else 3):
            assert code_jax.corrupt(picture, name, severity=severity, seed=seed).shape == picture.shape


@pytest.mark.parametrize("value", [0, 255])
@pytest.mark.parametrize("name", ALL_NAMES)
def test_black_and_white_pictures_divide_nothing_by_zero(name, value):
    corrupt(np.full((32, 40, 3), value, np.uint8), name)


GROWING = ["gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise", "gaussian_blur", "motion_blur", "fog", "contrast"]
GROWING += ["brightness", "jpeg_compression", "masking_random_color", "masking_vline_random_color"]


@pytest.mark.parametrize("name", GROWING)
def test_damage_grows_with_severity(name):
    apart = [np.mean([np.square(corrupt(SCENE, name, s, k) - SCENE.astype(float)).mean() for k in range(8)]) for s in range(1, 6)]
    assert np.all(np.diff(apart) > 0), apart


def by_pixel(image, change):
    flat = [colorsys.hsv_to_rgb(*change(*colorsys.rgb_to_hsv(*pixel))) for pixel in image.reshape(-1, 3) / 255]
    return np.round(np.reshape(flat, image.shape) * 255)


@pytest.mark.parametrize("severity", range(1, 6))
def test_colours_are_those_of_hsv(severity):
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    image[0], image[1] = 0, np.arange(32)[:, None] * 8
    bright = by_pixel(image, lambda h, s, v: (h, s, min(v + 0.1 * severity, 1)))
    assert np.abs(corrupt(image, "brightness", severity) - bright).max() <= 1
    a, b = [(0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)][severity - 1]
    vivid = by_pixel(image, lambda h, s, v: (h, min(s * a + b, 1), v))
    assert np.abs(corrupt(image, "saturate", severity) - vivid).max() <= 1


def test_noises_have_their_moments():
    grey = np.full((256, 256, 3), 128, np.uint8)
    x = 128 / 255
    for name, expected in (("gaussian_noise", 0.08), ("speckle_noise", 0.15 * x), ("shot_noise", np.sqrt(x / 60))):
        values = corrupt(grey, name, 1) / 255
        assert abs(values.mean() - x) < 0.001
        assert values.std() == pytest.approx(expected, rel=0.02)
    hit = corrupt(grey, "impulse_noise", 5)
    assert np.mean(hit == 0) == pytest.approx(0.135, abs=0.004) and np.mean(hit == 255) == pytest.approx(0.135, abs=0.004)


def test_masks_have_their_share_and_colours():
    masked = np.any(corrupt(SCENE, "masking_random_color", 5, 2) != SCENE, -1)
    assert masked.mean() == pytest.approx(0.4, abs=0.03)
    assert len(np.unique(corrupt(SCENE, "masking_random_color", 5, 2)[masked], axis=0)) == 1
    lines = corrupt(SCENE, "masking_vline_random_color", 5, 2)
    whole = np.all(lines == lines[:1], 0)
    assert whole.mean() == pytest.approx(0.4, abs=0.1)
    assert np.array_equal(lines[:, ~whole], SCENE[:, ~whole])


def test_lengths_go_with_the_size():
    image = scene(64, 80).astype(float)
    expected = ndimage.gaussian_filter(image, (1.5, 1.5, 0), mode="nearest")  # 6 pixels at 256
    assert np.abs(corrupt(image.astype(np.uint8), "gaussian_blur") - expected).max() <= 0.51


def test_jpeg_is_the_files():
    file = io.BytesIO()
    Image.fromarray(SCENE).save(file, "JPEG", quality=10)
    np.testing.assert_array_equal(corrupt(SCENE, "jpeg_compression", 4), np.asarray(Image.open(file)))


def test_pixels_are_means_of_squares():
    image = scene(64, 64)
    means = image.reshape(16, 4, 16, 4, 3).mean((1, 3)).repeat(4, 0).repeat(4, 1)
    assert np.abs(corrupt(image, "pixelate", 5) - means).max() <= 1


def test_motion_is_a_sum_of_shifted_pictures():
    image = scene(40, 50) / 255
    weights = np.exp(-0.5 * (np.arange(7) / 2) ** 2)
    shifted = [image[np.minimum(np.arange(40) + i, 39)] for i in range(7)]
    expected = sum(w * s for w, s in zip(weights, shifted, strict=True)) / weights.sum()
    np.testing.assert_allclose(smear(image, 3, 2, 90), expected, atol=1e-12)


def test_a_cosine_transform_is_a_gaussian_with_mirrored_borders():
    field = np.random.default_rng(0).uniform(-1, 1, (40, 64))
    np.testing.assert_allclose(_mirrored_gaussian(field, 3), ndimage.gaussian_filter(field, 3, truncate=8), atol=1e-6)


def test_a_plasma_is_rough_as_its_decay_says():
    fields = {decay: plasma(128, decay, np.random.default_rng(0)) for decay in (1.4, 2.0)}
    for field in fields.values():
        assert field.min() == 0 and field.max() == 1
    rough, smooth = (np.abs(np.diff(fields[decay], axis=0)).mean() for decay in (1.4, 2.0))
    assert rough > 2 * smooth


def test_names():
    assert len(NAMES) == 47 and set(NAMES) < set(ALL_NAMES) and len(set(ALL_NAMES)) == len(ALL_NAMES)
    assert "sparkles" in set(ALL_NAMES) - set(NAMES)  # of ImageNet-C-bar, and not of the paper's table
    assert sorted(name for family in FAMILIES.values() for name in family) == sorted(ALL_NAMES)


@pytest.mark.parametrize(
    ("image", "options", "named"),
    [
        (SCENE / 255, {}, "float64"),
        ([[1]], {}, "list"),
        (SCENE[..., 0], {}, r"\(64, 96\)"),
        (SCENE[None], {}, r"\(1, 64, 96, 3\)"),
        (SCENE[:31], {}, "96x31"),
        (np.zeros((1025, 64, 3), np.uint8), {}, "64x1025"),
        (SCENE, {"severity": 0}, "severity is 0"),
        (SCENE, {"severity": 6}, "severity is 6"),
        (SCENE, {"severity": 2.5}, "severity is 2.5"),
        (SCENE, {"severity": True}, "severity is True"),
        (SCENE, {"seed": -1}, "seed is -1"),
        (SCENE, {"name": "gausian_noise"}, "'gausian_noise'; the nearest is 'gaussian_noise'"),
        (SCENE, {"name": "Fog"}, "nearest is 'fog'"),
    ],
)
def test_bad_input_is_one_line(image, options, named):
    with pytest.raises(code_jax.UserError, match=named) as raised:
        code_jax.corrupt(image, **{"name": "fog"} | options)
    assert "\n" not in str(raised.value)


def test_picture_seeds_differ_by_picture():
    assert picture_seed(0, SCENE) != picture_seed(0, scene(64, 96, 1))


@pytest.mark.parametrize("severity", [1, 5])
@pytest.mark.parametrize("name", COVERING)
def test_what_covers_leaves_the_other_pixels_as_they_were(name, severity):
    rng = np.random.default_rng(0)
    image = rng.integers(1, 255, (64, 64, 3), np.uint8)  # white noise: nothing but the pixel itself looks like it
    same = (corrupt(image, name, severity, 0) == image).all(axis=-1)
    assert 0.1 < same.mean() < 1
