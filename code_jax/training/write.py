"""A trained prior as a folder, in place of the one that an earlier run left."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from code_jax.priors.prior import Prior
from code_jax.priors.save import save_prior


def write_prior(prior: Prior, folder: Path, scales: Sequence[float]) -> None:
    """Writes a prior in diffusers' layout; its files replace those of an earlier run one by one, others stay.

    Args:
        prior: to write.
        folder: made if there is none.
        scales: of the patches that it was trained on, its `Prior.patches`; none for whole pictures.

    Raises:
        OSError: if it cannot be written.
    """
    with tempfile.TemporaryDirectory(dir=folder.parent) as aside:
        new = Path(aside) / "new"
        save_prior(prior.replace(patches=tuple(scales)), new)
        for path in sorted(each for each in new.rglob("*") if each.is_file()):
            target = folder / path.relative_to(new)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
