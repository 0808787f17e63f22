"""EfficientNet-Lite0, the network that sees what is on a photograph: it names the 1000 classes of ImageNet.

EfficientNet-B0 (Tan & Le 2019, table 1) without squeeze-and-excitation and with ReLU6 in place of swish. Batch normalization is
folded into the convolutions when the weights are converted. Submodules have the names of the PyTorch port that they come from.
"""

from __future__ import annotations

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

SIZE = 224  # sides of the pictures that it was trained on
FEATURES, CLASSES = 1280, 1000
_STAGES = (  # blocks, kernel, stride of the first, expansion, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_EXACT = jax.lax.Precision.HIGHEST


class Seen(NamedTuple):
    """What the network makes of images: five activations, the finest first; their last mean [B, 1280]; logits [B, 1000]."""

    activations: tuple[jax.Array, ...]
    features: jax.Array
    logits: jax.Array


class EfficientNetLite0(nn.Module):
    """Images [B, H, W, 3], scaled as (level − 127)/128, to `Seen`."""

    @nn.compact
    def __call__(self, x: jax.Array) -> Seen:
        x = _relu6(nn.Conv(32, (3, 3), 2, name="_conv_stem", precision=_EXACT)(x))
        activations, place = [], 0
        for blocks, kernel, stride, expansion, channels in _STAGES:
            if stride == 2:
                activations.append(x)
            for i in range(blocks):
                x = _block(x, f"_blocks.{place}", kernel, stride if i == 0 else 1, expansion, channels)
                place += 1
        x = _relu6(_pointwise(x, FEATURES, "_conv_head"))
        features = jnp.mean(x, axis=(1, 2))
        return Seen((*activations, x), features, nn.Dense(CLASSES, name="_fc", precision=_EXACT)(features))


class Depthwise(nn.Module):
    """A convolution of each channel by itself, padded as TensorFlow does ("SAME"), as a sum of shifted products.

    On CPUs XLA's convolution with a group for each channel takes many times as long.
    """

    size: int
    stride: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (self.size, self.size, 1, x.shape[-1]))
        bias = self.param("bias", nn.initializers.zeros, x.shape[-1:])
        sides = [-(-side // self.stride) for side in x.shape[1:3]]
        spans = [(side - 1) * self.stride + 1 for side in sides]
        pads = [max(span + self.size - 1 - side, 0) for span, side in zip(spans, x.shape[1:3], strict=True)]
        x = jnp.pad(x, ((0, 0), *((pad // 2, pad - pad // 2) for pad in pads), (0, 0)))
        total: jax.Array = bias
        for i in range(self.size):
            for j in range(self.size):
                shifted = x[:, i : i + spans[0] : self.stride, j : j + spans[1] : self.stride]
                total = total + shifted * kernel[i, j, 0]
        return total


def _block(x: jax.Array, name: str, kernel: int, stride: int, expansion: int, channels: int) -> jax.Array:
    """An inverted residual: expansion, depthwise convolution and a linear projection (Sandler et al. 2018)."""
    h = x if expansion == 1 else _relu6(_pointwise(x, expansion * x.shape[-1], f"{name}._expand_conv"))
    h = _relu6(Depthwise(kernel, stride, name=f"{name}._depthwise_conv")(h))
    h = _pointwise(h, channels, f"{name}._project_conv")
    return x + h if h.shape == x.shape else h


def _pointwise(x: jax.Array, channels: int, name: str) -> jax.Array:
    return nn.Conv(channels, (1, 1), name=name, precision=_EXACT)(x)


def _relu6(x: jax.Array) -> jax.Array:
    return jnp.clip(x, 0, 6)
