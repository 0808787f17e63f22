"""What running out of a device's memory looks like."""

from __future__ import annotations

import jax


def out_of_memory(error: jax.errors.JaxRuntimeError) -> bool:
    """Whether a program failed for want of memory."""
    return "RESOURCE_EXHAUSTED" in str(error)
