"""What a run does with each picture."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import numpy as np

from code_jax.editing.methods import Method
from code_jax.errors import UserError
from code_jax.pictures.fits import OWN_SIZE, chosen_fit
from code_jax.priors.prior import Prior


@dataclasses.dataclass(frozen=True)
class Job:
    """What to do with each picture.

    Attributes:
        samples: results a picture.
        seed: of the run.
        micro_batch: pictures (or windows of one) on each device at a time.
        fit: one of `code_jax.pictures.fits.FITS`.
        larger: what "auto" is for pictures larger than the prior's (`larger_fit`).
        max_side: pictures with a longer side are reduced to it first; None is as they are.
        compare: write ``contact_sheet.png``.
        report: with it, ``report.html``.
        settings: what the manifest says of the settings.
        mask: where the pictures may change, bool [H, W], of the size that they are fitted to or of its own; None is everywhere.
        keep_size: results are brought back to their originals' sizes.
        format: "png", "same", "webp" or "jpeg".
        quality: of lossy formats, 1..100; None is their default.
        animated: "first" frame, or "refuse".
        overwrite: replace results of other settings.
        retry_failed: try again what failed in an earlier run.
        likelihood: tell bits per dimension before and after; what lacks them is made again.
        devices: how many of this process's devices take part; None is all. Results do not depend on it.
        label: of every picture, of a prior with classes; None is no class.
    """

    samples: int = 1
    seed: int = 0
    micro_batch: int = 8
    fit: str = "resize"
    larger: str = "resize"
    max_side: int | None = None
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
    likelihood: bool = False
    devices: int | None = None
    label: int | None = None

    def fit_of(self, shape: tuple[int, ...], image_shape: tuple[int, ...]) -> str:
        """How a picture [H, W, ...] meets the prior: a fit that is not "auto"."""
        return chosen_fit(self.fit, shape, image_shape, self.larger)

    @property
    def at_own_size(self) -> bool:
        """Whether a picture may be restored at its own size."""
        return self.fit in OWN_SIZE or (self.fit == "auto" and self.larger in OWN_SIZE)

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


def larger_fit(prior: Prior, method: Method) -> str:
    """How pictures larger than a prior's meet it: "pyramid" if it knows patches of several scales, "tile" of one, or "resize"."""
    if not prior.patches or not method.tiles:
        return "resize"
    return "pyramid" if len(prior.patches) > 1 and method.finer is not None else "tile"


def check_fit(fit: str, method: Method) -> None:
    """Raises UserError for a fit that a method cannot have."""
    if (fit in OWN_SIZE and not method.tiles) or (fit == "pyramid" and method.finer is None):
        raise UserError(f"the method {method.name} takes no fit {fit!r}; choose another fit, or another method")
