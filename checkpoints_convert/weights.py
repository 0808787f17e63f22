"""A network's files of weights in a folder, by diffusers' and transformers' names: whole or in numbered parts with an index."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from checkpoints_convert.tensors import read_tensors
from code_jax.documents import read_json
from code_jax.errors import UserError, brief

Names = tuple[str, str]  # of safetensors, and of PyTorch's pickle
DIFFUSERS: Names = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
TRANSFORMERS: Names = ("model.safetensors", "pytorch_model.bin")
_VARIANTS = ("", "fp16", "bf16")


class Weights(NamedTuple):
    """Where a network's weights are: their ending, the file, and the index of numbered parts where there is no such file."""

    suffix: str
    whole: Path | None
    parts: Path


def find_weights(folder: Path, names: Names = DIFFUSERS) -> Weights | None:
    """The weights of a folder, if there are any: safetensors rather than pickles, and full precision rather than half."""
    for variant in _VARIANTS:
        for name in names:
            stem, suffix = name.split(".")
            dotted = f".{variant}" if variant else ""
            whole, index = folder / f"{stem}{dotted}.{suffix}", folder / f"{name}.index{dotted}.json"
            if whole.is_file() or index.is_file():
                return Weights(f".{suffix}", whole if whole.is_file() else None, index)
    return None


def read_weights(folder: Path, names: Names = DIFFUSERS) -> dict[str, np.ndarray]:
    """The state dict of a folder.

    Raises:
        UserError: names what is missing or damaged.
    """
    found = find_weights(folder, names)
    if found is None:
        raise UserError(f"{folder} has neither {' nor '.join(names)}")
    if found.whole is not None:
        return read_tensors(found.whole)
    listed = read_json(found.parts).get("weight_map")
    parts = set(listed.values()) if isinstance(listed, dict) and all(isinstance(n, str) for n in listed.values()) else set()
    state: dict[str, np.ndarray] = {}
    for name in sorted(parts):
        if Path(name).name != name or Path(name).suffix != found.suffix or not (folder / name).is_file():
            raise UserError(f"{folder} has no part {brief(name)}, which {found.parts.name} names")
        state |= read_tensors(folder / name)
    return state
