"""A picture as it comes: any mode that Pillow reads, upright, in sRGB, with its transparency and metadata."""

from __future__ import annotations

import io
import re
from pathlib import PurePath
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageCms

from code_jax.pictures.loading import MOST_PIXELS, PictureError, in_words, load
from code_jax.pictures.metadata import Metadata, read_metadata, upright

_SAME = {"MPO": "JPEG", "DIB": "BMP"}
_STRIP = 2**24  # pixels that are converted at a time: copies of all of a large picture would take gigabytes
_GRAY = ("1", "L", "LA", "La")
_DEEP = ("I;16", "I;16B", "I;16L", "I;16N", "I", "F")


class Picture(NamedTuple):
    """A picture, upright and in sRGB.

    Attributes:
        pixels: uint8 [H, W, 3]; [H, W, 1] where it is gray, then uint16 where it has more than 8 bits.
        alpha: uint8 [H, W], or None where nothing is transparent.
        format: Pillow's name of the file's format.
        metadata: what stays true of it.
        warnings: what of the file was left out or guessed.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None
    format: str
    metadata: Metadata
    warnings: tuple[str, ...]


@in_words()
def decode_picture(data: bytes, name: str = "", *, animated: str = "first", most_pixels: int = MOST_PIXELS) -> Picture:
    """Reads the bytes of a file.

    Args:
        data: the whole file.
        name: its name, for the formats that are known by it; one that belies the content is warned of.
        animated: of several frames take the "first", with a warning, or "refuse" the file.
        most_pixels: a picture of more is refused before it is decoded.

    Raises:
        PictureError: if it is no whole picture, too large, or of a kind that is not read.
    """
    warnings: list[str] = []
    opened, stored = load(data, name, warnings, animated=animated, most_pixels=most_pixels)
    kind = _SAME.get(opened.format or "", opened.format or "")
    told = Image.registered_extensions().get(PurePath(name).suffix.lower(), kind)
    if _SAME.get(told, told) != kind:
        warnings.insert(0, f"it is {kind}, whatever its name says")
    if opened.mode not in _DEEP and (re.search(";16[BLN]", stored) or (kind == "PPM" and "65535" in stored)):
        warnings.append("its 16 bits a colour are reduced to 8")
    gamma = opened.info.get("gamma")  # of a PNG that says neither sRGB nor a profile
    if isinstance(gamma, float) and abs(2.2 * gamma - 1) > 0.05 and not {"srgb", "icc_profile"} & opened.info.keys():
        warnings.append(f"its gamma of {gamma:g} is left out of account; taken as sRGB")
    metadata = read_metadata(opened, warnings)
    picture = upright(opened)
    if "'LA;16" in stored:  # Pillow makes colour of gray with 16 bits and transparency
        picture = picture.convert("LA")
    elif kind == "PPM" and picture.mode == "I":
        picture = picture.convert("I;16")
    pixels, alpha, more = from_pillow(picture)
    if pixels.dtype == np.uint8:
        metadata = metadata._replace(icc_profile=None)  # the pixels are sRGB now
    return Picture(np.ascontiguousarray(pixels), alpha, kind, metadata, (*warnings, *more))


def from_pillow(picture: Image.Image) -> tuple[np.ndarray, np.ndarray | None, list[str]]:
    """(pixels, alpha, warnings) of a loaded picture of any mode, as `Picture` has them.

    Integers and floats ("I", "F") take the narrowest of the ranges 0..1, 0..255, 0..65535 that holds them, or are stretched.

    Example:
        >>> pixels, alpha, _ = from_pillow(Image.new("LA", (4, 2), (7, 128)))
        >>> pixels.shape, alpha[0, 0].item()
        ((2, 4, 1), 128)
    """
    warnings: list[str] = []
    if picture.mode in _DEEP:
        if "transparency" in picture.info:
            warnings.append("its transparency does not go with 16 bits and is left out")
        return _deep(picture, warnings), None, warnings
    rows = max(_STRIP // picture.width, 1)
    colours: list[np.ndarray] = []
    alphas: list[np.ndarray] = []
    for top in range(0, picture.height, rows):
        strip = picture.crop((0, top, picture.width, min(top + rows, picture.height))) if rows < picture.height else picture
        if strip.mode in ("La", "RGBa"):
            strip = strip.convert({"La": "LA", "RGBa": "RGBA"}[strip.mode])
        if strip.has_transparency_data:
            alphas.append(np.asarray((strip if strip.mode in ("LA", "RGBA") else strip.convert("RGBA")).getchannel("A")))
        colours.append(_colours(strip, warnings))
    if picture.mode in ("P", "PA") and all(np.all(part == part[..., :1]) for part in colours):  # a palette of grays
        colours = [part[..., :1] for part in colours]
    return _joined(colours), _joined(alphas) if alphas else None, list(dict.fromkeys(warnings))


def _joined(strips: list[np.ndarray]) -> np.ndarray:
    return strips[0] if len(strips) == 1 else np.concatenate(strips)


def _colours(picture: Image.Image, warnings: list[str]) -> np.ndarray:
    """A picture of 8 bits as uint8 [H, W, 1 or 3] in sRGB."""
    if picture.mode in _GRAY:
        base = picture.convert("L")
    elif picture.mode in ("P", "PA"):
        base = picture.convert("RGBA").convert("RGB")  # straight to RGB, the entry that is transparent would be warned of
    elif picture.mode in ("RGB", "CMYK", "LAB"):
        base = picture
    else:
        base = picture.convert("RGB")
    pixels = np.asarray(_to_srgb(base, picture.info.get("icc_profile"), warnings))
    return pixels if pixels.ndim == 3 else pixels[..., None]


def _deep(picture: Image.Image, warnings: list[str]) -> np.ndarray:
    values = np.asarray(picture)
    if picture.mode.startswith("I;16"):
        return values.astype(np.uint16)[..., None]
    low, high = float(values.min()), float(values.max())
    if not np.isfinite(high - low):
        raise PictureError("it holds values that are not finite")
    ranges = (255, 65535) if picture.mode == "I" else (1, 255, 65535)
    full: float | None = next((full for full in ranges if low >= 0 and high <= full), None)
    if full is None:
        warnings.append(f"its values, from {low:g} to {high:g}, are stretched to the whole range")
        full = high - low or 1
    else:
        low = 0
    scaled = np.empty((*values.shape, 1), np.uint16)
    for row, out in zip(values, scaled, strict=True):  # of all of them, float64 would take gigabytes
        out[:, 0] = np.rint((row.astype(np.float64) - low) * (65535 / full))
    return scaled


def _to_srgb(picture: Image.Image, profile: Any, warnings: list[str]) -> Image.Image:
    """A picture "L", "RGB", "CMYK" or "LAB" as "L" or "RGB" in sRGB."""
    gray = picture.mode == "L"
    if picture.mode != "LAB" and not profile:
        return picture if gray else picture.convert("RGB")
    try:
        lab = picture.mode == "LAB"
        source = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB") if lab else io.BytesIO(profile))
        to_srgb = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), picture.mode, "RGB")
        if picture.mode in ("L", "RGB") and _changes_nothing(to_srgb, picture.mode):
            return picture
        converted = ImageCms.applyTransform(picture, to_srgb)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        warnings.append(f"its colour profile cannot be used ({str(error).splitlines()[0]}); taken as sRGB")
        return picture if gray else picture.convert("RGB")
    assert converted is not None
    return converted.getchannel("G") if gray else converted


def _changes_nothing(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Whether it moves none of a grid of colours by more than rounding does: what a profile is called says little."""
    levels = np.arange(0, 256, 17).astype(np.uint8)
    probe = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(64, 64, 3)
    shown = Image.fromarray(probe[..., 0] if mode == "L" else probe)
    found = np.asarray(ImageCms.applyTransform(shown, transform)).astype(int)
    return bool(np.all(np.abs(found - np.asarray(shown.convert("RGB"))) <= 2))
