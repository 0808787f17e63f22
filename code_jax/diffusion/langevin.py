"""Langevin dynamics at one noise level: x ← x + h·score(x, t) + √(2h)·n, and a step that keeps the noise level."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float, ScalarLike

from code_jax.diffusion.denoiser import Denoiser
from code_jax.diffusion.levels import timesteps_of
from code_jax.shapes import Images, PerImage

# h/(1 − ᾱ) at most: where ρ = 1, beyond which the step is cut, and where the chain diverges if x_0 is a point, the steepest case.
STEP_LIMITS = {"variance_preserving": 0.5, "unadjusted": 2.0, "averaged": 2.0}
KINDS = tuple(STEP_LIMITS)
Steps = Float[Array, "*shape"]


def consequence(kind: str) -> str:
    """What comes of a step beyond its limit."""
    return "the step is cut to it" if kind == "variance_preserving" else "the chain diverges"


def langevin_step(denoiser: Denoiser, x: Images, t: ScalarLike | PerImage, step_size: ScalarLike, noise: Images) -> Images:
    """One unadjusted Langevin step, x + h·score(x, t) + √(2h)·noise with score = −ε/√(1 − ᾱ_t).

    The correction of van Delft et al. 2024, section 3.2. Stable for h < 2 where x_t is a unit Gaussian and for
    h < 2(1 − ᾱ_t) where x_0 is a point: the second is the limit to respect. For a Gaussian of covariance Σ the chain's stationary
    covariance is Σ(I − (h/2)Σ⁻¹)⁻¹: the bias vanishes with the step.

    Args:
        denoiser: a `code_jax.Prior` with timesteps, or a wrapper around one.
        x: x_t [B, H, W, C] in VP scale.
        t: float timestep in [0, T − 1], [] or [B].
        step_size: h > 0, in units of variance of x.
        noise: n ~ N(0, I), shaped as x.

    Returns:
        The next x_t [B, H, W, C].

    Raises:
        UserError: for a prior without timesteps.

    Example:
        >>> import code_jax, jax, jax.numpy as jnp
        >>> schedule = code_jax.linear_schedule()
        >>> eps = lambda params, x, t: x * jnp.sqrt(schedule.variance(t))[:, None, None, None]
        >>> prior = code_jax.Prior.from_function(eps, (), schedule, (2, 2, 1))  # N(0, I): score = -x
        >>> x = jnp.ones((1, 2, 2, 1))
        >>> f"{code_jax.langevin_step(prior, x, 500.0, 0.1, jnp.zeros_like(x))[0, 0, 0, 0]:.4f}"
        '0.9000'
    """
    t = jnp.broadcast_to(jnp.asarray(t, x.dtype), x.shape[:1])
    sigma = timesteps_of(denoiser, "t", "z and sigma to `eps_at`").sigma(t)[:, None, None, None]
    scale = jnp.sqrt(1 + sigma**2)
    moved = x - step_size * scale / sigma * denoiser.eps_at(x * scale, sigma) + jnp.sqrt(2 * jnp.asarray(step_size)) * noise
    return moved.astype(x.dtype)


def langevin_coefficients(kind: str, relative_step: Steps) -> tuple[Steps, Steps]:
    """(a, b) of the step z ← z + σ(a·ε + b·n) with the dimensionless step r = h/(1 − ᾱ); z = x/√ᾱ.

    "unadjusted" is `langevin_step`: a = −r, b = √(2r). "variance_preserving" is the exponential integrator of the
    Ornstein–Uhlenbeck process around x̂_0: x ← √ᾱ x̂_0 + √(1 − ᾱ)(√(1 − ρ²) ε + ρ n) with ρ² = 2r ≤ 1, so a = √(1 − ρ²) − 1,
    b = ρ; the noise level is right at any step size, whereas the unadjusted chain's excess variance is decoded into grain. It
    is DreamClean's step (Xiao et al. 2024, equation 9) of γ = 1 − √(1 − ρ²).

    "averaged" is the unadjusted step with (n_k + n_{k+1})/2 in place of n_k, each draw being used twice (Leimkuhler & Matthews
    2013, "Rational construction of stochastic numerical methods for molecular sampling"): at no cost the stationary covariance
    of a Gaussian is Σ itself at any stable step, and the bias is of second order elsewhere.
    """
    if kind != "variance_preserving":
        return -relative_step, jnp.sqrt(2 * relative_step)
    rho_squared = jnp.minimum(2 * relative_step, 1)
    return jnp.sqrt(1 - rho_squared) - 1, jnp.sqrt(rho_squared)
