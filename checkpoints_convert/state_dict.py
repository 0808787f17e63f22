"""PyTorch state dicts and Flax parameters: one leaf rule each way.

A parameter's path joined with "." is the PyTorch key, but for the leaf: ``kernel`` and ``scale`` are ``weight`` there. A
convolution is OIHW there and HWIO here; a linear layer is [out, in] there and [in, out] here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

_LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias"}
# What wraps a module puts its name before every parameter's: DistributedDataParallel, torch.compile, an average of the weights.
_WRAPPERS = re.compile(r"(?:(?:module|_orig_mod|ema)\.)*")
# Attention layers as they were named before diffusers 0.15.
_OLD_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_OLD = re.compile(r"(?<=\.)(query|key|value|proj_attn)(?=\.(?:weight|bias)$)")
_DOT = re.compile(r"\.(?!\d)")  # a module's name holds the dot before a number: "resnets.0", "to_out.0"
_ATTENTION = re.compile(r"(?:.+\.)?attentions\.\d+\.(?:to_q|to_k|to_v|to_out\.0)\.weight")


def canonical(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The state dict by the names of today, without wrappers' names; attention written as 1×1 convolutions becomes linear."""
    wrappers = {match[0] for name in state if (match := _WRAPPERS.match(name))}
    (wrapper,) = wrappers if len(wrappers) == 1 else ("",)  # one that not all share is a name left over, to be reported
    plain = {}
    for name, tensor in state.items():
        name = _OLD.sub(lambda match: _OLD_NAMES[match[1]], name[len(wrapper) :])
        pointwise = tensor.ndim == 4 and tensor.shape[2:] == (1, 1) and _ATTENTION.fullmatch(name)
        plain[name] = tensor[:, :, 0, 0] if pointwise else tensor
    return plain


def to_params(state: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Flax parameters, nested, of a state dict whose names are `canonical`; views, of the same dtypes."""
    params: dict[str, Any] = {}
    for name, tensor in state.items():
        *path, leaf = _DOT.split(name)
        if leaf == "weight":
            leaf = "kernel" if tensor.ndim > 1 else "scale"
        inner = params
        for part in path:
            inner = inner.setdefault(part, {})
        inner[leaf] = _transposed(tensor, (2, 3, 1, 0)) if leaf == "kernel" else tensor
    return params


def to_state_dict(params: Mapping[str, Any], prefix: str = "") -> dict[str, np.ndarray]:
    """The state dict of Flax parameters; views, of the same dtypes. The inverse of `to_params`."""
    state: dict[str, np.ndarray] = {}
    for name, value in params.items():
        if isinstance(value, Mapping):
            state |= to_state_dict(value, f"{prefix}{name}.")
        else:
            tensor = np.asarray(value)
            state[f"{prefix}{_LEAVES.get(name, name)}"] = _transposed(tensor, (3, 2, 0, 1)) if name == "kernel" else tensor
    return state


def _transposed(tensor: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    return tensor.transpose(axes) if tensor.ndim == 4 else tensor.T
