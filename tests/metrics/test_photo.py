from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import code_jax
from code_jax.metrics import (
    deep_feature_distance,
    load_photo_directions,
    load_photo_network,
    photo_classes,
    photo_features,
)
from code_jax.metrics.efficientnet import Depthwise, EfficientNetLite0
from code_jax.metrics.photo import _enlarged, _resized
from tests.metrics.networks import images, levels

GOLDEN = Path(__file__).with_name("golden_photo.npz")
SIZES = {"small": (64, 64), "wide": (310, 401)}


@pytest.fixture(scope="module")
def network():
    return load_photo_network()


@pytest.mark.parametrize("name", SIZES)
def test_the_bundled_network_answers_as_the_pytorch_original_did(network, name):
    golden = np.load(GOLDEN)
    seen = _resized(network, images(*SIZES[name]))
    np.testing.assert_array_equal(photo_features(network, images(*SIZES[name])), seen.features)
    for part in ("features", "logits"):
        found = getattr(seen, part)
        np.testing.assert_allclose(found, golden[f"bundled-{name}-{part}"], atol=1e-4)  # the same weights
        published = golden[f"published-{name}-{part}"]  # in float32: half precision is 11 bits
        np.testing.assert_allclose(found, published, atol=0.01 * np.abs(published).max())
    classes, probabilities = photo_classes(network, images(*SIZES[name]))
    logits = golden[f"bundled-{name}-logits"]
    np.testing.assert_array_equal(classes, np.argsort(-logits, axis=1)[:, :5])
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(probabilities, -np.sort(-expected, axis=1)[:, :5], rtol=1e-3)


@pytest.mark.parity
def test_features_and_logits_equal_those_of_the_pytorch_original():
    from tests.benchmarks.convert_efficientnet import params_of
    from tests.metrics.torch_photo import published_state, seen_by_pytorch

    state, pictures = published_state(), np.random.default_rng().uniform(0, 255, (2, 224, 224, 3)).astype(np.float32)
    features, logits = seen_by_pytorch(state, pictures)
    seen = jax.jit(EfficientNetLite0().apply)({"params": params_of(state)}, jnp.asarray((pictures - 127) / 128))
    np.testing.assert_allclose(seen.features, features, atol=1e-4)
    np.testing.assert_allclose(seen.logits, logits, atol=1e-4)


@pytest.mark.parametrize(("height", "width", "size", "stride"), [(7, 10, 3, 1), (7, 10, 3, 2), (8, 5, 5, 2), (2, 1, 5, 1)])
def test_a_depthwise_convolution_is_xlas(height, width, size, stride):
    rng = np.random.default_rng(0)
    x, layer = jnp.asarray(rng.standard_normal((2, height, width, 4)), jnp.float32), Depthwise(size, stride)
    params = {"kernel": rng.standard_normal((size, size, 1, 4)), "bias": rng.standard_normal(4)}
    numbers = ("NHWC", "HWIO", "NHWC")
    expected = jax.lax.conv_general_dilated(
        x, jnp.float32(params["kernel"]), (stride, stride), "SAME", dimension_numbers=numbers, feature_group_count=4
    )
    found = jax.jit(layer.apply)({"params": jax.tree.map(jnp.float32, params)}, x)
    np.testing.assert_allclose(found, expected + params["bias"], atol=1e-5)


def test_a_pictures_features_do_not_depend_on_its_neighbours(network):
    pictures = images(64, 64)
    broken = pictures.at[1].set(jnp.nan)
    found = photo_features(network, broken)
    assert np.isnan(found[1]).all()
    np.testing.assert_allclose(found[0], photo_features(network, pictures)[0], atol=1e-5)
    distances = deep_feature_distance(network, broken, pictures[::-1])
    assert np.isfinite(distances[0]) and np.isnan(distances[1])


def test_the_distance_is_lpips_form_in_float64(network):
    a, b = images(64, 64, seed=1), images(64, 64, seed=2)
    seen = [_resized(network, x).activations for x in (a, b)]  # squares are enlarged to what the features are of
    assert [x.shape[1:3] for x in seen[0]] == [(side, side) for side in (112, 56, 28, 14, 7)]
    stages = []
    for f, g in zip(*seen, strict=True):
        f, g = (np.asarray(x, np.float64) / np.linalg.norm(np.asarray(x, np.float64), axis=-1, keepdims=True) for x in (f, g))
        stages.append(2 * (1 - (f * g).sum(-1)).mean((1, 2)))  # ‖f − g‖² of unit vectors
    np.testing.assert_allclose(deep_feature_distance(network, a, b), np.mean(stages, axis=0), rtol=1e-4)


def test_small_pictures_are_enlarged_in_their_shape_and_large_ones_are_not_touched():
    assert _enlarged(images(64, 96)).shape == (2, 224, 336, 3)
    np.testing.assert_array_equal(_enlarged(images(240, 300)), images(240, 300))


def test_the_distance_is_symmetric_and_grows_with_noise_and_blur(network):
    clean = levels(64, 64, count=2, seed=3)
    source = code_jax.from_uint8(clean)
    for name in ("gaussian_noise", "gaussian_blur"):
        damaged = [
            code_jax.from_uint8(np.stack([code_jax.corrupt(picture, name, severity) for picture in clean]))
            for severity in (3, 4, 5)  # of 64 pixels the mildest blur changes none
        ]
        distances = np.stack([deep_feature_distance(network, x, source) for x in damaged])
        assert (np.diff(distances, axis=0) > 0).all() and (distances > 0.01).all()
        np.testing.assert_allclose(deep_feature_distance(network, source, damaged[0]), distances[0], rtol=1e-4)


def test_other_weights_are_arguments_and_compile_nothing(network):
    other = jax.tree.map(lambda leaf: 0.5 * leaf, network)
    first, programs = photo_features(network, images(64, 64)), _resized._cache_size()
    assert not np.allclose(first, photo_features(other, images(64, 64))) and _resized._cache_size() == programs


def test_the_bundled_directions_are_orthonormal_and_for_these_features(network):
    directions = load_photo_directions()
    assert directions.mean.shape == (1280,) and (directions.mean >= 0).all()
    np.testing.assert_allclose(directions.basis.T @ directions.basis, np.eye(64), atol=1e-5)


@pytest.mark.parametrize(
    ("given_images", "named"),
    [
        (np.zeros((1, 64, 64, 3), np.uint8), "uint8"),
        (np.zeros((1, 31, 64, 3)), "32x32 at least"),
        (np.zeros((1, 64, 64, 1)), "1 channels"),
        (np.full((1, 64, 64, 3), 2.0), "reach 2"),
    ],
)
def test_images_of_another_kind_are_refused(network, given_images, named):
    for function in (photo_features, photo_classes, lambda network, x: deep_feature_distance(network, x, x)):
        with pytest.raises(code_jax.UserError, match=named):
            function(network, given_images)


@pytest.mark.parametrize("count", [0, 1001])
def test_a_count_of_classes_that_there_are_not_is_refused(network, count):
    with pytest.raises(code_jax.UserError, match=f"count is {count}"):
        photo_classes(network, np.zeros((1, 64, 64, 3), np.float32), count)
