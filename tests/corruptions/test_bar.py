import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from code_jax.corruptions import bar_colour, bar_noise, bar_warp
from code_jax.corruptions.textures import cell_distance, filtered_noise, perlin

FAMILY = bar_colour.FAMILY | bar_noise.FAMILY | bar_warp.FAMILY
SEEDS = st.integers(0, 2**32 - 1)


def picture(height, width, seed=0):
    """Blurred noise that fills the range: it has colours, edges and flat places."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((height, width, 3)), (2, 2, 0))
    return np.clip(0.5 + noise / noise.std() / 4, 0, 1)


def corrupted(name, image, severity, seed=0):
    return FAMILY[name](image, severity, np.random.default_rng(seed))


def generator(seed=0):
    return np.random.default_rng(seed)


def test_the_family_is_complete():
    assert len(FAMILY) == 29


@pytest.mark.parametrize("name", sorted(FAMILY))
@pytest.mark.parametrize("size", [(32, 32), (33, 70), (97, 40)])
def test_any_size_any_severity_seeded_and_the_input_stays(name, size):
    image = picture(*size)
    kept = image.copy()
    for severity in (1, 5):
        out = corrupted(name, image, severity)
        assert out.shape == image.shape and out.dtype == np.float64 and np.isfinite(out).all()
        assert np.array_equal(out, corrupted(name, image, severity))
        assert np.abs(np.clip(out, 0, 1) - image).max() > 1 / 255
    assert np.array_equal(image, kept)


@pytest.mark.parametrize("name", sorted(FAMILY))
def test_severity_moves_the_picture_further(name):
    image = picture(64, 64)
    distance = [
        np.mean([np.mean((np.clip(corrupted(name, image, s, seed), 0, 1) - image) ** 2) for seed in range(6)]) for s in (1, 3, 5)
    ]
    assert distance[0] < distance[1] < distance[2]


@pytest.mark.parametrize("turns, expected", [(1 / 3, [0, 1, 0]), (2 / 3, [0, 0, 1]), (1 / 6, [1, 1, 0]), (-1 / 6, [1, 0, 1])])
def test_red_turns_through_the_pure_colours(turns, expected):
    np.testing.assert_allclose(bar_colour.turn_hue(np.array([[[1.0, 0, 0]]]), turns)[0, 0], expected, atol=1e-12)


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.floats(-2, 2))
def test_a_turned_hue_is_that_of_colorsys(seed, turns):
    import colorsys

    colour = generator(seed).uniform(size=3)
    h, s, v = colorsys.rgb_to_hsv(*colour)
    expected = colorsys.hsv_to_rgb((h + turns) % 1, s, v)
    np.testing.assert_allclose(bar_colour.turn_hue(colour[None, None], turns)[0, 0], expected, atol=1e-9)


def test_film_looks_leave_black_and_technicolor_leaves_greys():
    grey = np.broadcast_to((np.arange(256) / 255)[:, None, None], (256, 4, 3))
    np.testing.assert_allclose(corrupted("technicolor", grey, 5), grey, atol=1 / 255)
    assert not corrupted("bleach_bypass", np.zeros((8, 8, 3)), 5).any()


def test_bleach_bypass_multiplies_dark_greys():
    grey = np.full((4, 4, 3), 100 / 255)
    assert corrupted("bleach_bypass", grey, 4)[0, 0, 0] * 255 == np.floor(0.6 * 100 + 0.4 * 2 * 100 * 100 / 255)


def test_dither_equals_error_diffusion_pixel_by_pixel():
    levels, image = 9, picture(9, 12)
    expected, work = np.zeros((9, 12, 3)), np.rint(255 * image)
    for y, x, c in np.ndindex(work.shape):
        value = work[y, x, c]
        expected[y, x, c] = 255 * int(value * levels / 256) // (levels - 1)
        error = value - expected[y, x, c]
        for share in (1, 7) if y else (1,):
            if x < 11:
                work[y, x + 1, c] = int(np.clip(work[y, x + 1, c] + error * share / 16, 0, 255))
    np.testing.assert_allclose(255 * corrupted("color_dither", image, 5), expected, atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_one_sine_has_one_peak(seed):
    added = corrupted("single_frequency_greyscale", np.zeros((128, 128, 3)), 5, seed)
    assert np.abs(added).max() <= 98 / 255 + 1e-12 and np.ptp(added, axis=-1).max() == 0
    window = np.hanning(128)
    power = np.abs(np.fft.fft2(added[..., 0] * np.outer(window, window))) ** 2
    i, j = np.unravel_index(power.argmax(), power.shape)
    # A Hann window's lobe is two bins to either side; what is mirrored belongs to the real sine.
    ring = [(sign * i + a, sign * j + b) for sign in (1, -1) for a in range(-3, 4) for b in range(-3, 4)]
    assert sum(power[at] for at in {(a % 128, b % 128) for a, b in ring}) > 0.99 * power.sum()


@pytest.mark.parametrize("exponent, offset, slope", [(1, 0, 2), (-2, 1, -4)])
@pytest.mark.parametrize("size", [(256, 256), (160, 301)])
def test_filtered_noise_has_the_slope_of_its_colour(exponent, offset, slope, size):
    side = np.sqrt(size[0] * size[1])
    power = np.mean([np.abs(np.fft.fft2(filtered_noise(size, exponent, offset, generator(s)))) ** 2 for s in range(8)], axis=0)
    k = np.hypot(*np.meshgrid(*(np.fft.fftfreq(n) for n in size), indexing="ij")) * side
    inside = (k > 8) & (k < side / 2)
    fitted = np.polyfit(np.log10(k[inside]), np.log10(power[inside]), 1)[0]
    assert fitted == pytest.approx(slope, abs=0.1)


def test_blue_noise_samples_drop_the_gaussian_share():
    dropped = [1 - corrupted("blue_noise_sample", np.ones((256, 256, 3)), s)[..., 0].mean() for s in (1, 5)]
    np.testing.assert_allclose(dropped, [0.0139, 0.1587], atol=4e-3)  # Φ(−2.2), Φ(−1)


def test_perlin_noise_is_zero_on_its_lattice_and_within_its_period():
    noise = perlin((128, 96), 16, generator())
    np.testing.assert_allclose(noise[::16, ::16], 0, atol=1e-12)
    assert 0.3 < np.abs(noise).max() <= np.sqrt(0.5)
    power = np.abs(np.fft.fft2(noise)) ** 2
    k = np.hypot(*np.meshgrid(*(np.fft.fftfreq(n) for n in noise.shape), indexing="ij"))
    assert power[k < 2 / 16].sum() > 0.98 * power.sum()


@pytest.mark.parametrize("jitter", [0.0, 0.3])
def test_cells_without_jitter_are_the_distance_to_a_square_lattice(jitter):
    distance = cell_distance((64, 80), 16, jitter, generator())
    y, x = (np.abs((np.arange(n) / 16 + 0.5) % 1 - 0.5) for n in (64, 80))
    lattice = np.hypot(y[:, None], x[None])
    if jitter == 0:
        np.testing.assert_allclose(distance, lattice, atol=1e-12)
    else:
        # The distance to points is 1-Lipschitz wherever they are, and cut at 1.
        assert np.abs(np.diff(distance, axis=0)).max() <= 1 / 16 + 1e-12 and distance.max() <= 1
        assert np.abs(distance - lattice).max() > 0.05


def test_the_chessboard_is_grey_or_untouched_and_covers_its_share():
    image = picture(128, 128)
    share = []
    for seed in range(40):
        out = corrupted("checkerboard_cutout", image, 5, seed)
        grey = (out == 128 / 255).all(-1)
        assert np.array_equal(out[~grey], image[~grey])
        share.append(grey.mean())
    assert np.mean(share) == pytest.approx(0.25, abs=0.03)


def test_a_line_covers_by_its_distance():
    for angle in (0.0, 0.3, np.pi / 4, 1.2, np.pi / 2, 2.5):
        image = np.zeros((41, 31, 3))
        centre, half = np.array([20.25, 15.5]), 100 * np.array([np.sin(angle), np.cos(angle)])
        bar_noise.draw_line(image, centre, half)
        y, x = np.mgrid[:41, :31]
        distance = np.abs((y - centre[0]) * half[1] - (x - centre[1]) * half[0]) / 100
        expected = np.maximum(0, 1 - distance) * 128 / 255
        np.testing.assert_allclose(image[..., 1], expected, atol=1e-9)


@settings(max_examples=50, deadline=None)
@given(st.floats(0.1, 0.5), st.floats(-2, 2), st.floats(0, 6.3), st.floats(1, 1.5))
def test_pinch_keeps_centre_and_rim(amount, angle, direction, beyond):
    dy, dx = 10 * beyond * np.array([np.sin(direction), np.cos(direction)])
    np.testing.assert_allclose(bar_warp.pinch(np.array(dy), np.array(dx), 10, amount, angle), (dy, dx), atol=1e-9)
    np.testing.assert_array_equal(bar_warp.pinch(np.array(0.0), np.array(0.0), 10, amount, angle), (0, 0))


def test_a_lens_keeps_centre_and_rim_and_index_1_bends_nothing():
    dy, dx = np.mgrid[-12:13, -12:13].astype(float)
    np.testing.assert_allclose(bar_warp.lens(dy, dx, 10, 1.0), (dy, dx), atol=1e-9)
    y, x = bar_warp.lens(dy, dx, 10, 2.0)
    outside = np.hypot(dy, dx) >= 10
    np.testing.assert_array_equal((y[outside], x[outside]), (dy[outside], dx[outside]))
    assert (y[12, 12], x[12, 12]) == (0, 0)
    # Near the axis Snell's law is linear: the picture is magnified by the index.
    assert bar_warp.lens(np.array(1e-4), np.array(0.0), 10, 2.0)[0] == pytest.approx(0.5e-4, rel=1e-3)


def test_blur_about_the_centre_keeps_rings():
    y, x = np.mgrid[:65, :65] - 32
    rings = np.repeat(np.exp(-(np.hypot(y, x)[..., None] ** 2) / 200), 3, axis=-1)
    np.testing.assert_allclose(corrupted("circular_motion_blur", rings, 5), rings, atol=5e-3)


def test_magnified_channels_follow_a_plane():
    y, x = np.mgrid[:65, :65] - 32.0
    plane = np.repeat((0.5 + 0.004 * y + 0.002 * x)[..., None], 3, axis=-1)
    out = corrupted("transverse_chromatic_aberration", plane, 4)
    slopes = sorted(0.004 / (out[40, 32] - out[32, 32]) * 8)
    np.testing.assert_allclose(slopes, [1, 1.1, 1.2], rtol=1e-9)


@pytest.mark.parametrize("name", ["perspective_no_bars", "quadrilateral_no_bars", "scatter", "pinch_and_twirl"])
def test_warps_without_bars_keep_one_colour(name):
    flat = np.full((48, 64, 3), 0.7)
    np.testing.assert_allclose(corrupted(name, flat, 5), flat, atol=1e-12)
