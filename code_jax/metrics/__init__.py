"""How near a restoration is to its input and its source, and how real a set of them looks.

Images are floating [B, H, W, C] in [−1, 1] and values are [B], but for the Fréchet distance, which compares two sets.
Every metric is pure and compiled; a NaN in an image makes that image's value NaN and no other's.
"""

from code_jax.metrics.classification import accuracy, corrupted_pixels, precision_recall
from code_jax.metrics.diversity import diversity
from code_jax.metrics.frechet import Moments, frechet_distance, moments_init, moments_merge, moments_update
from code_jax.metrics.inception import inception_features, inception_params, load_inception
from code_jax.metrics.landcover import LandCover, landcover, load_landcover, save_landcover
from code_jax.metrics.lpips import Lpips, load_lpips, lpips, lpips_from_state_dicts
from code_jax.metrics.pixelwise import l2, psnr
from code_jax.metrics.ssim import ssim

__all__ = [
    "LandCover",
    "Lpips",
    "Moments",
    "accuracy",
    "corrupted_pixels",
    "diversity",
    "frechet_distance",
    "inception_features",
    "inception_params",
    "l2",
    "landcover",
    "load_inception",
    "load_landcover",
    "load_lpips",
    "lpips",
    "lpips_from_state_dicts",
    "moments_init",
    "moments_merge",
    "moments_update",
    "precision_recall",
    "psnr",
    "save_landcover",
    "ssim",
]
