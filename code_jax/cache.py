"""Where what was computed or downloaded once is kept for the next time."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Where converted priors and compiled programs are kept: ``$XDG_CACHE_HOME/code_jax``, or ``~/.cache/code_jax``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "code_jax"
