import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

import code_jax
from code_jax import metrics
from code_jax.metrics import l2, psnr, ssim
from tests.metrics.networks import images

GOLDEN = "tests/metrics/golden.npz"
PAIRS = st.sampled_from([(6, 6, 1), (7, 12, 3), (13, 9, 2)]).flatmap(
    lambda shape: arrays.arrays(np.float32, (2, 2, *shape), elements=st.floats(-1, 1, width=16))
)


def ssim_by_scipy(a, b):
    """Wang et al. 2004, equation 13, of intensities in [0, 1] with scipy's Gaussian, in float64."""
    a, b = (np.asarray(x, np.float64) / 2 + 0.5 for x in (a, b))
    mean = lambda x: ndimage.gaussian_filter(x, (0, 1.5, 1.5, 0), truncate=3.5, mode="mirror")  # noqa: E731
    c1, c2 = 1e-4, 9e-4
    squares = mean(a) ** 2 + mean(b) ** 2
    variances = mean(a * a) + mean(b * b) - squares
    covariance = mean(a * b) - mean(a) * mean(b)
    values = (2 * mean(a) * mean(b) + c1) * (2 * covariance + c2) / ((squares + c1) * (variances + c2))
    return values.mean((1, 2, 3))


@settings(max_examples=50, deadline=None)
@given(PAIRS)
def test_distances_are_the_formulae_in_float64(pair):
    a, b = pair.astype(np.float64)
    square = np.mean((a - b) ** 2, axis=(1, 2, 3))
    np.testing.assert_allclose(l2(*pair), np.sqrt(square), rtol=1e-5)
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(psnr(*pair), 10 * np.log10(4 / square), atol=1e-4)
    # Flat images are the hardest: the variance 0 is a difference of float32 means of squares up to 1/4, and stands beside C2.
    np.testing.assert_allclose(ssim(*pair), ssim_by_scipy(a, b), atol=8 * 0.25 * 2**-24 / 9e-4)


def test_psnr_and_ssim_equal_those_recorded_from_torchmetrics(request):
    golden = np.load(request.config.rootpath / GOLDEN)
    a, b = images(64, 64, seed=0), images(64, 64, seed=1)
    mixed = 0.8 * a + 0.2 * b
    np.testing.assert_allclose(psnr(a, mixed), golden["torchmetrics-psnr"], rtol=1e-6)
    np.testing.assert_allclose(ssim(a, mixed), golden["torchmetrics-ssim"], rtol=1e-6)


@pytest.mark.parity
@pytest.mark.parametrize("size", [(32, 32), (45, 130), (256, 256)])
def test_psnr_and_ssim_equal_torchmetrics(size):
    from tests.metrics.torch_networks import torchmetrics_values

    a, b = images(*size, seed=2), images(*size, seed=3)
    for share in (0.5, 0.01):
        mixed = (1 - share) * a + share * b
        expected = torchmetrics_values(a, mixed)
        np.testing.assert_allclose(psnr(a, mixed), expected["psnr"], rtol=1e-5)
        np.testing.assert_allclose(ssim(a, mixed), expected["ssim"], rtol=1e-5)


def test_8_bit_levels_count_as_in_8_bits():
    a = np.full((1, 8, 8, 3), 100, np.uint8)
    apart = psnr(code_jax.from_uint8(a), code_jax.from_uint8(a + 5))
    assert float(apart[0]) == pytest.approx(20 * np.log10(255 / 5), rel=1e-6)


def test_equal_images_are_at_no_distance():
    a = images(16, 16)
    assert psnr(a, a).tolist() == [np.inf] * 2
    assert l2(a, a).tolist() == [0.0] * 2
    np.testing.assert_allclose(ssim(a, a), 1, rtol=1e-6)


@pytest.mark.parametrize("metric", [psnr, l2, ssim])
def test_what_is_not_finite_stays_with_its_image(metric):
    a, b = images(16, 16, count=3), images(16, 16, count=3, seed=1)
    spoiled = metric(a.at[1, 3, 3, 0].set(jnp.nan), b)
    expected = metric(a, b)
    assert np.isnan(spoiled[1])
    np.testing.assert_array_equal(spoiled[jnp.array([0, 2])], expected[jnp.array([0, 2])])


@pytest.mark.parametrize("metric", [psnr, l2, ssim])
def test_a_map_over_pairs_and_a_users_own_jit_give_what_a_loop_gives(metric):
    a, b = images(16, 16, count=6).reshape(3, 2, 16, 16, 3), images(16, 16, count=6, seed=1).reshape(3, 2, 16, 16, 3)
    expected = np.stack([metric(*pair) for pair in zip(a, b, strict=True)])
    np.testing.assert_allclose(jax.jit(jax.vmap(metric))(a, b), expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(jax.jit(lambda one: metric(one, b[0]))(a[0]), expected[0], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("metric", [psnr, l2, ssim])
@pytest.mark.parametrize(
    ("a", "b", "named"),
    [
        (np.zeros((1, 16, 16, 3), np.uint8), np.zeros((1, 16, 16, 3), np.uint8), "uint8"),
        (np.zeros((16, 16, 3)), np.zeros((16, 16, 3)), r"\(16, 16, 3\)"),
        (np.zeros((1, 16, 16, 3)), np.zeros((2, 16, 16, 3)), r"\(2, 16, 16, 3\)"),
        (np.zeros((1, 16, 16, 3)), np.full((1, 16, 16, 3), 255.0), "255"),
    ],
)
def test_bad_images_are_refused_by_what_is_wrong_with_them(metric, a, b, named):
    with pytest.raises(code_jax.UserError, match=named):
        metric(a, b)


def test_ssim_refuses_images_smaller_than_half_a_window():
    with pytest.raises(code_jax.UserError, match="5x9"):
        ssim(np.zeros((1, 5, 9, 3)), np.zeros((1, 5, 9, 3)))


def test_every_name_is_exported_and_documented():
    for name in metrics.__all__:
        assert getattr(code_jax.metrics, name).__doc__.strip()
