"""CODE, Confident Ordinary Differential Editing (van Delft, Martorella & Alahi 2024, arXiv 2408.12418), in JAX.

Blind image restoration and editing with a pretrained diffusion model: no training, no mask, no knowledge of the damage.
"""

import importlib
from typing import TYPE_CHECKING, Any

import code_jax.renamed as renamed
from code_jax.version import __version__

if TYPE_CHECKING:
    from code_jax import corruptions, metrics
    from code_jax.corruptions import corrupt
    from code_jax.diffusion.guidance import Guided
    from code_jax.diffusion.langevin import langevin_step
    from code_jax.diffusion.projections import clip_to_confidence
    from code_jax.diffusion.schedule import NoiseSchedule, cosine_schedule, linear_schedule, scaled_linear_schedule
    from code_jax.diffusion.thresholding import DynamicThreshold
    from code_jax.diffusion.tiling import Tiled, tiled
    from code_jax.editing.calibration import Calibration, Judgement
    from code_jax.editing.edit import edit, official, sdedit
    from code_jax.editing.inversion import decode, encode, round_trip
    from code_jax.editing.likelihood import Likelihood, log_likelihood
    from code_jax.editing.methods.official import OfficialSettings
    from code_jax.editing.points import SweepGrid, SweepPoint
    from code_jax.editing.presets import preset
    from code_jax.editing.pyramid import coarse_to_fine
    from code_jax.editing.result import EditInfo, EditResult
    from code_jax.editing.settings import EditConfig, EditProgram
    from code_jax.editing.statistics import PictureStatistics, picture_statistics
    from code_jax.editing.sweep import SweepResult, sweep
    from code_jax.errors import UserError
    from code_jax.pictures.arrays import from_uint8, to_uint8
    from code_jax.pictures.pil import from_pil, to_pil
    from code_jax.priors.autoencoding import measure_range
    from code_jax.priors.load import bundled_samples, load_prior
    from code_jax.priors.prior import Prior
    from code_jax.priors.save import save_prior
    from code_jax.runs.restoration import Restoration, restore

__all__ = [
    "Calibration",
    "DynamicThreshold",
    "EditConfig",
    "EditInfo",
    "EditProgram",
    "EditResult",
    "Guided",
    "Judgement",
    "Likelihood",
    "NoiseSchedule",
    "OfficialSettings",
    "PictureStatistics",
    "Prior",
    "Restoration",
    "SweepGrid",
    "SweepPoint",
    "SweepResult",
    "Tiled",
    "UserError",
    "__version__",
    "bundled_samples",
    "clip_to_confidence",
    "coarse_to_fine",
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
    "log_likelihood",
    "measure_range",
    "metrics",
    "official",
    "picture_statistics",
    "preset",
    "restore",
    "round_trip",
    "save_prior",
    "scaled_linear_schedule",
    "sdedit",
    "sweep",
    "tiled",
    "to_pil",
    "to_uint8",
]


# Read when first asked for: JAX takes a second, which a command that only prints need not wait for.
_HOMES = {
    "diffusion.guidance": ("Guided",),
    "diffusion.langevin": ("langevin_step",),
    "diffusion.schedule": ("NoiseSchedule", "cosine_schedule", "linear_schedule", "scaled_linear_schedule"),
    "diffusion.thresholding": ("DynamicThreshold",),
    "diffusion.tiling": ("Tiled", "tiled"),
    "diffusion.projections": ("clip_to_confidence",),
    "editing.calibration": ("Calibration", "Judgement"),
    "editing.edit": ("edit", "official", "sdedit"),
    "editing.inversion": ("decode", "encode", "round_trip"),
    "editing.likelihood": ("Likelihood", "log_likelihood"),
    "editing.methods.official": ("OfficialSettings",),
    "editing.points": ("SweepGrid", "SweepPoint"),
    "editing.presets": ("preset",),
    "editing.pyramid": ("coarse_to_fine",),
    "editing.result": ("EditInfo", "EditResult"),
    "editing.settings": ("EditConfig", "EditProgram"),
    "editing.statistics": ("PictureStatistics", "picture_statistics"),
    "editing.sweep": ("SweepResult", "sweep"),
    "errors": ("UserError",),
    "pictures.arrays": ("from_uint8", "to_uint8"),
    "pictures.pil": ("from_pil", "to_pil"),
    "priors.autoencoding": ("measure_range",),
    "priors.load": ("bundled_samples", "load_prior"),
    "priors.prior": ("Prior",),
    "priors.save": ("save_prior",),
    "runs.restoration": ("Restoration", "restore"),
    "corruptions": ("corrupt",),
}
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """A public name, from its module."""
    if name in ("corruptions", "metrics"):
        return importlib.import_module(f"code_jax.{name}")
    if name in _MODULE_OF:
        return getattr(importlib.import_module(f"code_jax.{_MODULE_OF[name]}"), name)
    renamed.missing(__name__, name)


def __dir__() -> list[str]:
    return __all__


renamed.tell()
