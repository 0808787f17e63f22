"""How a network's inputs and outputs are scaled: from what it answers to ε(z, σ), z = x/√ᾱ the image plus σ times noise.

A scaling is a small pytree: ``sigma_range`` and ``schedule`` (`code_jax.diffusion.denoiser.Denoiser`), and ``eps``, which asks a
network ``call(x [B, H, W, C], time [B], condition) -> output`` what it must, in the scale that it was trained in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from code_jax.diffusion.denoiser import Condition
from code_jax.diffusion.parameterization import to_eps
from code_jax.diffusion.schedule import NoiseSchedule
from code_jax.shapes import Images, Level, PerImage, Scalar, Values

Number = Any  # of Python or of JAX
Call = Callable[[Images, PerImage, Condition], Images]


class Scaling(Protocol):
    """See the module."""

    @property
    def sigma_range(self) -> tuple[Scalar, Scalar]:
        """Where the ODE starts, and the largest σ that it reaches. [] each."""

    @property
    def schedule(self) -> NoiseSchedule | None:
        """The training timesteps, where there are any."""

    def eps(self, call: Call, z: Images, sigma: Level, condition: Condition) -> Images:
        """ε of z [B, H, W, C] at σ [] or [B, 1, 1, 1]."""


def _each(noise: jax.Array, z: Images) -> PerImage:
    """What a network is told of a noise level, once an image. [B]"""
    return jnp.broadcast_to(jnp.ravel(noise), z.shape[:1]).astype(z.dtype)


class VariancePreserving(flax.struct.PyTreeNode):
    """A network that takes x_t = √ᾱ z and a float timestep (Ho et al. 2020).

    Attributes:
        schedule: of its training.
        prediction_type: what it answers: "epsilon", "v_prediction" or "sample"; static.
    """

    schedule: NoiseSchedule
    prediction_type: str = flax.struct.field(pytree_node=False, default="epsilon")

    @property
    def sigma_range(self) -> tuple[Scalar, Scalar]:
        """σ_0, and σ at depth 1."""
        return self.schedule.sigma(0.0), self.schedule.sigma(self.schedule.last)

    def eps(self, call: Call, z: Images, sigma: Level, condition: Condition) -> Images:
        """ε of z [B, H, W, C] at σ [] or [B, 1, 1, 1]."""
        t = _each(self.schedule.t_of_sigma(sigma), z)
        return self.eps_at_timestep(call, z * jax.lax.rsqrt(1 + sigma**2), t, sigma, condition)

    def eps_at_timestep(self, call: Call, x: Images, t: PerImage, sigma: Level, condition: Condition) -> Images:
        """ε of x_t [B, H, W, C] at float timesteps [B], whose σ is [] or [B, 1, 1, 1]."""
        return to_eps(self.prediction_type, call(x, t, condition), x, sigma)


class _Bounded(flax.struct.PyTreeNode):
    """A scaling without timesteps of a table, whose range of σ is stated."""

    sigma_min: Number
    sigma_max: Number

    @property
    def sigma_range(self) -> tuple[Scalar, Scalar]:
        """`sigma_min` and `sigma_max`."""
        return jnp.asarray(self.sigma_min, float), jnp.asarray(self.sigma_max, float)

    @property
    def schedule(self) -> None:
        """There are no timesteps of a table."""
        return None


class Direct(_Bounded):
    """A function of z and σ [B] that answers with ε itself.

    Attributes:
        sigma_min, sigma_max: where the ODE starts, and how far it reaches.
    """

    def eps(self, call: Call, z: Images, sigma: Level, condition: Condition) -> Images:
        """ε of z [B, H, W, C] at σ [] or [B, 1, 1, 1]."""
        return call(z, _each(sigma, z), condition)


class LinearSDE(flax.struct.PyTreeNode):
    """The VP or the sub-VP SDE in continuous time (Song et al. 2021, equations 32 and 33, appendix B), predicting ε.

    With B(t) = β_min t + (β_max − β_min) t²/2 the signal is e^(−B/2) in both; the noise's standard deviation is √(1 − e^−B) in VP
    and 1 − e^−B in sub-VP, so that σ² = e^B − 1 and σ = 2 sinh(B/2).

    Attributes:
        beta_min, beta_max: β at t = 0 and at t = 1.
        t_min: the least t of training, in (0, 1).
        num_timesteps: the network is told t·(num_timesteps − 1).
        sub: whether it is the sub-VP SDE.
    """

    beta_min: Number = 0.1
    beta_max: Number = 20.0
    t_min: Number = 1e-5
    num_timesteps: Number = 1000.0
    sub: bool = flax.struct.field(pytree_node=False, default=False)

    def sigma(self, t: Values) -> Float[Array, "*shape"]:
        """σ at times in [0, 1]."""
        t = jnp.asarray(t, float)
        integral = self.beta_min * t + (self.beta_max - self.beta_min) * t**2 / 2
        return 2 * jnp.sinh(integral / 2) if self.sub else jnp.sqrt(jnp.expm1(integral))

    def _integral(self, sigma: jax.Array) -> jax.Array:
        return 2 * jnp.arcsinh(sigma / 2) if self.sub else jnp.log1p(sigma**2)

    def t_of_sigma(self, sigma: Values) -> Float[Array, "*shape"]:
        """The inverse of `sigma`: the root of a quadratic in t, in the form that keeps its digits near 0."""
        integral, slope = self._integral(jnp.asarray(sigma, float)), self.beta_max - self.beta_min
        return 2 * integral / (self.beta_min + jnp.sqrt(self.beta_min**2 + 2 * slope * integral))

    @property
    def schedule(self) -> None:
        """There are no timesteps of a table."""
        return None

    @property
    def sigma_range(self) -> tuple[Scalar, Scalar]:
        """σ at ``t_min`` and at 1."""
        return self.sigma(self.t_min), self.sigma(1.0)

    def eps(self, call: Call, z: Images, sigma: Level, condition: Condition) -> Images:
        """ε of z [B, H, W, C] at σ [] or [B, 1, 1, 1]; the network is asked at e^(−B/2) z."""
        x = z * jnp.exp(-self._integral(sigma) / 2)
        return call(x, _each((self.num_timesteps - 1) * self.t_of_sigma(sigma), z), condition)


class VarianceExploding(_Bounded):
    """x = x_0 + σ ε (Song et al. 2021, equation 31); the network is told log σ and answers with the score times σ, −ε.

    Published networks know images in [0, 1], where every σ is half of that for images in [−1, 1].

    Attributes:
        sigma_min, sigma_max: for images in [−1, 1]: twice the published 0.01 … 1348.
        unit_noise: the network is told the σ of images in [0, 1].
        unit_input: the network's input is an image in [0, 1]; false for one that was centred on its way in.
    """

    sigma_min: Number = 0.02
    sigma_max: Number = 100.0
    unit_noise: bool = flax.struct.field(pytree_node=False, default=True)
    unit_input: bool = flax.struct.field(pytree_node=False, default=False)

    def eps(self, call: Call, z: Images, sigma: Level, condition: Condition) -> Images:
        """ε of z [B, H, W, C] at σ [] or [B, 1, 1, 1]; the network is asked at z itself, or at its place in [0, 1]."""
        noise = jnp.log(sigma / 2 if self.unit_noise else sigma)
        return -call((z + 1) / 2 if self.unit_input else z, _each(noise, z), condition)


class Preconditioned(_Bounded):
    """x_0 ≈ c_skip z + c_out F(c_in z, ln σ/4) (Karras et al. 2022, table 1), and ε = (z − x_0)/σ without that difference.

    c_skip = σ_d²/(σ² + σ_d²), c_out = σ σ_d/√(σ² + σ_d²), c_in = 1/√(σ² + σ_d²).

    Attributes:
        sigma_min, sigma_max: the range that samples are drawn in; the network itself states none.
        sigma_data: σ_d, the standard deviation of the training images.
    """

    sigma_min: Number = 0.002
    sigma_max: Number = 80.0
    sigma_data: Number = 0.5

    def eps(self, call: Call, z: Images, sigma: Level, condition: Condition) -> Images:
        """ε of z [B, H, W, C] at σ [] or [B, 1, 1, 1]: c_in (σ c_in z − σ_d F)."""
        c_in = jax.lax.rsqrt(sigma**2 + jnp.square(self.sigma_data))
        output = call(c_in * z, _each(jnp.log(sigma) / 4, z), condition)
        return c_in * (sigma * c_in * z - self.sigma_data * output)


class FlowMatching(_Bounded):
    """x_t = (1 − t) x_0 + t ε, the network says v = ε − x_0 (Lipman et al. 2023; Liu et al. 2023, rectified flow).

    So σ = t/(1 − t), z = x_t/(1 − t) and ε = x_t + (1 − t) v.

    Attributes:
        sigma_min, sigma_max: at t = 0.001 and t = 0.999 by default; at t = 1 nothing of the image is left.
        shift: of the scheduler's grid (Esser et al. 2024, equation 23): it multiplies every σ of the grid, see `sigma`.
        num_timesteps: the network is told t·num_timesteps.
    """

    sigma_min: Number = 1 / 999
    sigma_max: Number = 999.0
    shift: Number = 1.0
    num_timesteps: Number = 1000.0

    def sigma(self, u: Values) -> Float[Array, "*shape"]:
        """σ at the place u of the scheduler's grid, in [0, 1): t = s u/(1 + (s − 1) u) makes σ = s u/(1 − u)."""
        return jnp.asarray(self.shift * u / (1 - u), float)

    def eps(self, call: Call, z: Images, sigma: Level, condition: Condition) -> Images:
        """ε of z [B, H, W, C] at σ [] or [B, 1, 1, 1]; the network is asked at (1 − t) z."""
        left = 1 / (1 + sigma)  # 1 − t
        output = call(left * z, _each(self.num_timesteps * sigma * left, z), condition)
        return left * (z + output)
