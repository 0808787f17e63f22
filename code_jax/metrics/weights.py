"""Weights of the feature networks: published files, which a user downloads once and a pinned hash is asked of."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from code_jax.cache import cache_folder
from code_jax.errors import UserError


class Published(NamedTuple):
    """A file of weights: what for, its name, its SHA-256, and where it is published."""

    purpose: str
    name: str
    sha256: str
    source: str


def weights_folder() -> Path:
    """Where downloaded weights are looked for unless told otherwise: ``weights/`` in `cache_folder`."""
    return cache_folder() / "weights"


def read_published(file: Published, folder: str | Path | None = None) -> dict[str, np.ndarray]:
    """The tensors of a published file in `folder` (None: `weights_folder`).

    Raises:
        UserError: if the file is absent, its hash is not the pinned one, or it cannot be read.
    """
    path = Path(folder if folder is not None else weights_folder()) / file.name
    if not path.is_file():
        raise UserError(f"{file.purpose} needs {path}, which is absent: download it from {file.source}")
    with open(path, "rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != file.sha256:
        raise UserError(f"{path} has SHA-256 {digest}, not {file.sha256}: download it again from {file.source}")
    from checkpoints_convert.tensors import read_tensors  # a pickle is interpreted as data, and nothing in it runs

    state: dict[str, np.ndarray] = read_tensors(path)
    return state


def check_state(state: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]], ignored: tuple[str, ...] = ()) -> None:
    """Raises UserError unless the state dict has each name and shape, and nothing else but names that hold one of `ignored`."""
    wrong = [f"missing {name}" for name in shapes if name not in state]
    wrong += [f"unexpected {name}" for name in sorted(set(state) - set(shapes)) if not any(part in name for part in ignored)]
    wrong += [
        f"{name} is {list(state[name].shape)}, not {list(shape)}"
        for name, shape in shapes.items()
        if name in state and state[name].shape != shape
    ]
    if wrong:
        more = f" and {len(wrong) - 10} more" if len(wrong) > 10 else ""
        raise UserError(f"the weights do not fit the network: {'; '.join(wrong[:10])}{more}")


def folded(state: Mapping[str, np.ndarray], convolution: str, norm: str) -> dict[str, jax.Array]:
    """A convolution of a PyTorch state dict with the batch normalization after it folded in, as Flax has it, in float32.

    W' = Wγ/√(v + ε) and b' = β − mγ/√(v + ε) with TensorFlow's ε = 10⁻³.
    """
    scale, shift, mean, variance = (
        state[f"{norm}.{part}"].astype(np.float64) for part in ("weight", "bias", "running_mean", "running_var")
    )
    gain = scale / np.sqrt(variance + 1e-3)
    kernel = state[f"{convolution}.weight"].transpose(2, 3, 1, 0) * gain
    return {"kernel": jnp.asarray(kernel, jnp.float32), "bias": jnp.asarray(shift - mean * gain, jnp.float32)}
