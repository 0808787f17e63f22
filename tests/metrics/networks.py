"""State dicts of the feature networks with weights that depend on names alone, and pictures to show them."""

from __future__ import annotations

import zlib

import jax
import jax.numpy as jnp
import numpy as np

import code_jax
from code_jax.metrics.inception import InceptionV3
from code_jax.metrics.lpips import Backbone

NETS = {"alex": (64, 192, 384, 256, 256), "vgg": (64, 128, 256, 512, 512)}


def weights(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Kernels that keep a ReLU network's scale, positive variances and linear layers, norms around one."""
    state = {}
    for name, shape in shapes.items():
        values = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape, np.float32)
        if name.startswith("lin"):
            values = np.abs(values)
        elif len(shape) > 1:
            values *= np.sqrt(2 / np.prod(shape[1:]))
        else:
            values *= 0.2
            values = np.exp(values) if name.endswith("running_var") else values + name.endswith("bn.weight")
        state[name] = values.astype(np.float32)
    return state


def backbone_state(net: str) -> dict[str, np.ndarray]:
    """A state dict as torchvision's for the convolutions of AlexNet or VGG-16."""
    return weights(_torch_shapes(Backbone(net), 32, ".weight", (".bias",)))


def linear_state(net: str) -> dict[str, np.ndarray]:
    """A state dict as lpips' for its linear layers."""
    return weights({f"lin{i}.model.1.weight": (1, count, 1, 1) for i, count in enumerate(NETS[net])})


def inception_state() -> dict[str, np.ndarray]:
    """A state dict as torch-fidelity's, but for the classifier."""
    norm = tuple(f".bn.{part}" for part in ("weight", "bias", "running_mean", "running_var"))
    return weights(_torch_shapes(InceptionV3(), 299, ".conv.weight", norm))


def levels(height: int, width: int, count: int = 2, seed: int = 0) -> np.ndarray:
    """Pictures uint8 [count, height, width, 3]: waves with noise on them."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    down, across = rng.uniform(0.05, 0.5, (2, count, 1, 1, 3))
    wave = np.sin(down * y[..., None] + across * x[..., None])
    return np.clip(127.5 + 90 * wave + 20 * rng.standard_normal((count, height, width, 3)), 0, 255).astype(np.uint8)


def images(height: int, width: int, count: int = 2, seed: int = 0) -> jax.Array:
    """`levels` as images in [−1, 1]."""
    return code_jax.from_uint8(levels(height, width, count, seed))


def _torch_shapes(module, size: int, kernel: str, vectors: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    layers = jax.eval_shape(module.init, jax.random.key(0), jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32))["params"]
    shapes = {}
    for name, layer in layers.items():
        shapes[name + kernel] = tuple(layer["kernel"].shape[i] for i in (3, 2, 0, 1))
        shapes |= {name + vector: layer["bias"].shape for vector in vectors}
    return shapes
