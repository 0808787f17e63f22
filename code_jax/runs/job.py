"""What a run does with each picture."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

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
        report: with it, ``report.html``.
        settings: what the manifest says of the settings.
        mask: where the pictures may change, bool [H, W], of the size that they are fitted to; None is everywhere.
        keep_size: results are brought back to their originals' sizes.
        format: "png", "same", "webp" or "jpeg".
        quality: of lossy formats, 1..100; None is their default.
        animated: "first" frame, or "refuse".
        overwrite: replace results of other settings.
        retry_failed: try again what failed in an earlier run.
        devices: how many of this process's devices take part; None is all. Results do not depend on it.
        label: of every picture, of a prior with classes; None is no class.
    """

    samples: int = 1
    seed: int = 0
    micro_batch: int = 8
    fit: str = "resize"
    compare: bool = False
    report: bool = False
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    mask: np.ndarray | None = None
    keep_size: bool = False
    format: str = "png"
    quality: int | None = None
    animated: str = "first"
    overwrite: bool = False
    retry_failed: bool = False
    devices: int | None = None
    label: int | None = None

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
