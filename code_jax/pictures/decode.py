"""A picture as it comes: any mode that Pillow reads, upright, in sRGB, with its transparency and metadata."""

from __future__ import annotations

import io
from pathlib import PurePath
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageCms

from code_jax.pictures.metadata import Metadata, read_metadata, upright

# Formats known by their first bytes, and those whose first bytes say little: these are tried only where the name says so.
# EPS and WMF are left out: reading them runs other programs.
_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "HEIF", "JPEG2000", "PPM", "QOI", "DDS", "PSD", "ICNS")
_BY_NAME = {"TGA", "PCX", "ICO", "SGI", "DIB", "SUN", "IM", "MSP", "XBM", "XPM"}
_SAME = {"MPO": "JPEG", "DIB": "BMP"}
_GRAY = ("1", "L", "LA", "La")
_DEEP = ("I;16", "I;16B", "I;16L", "I;16N", "I", "F")


class PictureError(ValueError):
    """A file that is no whole picture, or a picture that cannot be written; the message says why."""


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


def decode_picture(data: bytes, name: str = "", *, animated: str = "first") -> Picture:
    """Reads the bytes of a file.

    Args:
        data: the whole file.
        name: its name, for the formats that are known by it; one that belies the content is warned of.
        animated: of several frames take the "first", with a warning, or "refuse" the file.

    Raises:
        PictureError: if it is no whole picture, too large (179 million pixels), or of a kind that is not read.
    """
    if not data:
        raise PictureError("the file is empty")
    try:
        _check(data, name)
        with Image.open(io.BytesIO(data), formats=_formats(name)) as opened:
            return _read(opened, name, animated)
    except PictureError:
        raise
    except Image.UnidentifiedImageError:
        raise PictureError("not a picture of a kind that can be read") from None
    except Exception as error:  # a broken file makes a decoder raise anything at all; whatever it is, the file is what is wrong
        raise PictureError(str(error).splitlines()[0] if str(error) else type(error).__name__) from error


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
        return _deep(picture), None, warnings
    alpha = None
    if picture.mode in ("La", "RGBa"):
        picture = picture.convert({"La": "LA", "RGBa": "RGBA"}[picture.mode])
    if picture.has_transparency_data:
        alpha = np.asarray(picture.convert("RGBA"))[..., 3]
    if picture.mode in _GRAY:
        base = picture.convert("L")
    elif picture.mode in ("P", "PA"):
        base = picture.convert("RGBA").convert("RGB")  # straight to RGB, the entry that is transparent would be warned of
    elif picture.mode in ("RGB", "CMYK", "LAB"):
        base = picture
    else:
        base = picture.convert("RGB")
    pixels = np.asarray(_to_srgb(base, picture.info.get("icc_profile"), warnings))
    if picture.mode in ("P", "PA") and np.all(pixels == pixels[..., :1]):  # a palette of grays
        pixels = pixels[..., 0]
    return (pixels if pixels.ndim == 3 else pixels[..., None]), alpha, warnings


def _formats(name: str) -> list[str]:
    Image.init()
    by_name = Image.registered_extensions().get(PurePath(name).suffix.lower())
    return [each for each in (*_FORMATS, *({by_name} & _BY_NAME)) if each in Image.OPEN]


def _check(data: bytes, name: str) -> None:
    with Image.open(io.BytesIO(data), formats=_formats(name)) as picture:
        if min(picture.size) < 1:
            raise PictureError(f"the picture has no pixels: {picture.width}x{picture.height}")
        picture.verify()  # a PNG's checksums, which loading passes over


def _read(opened: Image.Image, name: str, animated: str) -> Picture:
    warnings = []
    kind = _SAME.get(opened.format or "", opened.format or "")
    told = Image.registered_extensions().get(PurePath(name).suffix.lower(), kind)
    if _SAME.get(told, told) != kind:
        warnings.append(f"it is {kind}, whatever its name says")
    if opened.format != "MPO" and getattr(opened, "is_animated", False):
        if animated == "refuse":
            raise PictureError(f"it has {getattr(opened, 'n_frames', 'several')} frames")
        warnings.append("it has several frames; the first is taken")
    raw = str(getattr(opened, "tile", ()))
    if opened.mode not in _DEEP and (";16" in raw or (kind == "PPM" and "65535" in raw)):
        warnings.append("its 16 bits a colour are reduced to 8")
    opened.load()
    metadata = read_metadata(opened, warnings)
    picture = upright(opened)
    if "'LA;16" in raw:  # Pillow makes colour of gray with 16 bits and transparency
        picture = picture.convert("LA")
    elif kind == "PPM" and picture.mode == "I":
        picture = picture.convert("I;16")
    pixels, alpha, more = from_pillow(picture)
    if pixels.dtype == np.uint8:
        metadata = metadata._replace(icc_profile=None)  # the pixels are sRGB now
    return Picture(np.ascontiguousarray(pixels), alpha, kind, metadata, (*warnings, *more))


def _deep(picture: Image.Image) -> np.ndarray:
    values = np.asarray(picture)
    if picture.mode.startswith("I;16"):
        return values.astype(np.uint16)[..., None]
    values = values.astype(np.float64)
    low, high = values.min(), values.max()
    if not np.isfinite(high - low):
        raise PictureError("it holds values that are not finite")
    ranges = (255, 65535) if picture.mode == "I" else (1, 255, 65535)
    full = next((full for full in ranges if low >= 0 and high <= full), None)
    low, full = (0, full) if full else (low, high - low)
    return np.rint((values - low) * (65535 / full)).astype(np.uint16)[..., None]


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
