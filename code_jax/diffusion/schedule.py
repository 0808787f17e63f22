"""Noise schedules: the table ᾱ_t of a variance-preserving diffusion, in continuous time.

x_t ~ N(√ᾱ_t x_0, (1 − ᾱ_t) I). With σ = √((1 − ᾱ)/ᾱ) every quantity follows from log σ, which is interpolated linearly
over the training timesteps; so ᾱ = 1/(1 + σ²) and 1 − ᾱ = σ²/(1 + σ²) lose no digits at either end.
"""

from __future__ import annotations

import math
from typing import Any

import flax.struct
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from code_jax.errors import UserError, brief
from code_jax.shapes import Scalar, Values

_MIN_SIGMA, _MAX_SIGMA = 1e-6, 200.0
_MAX_TIMESTEPS = 100_000


class NoiseSchedule(flax.struct.PyTreeNode):
    """A variance-preserving noise schedule; a pytree of two arrays.

    Attributes:
        log_sigma: log σ_t at the training timesteps 0..T−1, strictly increasing. float [T].
        last: the timestep of depth 1: T − 1, or the last one whose σ ≤ 200 where the schedule explodes. float [].

    Example:
        >>> schedule = linear_schedule()
        >>> f"{schedule.alpha_bar(0.0):.4f}"
        '0.9999'
    """

    log_sigma: Float[Array, " timesteps"]
    last: Scalar

    @classmethod
    def from_betas(cls, betas: Any) -> NoiseSchedule:
        """From β_t [T], each in (0, 1): ᾱ_t = ∏(1 − β_s) (Ho et al. 2020, equation 4), accumulated in float64.

        Raises:
            UserError: if a β lies outside (0, 1) (zero terminal SNR included) or there are fewer than two.
        """
        try:
            betas = np.asarray(betas, np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            raise UserError(f"betas {brief(betas)} are no row of numbers") from error
        if betas.ndim != 1 or not 2 <= len(betas) <= _MAX_TIMESTEPS:
            raise UserError(f"a schedule needs 2 to {_MAX_TIMESTEPS} betas in a row; got shape {betas.shape}")
        if not np.all((betas > 0) & (betas < 1)):
            worst = betas[~((betas > 0) & (betas < 1))][0]
            raise UserError(f"beta {worst} is outside (0, 1); zero-terminal-SNR schedules are not supported")
        log_alpha_bar = np.cumsum(np.log1p(-betas))
        log_sigma = 0.5 * (np.log(-np.expm1(log_alpha_bar)) - log_alpha_bar)
        if log_sigma[0] < math.log(_MIN_SIGMA):
            raise UserError(f"the schedule starts at sigma {math.exp(log_sigma[0]):.3g}, below the smallest usable {_MIN_SIGMA}")
        last = int(np.searchsorted(log_sigma, math.log(_MAX_SIGMA), side="right")) - 1
        if last < 1:
            raise UserError(f"the schedule starts at sigma {math.exp(log_sigma[0]):.3g}, above the largest usable {_MAX_SIGMA}")
        return cls(jnp.asarray(log_sigma, float), jnp.asarray(float(last)))

    @property
    def num_timesteps(self) -> int:
        """T, the number of training timesteps."""
        return self.log_sigma.shape[0]

    def timestep(self, depth: Values) -> Float[Array, "*shape"]:
        """t of a depth in (0, 1]: depth·(T − 1), capped where σ exceeds 200."""
        return jnp.minimum(jnp.asarray(depth, self.log_sigma.dtype) * (self.num_timesteps - 1), self.last)

    def sigma(self, t: Values) -> Float[Array, "*shape"]:
        """σ(t) at float timesteps in [0, T − 1]."""
        table = jnp.arange(self.num_timesteps, dtype=self.log_sigma.dtype)
        return jnp.exp(jnp.interp(jnp.asarray(t, self.log_sigma.dtype), table, self.log_sigma))

    def t_of_sigma(self, sigma: Values) -> Float[Array, "*shape"]:
        """t(σ), the inverse of `sigma`; clamped to [0, T − 1]."""
        table = jnp.arange(self.num_timesteps, dtype=self.log_sigma.dtype)
        return jnp.interp(jnp.log(jnp.asarray(sigma, self.log_sigma.dtype)), self.log_sigma, table)

    def alpha_bar(self, t: Values) -> Float[Array, "*shape"]:
        """ᾱ(t), the share of the image's variance that is left at float timesteps in [0, T − 1]."""
        return 1 / (1 + self.sigma(t) ** 2)

    def variance(self, t: Values) -> Float[Array, "*shape"]:
        """1 − ᾱ(t), the variance of the noise in x_t."""
        return 1 / (1 + self.sigma(t) ** -2)


def linear_schedule(num_timesteps: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02) -> NoiseSchedule:
    """β rising linearly (Ho et al. 2020, section 4).

    Args:
        num_timesteps: T, at least 2.
        beta_start, beta_end: β_0 and β_{T−1}, in (0, 1).

    Returns:
        A `NoiseSchedule`.

    Raises:
        UserError: for values that make no schedule.

    Example:
        >>> f"{linear_schedule().sigma(999.0):.1f}"
        '157.4'
    """
    return NoiseSchedule.from_betas(np.linspace(beta_start, beta_end, _checked(num_timesteps)))


def scaled_linear_schedule(num_timesteps: int = 1000, beta_start: float = 8.5e-4, beta_end: float = 0.012) -> NoiseSchedule:
    """√β rising linearly (Rombach et al. 2022).

    Args:
        num_timesteps, beta_start, beta_end: as in `linear_schedule`.

    Returns:
        A `NoiseSchedule`.

    Raises:
        UserError: for values that make no schedule.

    Example:
        >>> f"{scaled_linear_schedule().sigma(999.0):.1f}"
        '14.6'
    """
    start, end = max(beta_start, 0), max(beta_end, 0)  # a negative β is refused as 0 is
    return NoiseSchedule.from_betas(np.linspace(start**0.5, end**0.5, _checked(num_timesteps)) ** 2)


def cosine_schedule(num_timesteps: int = 1000) -> NoiseSchedule:
    """ᾱ ∝ cos²((t/T + 0.008)/1.008 · π/2), β capped at 0.999 (Nichol & Dhariwal 2021, equation 17).

    Args:
        num_timesteps: T, at least 2.

    Returns:
        A `NoiseSchedule`, whose depth 1 is the last timestep with σ ≤ 200.

    Raises:
        UserError: for a number that makes no schedule.

    Example:
        >>> schedule = cosine_schedule()
        >>> float(schedule.timestep(1.0)) < 999
        True
    """
    alpha_bar = np.cos((np.arange(_checked(num_timesteps) + 1) / num_timesteps + 0.008) / 1.008 * np.pi / 2) ** 2
    return NoiseSchedule.from_betas(np.minimum(1 - alpha_bar[1:] / alpha_bar[:-1], 0.999))


def _checked(num_timesteps: int) -> int:
    whole = isinstance(num_timesteps, (int, np.integer)) and not isinstance(num_timesteps, bool)
    if not whole or not 2 <= num_timesteps <= _MAX_TIMESTEPS:
        raise UserError(f"num_timesteps is {brief(num_timesteps)}; it must be a whole number from 2 to {_MAX_TIMESTEPS}")
    return int(num_timesteps)
