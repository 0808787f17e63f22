"""The columns of the tables: what is measured of each restored picture. A new metric is a line in `PAIRS`."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from typing import Any, NamedTuple


class Pair(NamedTuple):
    """A column that compares restored pictures with others.

    Attributes:
        heading: in the report, with an arrow to where better is.
        metric: ``module:function`` of two batches of images [B, H, W, 3] in [−1, 1], which gives [B].
        against: "source" (the clean pictures) or "input" (the damaged ones).
        network: the one of `code_jax.evaluation.measures.Yardstick` that the function takes before them; "" is none.
    """

    heading: str
    metric: str
    against: str
    network: str = ""

    @property
    def function(self) -> Callable[..., Any]:
        """The metric."""
        found: Callable[..., Any] = pkgutil.resolve_name(self.metric)
        return found


PAIRS: dict[str, Pair] = {
    "deep_feature_distance": Pair("deep features-source ↓", "code_jax.metrics.photo:deep_feature_distance", "source", "photo"),
    "lpips_source": Pair("LPIPS-source ↓", "code_jax.metrics.lpips:lpips", "source", "lpips"),
    "ssim_input": Pair("SSIM-input ↑", "code_jax.metrics.ssim:ssim", "input"),
    "psnr_input": Pair("PSNR-input, dB ↑", "code_jax.metrics.pixelwise:psnr", "input"),
    "psnr_source": Pair("PSNR-source, dB ↑", "code_jax.metrics.pixelwise:psnr", "source"),
    "ssim_source": Pair("SSIM-source ↑", "code_jax.metrics.ssim:ssim", "source"),
    "top5_kept": Pair("top-5 kept ↑", "code_jax.metrics.photo:top_kept", "source", "photo"),
    "l2_input": Pair("L2-input ↓", "code_jax.metrics.pixelwise:l2", "input"),
}
HEADINGS = {name: pair.heading for name, pair in PAIRS.items()} | {"rank1": "rank-1 ↑", "accuracy": "accuracy ↑"}
CLIPPING = ("corrupted", "clipped", "precision", "recall")
COLUMNS = (*HEADINGS, *CLIPPING)
