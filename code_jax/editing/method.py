"""What a run of files asks of the settings of any method: what they cost, and to be followed in segments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from code_jax.editing import edit, official
from code_jax.editing.config import EditConfig
from code_jax.editing.edit import EditResult
from code_jax.editing.official import OfficialSettings
from code_jax.errors import UserError
from code_jax.priors.prior import Prior

Settings = EditConfig | OfficialSettings


def number_of_moves(settings: Settings) -> tuple[int, int]:
    """(moves, network evaluations) of an image; nothing is computed."""
    if isinstance(settings, OfficialSettings):
        moves = official.number_of_moves(settings)
        return moves, moves
    return edit.number_of_moves(settings)


def run_in_segments(
    keys: jax.Array, prior: Prior, images: jax.Array, settings: Settings, bounds: np.ndarray, after: Callable[[int], None],
    mask: Any | None = None,
) -> EditResult:  # fmt: skip
    """The edit in segments of moves between consecutive `bounds`; `after(k)` is called on the host with the moves done.

    Raises:
        UserError: for a mask, where the method is the published program's, which has none.
    """
    if not isinstance(settings, OfficialSettings):
        return edit.run_in_segments(keys, prior, images, settings, bounds, after, mask)
    if mask is not None:
        raise UserError("the method official takes no mask; leave out --mask, or choose another method")
    return official.run_in_segments(keys, prior, images, settings, bounds, after)
