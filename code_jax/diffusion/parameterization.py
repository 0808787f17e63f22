"""What a network predicts, and how it becomes ε: all prediction types say the same about x_t = √ᾱ x_0 + √(1 − ᾱ) ε."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from code_jax.errors import UserError, brief
from code_jax.shapes import Images, Level

PREDICTION_TYPES = ("epsilon", "v_prediction", "sample")


def check_prediction_type(prediction_type: str) -> str:
    """Returns a supported prediction type; raises UserError for any other."""
    if prediction_type not in PREDICTION_TYPES:
        raise UserError(f"prediction_type {brief(prediction_type)} is not supported; choose from {', '.join(PREDICTION_TYPES)}")
    return prediction_type


def to_eps(prediction_type: str, output: Images, x: Images, sigma: Level) -> Images:
    """ε of a network's output at x_t; v = √ᾱ ε − √(1 − ᾱ) x_0 (Salimans & Ho 2022, section 4).

    Args:
        prediction_type: one of `PREDICTION_TYPES`.
        output, x: what the network said, and x_t. [..., H, W, C].
        sigma: √((1 − ᾱ)/ᾱ), broadcastable to x.
    """
    signal = jax.lax.rsqrt(1 + sigma**2)  # √ᾱ
    noise = sigma * signal  # √(1 − ᾱ)
    if prediction_type == "epsilon":
        return output
    if prediction_type == "v_prediction":
        return signal * output + noise * x
    return (x - signal * output) / noise


def target(prediction_type: str, x0: Images, eps: Images, sigma: Level) -> Images:
    """What a network of this type should answer for the pair (x_0, ε): the inverse of `to_eps`."""
    if prediction_type == "epsilon":
        return eps
    if prediction_type == "sample":
        return x0
    signal = jax.lax.rsqrt(1 + sigma**2)
    return signal * eps - sigma * signal * x0


def weight_min_snr(prediction_type: str, sigma: Float[Array, "*shape"], gamma: float) -> Float[Array, "*shape"]:
    """Min-SNR-γ loss weight of this type's squared error (Hang et al. 2023, equation 8 and section 3.4).

    min(SNR, γ) weighs the error of x_0; SNR = σ⁻² turns it into that of ε, SNR + 1 into that of v.
    """
    snr = sigma**-2
    weight = jnp.minimum(snr, gamma)
    return weight / {"epsilon": snr, "v_prediction": snr + 1, "sample": jnp.ones_like(snr)}[prediction_type]
