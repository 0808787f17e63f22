import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import code_jax
from code_jax.metrics import inception_features, inception_params, load_inception
from code_jax.metrics.inception import _resized
from tests.metrics.networks import images, inception_state, levels

GOLDEN = "tests/metrics/golden.npz"
SIZES = st.tuples(st.integers(2, 700), st.integers(2, 700))


@pytest.fixture(scope="module")
def params():
    return inception_params(inception_state())


@pytest.mark.parametrize("resize", ["torch-fidelity", "clean-fid"])
@pytest.mark.parametrize(("name", "size"), [("small", (64, 64)), ("wide", (310, 401))])
def test_features_equal_those_recorded_from_the_packages(params, resize, name, size, request):
    expected = np.load(request.config.rootpath / GOLDEN)[f"{resize}-{name}"]
    found = inception_features(params, images(*size), resize=resize)
    np.testing.assert_allclose(found, expected, atol=1e-5 * expected.max())


@pytest.mark.parity
def test_features_equal_those_of_pytorch_in_float64(params):
    from tests.metrics.torch_networks import FIDInception

    expected = FIDInception(inception_state())(levels(299, 299, seed=5))
    found = inception_features(params, images(299, 299, seed=5))
    np.testing.assert_allclose(found, expected, atol=1e-6 * expected.max())


@settings(max_examples=8, deadline=None)
@given(SIZES)
def test_clean_resizing_is_pillows_on_floats(size):
    pictures = levels(*size, count=1)
    expected = [
        np.asarray(Image.fromarray(pictures[0, ..., i].astype(np.float32)).resize((299, 299), Image.Resampling.BICUBIC))
        for i in range(3)
    ]
    found = _resized(code_jax.from_uint8(pictures), "clean-fid")
    # In levels: places are float32 here and float64 there, up to 700·2⁻²⁴ pixels apart on slopes of up to 255 levels a pixel.
    np.testing.assert_allclose(found[0], np.stack(expected, -1).clip(0, 255), atol=0.011)


@settings(max_examples=8, deadline=None)
@given(SIZES)
def test_the_older_resizing_samples_lines_between_pixels(size):
    pictures = levels(*size, count=1)
    places = [np.arange(299) * (length / 299) for length in size]
    between = lambda values, place: np.interp(place, np.arange(len(values)), values)  # noqa: E731
    rows = np.apply_along_axis(between, 0, pictures[0].astype(float), places[0])
    expected = np.apply_along_axis(between, 1, rows, places[1])
    np.testing.assert_allclose(_resized(code_jax.from_uint8(pictures), "torch-fidelity")[0], expected, atol=0.011)


def test_images_are_rounded_to_8_bits(params):
    a = images(32, 32)
    shaken = jnp.clip(a + 0.003, -1, 1)  # less than half a level
    np.testing.assert_array_equal(_resized(a, "clean-fid"), _resized(shaken, "clean-fid"))


def test_weights_that_do_not_fit_are_named():
    state = inception_state()
    state |= {"fc.weight": np.zeros((1008, 2048)), "Mixed_5b.branch1x1.bn.num_batches_tracked": np.zeros(())}
    inception_params(state)
    state["Mixed_7c.branch_pool.bn.bias"] = np.zeros(5)
    state["AuxLogits.fc"] = state.pop("Mixed_6a.branch3x3.conv.weight")
    with pytest.raises(code_jax.UserError) as raised:
        inception_params(state)
    assert str(raised.value).endswith(
        "missing Mixed_6a.branch3x3.conv.weight; unexpected AuxLogits.fc; Mixed_7c.branch_pool.bn.bias is [5], not [192]"
    )


def test_absent_weights_are_one_line_that_says_what_to_fetch(tmp_path):
    with pytest.raises(code_jax.UserError, match=r"weights-inception-2015-12-05-6726825d\.pth, which is absent: download"):
        load_inception(tmp_path)


@pytest.mark.parametrize(("given_images", "named"), [(np.zeros((1, 9, 9, 1)), "1 channels"), (np.zeros((9, 9, 3)), "shape")])
def test_images_of_another_kind_are_refused(given_images, named):
    with pytest.raises(code_jax.UserError, match=named):
        inception_features({}, given_images)


def test_an_unknown_resize_is_refused():
    with pytest.raises(code_jax.UserError, match=r"'bilinear'.*torch-fidelity, clean-fid"):
        inception_features({}, np.zeros((1, 9, 9, 3)), resize="bilinear")
