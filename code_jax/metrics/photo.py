"""What photographs show, by the network that comes with the package: features, classes, and how far two pictures are apart."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import flax.struct
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from jaxtyping import Array, Float, Int

from code_jax.errors import UserError
from code_jax.metrics.directions import Directions
from code_jax.metrics.efficientnet import CLASSES, SIZE, EfficientNetLite0, Seen
from code_jax.metrics.images import bicubic, check_images, check_pair
from code_jax.metrics.lpips import unit_differences
from code_jax.shapes import GivenImages, Images, PerImage

_SMALLEST = 32
FOLDER = resources.files("code_jax") / "metrics" / "efficientnet-lite0"


class PhotoNetwork(flax.struct.PyTreeNode):
    """EfficientNet-Lite0 with ImageNet's weights, by `load_photo_network`: weights are traced, the rest is static.

    Attributes:
        params: weights, float32.
        names: of the 1000 classes, in the order of the logits; synonyms are separated by commas.
    """

    params: Any
    names: tuple[str, ...] = flax.struct.field(pytree_node=False)


def load_photo_network() -> PhotoNetwork:
    """The bundled network; its model card is ``metrics/efficientnet-lite0/README.md``.

    Returns:
        A `PhotoNetwork`.

    Example:
        >>> network = load_photo_network()
        >>> network.names[483]
        'castle'
    """
    names = json.loads((FOLDER / "classes.json").read_text(encoding="utf-8"))
    state = safetensors.numpy.load((FOLDER / "weights.safetensors").read_bytes())
    params = {name: jnp.asarray(np.asarray(tensor, np.float32)) for name, tensor in state.items()}
    return PhotoNetwork(flax.traverse_util.unflatten_dict(params, sep="/"), tuple(names))


def load_photo_directions() -> Directions:
    """The 64 principal directions of `photo_features` of clean training-side pictures that the Fréchet distance is taken in.

    Half of the pictures were portraits and half patches of photographs at three scales, 64×64 all; the model card has the
    counts and the share of the variance.

    Returns:
        `Directions`, for `project`.

    Example:
        >>> load_photo_directions().basis.shape
        (1280, 64)
    """
    state = safetensors.numpy.load((FOLDER / "directions.safetensors").read_bytes())
    return Directions(state["mean"], state["basis"])


def photo_features(network: PhotoNetwork, images: GivenImages) -> Float[Array, "batch 1280"]:
    """The last pooled activations of images, which `project` and `moments_update` take, and `nearest_neighbours`.

    Each image is resized to 224×224 as a whole, whatever its shape, by Pillow's bicubic interpolation (with antialiasing where it
    shrinks), and clipped to [−1, 1]. The published evaluation crops the middle 7/8 first; here no pixel is left out.

    Args:
        network: of `load_photo_network`.
        images: floating [B, H, W, 3] in [−1, 1], 32×32 at least.

    Returns:
        float32 [B, 1280], from 0 to 6.

    Raises:
        UserError: for another dtype, shape or range.

    Example:
        >>> images = jax.ShapeDtypeStruct((4, 64, 96, 3), jnp.float32)
        >>> jax.eval_shape(photo_features, load_photo_network(), images).shape
        (4, 1280)
    """
    return _resized(network, check_images(images, channels=3, smallest=_SMALLEST)).features


def photo_classes(
    network: PhotoNetwork, images: GivenImages, count: int = 5
) -> tuple[Int[Array, "batch {count}"], Float[Array, "batch {count}"]]:
    """The most probable classes of images, resized as for `photo_features`.

    Args:
        network: of `load_photo_network`.
        images: floating [B, H, W, 3] in [−1, 1], 32×32 at least.
        count: K, how many, from 1 to 1000.

    Returns:
        Indices int32 [B, K] into the network's names, the most probable first, and their probabilities float32 [B, K].

    Raises:
        UserError: for another dtype, shape or range, or a count out of range.

    Example:
        >>> images = jax.ShapeDtypeStruct((4, 64, 96, 3), jnp.float32)
        >>> classes, probabilities = jax.eval_shape(photo_classes, load_photo_network(), images)
        >>> classes.shape, probabilities.shape
        ((4, 5), (4, 5))
    """
    if not 1 <= count <= CLASSES:
        raise UserError(f"count is {count}; it must be from 1 to {CLASSES}")
    logits = _resized(network, check_images(images, channels=3, smallest=_SMALLEST)).logits
    probabilities, classes = jax.lax.top_k(jax.nn.softmax(logits), count)
    return classes, probabilities


def top_kept(network: PhotoNetwork, a: GivenImages, b: GivenImages) -> PerImage:
    """The share of the five most probable classes of b that are among those of a.

    Args:
        network: of `load_photo_network`.
        a, b: floating [B, H, W, 3] in [−1, 1], 32×32 at least.

    Returns:
        float32 [B], from 0 to 1; NaN where a is not finite.

    Raises:
        UserError: for another dtype, shape or range.

    Example:
        >>> images = jnp.zeros((1, 64, 64, 3))
        >>> top_kept(load_photo_network(), images, images).tolist()
        [1.0]
    """
    a, b = check_pair(a, b, channels=3, smallest=_SMALLEST)
    own, other = (photo_classes(network, jnp.nan_to_num(images))[0] for images in (a, b))
    kept = jnp.mean((other[:, :, None] == own[:, None]).any(axis=-1), axis=1, dtype=jnp.float32)
    return jnp.where(jnp.isfinite(a).all(axis=(1, 2, 3)), kept, jnp.nan)


def deep_feature_distance(network: PhotoNetwork, a: GivenImages, b: GivenImages) -> PerImage:
    """¹⁄₅ Σ_l mean_hw Σ_c (f̂_l(a) − f̂_l(b))²_hwc: LPIPS's form (Zhang et al. 2018, equation 1) without learned weights.

    Of five activations f_l at strides 2, 4, 8, 16 and 32, of unit length along the channels. It is not LPIPS: nobody's judgements
    were learned, and its values compare with its own alone. Images whose shorter side is below 224 are enlarged to it as for
    `photo_features`; larger ones keep their size.

    Args:
        network: of `load_photo_network`.
        a, b: floating [B, H, W, 3] in [−1, 1], 32×32 at least.

    Returns:
        float32 [B], from 0 for equal images to 4.

    Raises:
        UserError: for another dtype, shape or range.

    Example:
        >>> images = jnp.zeros((1, 64, 64, 3))
        >>> deep_feature_distance(load_photo_network(), images, images).tolist()
        [0.0]
    """
    return _distance(network, *check_pair(a, b, channels=3, smallest=_SMALLEST))


@jax.jit
def _resized(network: PhotoNetwork, images: Images) -> Seen:
    return _seen(network, bicubic(images, SIZE, SIZE))


@jax.jit
def _distance(network: PhotoNetwork, a: Images, b: Images) -> PerImage:
    activations = _seen(network, _enlarged(jnp.concatenate([a, b]))).activations
    stages = [jnp.mean(jnp.sum(unit_differences(x), axis=-1), axis=(1, 2)) for x in activations]
    return jnp.mean(jnp.stack(stages), axis=0)


def _enlarged(images: Images) -> Float[Array, "batch larger_height larger_width channels"]:
    scale = max(SIZE / min(images.shape[1:3]), 1)
    return bicubic(images, round(images.shape[1] * scale), round(images.shape[2] * scale))


def _seen(network: PhotoNetwork, images: Images) -> Seen:
    levels = jnp.clip(images, -1, 1) * 127.5 + 127.5
    # The published EfficientNet-Lite's scaling (efficientnet_lite_builder.py: MEAN_RGB, STDDEV_RGB), not that of EfficientNet.
    seen: Any = EfficientNetLite0().apply({"params": network.params}, (levels - 127) / 128)
    return seen
