"""Classifier-free guidance: a denoiser that goes further to its label than the prior does (Ho & Salimans 2022)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from code_jax.diffusion.denoiser import Condition, Denoiser, Wrapper
from code_jax.diffusion.tiling import inside
from code_jax.errors import UserError
from code_jax.shapes import Images, Level, Numbers


class Guided(Wrapper):
    """A denoiser that answers with ε_∅ + w (ε_c − ε_∅), two evaluations of the prior (equation 6, whose w is one less).

    1 is the prior itself, 0 the prior without a class. The two are made one after the other, so that the network is in the
    program once and the memory is that of one.

    Attributes:
        denoiser: what is wrapped: one with classes, of which one stands for none.
        weight: w ≥ 0, [] or [B].

    Example:
        >>> import code_jax
        >>> means = lambda params, z, sigma, label: (z - label[:, None, None, None]) / sigma[:, None, None, None]
        >>> prior = code_jax.Prior.from_denoiser(means, (), (1, 1, 1), (0.01, 80.0)).replace(classes=2, null_class=2)
        >>> z, sigma = jnp.zeros((1, 1, 1, 1)), jnp.float32(1)
        >>> [float(Guided(prior, w).eps_at(z, sigma, jnp.array([1]))[0, 0, 0, 0]) for w in (0.0, 1.0, 3.0)]
        [-2.0, -1.0, 1.0]
    """

    weight: Numbers = 1.0

    @property
    def evaluations(self) -> int:
        """Twice the wrapped denoiser's."""
        return 2 * int(self.denoiser.evaluations)

    def eps_at(self, z: Images, sigma: Level, condition: Condition = None) -> Images:
        """ε [B, H, W, C] at z and σ, [] or [B, 1, 1, 1], for labels [B]."""
        null = check_guidance(self.denoiser)
        if condition is None:
            raise UserError("guidance leads to a class, and no label is given; give one, or leave guidance out")
        labels = jnp.stack([jnp.full_like(condition, null), condition])
        none, own = jax.lax.map(lambda label: self.denoiser.eps_at(z, sigma, label), labels)
        return none + jnp.reshape(self.weight, (-1, 1, 1, 1)).astype(z.dtype) * (own - none)


def guided(denoiser: Denoiser, weight: Any | None) -> Denoiser:
    """The denoiser in a `Guided` of a weight; as it is where there is none."""
    return denoiser if weight is None else inside(denoiser, Guided, weight)


def check_guidance(denoiser: Denoiser) -> int:
    """The label that stands for no class; raises UserError for a denoiser that has none, and cannot be guided."""
    if denoiser.null_class is None:
        why = "knows no picture without a class" if denoiser.classes else "has no classes"
        raise UserError(f"guidance compares with the prior without a class, and this prior {why}; leave guidance out")
    return denoiser.null_class
