"""A prior: a network, its weights and how its inputs and outputs are scaled, as one pytree that answers with ε."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key, ScalarLike

from code_jax.devices.one_by_one import in_shards, one_by_one
from code_jax.diffusion.codec import Codec
from code_jax.diffusion.denoiser import Condition
from code_jax.diffusion.scaling import Direct, Scaling, VariancePreserving
from code_jax.diffusion.schedule import NoiseSchedule
from code_jax.errors import UserError
from code_jax.models.networks import Denoising
from code_jax.models.unet import UNet2DModel
from code_jax.shapes import Images, Level, PerImage, Scalar

Params = Any
Function = Callable[..., Images]


@dataclasses.dataclass(frozen=True)
class NetworkOutput:
    """``(params, x, t, condition) -> output`` of a Flax network; equal networks are equal functions: nothing recompiles.

    With `dropout_key` the output is that of training, dropout included. Of so many `shards` of a batch it computes one image at
    a time (`code_jax.devices.one_by_one`).
    """

    network: Denoising
    shards: int = 0

    @functools.partial(jax.jit, static_argnums=0)  # a program that asks in several places traces the network once
    def __call__(
        self, params: Params, x: Images, t: PerImage, condition: Condition = None, dropout_key: Key[Array, ""] | None = None
    ) -> Images:
        rngs = None if dropout_key is None else {"dropout": dropout_key}

        def output(x: Images, t: PerImage, condition: Condition) -> Any:
            return self.network.apply({"params": params}, x, t, dropout_key is not None, condition, rngs=rngs)

        return one_by_one(output, self.shards if dropout_key is None else 0, x, t, condition)


@dataclasses.dataclass(frozen=True)
class _Merged:
    """``(params, z, sigma) -> ε`` of an NNX module's graph; equal graphs are equal functions."""

    graph: Any

    def __call__(self, params: Params, *inputs: Any) -> jax.Array:
        from flax import nnx

        output: jax.Array = nnx.merge(self.graph, params)(*inputs)
        return output


class Prior(flax.struct.PyTreeNode):
    """A pretrained diffusion model, a denoiser (`code_jax.diffusion.denoiser`); weights are traced, the rest is static.

    Attributes:
        params: the weights, any pytree of arrays.
        scaling: how the network's inputs and outputs are scaled (`code_jax.diffusion.scaling`).
        function: ``(params, x, time) -> output``, or with a condition as its last argument, hashable.
        image_shape: (H, W, C) of one picture.
        data_range: R: clean values lie in [−R, R], of all channels or one each; 1 for pixels, infinity for latents that are not
            measured (`code_jax.measure_range`).
        patches: factors by which pictures were reduced that it knows patches of, 1 for full size; none where it knows whole
            pictures alone. Larger pictures are restored at their own size where there are some (`code_jax.restore`).
        classes: of a network with classes, how many: a condition is labels from 0 on, [B].
        null_class: the label that stands for no class, which it is given where there is no condition; None where it knows none.
        codec: of a latent prior, between pictures and what its network knows (`code_jax.priors.autoencoding`).

    Example:
        >>> import code_jax
        >>> prior = code_jax.load_prior("eurosat-64")
        >>> prior.eps(jnp.zeros((2, 64, 64, 3)), jnp.array([0.0, 500.5])).shape
        (2, 64, 64, 3)
    """

    params: Params
    scaling: Scaling
    function: Function = flax.struct.field(pytree_node=False)
    image_shape: tuple[int, int, int] = flax.struct.field(pytree_node=False)
    data_range: float | tuple[float, ...] = flax.struct.field(pytree_node=False, default=1.0)
    patches: tuple[float, ...] = flax.struct.field(pytree_node=False, default=())
    classes: int = flax.struct.field(pytree_node=False, default=0)
    null_class: int | None = flax.struct.field(pytree_node=False, default=None)
    codec: Any = None

    @classmethod
    def from_function(cls, eps_fn: Function, params: Params, schedule: NoiseSchedule, image_shape: tuple[int, int, int]) -> Prior:
        """A prior of one's own in variance-preserving scale, at timesteps.

        ``eps_fn(params, x [B, H, W, C], t [B]) -> ε [B, H, W, C]`` is pure, hashable, and works image by image.

        Example:
            >>> import code_jax, jax.numpy as jnp
            >>> unit_gaussian = lambda params, x, t: x * jnp.sqrt(schedule.variance(t))[:, None, None, None]
            >>> schedule = code_jax.linear_schedule()
            >>> prior = Prior.from_function(unit_gaussian, (), schedule, (8, 8, 3))
        """
        return cls(params, VariancePreserving(schedule), eps_fn, _shape(image_shape))

    @classmethod
    def from_denoiser(
        cls, fn: Function, params: Params, image_shape: tuple[int, int, int], sigma_range: tuple[float, float]
    ) -> Prior:
        """A prior of one's own at noise levels σ, with no timesteps: ``fn(params, z [B, H, W, C], sigma [B]) -> ε``.

        z is the image plus σ times noise, and z − σε the mean of the images that it may be of.

        Example:
            >>> unit_gaussian = lambda params, z, sigma: z * (sigma / (1 + sigma**2))[:, None, None, None]
            >>> Prior.from_denoiser(unit_gaussian, (), (8, 8, 3), (0.01, 80.0)).sigma_range[1].item()
            80.0
        """
        low, high = sigma_range
        if not 0 < low < high:
            raise UserError(f"sigma_range is {sigma_range}; it must rise from a positive level")
        return cls(params, Direct(jnp.asarray(low, float), jnp.asarray(high, float)), fn, _shape(image_shape))

    @classmethod
    def from_nnx(cls, module: Any, image_shape: tuple[int, int, int], sigma_range: tuple[float, float]) -> Prior:
        """A prior of a ``flax.nnx`` module that is called as ``module(z [B, H, W, C], sigma [B]) -> ε``."""
        from flax import nnx

        graph, state = nnx.split(module)
        return cls.from_denoiser(_Merged(graph), state, image_shape, sigma_range)

    @classmethod
    def from_network(cls, network: UNet2DModel, params: Params, schedule: NoiseSchedule, prediction_type: str) -> Prior:
        """A prior of a `UNet2DModel` and its weights."""
        return cls.of_network(network, params, VariancePreserving(schedule, prediction_type))

    @classmethod
    def of_network(cls, network: Denoising, params: Params, scaling: Scaling) -> Prior:
        """A prior of a network of `code_jax.models`, its weights and its scaling."""
        _, *shape = network.inputs["x"].shape
        output, classes, null_class = NetworkOutput(network), network.classes, network.null_class
        return cls(params, scaling, output, _shape(shape), classes=classes, null_class=null_class)

    def with_codec(self, codec: Codec, image_shape: tuple[int, int, int]) -> Prior:
        """A prior of pictures [H, W, C] of this one of latents, whose range is not measured.

        Raises:
            UserError: if the codec makes latents of another shape than this prior's.
        """
        if codec.latent_shape != self.image_shape:
            raise UserError(
                f"the codec makes latents {list(codec.latent_shape)} of pictures {list(image_shape)}, and the network takes "
                f"{list(self.image_shape)}: these are parts of two models"
            )
        return self.replace(codec=codec, image_shape=_shape(image_shape), data_range=math.inf)

    def __repr__(self) -> str:
        count = sum(jnp.size(leaf) for leaf in jax.tree.leaves(self.params))
        return f"Prior(image_shape={self.image_shape}, {type(self.scaling).__name__}, {count:,} parameters)"

    @property
    def schedule(self) -> NoiseSchedule | None:
        """The training timesteps; None where there are none."""
        return self.scaling.schedule

    @property
    def evaluations(self) -> int:
        """Evaluations of the network that one of ε takes."""
        return 1

    @property
    def prediction_type(self) -> str | None:
        """What the network answers; None where its scaling is another one than variance-preserving."""
        return self.scaling.prediction_type if isinstance(self.scaling, VariancePreserving) else None

    @property
    def sigma_range(self) -> tuple[Scalar, Scalar]:
        """Where the ODE starts, and the largest σ that it reaches. [] each."""
        return self.scaling.sigma_range

    def eps_at(self, z: Images, sigma: Level, condition: Condition = None) -> Images:
        """ε [B, H, W, C] of z = x/√ᾱ at σ [] or [B, 1, 1, 1]; score(x) = −ε/√(1 − ᾱ)."""
        return self.scaling.eps(self._call, z, sigma, condition).astype(z.dtype)

    def eps(self, x: Images, t: ScalarLike | PerImage, condition: Condition = None) -> Images:
        """ε_θ(x_t, t) [B, H, W, C] for x_t in VP scale at float timesteps t [B] in [0, T − 1]; score = −ε/√(1 − ᾱ_t)."""
        if not isinstance(self.scaling, VariancePreserving):
            raise UserError("this prior has no timesteps of a variance-preserving schedule; ask eps_at(z, sigma)")
        t = jnp.broadcast_to(jnp.asarray(t, x.dtype), x.shape[:1])
        sigma = self.scaling.schedule.sigma(t)[:, None, None, None]
        return self.scaling.eps_at_timestep(self._call, x, t, sigma, condition).astype(x.dtype)

    def _call(self, x: Images, time: PerImage, condition: Condition) -> Images:
        if condition is None and self.classes:
            condition = jnp.full(x.shape[:1], _known_null(self), jnp.int32)
        try:
            output = self.function(self.params, x, time, *(() if condition is None else (condition,)))
        except jax.errors.TracerArrayConversionError as error:
            raise UserError("the prior's function gives JAX's arrays to NumPy; compute with jax.numpy instead") from error
        if not isinstance(output, jax.Array):
            kind = "a NumPy array" if isinstance(output, np.ndarray) else f"a {type(output).__name__}"
            raise UserError(f"the prior's function gives {kind}; it must give one JAX array of its input's shape")
        if jnp.shape(output) != x.shape:
            raise UserError(f"the prior's function gives {jnp.shape(output)} for images of {x.shape}; it must give their shape")
        return output

    def apart(self, shards: int) -> Prior:
        """The same prior, whose networks answer for one image of each shard at a time; own functions stay as they are."""
        function = (
            dataclasses.replace(self.function, shards=shards) if isinstance(self.function, NetworkOutput) else self.function
        )
        return self.replace(function=function, codec=in_shards(self.codec, shards))

    def with_precision(self, precision: str) -> Prior:
        """The same prior computed in "float32" or "bfloat16" (inside the network alone); own functions stay as they are."""
        if not isinstance(self.function, NetworkOutput):
            return self
        network = self.function.network.clone(dtype=jnp.dtype(precision))
        return self.replace(function=dataclasses.replace(self.function, network=network))


def _known_null(prior: Prior) -> int:
    if prior.null_class is None:
        raise UserError(f"this prior knows no picture without a class: give each a label from 0 to {prior.classes - 1}")
    return prior.null_class


def _shape(image_shape: Sequence[int]) -> tuple[int, int, int]:
    height, width, channels = image_shape
    return height, width, channels
