"""Where what was computed or downloaded once is kept for the next time."""

from __future__ import annotations

import os
from pathlib import Path

from code_jax.errors import UserError


def cache_folder() -> Path:
    """Where converted priors and compiled programs are kept: ``$XDG_CACHE_HOME/code_jax``, or ``~/.cache/code_jax``.

    Raises:
        UserError: if neither is known.
    """
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "code_jax"
    except RuntimeError as error:  # a user without an entry in the system's list, as in a container
        raise UserError("this user has no home, so that nothing can be kept; set XDG_CACHE_HOME to a folder") from error
