"""PyTorch state dicts and our parameters: one leaf rule each way, strict both ways.

A parameter's path joined with "." is the PyTorch key, but for the leaf: ``kernel`` and ``scale`` are ``weight`` there. A
convolution is OIHW there and HWIO here; a linear layer is [out, in] there and [in, out] here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from code_jax.errors import UserError, brief
from code_jax.models.unet import UNet2DModel

_LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias"}
# Attention layers as they were named before diffusers 0.15.
_OLD_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_OLD = re.compile(r"(?<=\.)(query|key|value|proj_attn)(?=\.(?:weight|bias)$)")


def expected_params(network: UNet2DModel) -> dict[str, Any]:
    """Shapes and dtypes of a network's parameters, nested; nothing is allocated."""
    height, width = network.config.sample_size
    image = jax.ShapeDtypeStruct((1, height, width, network.config.in_channels), jnp.float32)
    return jax.eval_shape(network.init, jax.random.key(0), image, jax.ShapeDtypeStruct((1,), jnp.float32))["params"]


def from_state_dict(network: UNet2DModel, state: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Our parameters (float32) from a PyTorch state dict of NumPy arrays.

    Raises:
        UserError: lists what is missing, what is left over and what has another shape.
    """
    state = {_OLD.sub(lambda match: _OLD_NAMES[match[1]], name): tensor for name, tensor in state.items()}
    expected = flax.traverse_util.flatten_dict(expected_params(network))
    names = {path: _torch_name(path) for path in expected}
    wrong = [f"missing {name}" for name in names.values() if name not in state]
    wrong += [f"unexpected {brief(name)[1:-1]}" for name in sorted(set(state) - set(names.values()))]
    params = {path: _to_ours(state[name], path, expected[path].ndim) for path, name in names.items() if name in state}
    for path, tensor in params.items():
        if tensor.shape != expected[path].shape:
            shape, fitting = list(state[names[path]].shape), list(expected[path].shape)
            wrong.append(f"{names[path]} is {shape}, which does not fit {fitting} here")
        if np.iscomplexobj(tensor):
            wrong.append(f"{names[path]} is complex")
    if wrong:
        more = f" and {len(wrong) - 10} more" if len(wrong) > 10 else ""
        raise UserError(f"the weights do not fit the config: {'; '.join(wrong[:10])}{more}")
    return flax.traverse_util.unflatten_dict({path: tensor.astype(np.float32) for path, tensor in params.items()})


def to_state_dict(params: Mapping[str, Any], dtype: Any = np.float32) -> dict[str, np.ndarray]:
    """A PyTorch state dict of NumPy arrays from our parameters; the inverse of `from_state_dict`."""
    flat = flax.traverse_util.flatten_dict(dict(params))
    return {
        _torch_name(path): np.ascontiguousarray(_to_theirs(np.asarray(leaf), path)).astype(dtype) for path, leaf in flat.items()
    }


def _torch_name(path: tuple[str, ...]) -> str:
    return ".".join((*path[:-1], _LEAVES[path[-1]]))


def _to_ours(tensor: np.ndarray, path: tuple[str, ...], ndim: int) -> np.ndarray:
    if path[-1] != "kernel":
        return tensor
    if ndim == 2 and tensor.ndim == 4 and tensor.shape[2:] == (1, 1):
        tensor = tensor[:, :, 0, 0]  # attention as 1×1 convolutions
    return tensor.transpose(2, 3, 1, 0) if tensor.ndim == 4 else tensor.T


def _to_theirs(leaf: np.ndarray, path: tuple[str, ...]) -> np.ndarray:
    if path[-1] != "kernel":
        return leaf
    return leaf.transpose(3, 2, 0, 1) if leaf.ndim == 4 else leaf.T
