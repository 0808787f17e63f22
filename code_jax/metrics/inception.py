"""The network of the Fréchet Inception distance: Inception-v3 as converted from TensorFlow's 2015-12-05 graph.

It departs from the paper's (Szegedy et al. 2016) and torchvision's in its pooling: means leave the padding out, and the last
block takes a maximum. Batch normalization is folded into the convolutions when the weights are read.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from code_jax.errors import UserError
from code_jax.metrics.images import bicubic, check_images
from code_jax.metrics.weights import Published, check_state, folded, read_published
from code_jax.shapes import GivenImages

RESIZES = ("torch-fidelity", "clean-fid")
FEATURES = 2048
_SIZE = 299
_FILE = Published(
    "FID",
    "weights-inception-2015-12-05-6726825d.pth",
    "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    "github.com/toshas/torch-fidelity/releases, v0.2.0",
)

Kernel = tuple[int, int]
_ONE, _THREE, _FIVE, _ROW, _COLUMN = (1, 1), (3, 3), (5, 5), (1, 7), (7, 1)


def inception_features(params: Any, images: GivenImages, *, resize: str = "torch-fidelity") -> Float[Array, "batch 2048"]:
    """The last pooled activations of images, to be gathered by `moments_update` (Heusel et al. 2017).

    The images are rounded to 8 bits and resized to 299×299 as the named package does: "torch-fidelity" bilinearly, like
    TensorFlow 1 (no antialiasing, corners at corners); "clean-fid" bicubically with antialiasing (Parmar et al. 2022).

    Args:
        params: of `load_inception`.
        images: floating [B, H, W, 3] in [−1, 1], of any size.
        resize: "torch-fidelity" or "clean-fid".

    Returns:
        float32 [B, 2048].

    Raises:
        UserError: for another dtype, shape, range or resize.

    Example:
        >>> image = jax.ShapeDtypeStruct((4, 299, 299, 3), jnp.float32)
        >>> params = jax.eval_shape(InceptionV3().init, jax.random.key(0), image)["params"]  # shapes of `load_inception`
        >>> jax.eval_shape(inception_features, params, image).shape
        (4, 2048)
    """
    if resize not in RESIZES:
        raise UserError(f"resize {resize!r} is unknown; choose from {', '.join(RESIZES)}")
    return _features(params, _resized(check_images(images, channels=3), resize))  # compiled once for all sizes


def load_inception(folder: str | Path | None = None) -> dict[str, Any]:
    """The published weights, which the user has downloaded.

    Args:
        folder: with ``weights-inception-2015-12-05-6726825d.pth``; None is ``weights/`` in the cache folder.

    Returns:
        Parameters for `inception_features`, in float32.

    Raises:
        UserError: where the file is absent or not the published one.

    Example:
        >>> load_inception("no/such/folder")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        code_jax.errors.UserError: FID needs no/such/folder/weights-inception-2015-12-05-6726825d.pth, which is absent: ...
    """
    return inception_params(read_published(_FILE, folder))


def inception_params(state: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Parameters of `InceptionV3` from the state dict of torch-fidelity or pytorch-fid.

    Args:
        state: arrays by name, as those packages save them.

    Returns:
        Parameters for `inception_features`, in float32.

    Raises:
        UserError: lists what is missing, left over, or of another shape.

    Example:
        >>> inception_params({})  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        code_jax.errors.UserError: the weights do not fit the network: missing Conv2d_1a_3x3.conv.weight; ...
    """
    image = jax.ShapeDtypeStruct((1, _SIZE, _SIZE, 3), jnp.float32)
    layers = jax.eval_shape(InceptionV3().init, jax.random.key(0), image)["params"]
    shapes = {f"{name}.conv.weight": tuple(layer["kernel"].shape[i] for i in (3, 2, 0, 1)) for name, layer in layers.items()}
    for part in ("weight", "bias", "running_mean", "running_var"):
        shapes |= {f"{name}.bn.{part}": layer["bias"].shape for name, layer in layers.items()}
    check_state(state, shapes, ("fc.", ".num_batches_tracked"))
    return {name: folded(state, f"{name}.conv", f"{name}.bn") for name in layers}


class InceptionV3(nn.Module):
    """Images [B, 299, 299, 3], scaled as (level − 128)/128, to features [B, 2048]."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = _unit(x, "Conv2d_1a_3x3", 32, _THREE, stride=2)
        x = _unit(x, "Conv2d_2a_3x3", 32, _THREE, padding="VALID")
        x = _unit(x, "Conv2d_2b_3x3", 64, _THREE)
        x = nn.max_pool(x, _THREE, (2, 2))
        x = _unit(x, "Conv2d_3b_1x1", 80)
        x = _unit(x, "Conv2d_4a_3x3", 192, _THREE, padding="VALID")
        x = nn.max_pool(x, _THREE, (2, 2))
        for name, pooled in (("Mixed_5b", 32), ("Mixed_5c", 64), ("Mixed_5d", 64)):
            x = _block_35(x, name, pooled)
        x = _reduction_35(x, "Mixed_6a")
        for name, width in (("Mixed_6b", 128), ("Mixed_6c", 160), ("Mixed_6d", 160), ("Mixed_6e", 192)):
            x = _block_17(x, name, width)
        x = _reduction_17(x, "Mixed_7a")
        x = _block_8(x, "Mixed_7b", _mean_pool)
        x = _block_8(x, "Mixed_7c", lambda x: nn.max_pool(x, _THREE, padding="SAME"))
        return jnp.mean(x, axis=(1, 2))


def _unit(
    x: jax.Array, name: str, features: int, kernel: Kernel = _ONE, stride: int = 1, padding: str | None = None
) -> jax.Array:
    """Convolution (with its normalization folded in) and ReLU; those with a stride have no padding."""
    padding = padding or ("SAME" if stride == 1 else "VALID")
    return nn.relu(nn.Conv(features, kernel, stride, padding, name=name, precision=jax.lax.Precision.HIGHEST)(x))


def _chain(x: jax.Array, name: str, *units: tuple[int, Kernel], stride: int = 1) -> jax.Array:
    """Units called ``name_1``, ``name_2``, …; the stride is that of the last."""
    for i, (features, kernel) in enumerate(units, 1):
        x = _unit(x, f"{name}_{i}", features, kernel, stride if i == len(units) else 1)
    return x


def _mean_pool(x: jax.Array) -> jax.Array:
    return nn.avg_pool(x, _THREE, padding="SAME", count_include_pad=False)


def _block_35(x: jax.Array, name: str, pooled: int) -> jax.Array:
    one = _unit(x, f"{name}.branch1x1", 64)
    five = _chain(x, f"{name}.branch5x5", (48, _ONE), (64, _FIVE))
    three = _chain(x, f"{name}.branch3x3dbl", (64, _ONE), (96, _THREE), (96, _THREE))
    pool = _unit(_mean_pool(x), f"{name}.branch_pool", pooled)
    return jnp.concatenate([one, five, three, pool], axis=-1)


def _reduction_35(x: jax.Array, name: str) -> jax.Array:
    three = _unit(x, f"{name}.branch3x3", 384, _THREE, stride=2)
    double = _chain(x, f"{name}.branch3x3dbl", (64, _ONE), (96, _THREE), (96, _THREE), stride=2)
    return jnp.concatenate([three, double, nn.max_pool(x, _THREE, (2, 2))], axis=-1)


def _block_17(x: jax.Array, name: str, width: int) -> jax.Array:
    one = _unit(x, f"{name}.branch1x1", 192)
    seven = _chain(x, f"{name}.branch7x7", (width, _ONE), (width, _ROW), (192, _COLUMN))
    double = _chain(
        x, f"{name}.branch7x7dbl", (width, _ONE), (width, _COLUMN), (width, _ROW), (width, _COLUMN), (192, _ROW)
    )  # fmt: skip
    pool = _unit(_mean_pool(x), f"{name}.branch_pool", 192)
    return jnp.concatenate([one, seven, double, pool], axis=-1)


def _reduction_17(x: jax.Array, name: str) -> jax.Array:
    three = _chain(x, f"{name}.branch3x3", (192, _ONE), (320, _THREE), stride=2)
    seven = _chain(x, f"{name}.branch7x7x3", (192, _ONE), (192, _ROW), (192, _COLUMN), (192, _THREE), stride=2)
    return jnp.concatenate([three, seven, nn.max_pool(x, _THREE, (2, 2))], axis=-1)


def _block_8(x: jax.Array, name: str, pool: Any) -> jax.Array:
    one = _unit(x, f"{name}.branch1x1", 320)
    three = _unit(x, f"{name}.branch3x3_1", 384)
    double = _chain(x, f"{name}.branch3x3dbl", (448, _ONE), (384, _THREE))
    split = [
        _unit(branch, f"{name}.{prefix}{suffix}", 384, kernel)
        for branch, prefix in ((three, "branch3x3_2"), (double, "branch3x3dbl_3"))
        for suffix, kernel in (("a", (1, 3)), ("b", (3, 1)))
    ]
    return jnp.concatenate([one, *split, _unit(pool(x), f"{name}.branch_pool", 192)], axis=-1)


@functools.partial(jax.jit, static_argnames="resize")
def _resized(images: jax.Array, resize: str) -> jax.Array:
    levels = jnp.round(jnp.clip(images, -1, 1) * 127.5 + 127.5)
    return _bilinear(_bilinear(levels, 2), 1) if resize == "torch-fidelity" else jnp.clip(bicubic(levels, _SIZE, _SIZE), 0, 255)


@jax.jit
def _features(params: Any, levels: jax.Array) -> jax.Array:
    features: jax.Array = InceptionV3().apply({"params": params}, (levels - 128) / 128)  # type: ignore[assignment]
    return features


def _bilinear(x: jax.Array, axis: int) -> jax.Array:
    """TensorFlow 1's: output i lies at i·(old size)/299, so that the first pixels fall together and nothing is averaged."""
    place = jnp.arange(_SIZE, dtype=jnp.float32) * np.float32(x.shape[axis] / _SIZE)
    low = place.astype(jnp.int32)
    high = jnp.minimum(low + 1, x.shape[axis] - 1)
    share = (place - low).reshape([-1 if i == axis else 1 for i in range(x.ndim)])
    below, above = (jnp.take(x, index, axis=axis) for index in (low, high))
    return below + (above - below) * share
