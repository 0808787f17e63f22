"""Conditions of an edit: labels of a prior with classes, one an image."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from code_jax.diffusion.denoiser import Condition, Denoiser
from code_jax.errors import UserError


def check_condition(denoiser: Denoiser, condition: Condition, count: int) -> Condition:
    """A condition for so many images: labels as int32 [B], where a denoiser has classes.

    Raises:
        UserError: for labels out of range, or of another number than the images; and where there must be some.
    """
    if not denoiser.classes or condition is None:
        if denoiser.classes and denoiser.null_class is None:
            raise UserError(f"this prior knows no picture without a class: give a label from 0 to {denoiser.classes - 1}")
        return condition
    labels = jnp.asarray(condition)
    if not jnp.issubdtype(labels.dtype, jnp.integer) or labels.shape not in ((), (count,)):
        raise UserError(f"labels are {labels.dtype}{list(labels.shape)}; give whole numbers, one for each of {count} images")
    if not isinstance(labels, jax.core.Tracer):
        wrong = np.asarray(labels)[(np.asarray(labels) < 0) | (np.asarray(labels) >= denoiser.classes)]
        if wrong.size:
            raise UserError(f"label {wrong[0]} is none of the prior's; they are from 0 to {denoiser.classes - 1}")
    return jnp.broadcast_to(labels, (count,)).astype(jnp.int32)


def labelled(prior: Any, label: int | None, settings: Any) -> dict[str, int]:
    """What is noted of one label of all pictures, before anything is computed.

    Raises:
        UserError: for a label that is none of the prior's, for none where there must be one, and for guidance to none.
    """
    if label is not None and not prior.classes:
        raise UserError(f"--label {label}: this prior has no classes; leave it out")
    check_condition(prior, label, 1)
    if label is None and getattr(settings, "guidance", None) is not None:
        raise UserError("--guidance leads to a class, and no --label is given; give one, or leave --guidance out")
    return {} if label is None else {"label": label}
