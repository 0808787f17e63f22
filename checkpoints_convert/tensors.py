"""Files of tensors by name, safetensors or PyTorch's, as NumPy arrays."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes  # noqa: F401 (gives NumPy its bfloat16)
import numpy as np
import safetensors

from checkpoints_convert.pytorch import SUFFIXES, Select, read_state_dict, state_dict_of
from code_jax.documents import open_regular
from code_jax.errors import UserError

_MAX_HEADER = 1 << 22  # of 2000 tensors it takes some 200 KB


def read_tensors(path: str | Path, select: Select = state_dict_of) -> dict[str, np.ndarray]:
    """The tensors of a ``.safetensors`` file or of a PyTorch file (`checkpoints_convert.pytorch`), in their stored dtypes.

    `select` finds the state dict in what a PyTorch file holds.

    Raises:
        UserError: if the file is of another kind, not whole, or asks for more than tensors.
    """
    path = Path(path)
    if path.suffix in SUFFIXES:
        return read_state_dict(path, select)
    if path.suffix != ".safetensors":
        raise UserError(f"{path} is of no kind that holds weights: .safetensors, {', '.join(SUFFIXES)}")
    try:
        with open_regular(path) as start:
            header = int.from_bytes(start.read(8), "little")
        if _MAX_HEADER < header <= path.stat().st_size:
            raise UserError(f"{path} has a header of {header} bytes: this is no set of weights")
        with safetensors.safe_open(path, framework="np") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError) as error:
        raise UserError(f"{path} is not a whole safetensors file: {error}") from error
    except AttributeError as error:
        raise UserError(f"{path} holds numbers of a kind that is not supported: {error}") from error
