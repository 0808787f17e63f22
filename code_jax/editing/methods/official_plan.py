"""The moves of the published program as indices among its steps."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from code_jax.editing.methods.official_settings import OfficialSettings


class Plan(NamedTuple):
    """The moves as indices among the N steps, int or bool [K], made on the host.

    Attributes:
        at, to: index of the step before and after the move; −1 is σ = 0.
        level: of the annealing; −1 where a move is no correction.
        silent: a correction without noise and threshold.
        idle: an evaluation that changes nothing.
        clip: index of the step whose bound z is clipped to after the move; −1 where there is none.
        kept, departure: the move after which the code is kept, and that before which decoding starts from it.
        code, start: index of the step that the code is of, and of that where decoding starts.
    """

    at: np.ndarray
    to: np.ndarray
    level: np.ndarray
    silent: np.ndarray
    idle: np.ndarray
    clip: np.ndarray
    kept: int
    departure: int
    code: int
    start: int


def plan_of(settings: OfficialSettings) -> Plan:
    """The moves of settings."""
    clips, last = settings.eta is not None, settings.num_steps - 1
    start = last if not settings.langevin_steps or (clips and settings.has("decode_deepest_code")) else settings.deepest
    top = last if not settings.langevin_steps or settings.has("encode_all") else start
    code = start - (not settings.langevin_steps and settings.has("ddim_last_but_one"))
    early, rows = settings.has("clip_before_evaluation"), []
    for i in range(top):  # what acts before the next evaluation acts after this one, but for the deepest code
        rows.append((i, i + 1, -1, False, False, i + 1 if clips and not (early and i + 1 == top) else -1))
    noisy = settings.langevin_steps // settings.anneal_levels
    idles = noisy == 1 and settings.has("single_step_idle")
    corrections = [
        (level, k == noisy, idles and k < noisy)
        for level in range(settings.anneal_levels)
        for k in range(noisy + settings.has("silent_last_step"))
    ]
    for i in range(start, -1, -1):
        if i in settings.corrected:
            rows += [(i, i, *correction, -1) for correction in corrections]
        rows.append((i, i - 1 if i else 1 if settings.has("last_step_up") else -1, -1, False, False, -1))
    at, to, level, silent, idle, clip = (np.array(column) for column in zip(*rows, strict=True))
    return Plan(at, to, level, silent, idle, clip, code - 1, top - 1, code, start)
