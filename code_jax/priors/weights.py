"""A network's parameters and the state dict of a checkpoint, strict both ways: every name, every shape, every number finite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from code_jax.errors import UserError, brief
from code_jax.models.networks import Network


def expected_params(network: Network) -> dict[str, Any]:
    """Shapes and dtypes of a network's parameters, nested; nothing is allocated."""
    return jax.eval_shape(network.init, jax.random.key(0), **network.inputs)["params"]


def from_state_dict(network: Network, state: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """A network's parameters (float32) of a PyTorch state dict, whatever wraps its names.

    Raises:
        UserError: lists what is missing, left over or of another shape, and names what is not finite.
    """
    from checkpoints_convert.state_dict import canonical, to_params

    state = canonical(state)
    shapes = expected_shapes(network)
    wrong = [f"missing {name}" for name in shapes if name not in state]
    wrong += [f"unexpected {brief(name)[1:-1]}" for name in sorted(set(state) - set(shapes))]
    for name in shapes.keys() & state.keys():
        if state[name].shape != shapes[name]:
            wrong.append(f"{name} is {list(state[name].shape)}, which does not fit {list(shapes[name])} here")
        elif not jax.dtypes.issubdtype(state[name].dtype, np.floating):  # of 8 bits they would be quantized, without the scale
            wrong.append(f"{name} is {state[name].dtype}, not floats")
    if wrong:
        more = f" and {len(wrong) - 10} more" if len(wrong) > 10 else ""
        raise UserError(f"the weights do not fit the config: {'; '.join(wrong[:10])}{more}")
    return to_params({name: _finite(name, state[name], np.dtype(np.float32)) for name in shapes})


def to_state_dict(params: Mapping[str, Any], dtype: Any = np.float32) -> dict[str, np.ndarray]:
    """The PyTorch state dict of a network's parameters; the inverse of `from_state_dict`.

    Raises:
        UserError: names weights that are not finite, or beyond the range of `dtype`.
    """
    from checkpoints_convert import state_dict

    return {name: _finite(name, tensor, np.dtype(dtype)) for name, tensor in state_dict.to_state_dict(params).items()}


def expected_shapes(network: Network) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor of a network's state dict, by name."""
    from checkpoints_convert import state_dict

    empty = jax.tree.map(lambda leaf: np.broadcast_to(np.float32(0), leaf.shape), expected_params(network))
    return {name: tensor.shape for name, tensor in state_dict.to_state_dict(empty).items()}


def _finite(name: str, tensor: np.ndarray | np.generic, dtype: np.dtype[Any]) -> np.ndarray:
    with np.errstate(over="ignore"):
        cast = np.asarray(tensor).astype(dtype, order="C", copy=False)
    if not np.isfinite(cast).all():
        if np.isfinite(tensor).all():
            raise UserError(f"{name} has values beyond the range of {dtype}")
        broken = cast.size - np.count_nonzero(np.isfinite(cast))
        raise UserError(f"{broken} of the {cast.size} numbers of {name} are not finite: these weights are broken")
    return cast
