"""What the samplers ask of a prior: ε(z, σ), where z = x/√ᾱ is the image plus σ times noise."""

from __future__ import annotations

from typing import Any, Protocol

import flax.struct

from code_jax.diffusion.codec import Codec
from code_jax.diffusion.schedule import NoiseSchedule
from code_jax.shapes import Images, Level, Scalar

Condition = Any  # a pytree whose leaves have one entry an image, [B, ...]; None where there is none


class Denoiser(Protocol):
    """Anything that answers with ε: a `code_jax.Prior`, or a wrapper around one, which has the same names.

    With a codec, z is of latents: a method and its moves know nothing of pictures, nor an edit of what z is of.

    ε is the field of the probability-flow ODE, dz/dσ = ε(z, σ) (Song et al. 2021, equation 13); score(x_t) = −ε/√(1 − ᾱ_t), and
    the mean of the images that z may be of is z − σε. A pytree, so that weights are arguments of what is compiled.
    """

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of one picture."""

    @property
    def sigma_range(self) -> tuple[Scalar, Scalar]:
        """Where the ODE starts (an image is taken to have this much noise), and the largest σ that it reaches. [] each."""

    @property
    def data_range(self) -> float | tuple[float, ...]:
        """R: clean values lie in [−R, R]; of all channels, or one each."""

    @property
    def schedule(self) -> NoiseSchedule | None:
        """The training timesteps, where there are any: they give `depth` and the grid "time" their meaning."""

    @property
    def classes(self) -> int:
        """Number of labels that a condition may be: 0, 1, …; 0 where conditions are no labels, or there are none."""

    @property
    def null_class(self) -> int | None:
        """The label that stands for no class, where there is one."""

    @property
    def evaluations(self) -> int:
        """Evaluations of a network that one of ε takes."""

    @property
    def codec(self) -> Codec | None:
        """Between pictures and what z is of; None where z is of pictures."""

    def eps_at(self, z: Images, sigma: Level, condition: Condition = None) -> Images:
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
    def sigma_range(self) -> tuple[Scalar, Scalar]:
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

    @property
    def classes(self) -> int:
        """The wrapped denoiser's."""
        return self.denoiser.classes

    @property
    def null_class(self) -> int | None:
        """The wrapped denoiser's."""
        return self.denoiser.null_class

    @property
    def evaluations(self) -> int:
        """The wrapped denoiser's."""
        return self.denoiser.evaluations

    @property
    def codec(self) -> Codec | None:
        """The wrapped denoiser's."""
        return self.denoiser.codec
