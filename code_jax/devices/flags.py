"""JAX's flags that are a caller's lint, which what is computed here does not follow."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import jax


@contextlib.contextmanager
def own_flags() -> Iterator[None]:
    """Ranks are promoted and numbers are taken to the device where the code means it, whatever the caller allows itself."""
    with jax.numpy_rank_promotion("allow"), jax.transfer_guard("allow"):
        yield
