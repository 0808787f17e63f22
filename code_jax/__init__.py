"""CODE, Confident Ordinary Differential Editing (van Delft, Martorella & Alahi 2024, arXiv 2408.12418), in JAX.

Blind image restoration and editing with a pretrained diffusion model: no training, no mask, no knowledge of the damage.
"""

import importlib
from typing import TYPE_CHECKING, Any

from code_jax import metrics
from code_jax.diffusion.langevin import langevin_step
from code_jax.diffusion.schedule import NoiseSchedule, cosine_schedule, linear_schedule, scaled_linear_schedule
from code_jax.diffusion.thresholding import DynamicThreshold
from code_jax.diffusion.tiling import Tiled, tiled
from code_jax.editing.confidence import clip_to_confidence
from code_jax.editing.config import EditConfig, EditProgram, preset
from code_jax.editing.edit import EditInfo, EditResult, edit, sdedit
from code_jax.editing.inversion import decode, encode, round_trip
from code_jax.editing.official import OfficialSettings, official
from code_jax.editing.sweep import SweepGrid, SweepPoint, SweepResult, sweep
from code_jax.errors import UserError
from code_jax.images import from_pil, from_uint8, to_pil, to_uint8
from code_jax.priors.load import bundled_samples, load_prior
from code_jax.priors.prior import Prior
from code_jax.priors.save import save_prior
from code_jax.version import __version__

if TYPE_CHECKING:
    from code_jax import corruptions
    from code_jax.corruptions import corrupt

__all__ = [
    "DynamicThreshold",
    "EditConfig",
    "EditInfo",
    "EditProgram",
    "EditResult",
    "NoiseSchedule",
    "OfficialSettings",
    "Prior",
    "SweepGrid",
    "SweepPoint",
    "SweepResult",
    "Tiled",
    "UserError",
    "__version__",
    "bundled_samples",
    "clip_to_confidence",
    "corrupt",
    "corruptions",
    "cosine_schedule",
    "decode",
    "edit",
    "encode",
    "from_pil",
    "from_uint8",
    "langevin_step",
    "linear_schedule",
    "load_prior",
    "metrics",
    "official",
    "preset",
    "round_trip",
    "save_prior",
    "scaled_linear_schedule",
    "sdedit",
    "sweep",
    "tiled",
    "to_pil",
    "to_uint8",
]


def __getattr__(name: str) -> Any:
    """Corruptions when they are first asked for: SciPy's signals take as long to import as all of this package."""
    if name == "corruptions":
        return importlib.import_module("code_jax.corruptions")
    if name == "corrupt":
        return __getattr__("corruptions").corrupt
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
