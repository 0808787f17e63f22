"""How near a restoration is to its input and its source, and how real a set of them looks.

Images are floating [B, H, W, C] in [−1, 1] and values are [B], but for the Fréchet distance, which compares two sets.
Every metric is pure and compiled; a NaN in an image makes that image's value NaN and no other's.
"""

from code_jax.metrics.classification import accuracy, corrupted_pixels, precision_recall
from code_jax.metrics.directions import Directions, principal_directions, project
from code_jax.metrics.diversity import diversity
from code_jax.metrics.frechet import Moments, frechet_distance, frechet_floor, moments_init, moments_merge, moments_update
from code_jax.metrics.inception import inception_features, inception_params, load_inception
from code_jax.metrics.landcover import LandCover, landcover, load_landcover, save_landcover
from code_jax.metrics.lpips import Lpips, load_lpips, lpips, lpips_from_state_dicts
from code_jax.metrics.neighbours import nearest_neighbours
from code_jax.metrics.photo import (
    PhotoNetwork,
    deep_feature_distance,
    load_photo_directions,
    load_photo_network,
    photo_classes,
    photo_features,
)
from code_jax.metrics.pixelwise import l2, psnr
from code_jax.metrics.ssim import ssim

__all__ = [
    "Directions",
    "LandCover",
    "Lpips",
    "Moments",
    "PhotoNetwork",
    "accuracy",
    "corrupted_pixels",
    "deep_feature_distance",
    "diversity",
    "frechet_distance",
    "frechet_floor",
    "inception_features",
    "inception_params",
    "l2",
    "landcover",
    "load_inception",
    "load_landcover",
    "load_lpips",
    "load_photo_directions",
    "load_photo_network",
    "lpips",
    "lpips_from_state_dicts",
    "moments_init",
    "moments_merge",
    "moments_update",
    "nearest_neighbours",
    "photo_classes",
    "photo_features",
    "precision_recall",
    "principal_directions",
    "project",
    "psnr",
    "save_landcover",
    "ssim",
]
