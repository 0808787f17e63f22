"""Pictures as bytes of a file: which format, what it can hold, and how it is written."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from code_jax.pictures.arrays import picture_of
from code_jax.pictures.loading import PictureError
from code_jax.pictures.metadata import Metadata
from code_jax.pictures.provenance import exif_with

FORMATS = ("png", "same", "webp", "jpeg")


class _Kind(NamedTuple):
    endings: tuple[str, ...]  # the first is used where the input's own does not fit
    modes: tuple[str, ...]


_KINDS = {
    "PNG": _Kind((".png", ".apng"), ("L", "LA", "RGB", "RGBA", "I;16")),
    "JPEG": _Kind((".jpg", ".jpeg", ".jfif"), ("L", "RGB")),
    "WEBP": _Kind((".webp",), ("RGB", "RGBA")),
    "TIFF": _Kind((".tif", ".tiff"), ("L", "LA", "RGB", "RGBA", "I;16")),
    "BMP": _Kind((".bmp",), ("L", "RGB")),  # its fourth channel is read by few
    "AVIF": _Kind((".avif",), ("L", "RGB", "RGBA")),
}
_JPEG_QUALITY = 95


def output_format(choice: str, kind: str, name: str) -> tuple[str, str]:
    """Pillow's name of the format to write, and the file's ending, with its dot.

    Args:
        choice: one of `FORMATS`; "same" is PNG where the input's own is one that is not written.
        kind: the input's format.
        name: the input's name, whose ending is kept where it fits.

    Example:
        >>> output_format("same", "JPEG", "a.JPEG"), output_format("same", "GIF", "a.gif"), output_format("webp", "PNG", "a.png")
        (('JPEG', '.JPEG'), ('PNG', '.png'), ('WEBP', '.webp'))
    """
    chosen = choice.upper() if choice != "same" else kind if kind in _KINDS else "PNG"
    endings, own = _KINDS[chosen].endings, PurePath(name).suffix
    return chosen, own if choice == "same" and own.lower() in endings else endings[0]


def possible_endings(choice: str) -> tuple[str, ...]:
    """The endings, in lower case, that `output_format` may give."""
    kinds = _KINDS.values() if choice == "same" else (_KINDS[choice.upper()],)
    return tuple(ending for kind in kinds for ending in (kind.endings if choice == "same" else kind.endings[:1]))


def encode_picture(
    pixels: np.ndarray,
    alpha: np.ndarray | None,
    kind: str,
    metadata: Metadata | None = None,
    *,
    quality: int | None = None,
    facts: Mapping[str, Any] | None = None,
) -> tuple[bytes, list[str]]:
    """The bytes of a file, and warnings of what its format cannot hold.

    Args:
        pixels: uint8 [H, W, 1, 3 or 4], or uint16 [H, W, 1].
        alpha: uint8 [H, W], or None; of four channels the fourth is it.
        kind: Pillow's name of the format.
        quality: 1..100 of JPEG (95 if None), WebP and AVIF (lossless, and 100, if None).
        facts: of `code_jax.pictures.provenance`; BMP holds none.

    Raises:
        PictureError: if the format cannot hold the picture.
    """
    metadata = metadata or Metadata()
    warnings, modes = [], _KINDS[kind].modes
    if pixels.shape[2] == 4:
        pixels, alpha = pixels[..., :3], pixels[..., 3]
    if pixels.dtype == np.uint16 and "I;16" not in modes:
        warnings.append(f"{kind} holds 8 bits; its 16 are reduced")
        pixels = np.rint(pixels / 257).astype(np.uint8)
    if alpha is not None and "RGBA" not in modes:
        warnings.append(f"{kind} holds no transparency; it is left out")
        alpha = None
    if pixels.shape[2] == 1 and ("L" if alpha is None else "LA") not in modes and pixels.dtype == np.uint8:
        pixels = pixels.repeat(3, axis=2)
    if alpha is not None:
        pixels = np.concatenate([pixels, alpha[..., None]], axis=2)
    picture = picture_of(pixels)
    try:
        return _saved(picture, kind, metadata, quality, facts), warnings
    except PictureError as error:
        bare = Metadata(icc_profile=metadata.icc_profile)
        data = _saved(picture, kind, bare, quality, facts)
        return data, [*warnings, f"its metadata is left out: {error}"]


def _saved(
    picture: Image.Image, kind: str, metadata: Metadata, quality: int | None, facts: Mapping[str, Any] | None
) -> bytes:  # fmt: skip
    file = io.BytesIO()
    try:
        picture.save(file, kind, **_options(kind, picture.mode, metadata, quality, facts))
    except Exception as error:  # what was read from a file may be anything, and makes an encoder raise anything at all
        raise PictureError(f"{kind} cannot hold it: {error}") from error
    return file.getvalue()


def _options(
    kind: str, mode: str, metadata: Metadata, quality: int | None, facts: Mapping[str, Any] | None
) -> dict[str, Any]:  # fmt: skip
    options: dict[str, Any] = {"icc_profile": metadata.icc_profile} if metadata.icc_profile else {}
    exif = metadata.exif if facts is None or kind == "PNG" else exif_with(facts, metadata.exif)
    if exif and kind != "BMP":
        options["exif"] = exif
    if metadata.dpi and kind in ("PNG", "JPEG", "TIFF", "BMP"):
        options["dpi"] = metadata.dpi
    if kind == "PNG":
        options["pnginfo"] = metadata.png_text(facts)
    elif kind == "JPEG":
        options |= {"quality": quality or _JPEG_QUALITY, "subsampling": 0, "comment": dict(metadata.text).get("Comment", "")}
    elif kind == "WEBP":
        options |= {"lossless": True, "exact": True} if quality is None else {"quality": quality, "exact": True}
    elif kind == "AVIF":
        options |= {"quality": quality or 100, "subsampling": "4:0:0" if mode == "L" else "4:4:4"}
    elif kind == "TIFF":
        options["compression"] = "raw" if metadata.exif else "tiff_adobe_deflate"  # Pillow compresses none with EXIF's folders
    return options
