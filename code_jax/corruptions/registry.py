"""The corruptions by name, in families, and the one function that applies them."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import numbers
from typing import Any

import numpy as np
from jaxtyping import UInt8

from code_jax.corruptions.family import Corruption, Family
from code_jax.errors import UserError, brief

Picture = UInt8[np.ndarray, "height width channels"]

# Modules of this package, each with its `FAMILY`, and which of its corruptions are not the paper's.
_FAMILIES: dict[str, tuple[str, ...]] = {
    "noise": (),
    "blur": (),
    "weather": (),
    "digital": (),
    "masking": (),
    "bar_noise": ("sparkles",),
    "bar_colour": (),
    "bar_warp": (),
    "linear": ("linear_blur", "linear_downsample", "linear_mask"),
}
_FAMILY_OF: dict[str, Family] = {name: importlib.import_module(f"code_jax.corruptions.{name}").FAMILY for name in _FAMILIES}
_REGISTRY: dict[str, Corruption] = {name: each for family in _FAMILY_OF.values() for name, each in family.items()}

FAMILIES: dict[str, tuple[str, ...]] = {name: tuple(family) for name, family in _FAMILY_OF.items()}
"""Names by kind: noise, blur, weather, digital and masking, and those of ImageNet-C-bar."""

ALL_NAMES: tuple[str, ...] = tuple(_REGISTRY)
"""Every corruption: the paper's and those besides, such as sparkles."""

NAMES: tuple[str, ...] = tuple(name for family, besides in _FAMILIES.items() for name in FAMILIES[family] if name not in besides)
"""The paper's 47."""

COVERING: tuple[str, ...] = (
    "impulse_noise",
    "spatter",
    "masking_random_color",
    "masking_vline_random_color",
    "blue_noise_sample",
    "checkerboard_cutout",
    "lines",
)
"""Those that replace or cover some pixels where they are, and leave every other one as it was."""

SIZES = 32, 1024
"""Pixels of a side, at least and at most."""


def corrupt(image: Picture, name: str, severity: int = 5, seed: int = 0) -> Picture:
    """Damages a picture in one of the ways of the paper's table.

    The kinds and their strengths are those of ImageNet-C (Hendrycks & Dietterich 2019) and ImageNet-C-bar (Mintun et al.
    2021); lengths published in pixels are of 256 and go with the shorter side.

    Args:
        image: uint8 [H, W, 3], or gray [H, W, 1], H and W from 32 to 1024.
        name: one of `code_jax.corruptions.ALL_NAMES`.
        severity: 1 to 5.
        seed: any whole number from 0 on; what is random depends on seed and name alone, and no global state is touched.

    Returns:
        uint8 of the image's shape, a new array; of gray, the red channel of what becomes of it as colour.

    Raises:
        UserError: for another dtype, shape, size, severity or seed, or an unknown name (the nearest is suggested).

    Example:
        >>> grey = np.full((64, 64, 3), 128, np.uint8)
        >>> corrupt(grey, "brightness", severity=2)[0, 0].tolist()
        [179, 179, 179]
    """
    check_name(name)
    _check(image, severity, seed)
    rng = np.random.default_rng([int(seed), *name.encode()])
    damaged = _REGISTRY[name](np.broadcast_to(image, (*image.shape[:2], 3)) / 255.0, int(severity), rng)
    if damaged.shape != (*image.shape[:2], 3):
        raise UserError(f"the corruption {name} makes shape {damaged.shape} of {(*image.shape[:2], 3)}; it must keep it")
    return np.round(damaged[..., : image.shape[2]].clip(0, 1) * 255).astype(np.uint8)


def sentence(name: str) -> str:
    """What a corruption does, in a sentence.

    Example:
        >>> sentence("gaussian_blur")
        'A Gaussian of σ = 1 to 6 pixels at 256.'
    """
    check_name(name)
    return (_REGISTRY[name].__doc__ or "").partition("\n")[0]


def check_name(name: str) -> None:
    """Raises UserError for an unknown name, with the nearest known one."""
    if name not in ALL_NAMES:
        near = difflib.get_close_matches(str(name), ALL_NAMES, n=1, cutoff=0)
        raise UserError(f"there is no corruption {brief(name)}; the nearest is {near[0]!r}")


def picture_seed(seed: int, image: np.ndarray) -> int:
    """A seed of one picture in a run: from the run's seed and the SHA-256 of shape and pixels, not from name or order.

    Example:
        >>> black = np.zeros((32, 64, 3), np.uint8)
        >>> picture_seed(0, black) == picture_seed(0, black.copy())
        True
        >>> len({picture_seed(0, black), picture_seed(1, black), picture_seed(0, black.reshape(64, 32, 3))})
        3
    """
    digest = hashlib.sha256(f"{seed} {image.shape}".encode() + np.ascontiguousarray(image).tobytes())
    return int.from_bytes(digest.digest()[:8], "big")


def _check(image: Any, severity: Any, seed: Any) -> None:
    found = getattr(image, "dtype", type(image).__name__)
    if found != np.uint8:
        raise UserError(f"the image is {found}; corrupt takes a uint8 array")
    if image.ndim != 3 or image.shape[2] not in (1, 3):
        raise UserError(
            f"the image has the shape {brief(image.shape)}; corrupt takes [H, W, 3] or [H, W, 1], one picture at a time"
        )
    height, width, _ = image.shape
    if not SIZES[0] <= min(height, width) <= max(height, width) <= SIZES[1]:
        raise UserError(f"the image is {width}x{height} pixels; sides must be from {SIZES[0]} to {SIZES[1]}: resize it first")
    if not _is_whole(severity) or not 1 <= severity <= 5:
        raise UserError(f"severity is {brief(severity)}; it must be a whole number from 1 to 5")
    if not _is_whole(seed) or seed < 0:
        raise UserError(f"seed is {brief(seed)}; it must be a whole number from 0 on")


def _is_whole(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)
