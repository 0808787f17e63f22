"""LPIPS, the learned perceptual distance (Zhang et al. 2018, "The unreasonable effectiveness of deep features"), version 0.1."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from code_jax.errors import UserError
from code_jax.metrics.images import check_pair
from code_jax.metrics.weights import Published, check_state, read_published
from code_jax.shapes import GivenImages, Images, PerImage

# Stages that end in a feature: the max-pooling before (0 for none), then convolutions: index, features, kernel, stride, padding.
_STAGES: dict[str, tuple[tuple[int, tuple[tuple[int, int, int, int, int], ...]], ...]] = {
    "alex": (
        (0, ((0, 64, 11, 4, 2),)),
        (3, ((3, 192, 5, 1, 2),)),
        (3, ((6, 384, 3, 1, 1),)),
        (0, ((8, 256, 3, 1, 1),)),
        (0, ((10, 256, 3, 1, 1),)),
    ),
    "vgg": tuple(
        (2 if indices[0] else 0, tuple((index, features, 3, 1, 1) for index in indices))
        for features, indices in (
            (64, (0, 2)),
            (128, (5, 7)),
            (256, (10, 12, 14)),
            (512, (17, 19, 21)),
            (512, (24, 26, 28)),
        )
    ),
}
_FILES = {
    "alex": (
        Published(
            "LPIPS (alex)",
            "alexnet-owt-7be5be79.pth",
            "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
            "download.pytorch.org/models",
        ),
        Published(
            "LPIPS (alex)",
            "alex.pth",
            "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
            "github.com/richzhang/PerceptualSimilarity, lpips/weights/v0.1",
        ),
    ),
    "vgg": (
        Published(
            "LPIPS (vgg)",
            "vgg16-397923af.pth",
            "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
            "download.pytorch.org/models",
        ),
        Published(
            "LPIPS (vgg)",
            "vgg.pth",
            "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
            "github.com/richzhang/PerceptualSimilarity, lpips/weights/v0.1",
        ),
    ),
}
# Mean and deviation of ImageNet's channels in [−1, 1], as rounded in the published code.
_SHIFT, _SCALE = np.array([-0.030, -0.088, -0.188], np.float32), np.array([0.458, 0.448, 0.450], np.float32)
_SMALLEST = 32


class Backbone(nn.Module):
    """The convolutional part of AlexNet ("alex") or VGG-16 ("vgg"): five activations of images [B, H, W, 3], finest first."""

    net: str

    @nn.compact
    def __call__(self, x: jax.Array) -> list[jax.Array]:
        features = []
        for pool, convolutions in _STAGES[self.net]:
            x = nn.max_pool(x, (pool, pool), (2, 2)) if pool else x
            for index, channels, kernel, stride, padding in convolutions:
                name, sides = f"features.{index}", ((padding, padding),) * 2
                exact = jax.lax.Precision.HIGHEST
                x = nn.relu(nn.Conv(channels, (kernel, kernel), stride, sides, name=name, precision=exact)(x))
            features.append(x)
        return features


class Lpips(flax.struct.PyTreeNode):
    """A backbone's weights with the linear layers on top, by `load_lpips`: a pytree, to be handed to `lpips`.

    Attributes:
        params: of the backbone.
        linear: a weight for each channel of each of the five activations, [C] each.
        net: "alex" or "vgg".
    """

    params: Any
    linear: tuple[Any, ...]
    net: str = flax.struct.field(pytree_node=False, default="alex")


def lpips(network: Lpips, a: GivenImages, b: GivenImages) -> PerImage:
    """Σ_l mean_hw Σ_c w_lc (f̂_l(a) − f̂_l(b))²_hwc with activations f̂ of unit length along the channels (equation 1).

    Args:
        network: of `load_lpips`.
        a, b: floating [B, H, W, 3] in [−1, 1], 32×32 at least; not resized.

    Returns:
        float32 [B], 0 for equal images.

    Raises:
        UserError: for another dtype, shape or range.

    Example:
        >>> images = jnp.zeros((1, 32, 32, 3))
        >>> params = Backbone("alex").init(jax.random.key(0), images)["params"]
        >>> tops = tuple(jnp.ones(x.shape[-1]) for x in Backbone("alex").apply({"params": params}, images))
        >>> round(float(lpips(Lpips(params, tops), images, images)[0]), 6)  # random weights; `load_lpips` reads the published
        0.0
    """
    return _lpips(network, *check_pair(a, b, channels=3, smallest=_SMALLEST))


def load_lpips(net: str = "alex", folder: str | Path | None = None) -> Lpips:
    """LPIPS with the published weights, which the user has downloaded into `folder` (None: ``weights/`` in the cache folder).

    Args:
        net: "alex", the usual one for evaluation, or "vgg".
        folder: with ``alexnet-owt-7be5be79.pth`` and ``alex.pth``, or ``vgg16-397923af.pth`` and ``vgg.pth``.

    Returns:
        An `Lpips`, for `lpips`.

    Raises:
        UserError: for another net, or where a file is absent or not the published one.

    Example:
        >>> load_lpips("alex", "no/such/folder")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        code_jax.errors.UserError: LPIPS (alex) needs no/such/folder/alexnet-owt-7be5be79.pth, which is absent: ...
    """
    if net not in _FILES:
        raise UserError(f"LPIPS net {net!r} is unknown; choose from {', '.join(_FILES)}")
    backbone, linear = (read_published(file, folder) for file in _FILES[net])
    return lpips_from_state_dicts(net, backbone, linear)


def lpips_from_state_dicts(net: str, backbone: Mapping[str, np.ndarray], linear: Mapping[str, np.ndarray]) -> Lpips:
    """LPIPS with weights of one's own: torchvision's state dict of the classifier, and lpips' of the linear layers.

    Args:
        net: "alex" or "vgg".
        backbone: arrays by name, ``features.0.weight`` and so on; those of the classifier's end are left out.
        linear: arrays by name, ``lin0.model.1.weight`` and so on, [1, C, 1, 1] each.

    Returns:
        An `Lpips`, in float32.

    Raises:
        UserError: lists what is missing, left over, or of another shape.

    Example:
        >>> lpips_from_state_dicts("alex", {}, {})  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        code_jax.errors.UserError: the weights do not fit the network: missing features.0.weight; ...
    """
    if net not in _STAGES:
        raise UserError(f"LPIPS net {net!r} is unknown; choose from {', '.join(_STAGES)}")
    image = jax.ShapeDtypeStruct((1, _SMALLEST, _SMALLEST, 3), jnp.float32)
    layers = jax.eval_shape(Backbone(net).init, jax.random.key(0), image)["params"]
    kernels = {f"{name}.weight": tuple(layer["kernel"].shape[i] for i in (3, 2, 0, 1)) for name, layer in layers.items()}
    check_state(backbone, kernels | {f"{name}.bias": layer["bias"].shape for name, layer in layers.items()}, ("classifier.",))
    channels = [convolutions[-1][1] for _, convolutions in _STAGES[net]]
    check_state(linear, {f"lin{i}.model.1.weight": (1, count, 1, 1) for i, count in enumerate(channels)})
    params = {
        name: {"kernel": backbone[f"{name}.weight"].transpose(2, 3, 1, 0), "bias": backbone[f"{name}.bias"]} for name in layers
    }
    tops = tuple(linear[f"lin{i}.model.1.weight"][0, :, 0, 0] for i in range(len(channels)))
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), Lpips(params, tops, net))


@jax.jit
def _lpips(network: Lpips, a: Images, b: Images) -> PerImage:
    images = (jnp.concatenate([a, b]) - _SHIFT) / _SCALE
    distance = jnp.zeros(len(a))
    for x, weights in zip(Backbone(network.net).apply({"params": network.params}, images), network.linear, strict=True):
        distance += jnp.mean(jnp.sum(unit_differences(x) * weights, axis=-1), axis=(1, 2))
    return distance


def unit_differences(x: Images) -> Float[Array, "batch/2 height width channels"]:
    """(f̂(a) − f̂(b))² [B, H, W, C] of activations [2B, H, W, C], those of the images a before those of b."""
    unit = x / (jnp.linalg.norm(x, axis=-1, keepdims=True) + 1e-10)
    a, b = jnp.split(unit, 2)
    return (a - b) ** 2
