from importlib import resources

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

import code_jax
from code_jax.metrics import LandCover, landcover, load_landcover, save_landcover
from code_jax.models.classifier import TileClassifier


def _conv(x, kernel, bias, stride):
    """A 3×3 convolution in float64; at stride 2 the padding is (0, 1), as TensorFlow's SAME."""
    before = 1 if stride == 1 else 0
    x = np.pad(x, ((before, 1), (before, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(0, 1))[::stride, ::stride]
    return np.einsum("hwcij,ijco->hwo", windows, kernel) + bias


def _norm_silu(x, scale, bias):
    groups = x.reshape(*x.shape[:2], 8, -1)
    mean, variance = groups.mean((0, 1, 3), keepdims=True), groups.var((0, 1, 3), keepdims=True)
    x = ((groups - mean) / np.sqrt(variance + 1e-6)).reshape(x.shape) * scale + bias
    return x / (1 + np.exp(-x))


def test_the_network_is_its_description_in_float64():
    rng = np.random.default_rng(0)
    model, image = TileClassifier(channels=(8, 16)), rng.uniform(-1, 1, (16, 16, 3))
    params = model.init(jax.random.key(0), jnp.zeros((1, 16, 16, 3)))["params"]
    params = jax.tree.map(lambda leaf: rng.normal(0, 0.3, leaf.shape), params)
    got = jax.jit(model.apply)({"params": jax.tree.map(jnp.float32, params)}, jnp.float32(image)[None])
    x, conv, norm = image, 0, 0
    for _ in range(2):
        x = _conv(x, **params[f"Conv_{conv}"], stride=2)
        h = x
        for _ in range(2):
            conv, h = conv + 1, _norm_silu(h, **params[f"GroupNorm_{norm}"])
            norm, h = norm + 1, _conv(h, **params[f"Conv_{conv}"], stride=1)
        x, conv = x + h, conv + 1
    features = _norm_silu(x, **params[f"GroupNorm_{norm}"]).mean((0, 1))
    logits = features @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"]
    np.testing.assert_allclose(got[0][0], logits, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(got[1][0], features, rtol=1e-4, atol=1e-5)


def test_the_bundled_classifier_is_small_sure_of_flips_and_comes_back_from_a_file(tmp_path):
    network = load_landcover()
    weights = resources.files("code_jax") / "metrics" / "eurosat-features" / "weights.safetensors"
    with resources.as_file(weights) as path:
        assert path.stat().st_size <= 1_000_000
    with resources.as_file(resources.files("code_jax") / "priors" / "samples" / "clean") as folder:
        pictures = [code_jax.from_pil([picture]) for picture in _opened(sorted(folder.glob("*.png")))]
    images = jnp.concatenate(pictures)
    (logits, features), (flipped, _) = landcover(network, images), landcover(network, images[:, :, ::-1])
    assert features.shape == (len(images), 64)
    assert np.mean(np.argmax(logits, 1) == np.argmax(flipped, 1)) >= 0.75  # chance is 0.1
    save_landcover(network, tmp_path)
    jax.tree.map(np.testing.assert_array_equal, load_landcover(tmp_path), network)


def _opened(paths):
    from PIL import Image

    for path in paths:
        with Image.open(path) as picture:
            yield picture.convert("RGB")


def test_what_is_no_image_is_refused():
    network = LandCover({}, TileClassifier(), ())
    for images, named in ((np.zeros((1, 64, 64, 3), np.uint8), "uint8"), (np.zeros((1, 64, 64, 1), np.float32), "1")):
        with pytest.raises(code_jax.UserError, match=named):
            landcover(network, images)


FEW = safetensors.numpy.save({"a": np.zeros(1, np.float32), "a.b": np.zeros(1, np.float32)})


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"classes.json": b"["},
        {"classes.json": b"[" * 100_000},
        {"classes.json": b'["a"]', "weights.safetensors": b"no tensors"},
        *({"classes.json": names, "weights.safetensors": FEW} for names in (b"3", b"null", b"[]", b'{"a": 1}', b'["a", "b"]')),
    ],
)
def test_a_folder_without_a_classifier_is_named(files, tmp_path):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(code_jax.UserError, match=f"{tmp_path} holds no classifier") as error:
        load_landcover(tmp_path)
    assert "\n" not in str(error.value)
