"""A prior: a network, its weights and its noise schedule, as one pytree that answers with ε."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from code_jax.diffusion.parameterization import to_eps
from code_jax.diffusion.schedule import NoiseSchedule
from code_jax.errors import UserError
from code_jax.models.unet import UNet2DModel

Params = Any
EpsFunction = Callable[[Params, jax.Array, jax.Array], jax.Array]


@dataclasses.dataclass(frozen=True)
class NetworkOutput:
    """``(params, x, t) -> output`` of a Flax network; equal networks are equal functions, so that nothing recompiles.

    With `dropout_key` the output is that of training, dropout included.
    """

    network: UNet2DModel

    @functools.partial(jax.jit, static_argnums=0)  # a program that asks in several places traces the network once
    def __call__(self, params: Params, x: jax.Array, t: jax.Array, dropout_key: jax.Array | None = None) -> jax.Array:
        rngs = None if dropout_key is None else {"dropout": dropout_key}
        output: Any = self.network.apply({"params": params}, x, t, dropout_key is not None, rngs=rngs)
        return output


class Prior(flax.struct.PyTreeNode):
    """A pretrained diffusion model; weights and schedule are traced, the rest is static.

    Attributes:
        params: the weights, any pytree of arrays.
        schedule: the noise schedule that the network was trained on.
        function: ``(params, x, t) -> output``, hashable.
        image_shape: (H, W, C) of one image.
        prediction_type: what the output is: "epsilon", "v_prediction" or "sample".

    Example:
        >>> import code_jax
        >>> prior = code_jax.load_prior("eurosat-64")
        >>> prior.eps(jnp.zeros((2, 64, 64, 3)), jnp.array([0.0, 500.5])).shape
        (2, 64, 64, 3)
    """

    params: Params
    schedule: NoiseSchedule
    function: EpsFunction = flax.struct.field(pytree_node=False)
    image_shape: tuple[int, int, int] = flax.struct.field(pytree_node=False)
    prediction_type: str = flax.struct.field(pytree_node=False, default="epsilon")

    @classmethod
    def from_function(
        cls, eps_fn: EpsFunction, params: Params, schedule: NoiseSchedule, image_shape: tuple[int, int, int]
    ) -> Prior:
        """A prior of one's own: ``eps_fn(params, x [B, H, W, C], t [B]) -> ε [B, H, W, C]``, pure, hashable, image by image.

        Example:
            >>> import code_jax, jax.numpy as jnp
            >>> unit_gaussian = lambda params, x, t: x * jnp.sqrt(schedule.variance(t))[:, None, None, None]
            >>> schedule = code_jax.linear_schedule()
            >>> prior = Prior.from_function(unit_gaussian, (), schedule, (8, 8, 3))
        """
        height, width, channels = image_shape
        return cls(params, schedule, eps_fn, (height, width, channels))

    @classmethod
    def from_network(cls, network: UNet2DModel, params: Params, schedule: NoiseSchedule, prediction_type: str) -> Prior:
        """A prior of a `UNet2DModel` and its weights."""
        shape = (*network.config.sample_size, network.config.in_channels)
        return cls(params, schedule, NetworkOutput(network), shape, prediction_type)

    def __repr__(self) -> str:
        count = sum(jnp.size(leaf) for leaf in jax.tree.leaves(self.params))
        return f"Prior(image_shape={self.image_shape}, prediction_type={self.prediction_type!r}, {count} parameters)"

    def eps(self, x: jax.Array, t: jax.Array) -> jax.Array:
        """ε_θ(x_t, t) [B, H, W, C] for x_t in VP scale at float timesteps t [B] in [0, T − 1]; score = −ε/√(1 − ᾱ_t)."""
        t = jnp.broadcast_to(jnp.asarray(t, x.dtype), x.shape[:1])
        output = self.function(self.params, x, t)
        if jnp.shape(output) != x.shape:
            raise UserError(f"the prior's function gives {jnp.shape(output)} for images of {x.shape}; it must give their shape")
        return to_eps(self.prediction_type, output, x, self.schedule.sigma(t)[:, None, None, None])

    def with_precision(self, precision: str) -> Prior:
        """The same prior computed in "float32" or "bfloat16" (inside the network alone); own functions stay as they are."""
        if not isinstance(self.function, NetworkOutput):
            return self
        network = self.function.network.clone(dtype=jnp.dtype(precision))
        return self.replace(function=NetworkOutput(network))
