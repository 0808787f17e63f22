"""What the samplers ask of a prior: ε(z, σ), where z = x/√ᾱ is the image plus σ times noise."""

from __future__ import annotations

from typing import Any, Protocol

import flax.struct
import jax

from code_jax.diffusion.schedule import NoiseSchedule

Condition = Any  # a pytree whose leaves have one entry an image, [B, ...]; None where there is none


class Denoiser(Protocol):
    """Anything that answers with ε: a `code_jax.Prior`, or a wrapper around one, which has the same names.

    ε is the field of the probability-flow ODE, dz/dσ = ε(z, σ) (Song et al. 2021, equation 13); score(x_t) = −ε/√(1 − ᾱ_t), and
    the mean of the images that z may be of is z − σε. A pytree, so that weights are arguments of what is compiled.
    """

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of one image."""

    @property
    def sigma_range(self) -> tuple[jax.Array, jax.Array]:
        """Where the ODE starts (an image is taken to have this much noise), and the largest σ that it reaches. [] each."""

    @property
    def data_range(self) -> float | tuple[float, ...]:
        """R: clean values lie in [−R, R]; of all channels, or one each."""

    @property
    def schedule(self) -> NoiseSchedule | None:
        """The training timesteps, where there are any: they give `depth` and the grid "time" their meaning."""

    def eps_at(self, z: jax.Array, sigma: jax.Array, condition: Condition = None) -> jax.Array:
        """ε of z [B, H, W, C] at σ [] or [B, 1, 1, 1]."""


class Wrapper(flax.struct.PyTreeNode):
    """A denoiser around another, with the other's facts; it says what becomes of ε.

    Attributes:
        denoiser: what is wrapped.
    """

    denoiser: Any

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """The wrapped denoiser's."""
        return self.denoiser.image_shape

    @property
    def sigma_range(self) -> tuple[jax.Array, jax.Array]:
        """The wrapped denoiser's."""
        return self.denoiser.sigma_range

    @property
    def data_range(self) -> float | tuple[float, ...]:
        """The wrapped denoiser's."""
        return self.denoiser.data_range

    @property
    def schedule(self) -> NoiseSchedule | None:
        """The wrapped denoiser's."""
        return self.denoiser.schedule
