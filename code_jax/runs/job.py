"""What a run does with each picture, and which noise each result is made of."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import jax
import numpy as np


@dataclasses.dataclass(frozen=True)
class Job:
    """What to do with each picture.

    Attributes:
        samples: results a picture.
        seed: of the run.
        micro_batch: pictures (with fit "tile": windows) on each device at a time.
        fit: "resize", "crop" or "tile".
        compare: write ``contact_sheet.png``.
        settings: what the manifest says of the settings.
        mask: where the pictures may change, bool [H, W]; None is everywhere.
        keep_size: results are brought back to their originals' sizes.
        format: "png", "same", "webp" or "jpeg".
        quality: of lossy formats, 1..100; None is their default.
        animated: "first" frame, or "refuse".
        overwrite: replace results of other settings.
        retry_failed: try again what failed in an earlier run.
        devices: how many of this process's devices take part; None is all. Results do not depend on it.
    """

    samples: int = 1
    seed: int = 0
    micro_batch: int = 8
    fit: str = "resize"
    compare: bool = False
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    mask: np.ndarray | None = None
    keep_size: bool = False
    format: str = "png"
    quality: int | None = None
    animated: str = "first"
    overwrite: bool = False
    retry_failed: bool = False
    devices: int | None = None

    def identity(self, weights: str) -> dict[str, Any]:
        """What results must share to stand in one folder."""
        facts = {"settings": self.settings, "prior_hash": weights, "seed": self.seed, "samples": self.samples}
        return facts | {"micro_batch": self.micro_batch} | self._mask_hash()

    def facts(self, digest: str, sample: int, weights: str) -> dict[str, Any]:
        """What a result says of its origin (`code_jax.pictures.provenance`)."""
        facts = {"settings": self.settings, "prior_hash": weights, "input_hash": digest} | self._mask_hash()
        return facts | {"seed": self.seed, "sample": sample, "micro_batch": self.micro_batch}

    def _mask_hash(self) -> dict[str, str]:
        return {} if self.mask is None else {"mask_hash": hashlib.sha256(self.mask.tobytes()).hexdigest()}


def image_key(seed: int, digest: str, sample: int) -> np.ndarray:
    """Words uint32 [6] that a picture's key is folded from: the seed, four words of the pixels' SHA-256, the sample."""
    return np.array([seed, *np.frombuffer(bytes.fromhex(digest)[:16], ">u4"), sample], np.uint32)


@jax.jit
def fold_keys(words: jax.Array) -> jax.Array:
    """Typed keys [B] of the words uint32 [B, 6] of `image_key`."""

    def fold(row: jax.Array) -> jax.Array:
        key = jax.random.key(row[0], impl="threefry2x32")
        for i in range(1, 6):
            key = jax.random.fold_in(key, row[i])
        return key

    return jax.vmap(fold)(words)
